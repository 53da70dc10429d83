"""Short ways to make what stores keep."""

import json
from collections.abc import Sequence

from landline.stores.store import NewResponse, Store, StoredHistory
from landline.wire.items import Item, decode_item
from landline.wire.responses import ResponseStatus

TENANT = "tenant"


def message(item_id: str, text: str = "", role: str = "user") -> Item:
    """A message that says its own id unless told otherwise."""
    fields = {"type": "message", "id": item_id, "role": role, "content": text or item_id}
    return decode_item(json.dumps(fields).encode())


def body(status: str, **fields: object) -> bytes:
    return json.dumps({"object": "response", "status": status, **fields}).encode()


def new_response(  # noqa: PLR0913 - each is a member of what is made
    response_id: str,
    *,
    tenant: str = TENANT,
    parent: str | None = None,
    conversation: str | None = None,
    created_at: float = 1000.0,
    follows_input: bool = False,
    inherited: Sequence[Item] = (),
    lists_history: bool = False,
    items: Sequence[Item] | None = None,
    status: ResponseStatus = "in_progress",
) -> NewResponse:
    """A response that has started; its input is one message, `ID.in`, unless told otherwise."""
    return NewResponse(
        response_id=response_id,
        tenant=tenant,
        created_at=created_at,
        parent_id=parent,
        follows_input=follows_input,
        inherited=tuple(inherited),
        lists_history=lists_history,
        conversation_id=conversation,
        status=status,
        body=body(status),
        items=tuple(items) if items is not None else (message(f"{response_id}.in"),),
    )


async def save(store: Store, new: NewResponse, status: ResponseStatus = "completed") -> None:
    """Begins and ends a response; its output is one message, `ID.out`."""
    await store.begin_response(new)
    output = [message(f"{new.response_id}.out", role="assistant")]
    await store.finish_response(new.tenant, new.response_id, status=status, body=body(status), output=output)


def ids(history: StoredHistory | None) -> list[str | None] | None:
    """The ids of a history's items; None for no history."""
    if history is None:
        return None
    return [item.id for item in history.link.all_items()] if history.link is not None else []
