"""Ledger entries, made up and read from the log."""
