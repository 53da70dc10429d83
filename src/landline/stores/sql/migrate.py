"""Brings the tables to the version that this code wants."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select

_MIGRATION_LOCK = 1_279_869_451
"""PostgreSQL advisory lock: of several processes that start at once, one migrates."""


def migrate(connection: Connection) -> None:
    """Runs what is missing, inside the caller's transaction. SQLite's is exclusive already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
