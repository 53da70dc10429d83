"""`/v1/conversations`: lists of items that outlive responses. What another tenant stored is not found."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw
from starlette.types import Receive, Scope, Send

from landline.server.edge import Edge
from landline.server.endpoint import ClientGoneError, read_body, read_page, reply_error, reply_json
from landline.session.admission import check_call_outputs, check_metadata
from landline.session.lineage import Link
from landline.stores.store import StoredConversation
from landline.turns.prepare import conversation_locked, conversation_not_found, look_up
from landline.turns.record import identified
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item
from landline.wire.requests import Metadata, decode_body, decode_items
from landline.wire.resources import list_items, show_item

MAX_ITEMS = 20
"""Items that one request may add: the published limit."""
_UNSTORABLE = frozenset(("compaction_trigger",))
"""Items that ask for something instead of saying something."""


class _CreateBody(msgspec.Struct, frozen=True):
    items: list[Raw] | None = None
    metadata: Metadata | None = None


class _UpdateBody(msgspec.Struct, frozen=True):
    metadata: Metadata | None


class _ItemsBody(msgspec.Struct, frozen=True):
    items: list[Raw]


class _ShownConversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]


_CREATE_DECODER: msgspec.json.Decoder[_CreateBody] = msgspec.json.Decoder(_CreateBody)
_UPDATE_DECODER: msgspec.json.Decoder[_UpdateBody] = msgspec.json.Decoder(_UpdateBody)
_ITEMS_DECODER: msgspec.json.Decoder[_ItemsBody] = msgspec.json.Decoder(_ItemsBody)


_Body = TypeVar("_Body")


class Conversations:
    """The endpoints, one method each."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._store = edge.store

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/conversations`."""
        body = await self._read(scope, receive, _CREATE_DECODER)
        if body is None or isinstance(body, ApiError):
            return await _refuse(scope, send, body)
        tenant = self._edge.tenant_of(scope)
        refused = check_metadata(body.metadata)
        items = refused or await self._admit(tenant, body.items or (), None)
        if isinstance(items, ApiError):
            return await reply_error(scope, send, items)
        conversation = StoredConversation(
            conversation_id=self._edge.new_id("conv"),
            created_at=self._edge.clock(),
            metadata=body.metadata or {},
        )
        await self._store.create_conversation(tenant, conversation, items)
        return await _reply(scope, send, _show(conversation))

    async def retrieve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/conversations/{id}`."""
        conversation = await self._store.load_conversation(self._edge.tenant_of(scope), _conversation_id(scope))
        await _reply(scope, send, _show(conversation) if conversation is not None else _not_found(scope))

    async def update(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/conversations/{id}`: the metadata is replaced as a whole."""
        body = await self._read(scope, receive, _UPDATE_DECODER)
        if body is None or isinstance(body, ApiError):
            return await _refuse(scope, send, body)
        refused = check_metadata(body.metadata)
        if refused is not None:
            return await reply_error(scope, send, refused)
        conversation = await self._store.update_conversation(
            self._edge.tenant_of(scope), _conversation_id(scope), body.metadata or {}
        )
        return await _reply(scope, send, _show(conversation) if conversation is not None else _not_found(scope))

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`DELETE /v1/conversations/{id}`: responses made in it stay."""
        conversation_id = _conversation_id(scope)
        is_deleted = await self._store.delete_conversation(self._edge.tenant_of(scope), conversation_id)
        deleted = {"id": conversation_id, "object": "conversation.deleted", "deleted": True}
        await _reply(scope, send, deleted if is_deleted else _not_found(scope))

    async def add_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/conversations/{id}/items`: 409 while a response is writing to the conversation."""
        body = await self._read(scope, receive, _ITEMS_DECODER)
        if body is None or isinstance(body, ApiError):
            return await _refuse(scope, send, body)
        tenant, conversation_id = self._edge.tenant_of(scope), _conversation_id(scope)
        history = await self._store.load_conversation_history(tenant, conversation_id)
        if history is None:
            return await reply_error(scope, send, _not_found(scope))
        items = await self._admit(tenant, body.items, history.link)
        if isinstance(items, ApiError):
            return await reply_error(scope, send, items)
        result = await self._store.add_conversation_items(tenant, conversation_id, items)
        if result == "busy":
            return await reply_error(scope, send, conversation_locked(conversation_id))
        return await _reply(scope, send, list_items(items, has_more=False) if result == "locked" else _not_found(scope))

    async def list_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/conversations/{id}/items`."""
        page = read_page(scope)
        if isinstance(page, ApiError):
            return await reply_error(scope, send, page)
        found = await self._store.list_conversation_items(self._edge.tenant_of(scope), _conversation_id(scope), page)
        return await _reply(
            scope, send, list_items(found.items, has_more=found.has_more) if found is not None else _not_found(scope)
        )

    async def retrieve_item(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/conversations/{id}/items/{item_id}`."""
        tenant, conversation_id, item_id = self._edge.tenant_of(scope), _conversation_id(scope), _item_id(scope)
        item = await self._store.load_conversation_item(tenant, conversation_id, item_id)
        await _reply(scope, send, show_item(item) if item is not None else await self._missing_item(scope))

    async def delete_item(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`DELETE /v1/conversations/{id}/items/{item_id}`: answered with the conversation."""
        tenant, conversation_id, item_id = self._edge.tenant_of(scope), _conversation_id(scope), _item_id(scope)
        if not await self._store.delete_conversation_item(tenant, conversation_id, item_id):
            return await reply_error(scope, send, await self._missing_item(scope))
        return await self.retrieve(scope, receive, send)

    async def _missing_item(self, scope: Scope) -> ApiError:
        """What is not there: the item, or the whole conversation."""
        if await self._store.load_conversation(self._edge.tenant_of(scope), _conversation_id(scope)) is None:
            return _not_found(scope)
        item_id = _item_id(scope)
        return api_error("not_found", f"Conversation item with id '{item_id}' not found.", param="item_id")

    async def _read(
        self, scope: Scope, receive: Receive, decoder: msgspec.json.Decoder[_Body]
    ) -> _Body | ApiError | None:
        """The decoded body; None when the client went away before it was complete."""
        try:
            data = await read_body(scope, receive, max_bytes=self._edge.limits.max_frame_bytes)
        except ClientGoneError:
            return None
        return data if isinstance(data, ApiError) else decode_body(data or b"{}", decoder)

    async def _admit(self, tenant: str, raws: Sequence[Raw], before: Link | None) -> tuple[Item, ...] | ApiError:
        """The items as they will stand in the conversation, each with an id of its own."""
        if len(raws) > MAX_ITEMS:
            message = f"Expected at most {MAX_ITEMS} items at a time, got {len(raws)}."
            return api_error("invalid_value", message, param="items")
        items = decode_items(raws, "items")
        if isinstance(items, ApiError):
            return items
        for index, item in enumerate(items):
            if item.type in _UNSTORABLE:
                message = f"Expected items to keep; a {item.type!r} item is for the input of a response."
                return api_error("invalid_value", message, param=f"items[{index}]")
        items = await look_up(self._store, tenant, items, name="items")
        if isinstance(items, ApiError):
            return items
        refused = check_call_outputs(items, before, name="items")
        return refused if refused is not None else tuple(identified(item, self._edge.new_id) for item in items)


async def _reply(scope: Scope, send: Send, answer: object) -> None:
    if isinstance(answer, ApiError):
        await reply_error(scope, send, answer)
    else:
        await reply_json(scope, send, 200, msgspec.json.encode(answer))


async def _refuse(scope: Scope, send: Send, error: ApiError | None) -> None:
    """Answers with the error; None is a client that went away."""
    if error is not None:
        await reply_error(scope, send, error)


def _show(conversation: StoredConversation) -> _ShownConversation:
    return _ShownConversation(
        id=conversation.conversation_id,
        created_at=int(conversation.created_at),
        metadata=conversation.metadata,
    )


def _conversation_id(scope: Scope) -> str:
    conversation_id: str = scope["path_params"]["conversation_id"]
    return conversation_id


def _item_id(scope: Scope) -> str:
    item_id: str = scope["path_params"]["item_id"]
    return item_id


def _not_found(scope: Scope) -> ApiError:
    return conversation_not_found(_conversation_id(scope), param="conversation_id")
