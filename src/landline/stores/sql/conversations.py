"""Stored conversations, each function inside a transaction or a read of the caller.

A conversation is a tip: its items are the lineage of that link. A response that runs in it has its link behind the tip;
the tip moves there when the response ends well. Deleting an item gives the conversation a new trunk that leaves it out:
older responses keep the lineage that their model saw.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, insert, select, update

from landline.stores.sql.lineages import (
    NewLink,
    append_link,
    insert_link,
    lineage_query,
    load_ranges,
    new_trunk,
    unpack,
)
from landline.stores.sql.removal import begin_removal, release_lineage, unindex
from landline.stores.sql.tables import conversations, items, links
from landline.stores.store import LockResult, ParentGoneError, StoredConversation
from landline.wire.items import Item

_METADATA_DECODER: msgspec.json.Decoder[dict[str, str]] = msgspec.json.Decoder(dict[str, str])


_IS = (conversations.c.tenant == bindparam("of_tenant")) & (conversations.c.conversation_id == bindparam("of_id"))
_IS_WRITTEN = (conversations.c.tenant == bindparam("of_tenant")) & (conversations.c.writer == bindparam("of_writer"))
LINEAGE = lineage_query(select(conversations.c.tip).where(_IS))
"""The items of a conversation."""
_INSERT = insert(conversations)
_LOAD = select(conversations).where(_IS)
_LOAD_LOCKED = _LOAD.with_for_update()
_LOAD_WRITTEN = select(conversations).where(_IS_WRITTEN).with_for_update()
_SET_METADATA = update(conversations).where(_IS).values(metadata=bindparam("new_metadata")).returning(conversations)
_SET_TIP = update(conversations).where(_IS).values(tip=bindparam("new_tip"))
_SET_WRITER = update(conversations).where(_IS).values(writer=bindparam("new_writer"), owner=bindparam("new_owner"))
_UNLOCK = update(conversations).where(_IS_WRITTEN).values(writer=None, owner=None)
_DELETE = delete(conversations).where(_IS)


def identify(tenant: str, conversation_id: str) -> dict[str, str]:
    """The parameters that name a conversation in the statements of this file."""
    return {"of_tenant": tenant, "of_id": conversation_id}


def create(connection: Connection, tenant: str, conversation: StoredConversation, content: Sequence[Item]) -> None:
    tip = new_trunk(connection)
    insert_link(connection, tip, tenant, NewLink(content))
    row = {
        "tenant": tenant,
        "conversation_id": conversation.conversation_id,
        "created_at": conversation.created_at,
        "metadata": msgspec.json.encode(conversation.metadata),
        "tip": tip,
    }
    connection.execute(_INSERT, row)


def load(connection: Connection, tenant: str, conversation_id: str) -> StoredConversation | None:
    row = connection.execute(_LOAD, identify(tenant, conversation_id)).first()
    return None if row is None else _conversation(row)


def set_metadata(
    connection: Connection, tenant: str, conversation_id: str, metadata: Mapping[str, str]
) -> StoredConversation | None:
    changes = {"new_metadata": msgspec.json.encode(metadata)}
    row = connection.execute(_SET_METADATA, {**identify(tenant, conversation_id), **changes}).first()
    return None if row is None else _conversation(row)


def remove(connection: Connection, tenant: str, conversation_id: str) -> bool:
    """Deletes a conversation; whether there was one."""
    begin_removal(connection)
    row = _lock_row(connection, tenant, conversation_id)
    if row is None:
        return False
    ranges = load_ranges(connection, row.tip)
    connection.execute(_DELETE, identify(tenant, conversation_id))
    for low, high in ranges:
        unindex(connection, low, high)
    release_lineage(connection, row.tip)
    return True


def lock(connection: Connection, tenant: str, conversation_id: str, response_id: str, owner: int) -> LockResult:
    row = _lock_row(connection, tenant, conversation_id)
    if row is None:
        return "missing"
    if row.writer not in (None, response_id):
        return "busy"
    changes = {"new_writer": response_id, "new_owner": owner}
    connection.execute(_SET_WRITER, {**identify(tenant, conversation_id), **changes})
    return "locked"


def tip_for_writer(connection: Connection, tenant: str, conversation_id: str, response_id: str) -> int:
    """The conversation's newest link, for the response that holds its lock; raises `ParentGoneError`."""
    row = _lock_row(connection, tenant, conversation_id)
    if row is None or row.writer != response_id:
        raise ParentGoneError(f"{response_id!r} does not hold the lock of {conversation_id!r}.")
    return row.tip


def keep_response(connection: Connection, tenant: str, response_id: str, key: int) -> None:
    """Makes a response's link part of the conversation that it has locked, and unlocks that."""
    row = _lock_written(connection, tenant, response_id)
    if row is None:  # deleted meanwhile
        return
    if row.tip == key - 1:
        connection.execute(_SET_TIP, {**identify(tenant, row.conversation_id), "new_tip": key})
    else:  # an item was deleted meanwhile, which gave the conversation another trunk
        begin_removal(connection)
        _move_to(connection, row, _graft(connection, [*load_ranges(connection, row.tip), (key, key)]))
    unlock(connection, tenant, response_id)


def leave_out_response(connection: Connection, tenant: str, response_id: str, key: int) -> None:
    """Takes a response's link off the trunk of the conversation that it has locked, and unlocks that."""
    row = _lock_written(connection, tenant, response_id)
    if row is not None and row.tip == key - 1:
        place = new_trunk(connection, load_ranges(connection, row.tip))
        connection.execute(update(links).where(links.c.key == key).values(key=place))
    unlock(connection, tenant, response_id)


def _lock_written(connection: Connection, tenant: str, response_id: str) -> Row[Any] | None:
    return connection.execute(_LOAD_WRITTEN, {"of_tenant": tenant, "of_writer": response_id}).first()


def unlock(connection: Connection, tenant: str, response_id: str) -> None:
    """Frees the conversation that the response has locked, if there is one."""
    connection.execute(_UNLOCK, {"of_tenant": tenant, "of_writer": response_id})


def find_writers(connection: Connection, owner: int) -> Sequence[str]:
    """The responses for which a process has locked conversations; none is null."""
    return connection.execute(select(conversations.c.writer).where(_is_owned(owner))).scalars().all()


def unlock_owned(connection: Connection, owner: int | None, writers: Sequence[str] | None = None) -> None:
    """Frees what a process (None: any process) had locked, for these responses (None: for any)."""
    is_left = _is_owned(owner)
    if writers is not None:
        is_left &= conversations.c.writer.in_(writers)
    connection.execute(update(conversations).where(is_left).values(writer=None, owner=None))


def _is_owned(owner: int | None) -> ColumnElement[bool]:
    is_locked = conversations.c.writer.is_not(None)
    return is_locked if owner is None else is_locked & (conversations.c.owner == owner)


def add(connection: Connection, tenant: str, conversation_id: str, content: Sequence[Item]) -> LockResult:
    row = _lock_row(connection, tenant, conversation_id)
    if row is None:
        return "missing"
    if row.writer is not None:
        return "busy"
    tip = append_link(connection, row.tip, tenant, NewLink(content))
    connection.execute(_SET_TIP, {**identify(tenant, conversation_id), "new_tip": tip})
    return "locked"


def remove_item(connection: Connection, tenant: str, conversation_id: str, item_id: str) -> bool:
    """Takes an item out of a conversation; whether it was there."""
    begin_removal(connection)
    row = _lock_row(connection, tenant, conversation_id)
    if row is None:
        return False
    ranges = load_ranges(connection, row.tip)
    holders = [key for key in _holders(connection, tenant, item_id) if _is_within(key, ranges)]
    if not holders:
        return False
    for key in holders:
        ranges = _without(connection, tenant, ranges, key, item_id)
    _move_to(connection, row, _graft(connection, ranges))
    for key in holders:
        unindex(connection, key, key)
    return True


def _holders(connection: Connection, tenant: str, item_id: str) -> list[int]:
    query = select(items.c.key).where(items.c.tenant == tenant, items.c.item_id == item_id)
    return list(connection.execute(query).scalars())


def _is_within(key: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(low <= key <= high for low, high in ranges)


def _without(
    connection: Connection, tenant: str, ranges: Sequence[tuple[int, int]], key: int, item_id: str
) -> list[tuple[int, int]]:
    """The ranges with one link replaced by a copy that lacks the item."""
    query = select(links.c["count"], links.c.content).where(links.c.key == key)
    count, content = connection.execute(query).one()
    kept = [item for item in unpack([(count, content)]) if item.id != item_id]
    replacement: list[tuple[int, int]] = []
    if kept:
        copy = new_trunk(connection)
        insert_link(connection, copy, tenant, NewLink(kept))
        replacement = [(copy, copy)]
    changed: list[tuple[int, int]] = []
    for low, high in ranges:
        if low <= key <= high:
            parts = [(low, key - 1), *replacement, (key + 1, high)]
            changed += [(first, last) for first, last in parts if first <= last]
        else:
            changed.append((low, high))
    return changed


def _graft(connection: Connection, ranges: Sequence[tuple[int, int]]) -> int:
    """The key of a new, empty link whose lineage is these ranges."""
    tip = new_trunk(connection, ranges)
    insert_link(connection, tip, "", NewLink(()))
    return tip


def _move_to(connection: Connection, row: Row[Any], tip: int) -> None:
    """Gives the conversation a new tip, and up what only the old one needed."""
    connection.execute(_SET_TIP, {**identify(row.tenant, row.conversation_id), "new_tip": tip})
    release_lineage(connection, row.tip)


def _lock_row(connection: Connection, tenant: str, conversation_id: str) -> Row[Any] | None:
    return connection.execute(_LOAD_LOCKED, identify(tenant, conversation_id)).first()


def _conversation(row: Row[Any]) -> StoredConversation:
    return StoredConversation(
        conversation_id=row.conversation_id,
        created_at=row.created_at,
        metadata=_METADATA_DECODER.decode(row.metadata),
    )
