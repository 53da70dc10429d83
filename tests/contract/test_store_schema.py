"""The migrations, from the first to the last, make the tables of tables.py and nothing else."""

from collections.abc import Callable

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from landline.stores.sql.database import Database, parse_url
from landline.stores.sql.postgresql import PostgresqlDatabase
from landline.stores.sql.sqlite import SqliteDatabase
from landline.stores.sql.tables import MIGRATIONS, NEWEST, metadata, migrate

Schema = set[tuple[str, ...]]

_POSTGRESQL_SCHEMA = """
SELECT table_name, column_name, data_type, is_nullable, coalesce(column_default, ''), is_identity
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT indexname, indexdef, '', '', '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


def _sqlite_schema(connection: Connection) -> Schema:
    rows = connection.execute(text("SELECT name, coalesce(sql, '') FROM sqlite_master"))
    return {(name, " ".join(sql.split())) for name, sql in rows if "alembic" not in name}


def _postgresql_schema(connection: Connection) -> Schema:
    rows = connection.execute(text(_POSTGRESQL_SCHEMA))
    return {tuple(row) for row in rows if "alembic" not in row[0]}


async def _schemas(migrated: Database, made: Database, read: Callable[[Connection], Schema]) -> tuple[Schema, Schema]:
    await migrated.write(migrate)
    await made.write(metadata.create_all)
    schemas = await migrated.read(read), await made.read(read)
    await migrated.close()
    await made.close()
    return schemas


async def test_migrations_make_the_tables_of_sqlite(new_url: Callable[[str], str]) -> None:
    url = new_url("sqlite")
    migrated, made = SqliteDatabase(parse_url(url)), SqliteDatabase(parse_url(f"{url}.made"))
    by_migration, by_tables = await _schemas(migrated, made, _sqlite_schema)
    assert len(by_tables) > len(metadata.tables)
    assert by_migration == by_tables


async def test_migrations_make_the_tables_of_postgresql(new_url: Callable[[str], str]) -> None:
    migrated, made = (PostgresqlDatabase(parse_url(new_url("postgresql"))) for _ in range(2))
    by_migration, by_tables = await _schemas(migrated, made, _postgresql_schema)
    assert len(by_tables) > len(metadata.tables)
    assert by_migration == by_tables


async def test_migrating_again_changes_nothing(new_url: Callable[[str], str]) -> None:
    database = SqliteDatabase(parse_url(new_url("sqlite")))
    await database.write(migrate)
    before = await database.read(_sqlite_schema)
    await database.write(migrate)
    assert await database.read(_sqlite_schema) == before
    await database.close()


def test_newest_migration_is_the_one_that_is_looked_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [NEWEST]
