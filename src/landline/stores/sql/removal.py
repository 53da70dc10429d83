"""Giving content up: a link goes as soon as no living response and no conversation has it in its lineage."""

from sqlalchemy import ColumnElement, and_, delete, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from landline.stores.sql.lineages import first_key, load_paths, trunk_of
from landline.stores.sql.tables import TRUNK_SIZE, conversations, items, links, paths, responses, trunks

_DELETION_LOCK = 1_279_869_452
"""PostgreSQL advisory lock; a number of our own ("LILL")."""


async def begin_removal(connection: AsyncConnection) -> None:
    """One removal at a time: two that run at once would each keep content for the other's sake."""
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_DELETION_LOCK)))


async def release_lineage(connection: AsyncConnection, tip: int) -> None:
    """Deletes what only this link's response or conversation, deleted just now, still needed."""
    low, high = first_key(tip), first_key(tip) + TRUNK_SIZE - 1
    trunk = trunk_of(tip)
    await unindex(connection, tip, tip)
    before = [] if await _has_heads(connection, low, high) else await load_paths(connection, trunk)
    await connection.execute(delete(paths).where(paths.c.trunk == trunk)) if before else None
    for first in dict.fromkeys([low, *(first_key(each) for each, _ in reversed(before))]):
        await _trim(connection, first)


async def unindex(connection: AsyncConnection, low: int, high: int) -> None:
    """Makes items of these links unfindable that neither a living response nor a conversation shows."""
    await connection.execute(
        delete(items).where(
            items.c.key.between(low, high),
            ~exists().where(responses.c.key == items.c.key),
            ~_is_in_conversation(items.c.key),
        )
    )


async def _has_heads(connection: AsyncConnection, low: int, high: int) -> bool:
    """Whether a response or conversation has its newest link in this range."""
    query = select(
        exists().where(responses.c.key.between(low, high)) | exists().where(conversations.c.tip.between(low, high))
    )
    return bool((await connection.execute(query)).scalar_one())


async def _trim(connection: AsyncConnection, low: int) -> None:
    """Deletes the links of a trunk that nothing needs, and the trunk with the last of them."""
    high = low + TRUNK_SIZE - 1
    await connection.execute(
        delete(links).where(
            links.c.key.between(low, high),
            ~exists().where(responses.c.key.between(links.c.key, high)),
            ~exists().where(conversations.c.tip.between(links.c.key, high)),
            ~exists().where(paths.c.low.between(low, links.c.key), paths.c.high >= links.c.key),
        )
    )
    await connection.execute(
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
