"""Landline: an Open Responses server that keeps agents on a persistent line."""

__version__ = "0.1.0"
