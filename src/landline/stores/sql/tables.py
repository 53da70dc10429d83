"""The tables, and how a database gets them: the migrations that it lacks are run when a store opens.

How lineages live in the tables is said in docs/adr/0006. A *link* holds one response's own items, or items added to a
conversation. Links live on *trunks*: a link's key is `trunk number * TRUNK_SIZE + position`, so a trunk is one range of
keys, and a lineage is the head of one trunk behind ranges of others, its *paths*.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    false,
    func,
    inspect,
    select,
    text,
)

TRUNK_SIZE = 2**20
"""Keys of one trunk; a conversation that grows beyond it goes on in a new trunk."""

metadata = MetaData()

_ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows only in columns declared INTEGER."""


class _Id(TypeDecorator[str]):
    """An id as somebody sent it. PostgreSQL takes no NUL in texts, so one is written as U+FFFD, and looked for as such."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value.replace("\0", "\ufffd") if value is not None else None


trunks = Table(
    "trunks",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    sqlite_autoincrement=True,  # a number must not come back
)

paths = Table(
    "paths",
    metadata,
    Column("trunk", _ROW_NUMBER, ForeignKey("trunks.number", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    Index("paths_low_high", "low", "high"),
)
"""What comes before a trunk's own links: ranges of keys, both ends included, in the order of `seq`."""

links = Table(
    "links",
    metadata,
    Column("key", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("input_count", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("follows_input", Boolean, nullable=False, server_default=false()),
)
"""`count` items as `content.pack` writes them. The first `input_count` are a response's input, or were added to a
conversation; the others are the response's output. A lineage that goes on from a link to one that `follows_input` leaves
out the output of the first."""

responses = Table(
    "responses",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("response_id", _Id, primary_key=True),
    Column("key", BigInteger, ForeignKey("links.key", onupdate="CASCADE"), nullable=False, unique=True),
    Column("conversation_id", _Id),
    Column("owner", BigInteger),
    Column("created_at", Float(53), nullable=False),
    Column("status", String, nullable=False),
    Column("is_background", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("lists_history", Boolean, nullable=False, server_default=false()),
    Index("responses_created_at", "created_at"),
)
"""`owner` is the process that runs the turn, null when it has ended. A response that `lists_history` was sent its whole
history: the lineage before its own link is its input too."""

_LISTS_HISTORY = responses.c.lists_history
Index("responses_lists_history", responses.c.key, sqlite_where=_LISTS_HISTORY, postgresql_where=_LISTS_HISTORY)

_IS_OWNED = responses.c.owner.is_not(None)
Index("responses_owner", responses.c.owner, sqlite_where=_IS_OWNED, postgresql_where=_IS_OWNED)

items = Table(
    "items",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("item_id", _Id, primary_key=True),
    Column(
        "key",
        BigInteger,
        ForeignKey("links.key", onupdate="CASCADE", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Index("items_key", "key"),
)
"""Which link holds an item that can be asked for by its id."""

conversations = Table(
    "conversations",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("conversation_id", _Id, primary_key=True),
    Column("created_at", Float(53), nullable=False),
    Column("metadata", LargeBinary, nullable=False),
    Column("tip", BigInteger, nullable=False, unique=True),
    Column("writer", _Id),
    Column("owner", BigInteger),
)
"""`tip` is the newest link; `writer` is the response that holds the lock, `owner` its process."""

_IS_LOCKED = conversations.c.writer.is_not(None)
Index(
    "conversations_writer",
    conversations.c.tenant,
    conversations.c.writer,
    sqlite_where=_IS_LOCKED,
    postgresql_where=_IS_LOCKED,
)

owners = Table("owners", metadata, Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True))
"""Processes that share a PostgreSQL database; each holds an advisory lock on its number while it lives."""


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
