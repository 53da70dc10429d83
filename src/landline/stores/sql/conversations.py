"""Stored conversations, each function inside a transaction or a read of the caller.

A conversation is a tip: its items are the lineage of that link. A response that runs in it has its link behind the tip;
the tip moves there when the response ends well. Deleting an item gives the conversation a new trunk that leaves it out:
older responses keep the lineage that their model saw.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from landline.stores.sql.content import unpack
from landline.stores.sql.lineages import (
    append_link,
    insert_link,
    load_ranges,
    new_trunk,
)
from landline.stores.sql.removal import begin_removal, release_lineage, unindex
from landline.stores.sql.tables import conversations, items, links
from landline.stores.store import Conversation, LockResult, ParentGoneError
from landline.wire.items import Item

_METADATA_DECODER: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])


def head_of(tenant: str, conversation_id: str) -> Select[int]:
    """The newest link of a conversation."""
    return select(conversations.c.tip.label("key")).where(_is(tenant, conversation_id))


async def create(connection: AsyncConnection, tenant: str, conversation: Conversation, content: Sequence[Item]) -> None:
    tip = await new_trunk(connection)
    await insert_link(connection, tip, tenant, content)
    await connection.execute(
        insert(conversations).values(
            tenant=tenant,
            conversation_id=conversation.conversation_id,
            created_at=conversation.created_at,
            metadata=msgspec.json.encode(conversation.metadata),
            tip=tip,
        )
    )


async def load(connection: AsyncConnection, tenant: str, conversation_id: str) -> Conversation | None:
    row = (await connection.execute(select(conversations).where(_is(tenant, conversation_id)))).first()
    return None if row is None else _conversation(row)


async def set_metadata(
    connection: AsyncConnection, tenant: str, conversation_id: str, metadata: Mapping[str, str]
) -> Conversation | None:
    statement = (
        update(conversations)
        .where(_is(tenant, conversation_id))
        .values(metadata=msgspec.json.encode(metadata))
        .returning(conversations)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else _conversation(row)


async def remove(connection: AsyncConnection, tenant: str, conversation_id: str) -> bool:
    """Deletes a conversation; whether there was one."""
    await begin_removal(connection)
    row = await _lock_row(connection, tenant, conversation_id)
    if row is None:
        return False
    ranges = await load_ranges(connection, row.tip)
    await connection.execute(delete(conversations).where(_is(tenant, conversation_id)))
    for low, high in ranges:
        await unindex(connection, low, high)
    await release_lineage(connection, row.tip)
    return True


async def lock(
    connection: AsyncConnection, tenant: str, conversation_id: str, response_id: str, owner: int
) -> LockResult:
    row = await _lock_row(connection, tenant, conversation_id)
    if row is None:
        return "missing"
    if row.writer not in (None, response_id):
        return "busy"
    await connection.execute(
        update(conversations).where(_is(tenant, conversation_id)).values(writer=response_id, owner=owner)
    )
    return "locked"


async def tip_for_writer(connection: AsyncConnection, tenant: str, conversation_id: str, response_id: str) -> int:
    """The conversation's newest link, for the response that holds its lock; raises `ParentGoneError`."""
    row = await _lock_row(connection, tenant, conversation_id)
    if row is None or row.writer != response_id:
        raise ParentGoneError(f"{response_id!r} does not hold the lock of {conversation_id!r}.")
    return row.tip


async def keep_response(connection: AsyncConnection, tenant: str, response_id: str, key: int) -> None:
    """Makes a response's link part of the conversation that it has locked, and unlocks that."""
    row = await _lock_written(connection, tenant, response_id)
    if row is None:  # deleted meanwhile
        return
    if row.tip == key - 1:
        statement = update(conversations).where(_is(tenant, row.conversation_id))
        await connection.execute(statement.values(tip=key))
    else:  # an item was deleted meanwhile, which gave the conversation another trunk
        await begin_removal(connection)
        await _move_to(connection, row, await _graft(connection, [*await load_ranges(connection, row.tip), (key, key)]))
    await unlock(connection, tenant, response_id)


async def leave_out_response(connection: AsyncConnection, tenant: str, response_id: str, key: int) -> None:
    """Takes a response's link off the trunk of the conversation that it has locked, and unlocks that."""
    row = await _lock_written(connection, tenant, response_id)
    if row is not None and row.tip == key - 1:
        place = await new_trunk(connection, await load_ranges(connection, row.tip))
        await connection.execute(update(links).where(links.c.key == key).values(key=place))
    await unlock(connection, tenant, response_id)


async def _lock_written(connection: AsyncConnection, tenant: str, response_id: str) -> Row[Any] | None:
    query = select(conversations).where(_is_written_by(tenant, response_id)).with_for_update()
    return (await connection.execute(query)).first()


async def unlock(connection: AsyncConnection, tenant: str, response_id: str) -> None:
    """Frees the conversation that the response has locked, if there is one."""
    statement = update(conversations).where(_is_written_by(tenant, response_id))
    await connection.execute(statement.values(writer=None, owner=None))


async def unlock_owned(connection: AsyncConnection, owner: int | None) -> None:
    """Frees what a dead process (None: any process) had locked."""
    is_left = conversations.c.writer.is_not(None) if owner is None else conversations.c.owner == owner
    await connection.execute(update(conversations).where(is_left).values(writer=None, owner=None))


async def add(connection: AsyncConnection, tenant: str, conversation_id: str, content: Sequence[Item]) -> LockResult:
    row = await _lock_row(connection, tenant, conversation_id)
    if row is None:
        return "missing"
    if row.writer is not None:
        return "busy"
    tip = await append_link(connection, row.tip, tenant, content)
    await connection.execute(update(conversations).where(_is(tenant, conversation_id)).values(tip=tip))
    return "locked"


async def remove_item(connection: AsyncConnection, tenant: str, conversation_id: str, item_id: str) -> bool:
    """Takes an item out of a conversation; whether it was there."""
    await begin_removal(connection)
    row = await _lock_row(connection, tenant, conversation_id)
    if row is None:
        return False
    ranges = await load_ranges(connection, row.tip)
    holders = [key for key in await _holders(connection, tenant, item_id) if _is_within(key, ranges)]
    if not holders:
        return False
    for key in holders:
        ranges = await _without(connection, tenant, ranges, key, item_id)
    await _move_to(connection, row, await _graft(connection, ranges))
    for key in holders:
        await unindex(connection, key, key)
    return True


async def _holders(connection: AsyncConnection, tenant: str, item_id: str) -> list[int]:
    query = select(items.c.key).where(items.c.tenant == tenant, items.c.item_id == item_id)
    return list((await connection.execute(query)).scalars())


def _is_within(key: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= key <= high for low, high in ranges)


async def _without(
    connection: AsyncConnection, tenant: str, ranges: Sequence[tuple[int, int]], key: int, item_id: str
) -> list[tuple[int, int]]:
    """The ranges with one link replaced by a copy that lacks the item."""
    query = select(links.c.heads, links.c.raws).where(links.c.key == key)
    row = (await connection.execute(query)).one()
    kept = [item for item in unpack(row.heads, row.raws) if item.id != item_id]
    replacement: list[tuple[int, int]] = []
    if kept:
        copy = await new_trunk(connection)
        await insert_link(connection, copy, tenant, kept)
        replacement = [(copy, copy)]
    changed: list[tuple[int, int]] = []
    for low, high in ranges:
        if low <= key <= high:
            parts = [(low, key - 1), *replacement, (key + 1, high)]
            changed += [(first, last) for first, last in parts if first <= last]
        else:
            changed.append((low, high))
    return changed


async def _graft(connection: AsyncConnection, ranges: Sequence[tuple[int, int]]) -> int:
    """A new tip, itself empty, whose lineage is these ranges."""
    tip = await new_trunk(connection, ranges)
    await insert_link(connection, tip, "", ())
    return tip


async def _move_to(connection: AsyncConnection, row: Row[Any], tip: int) -> None:
    """Gives the conversation a new tip, and up what only the old one needed."""
    statement = update(conversations).where(_is(row.tenant, row.conversation_id))
    await connection.execute(statement.values(tip=tip))
    await release_lineage(connection, row.tip)


async def _lock_row(connection: AsyncConnection, tenant: str, conversation_id: str) -> Row[Any] | None:
    query = select(conversations).where(_is(tenant, conversation_id)).with_for_update()
    return (await connection.execute(query)).first()


def _is(tenant: str, conversation_id: str) -> Any:
    return (conversations.c.tenant == tenant) & (conversations.c.conversation_id == conversation_id)


def _is_written_by(tenant: str, response_id: str) -> Any:
    return (conversations.c.tenant == tenant) & (conversations.c.writer == response_id)


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        conversation_id=row.conversation_id,
        created_at=row.created_at,
        metadata=_METADATA_DECODER.decode(row.metadata),
    )
