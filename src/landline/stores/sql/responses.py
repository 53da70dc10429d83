"""Stored responses, each function inside a transaction or a read of the caller."""

from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from landline.stores.paging import cut_page
from landline.stores.sql import conversations as conversation_rows
from landline.stores.sql.content import unpack
from landline.stores.sql.lineages import append_link, extend_link, fork_link, insert_link, new_trunk
from landline.stores.sql.removal import begin_removal, release_lineage
from landline.stores.sql.tables import items, links, responses
from landline.stores.store import ItemPage, NewResponse, Page, ParentGoneError, StoredResponse, StoreError
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus

CONTINUABLE = ("completed", "incomplete")
RUNNING = ("queued", "in_progress")
_SWEEP_BATCH = 100
"""Responses deleted in one transaction of a sweep, so that it does not hold up others for long."""


def head_of(tenant: str, response_id: str) -> Select[int]:
    """The newest link of a response that may be continued."""
    return select(responses.c.key).where(
        responses.c.tenant == tenant, responses.c.response_id == response_id, responses.c.status.in_(CONTINUABLE)
    )


async def begin(connection: AsyncConnection, new: NewResponse, owner: int) -> None:
    """Saves a turn at its start; raises `ParentGoneError`."""
    key = await _place(connection, new)
    await connection.execute(
        insert(responses).values(
            tenant=new.tenant,
            response_id=new.response_id,
            key=key,
            conversation_id=new.conversation_id,
            owner=owner if new.status in RUNNING else None,
            created_at=new.created_at,
            status=new.status,
            is_background=new.is_background,
            body=new.body,
        )
    )


async def _place(connection: AsyncConnection, new: NewResponse) -> int:
    """The key of the new response's link."""
    if new.conversation_id is not None:
        tip = await conversation_rows.tip_for_writer(connection, new.tenant, new.conversation_id, new.response_id)
        return await append_link(connection, tip, new.tenant, new.items)
    if new.parent_id is not None:
        return await _place_behind(connection, new, new.parent_id)
    key = await new_trunk(connection)
    if new.inherited:
        await insert_link(connection, key, new.tenant, new.inherited, is_indexed=False)
        key += 1
    await insert_link(connection, key, new.tenant, new.items)
    return key


async def _place_behind(connection: AsyncConnection, new: NewResponse, parent_id: str) -> int:
    parent = (
        await connection.execute(
            select(responses.c.key, responses.c.status, responses.c.conversation_id)
            .where(responses.c.tenant == new.tenant, responses.c.response_id == parent_id)
            .with_for_update(read=True)  # so that the parent is not deleted before its child is there
        )
    ).first()
    if parent is None or parent.status not in CONTINUABLE:
        raise ParentGoneError(f"Response {parent_id!r} cannot be continued: it is gone, or has not ended.")
    if parent.conversation_id is not None:  # that trunk belongs to the conversation
        return await fork_link(connection, parent.key, new.tenant, new.items)
    return await append_link(connection, parent.key, new.tenant, new.items)


async def finish(
    connection: AsyncConnection,
    tenant: str,
    response_id: str,
    *,
    status: ResponseStatus,
    body: bytes,
    output: Sequence[Item],
) -> None:
    """Saves a turn's end; raises `StoreError` when it has ended before."""
    found = (
        await connection.execute(
            update(responses)
            .where(_is(tenant, response_id), responses.c.status.in_(RUNNING))
            .values(status=status, body=body, owner=None)
            .returning(responses.c.key, responses.c.conversation_id)
        )
    ).first()
    if found is None:
        await conversation_rows.unlock(connection, tenant, response_id)
        await _refuse_second_end(connection, tenant, response_id)
        return
    await extend_link(connection, found.key, tenant, output)
    if found.conversation_id is not None:
        settle = conversation_rows.keep_response if status in CONTINUABLE else conversation_rows.leave_out_response
        await settle(connection, tenant, response_id, found.key)


async def _refuse_second_end(connection: AsyncConnection, tenant: str, response_id: str) -> None:
    if (await connection.execute(select(responses.c.status).where(_is(tenant, response_id)))).first() is not None:
        raise StoreError(f"Response {response_id!r} has ended already: another process took this one for dead.")


async def discard(connection: AsyncConnection, tenant: str, response_id: str) -> None:
    """Forgets a response and unlocks its conversation."""
    await conversation_rows.unlock(connection, tenant, response_id)
    await remove(connection, tenant, response_id)


async def remove(connection: AsyncConnection, tenant: str, response_id: str) -> bool:
    """Deletes a response; whether there was one."""
    await begin_removal(connection)
    statement = delete(responses).where(_is(tenant, response_id)).returning(responses.c.key)
    key = (await connection.execute(statement)).scalar()
    if key is None:
        return False
    await release_lineage(connection, key)
    return True


async def remove_expired(connection: AsyncConnection, before: float) -> int:
    """Deletes some of the responses made before a time (Unix seconds); 0 when there are none left."""
    await begin_removal(connection)
    expired = (
        select(responses.c.key)
        .where(responses.c.created_at <= before, responses.c.status.not_in(RUNNING))
        .order_by(responses.c.created_at)
        .limit(_SWEEP_BATCH)
    )
    keys = (
        await connection.execute(delete(responses).where(responses.c.key.in_(expired)).returning(responses.c.key))
    ).scalars()
    gone = list(keys)
    for key in gone:
        await release_lineage(connection, key)
    return len(gone)


async def load(connection: AsyncConnection, tenant: str, response_id: str) -> StoredResponse | None:
    row = (await connection.execute(select(responses).where(_is(tenant, response_id)))).first()
    if row is None:
        return None
    return StoredResponse(
        response_id=row.response_id,
        status=_status(row.status),
        is_background=row.is_background,
        created_at=row.created_at,
        body=row.body,
    )


async def list_input(connection: AsyncConnection, tenant: str, response_id: str, page: Page) -> ItemPage | None:
    query = (
        select(links.c.heads, links.c.raws, links.c.input_count)
        .join(responses, responses.c.key == links.c.key)
        .where(_is(tenant, response_id))
    )
    row = (await connection.execute(query)).first()
    return None if row is None else cut_page(unpack(row.heads, row.raws)[: row.input_count], page)


async def find_items(connection: AsyncConnection, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
    if not item_ids:
        return {}
    query = (
        select(items.c.item_id, links.c.heads, links.c.raws)
        .join(links, links.c.key == items.c.key)
        .where(items.c.tenant == tenant, items.c.item_id.in_(set(item_ids)))
        .order_by(items.c.key)
    )
    found: dict[str, Item] = {}
    for item_id, heads, raws in await connection.execute(query):
        found.update((item_id, item) for item in unpack(heads, raws) if item.id == item_id)
    return found


async def interrupt(connection: AsyncConnection, owner: int | None) -> None:
    """Marks what a dead process (None: any process) left running as incomplete, and frees its conversations."""
    is_left = responses.c.owner.is_not(None) if owner is None else responses.c.owner == owner
    columns = (responses.c.tenant, responses.c.response_id, responses.c.key, responses.c.conversation_id)
    left = (await connection.execute(select(*columns, responses.c.body).where(is_left).with_for_update())).all()
    for row in left:
        await connection.execute(
            update(responses)
            .where(_is(row.tenant, row.response_id))
            .values(status="incomplete", body=_interrupted(row.body), owner=None)
        )
        if row.conversation_id is not None:
            await conversation_rows.leave_out_response(connection, row.tenant, row.response_id, row.key)
    await conversation_rows.unlock_owned(connection, owner)


def _interrupted(body: bytes) -> bytes:
    """The body of a response that a crash cut off."""
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    ended = {"status": "incomplete", "incomplete_details": {"reason": "interrupted"}}
    return msgspec.json.encode({**fields, **ended})


def _is(tenant: str, response_id: str) -> Any:
    return (responses.c.tenant == tenant) & (responses.c.response_id == response_id)


def _status(value: str) -> ResponseStatus:
    if value not in get_args(ResponseStatus):
        raise StoreError(f"The database holds a response with the unknown status {value!r}.")
    return cast("ResponseStatus", value)
