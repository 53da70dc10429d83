"""Stored responses, each function inside a transaction or a read of the caller."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar, cast, get_args

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, or_, select, update

from landline.stores.sql import conversations as conversation_rows
from landline.stores.sql.lineages import (
    NewLink,
    append_link,
    fork_link,
    insert_link,
    lineage_query,
    load_input,
    new_trunk,
    save_output,
    unpack,
)
from landline.stores.sql.prepared import Prepared
from landline.stores.sql.removal import begin_removal, release_response
from landline.stores.sql.tables import items, links, responses
from landline.stores.store import (
    CONTINUABLE,
    ItemPage,
    NewResponse,
    Page,
    ParentGoneError,
    ResponseEndedError,
    StoredResponse,
    StoreError,
)
from landline.stores.stored_items import cut_page
from landline.wire.items import Item
from landline.wire.readable import UNREADABLE
from landline.wire.responses import ResponseStatus

RUNNING = ("queued", "in_progress")
_IDS_A_QUERY = 5000
_LINKS_A_QUERY = 100
"""Links that are read at once: each may hold megabytes."""
_SWEEP_BATCH = 100
"""Responses deleted in one transaction of a sweep, so that it does not hold up others for long."""

_Value = TypeVar("_Value")

_IS = (responses.c.tenant == bindparam("of_tenant")) & (responses.c.response_id == bindparam("of_id"))
_IS_RUNNING = or_(*(responses.c.status == each for each in RUNNING))
_MAY_CONTINUE = or_(*(responses.c.status == each for each in CONTINUABLE))
LINEAGE = lineage_query(select(responses.c.key).where(_IS, _MAY_CONTINUE))
"""The lineage of a response that may be continued."""
_ANY_LINEAGE = lineage_query(select(responses.c.key).where(_IS))
_INSERT = Prepared(insert(responses), [column.name for column in responses.c])
_LOAD = select(responses).where(_IS)
_LOAD_STATUS = Prepared(select(responses.c.status).where(_IS))
_LOAD_PARENT = Prepared(
    select(responses.c.key, responses.c.status, responses.c.conversation_id)
    .where(_IS)
    .with_for_update(read=True)  # so that the parent is not deleted before its child is there
)
_FINISH = Prepared(
    update(responses)
    .where(_IS, _IS_RUNNING)
    .values(status=bindparam("new_status"), body=bindparam("new_body"), owner=None)
    .returning(responses.c.key, responses.c.conversation_id)
)
_DELETE = delete(responses).where(_IS).returning(responses.c.key, responses.c.lists_history)
_LOAD_INPUT = (
    select(responses.c.lists_history, links.c["count"], links.c.content, links.c.input_count)
    .join(links, responses.c.key == links.c.key)
    .where(_IS)
)
_FIND_KEYS = (
    select(items.c.key)
    .where(items.c.tenant == bindparam("of_tenant"), items.c.item_id.in_(bindparam("ids", expanding=True)))
    .distinct()
)
_LOAD_LINKS = (
    select(links.c["count"], links.c.content)
    .where(links.c.key.in_(bindparam("keys", expanding=True)))
    .order_by(links.c.key)
)


def identify(tenant: str, response_id: str) -> dict[str, str]:
    """The parameters that name a response in the statements of this file."""
    return {"of_tenant": tenant, "of_id": response_id}


def begin(connection: Connection, new: NewResponse, owner: int) -> None:
    """Saves a turn at its start; raises `ParentGoneError`."""
    _insert(connection, new, (), owner)


def save_whole(connection: Connection, new: NewResponse, output: Sequence[Item]) -> None:
    """Saves a turn of which nothing was saved before, with its end; raises `ParentGoneError`."""
    key = _insert(connection, new, output, None)
    if new.conversation_id is not None:
        _settle_conversation(connection, new.tenant, new.response_id, new.status, key)


def _insert(connection: Connection, new: NewResponse, output: Sequence[Item], owner: int | None) -> int:
    key = _place(connection, new, output)
    row = {
        "tenant": new.tenant,
        "response_id": new.response_id,
        "key": key,
        "conversation_id": new.conversation_id,
        "owner": owner if new.status in RUNNING else None,
        "created_at": new.created_at,
        "status": new.status,
        "is_background": new.is_background,
        "body": new.body,
        "lists_history": new.lists_history,
    }
    _INSERT.run(connection, row)
    return key


def _place(connection: Connection, new: NewResponse, output: Sequence[Item]) -> int:
    """The key of the new response's link."""
    link = NewLink(new.items, output)
    if new.conversation_id is not None:
        tip = conversation_rows.tip_for_writer(connection, new.tenant, new.conversation_id, new.response_id)
        return append_link(connection, tip, new.tenant, link)
    if new.parent_id is not None:
        return _place_behind(connection, new, new.parent_id, link)
    key = new_trunk(connection)
    if new.inherited:
        insert_link(connection, key, new.tenant, NewLink(new.inherited, is_indexed=False))
        key += 1
    insert_link(connection, key, new.tenant, link)
    return key


def _place_behind(connection: Connection, new: NewResponse, parent_id: str, link: NewLink) -> int:
    found = _LOAD_PARENT.run(connection, identify(new.tenant, parent_id))
    if not found or found[0][1] not in CONTINUABLE:
        raise ParentGoneError(f"Response {parent_id!r} cannot be continued: it is gone, or has not ended.")
    # The trunk of a response in a conversation belongs to the conversation.
    parent_key, _, conversation_id = found[0]
    place = append_link if conversation_id is None else fork_link
    if not new.inherited:
        link = msgspec.structs.replace(link, follows_input=new.follows_input)
        return place(connection, parent_key, new.tenant, link)
    inherited = NewLink(new.inherited, follows_input=new.follows_input, is_indexed=False)
    return append_link(connection, place(connection, parent_key, new.tenant, inherited), new.tenant, link)


def finish(
    connection: Connection,
    tenant: str,
    response_id: str,
    *,
    status: ResponseStatus,
    body: bytes,
    output: Sequence[Item],
) -> None:
    """Saves a turn's end; raises `ResponseEndedError` when it has ended otherwise before."""
    changes = {"new_status": status, "new_body": body}
    found = _FINISH.run(connection, {**identify(tenant, response_id), **changes})
    if not found:
        conversation_rows.unlock(connection, tenant, response_id)
        _refuse_second_end(load(connection, tenant, response_id), status, body)
        return
    [(key, conversation_id)] = found
    save_output(connection, key, tenant, output)
    if conversation_id is not None:
        _settle_conversation(connection, tenant, response_id, status, key)


def _settle_conversation(
    connection: Connection, tenant: str, response_id: str, status: ResponseStatus, key: int
) -> None:
    """Takes an ended response into its conversation, or leaves it out; unlocks that."""
    settle = conversation_rows.keep_response if status in CONTINUABLE else conversation_rows.leave_out_response
    settle(connection, tenant, response_id, key)


def _refuse_second_end(stored: StoredResponse | None, status: ResponseStatus, body: bytes) -> None:
    """The same end may be saved once more: a connection that broke in the commit did not tell that it was done."""
    if stored is not None and (stored.status, stored.body) != (status, body):
        raise ResponseEndedError(
            f"Response {stored.response_id!r} has ended already, as {stored.status}: another process took this one for dead."
        )


def discard(connection: Connection, tenant: str, response_id: str) -> None:
    """Forgets a response and unlocks its conversation."""
    conversation_rows.unlock(connection, tenant, response_id)
    remove(connection, tenant, response_id)


def remove(connection: Connection, tenant: str, response_id: str) -> bool:
    """Deletes a response; whether there was one."""
    begin_removal(connection)
    gone = connection.execute(_DELETE, identify(tenant, response_id)).first()
    if gone is None:
        return False
    release_response(connection, gone.key, lists_history=gone.lists_history)
    return True


def remove_expired(connection: Connection, before: float) -> int:
    """Deletes some of the responses made before a time (Unix seconds); 0 when there are none left."""
    begin_removal(connection)
    expired = (
        select(responses.c.key)
        .where(responses.c.created_at <= before, responses.c.status.not_in(RUNNING))
        .order_by(responses.c.created_at)
        .limit(_SWEEP_BATCH)
    )
    gone = connection.execute(
        delete(responses).where(responses.c.key.in_(expired)).returning(responses.c.key, responses.c.lists_history)
    ).all()
    for row in gone:
        release_response(connection, row.key, lists_history=row.lists_history)
    return len(gone)


def load(connection: Connection, tenant: str, response_id: str) -> StoredResponse | None:
    row = connection.execute(_LOAD, identify(tenant, response_id)).first()
    if row is None:
        return None
    return StoredResponse(
        response_id=row.response_id,
        status=_status(row.status),
        is_background=row.is_background,
        created_at=row.created_at,
        body=row.body,
    )


def may_be_continued(connection: Connection, tenant: str, response_id: str) -> bool:
    found = _LOAD_STATUS.run(connection, identify(tenant, response_id))
    return bool(found) and found[0][0] in CONTINUABLE


def list_input(connection: Connection, tenant: str, response_id: str, page: Page) -> ItemPage | None:
    """What its client sent: the link's own input, or with that the lineage before it."""
    row = connection.execute(_LOAD_INPUT, identify(tenant, response_id)).first()
    if row is None:
        return None
    if row.lists_history:
        return cut_page(load_input(connection, _ANY_LINEAGE, identify(tenant, response_id)), page)
    return cut_page(unpack([(row[1], row[2])])[: row.input_count], page)


def find_items(connection: Connection, tenant: str, item_ids: Collection[str]) -> dict[str, Item]:
    """Of several items with one id the newest. A link is read once, however many of its items are wanted."""
    wanted = set(item_ids)
    keys: set[int] = set()
    for batch in _batches(sorted(wanted), _IDS_A_QUERY):
        keys.update(connection.execute(_FIND_KEYS, {"of_tenant": tenant, "ids": batch}).scalars())
    found: dict[str, Item] = {}
    for batch in _batches(sorted(keys), _LINKS_A_QUERY):
        for count, content in connection.execute(_LOAD_LINKS, {"keys": batch}):
            found |= {item.id: item for item in unpack([(count, content)]) if item.id in wanted}
    return found


def _batches(values: Sequence[_Value], size: int) -> Iterator[Sequence[_Value]]:
    """The values a few at a time: databases bound the parameters of a query (SQLite 32,766, PostgreSQL 32,767)."""
    return (values[start : start + size] for start in range(0, len(values), size))


def interrupt(connection: Connection, owner: int | None) -> None:
    """Marks what a dead process (None: any process) left running as incomplete, and frees its conversations."""
    is_left = responses.c.owner.is_not(None) if owner is None else responses.c.owner == owner
    _interrupt(connection, is_left)
    conversation_rows.unlock_owned(connection, owner)


def find_running(connection: Connection, owner: int) -> list[str]:
    """The responses that a process runs or for which it has locked a conversation, as far as the tables tell."""
    running = connection.execute(select(responses.c.response_id).where(responses.c.owner == owner)).scalars()
    return [*running, *conversation_rows.find_writers(connection, owner)]


def interrupt_abandoned(connection: Connection, owner: int, is_running: Callable[[str], bool]) -> None:
    """The same as `interrupt`, for what a living process has left of turns that do not run any more.

    Whether they run is asked when their rows are seen: a turn is known to run before it writes its first row.
    """
    dead = [each for each in find_running(connection, owner) if not is_running(each)]
    _interrupt(connection, (responses.c.owner == owner) & responses.c.response_id.in_(dead))
    conversation_rows.unlock_owned(connection, owner, dead)


def _interrupt(connection: Connection, is_left: ColumnElement[bool]) -> None:
    columns = (responses.c.tenant, responses.c.response_id, responses.c.key, responses.c.conversation_id)
    left = connection.execute(select(*columns, responses.c.body).where(is_left).with_for_update()).all()
    for row in left:
        changes = {"new_status": "incomplete", "new_body": _interrupted(row.body)}
        _FINISH.run(connection, {**identify(row.tenant, row.response_id), **changes})
        if row.conversation_id is not None:
            conversation_rows.leave_out_response(connection, row.tenant, row.response_id, row.key)


def _interrupted(body: bytes) -> bytes:
    """The body of a response that a crash cut off."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        fields = {
            "object": msgspec.Raw(b'"response"')
        }  # a body that cannot be read must not keep the server from starting
    ended = {"status": "incomplete", "incomplete_details": {"reason": "interrupted"}}
    return msgspec.json.encode({**fields, **ended})


def _status(value: str) -> ResponseStatus:
    if value not in get_args(ResponseStatus):
        raise StoreError(f"The database holds a response with the unknown status {value!r}.")
    return cast("ResponseStatus", value)
