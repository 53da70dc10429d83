"""The server that all contract tests share."""

from postgres_server import postgres

__all__ = ["postgres"]
