"""Giving content up: a link goes as soon as no living response and no conversation has it in its lineage."""

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select

from landline.stores.sql.lineages import first_key, load_paths, trunk_of
from landline.stores.sql.tables import TRUNK_SIZE, conversations, items, links, paths, responses, trunks

_DELETION_LOCK = 1_279_869_452
"""PostgreSQL advisory lock; a number of our own ("LILL")."""


def begin_removal(connection: Connection) -> None:
    """One removal at a time: two that run at once would each keep content for the other's sake."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_DELETION_LOCK)))


def release_lineage(connection: Connection, tip: int) -> None:
    """Deletes what only this link's response or conversation, deleted just now, still needed."""
    low, high = first_key(tip), first_key(tip) + TRUNK_SIZE - 1
    trunk = trunk_of(tip)
    unindex(connection, tip, tip)
    before = [] if _has_heads(connection, low, high) else load_paths(connection, trunk)
    if before:
        connection.execute(delete(paths).where(paths.c.trunk == trunk))
    for first in dict.fromkeys([low, *(first_key(each) for each, _ in reversed(before))]):
        _trim(connection, first)


def unindex(connection: Connection, low: int, high: int) -> None:
    """Makes items of these links unfindable that neither a living response nor a conversation shows."""
    connection.execute(
        delete(items).where(
            items.c.key.between(low, high),
            ~exists().where(responses.c.key == items.c.key),
            ~_is_in_conversation(items.c.key),
        )
    )


def _has_heads(connection: Connection, low: int, high: int) -> bool:
    """Whether a response or conversation has its newest link in this range."""
    query = select(
        exists().where(responses.c.key.between(low, high)) | exists().where(conversations.c.tip.between(low, high))
    )
    return bool(connection.execute(query).scalar_one())


def _trim(connection: Connection, low: int) -> None:
    """Deletes the links of a trunk that nothing needs, and the trunk with the last of them."""
    high = low + TRUNK_SIZE - 1
    connection.execute(
        delete(links).where(
            links.c.key.between(low, high),
            ~exists().where(responses.c.key.between(links.c.key, high)),
            ~exists().where(conversations.c.tip.between(links.c.key, high)),
            ~exists().where(paths.c.low.between(low, links.c.key), paths.c.high >= links.c.key),
        )
    )
    connection.execute(
        delete(trunks).where(trunks.c.number == trunk_of(low), ~exists().where(links.c.key.between(low, high)))
    )


def _is_in_conversation(key: ColumnElement[int]) -> ColumnElement[bool]:
    first = key - key % TRUNK_SIZE
    is_own = exists().where(conversations.c.tip.between(key, first + (TRUNK_SIZE - 1)))
    is_before = exists().where(
        and_(
            paths.c.low.between(first, key),
            paths.c.high >= key,
            conversations.c.tip.between(paths.c.trunk * TRUNK_SIZE, paths.c.trunk * TRUNK_SIZE + (TRUNK_SIZE - 1)),
        )
    )
    return is_own | is_before
