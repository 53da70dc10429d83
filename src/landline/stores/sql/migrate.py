"""Brings the tables to the version that this code wants."""

from pathlib import Path

from sqlalchemy import Connection, func, inspect, select, text

MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0002"
"""The newest migration's revision."""
_MIGRATION_LOCK = 1_279_869_451
"""PostgreSQL advisory lock: of several processes that start at once, one migrates."""


def migrate(connection: Connection) -> None:
    """Runs what is missing, inside the caller's transaction. SQLite's is exclusive already."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    if not _is_newest(connection):
        _upgrade(connection)


def _is_newest(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [NEWEST]


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - takes 0.2 s to import, and is seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
