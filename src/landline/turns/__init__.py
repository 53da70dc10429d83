"""Runs turns: finds the history, asks targets, composes what they say, saves it; changes with the order of those steps."""
