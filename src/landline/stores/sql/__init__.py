"""The durable store: one implementation for SQLite and PostgreSQL."""

from landline.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
