"""Answers of the endpoints beside responses: pages of items, compacted windows, token counts.

Listed items get the members that clients may omit, as in OpenAI's answers. Used by `server` and `turns`.
"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Raw

from landline.wire.items import Item
from landline.wire.readable import is_readable_object
from landline.wire.responses import Usage

_REQUIRED: dict[str, dict[str, object]] = {
    "output_text": {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
    "input_image": {"type": "input_image", "detail": "auto"},
}
_DECODER: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


class ItemList(msgspec.Struct, frozen=True, kw_only=True):
    """One page of items; `first_id` and `last_id` are null on an empty one."""

    object: Literal["list"] = "list"
    data: list[Raw]
    first_id: str | None
    last_id: str | None
    has_more: bool


def list_items(items: Sequence[Item], *, has_more: bool) -> ItemList:
    """The page in the order given."""
    return ItemList(
        data=[show_item(item) for item in items],
        first_id=items[0].id if items else None,
        last_id=items[-1].id if items else None,
        has_more=has_more,
    )


def show_item(item: Item) -> Raw:
    """The item's JSON with `type` and, on messages, calls and outputs, `status`; a message's text stands in parts."""
    if not is_readable_object(item.raw):
        return _placeholder(item)
    value = _DECODER.decode(item.raw)
    shown: dict[str, Any] = {"id": item.id, "type": item.type} | value
    if item.type == "message":
        shown["content"] = _parts(value.get("content"), value.get("role"))
    if item.type == "message" or item.type.endswith(("_call", "_output")):
        shown["status"] = value.get("status") or "completed"
    return Raw(msgspec.json.encode(shown))


def _placeholder(item: Item) -> Raw:
    """Placeholder for a stored item that cannot be read, so that it is visible and can be deleted by its id."""
    text = f"The stored item of type {item.type!r} cannot be read. It is kept from the model; delete it by its id."
    part = {"type": "text", "text": text}
    shown = {"id": item.id, "type": "message", "role": "unknown", "status": "incomplete", "content": [part]}
    return Raw(msgspec.json.encode(shown))


def _parts(content: object, role: object) -> list[object]:
    if isinstance(content, list):
        return [_part(part) for part in cast("list[object]", content)]
    if role == "assistant":
        return [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    return [{"type": "input_text", "text": content}]


def _part(part: object) -> object:
    """A part with the keys that OpenAI's types require of it."""
    if not isinstance(part, dict):
        return part
    fields = cast("dict[str, object]", part)
    required = _REQUIRED.get(str(fields.get("type")))
    return required | fields if required is not None else fields


class CompactedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /v1/responses/compact` (Open Responses `CompactResource`)."""

    id: str
    object: Literal["response.compaction"] = "response.compaction"
    created_at: int
    """Unix seconds."""
    output: list[Raw]
    """The next window, to be sent as it is: retained user messages, then one compaction item."""
    usage: Usage


class InputTokens(msgspec.Struct, frozen=True):
    """The answer of `POST /v1/responses/input_tokens`."""

    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


def retained_message(item: Item, *, item_id: str) -> Raw:
    """A client's message as an output item: with an id, a status and its content as parts."""
    members = _MEMBERS.decode(item.raw)
    content = members["content"]
    if bytes(content)[:1] == b'"':
        content = Raw(b'[{"type":"input_text","text":' + bytes(content) + b"}]")
    made: dict[str, object] = {"type": "message", "id": item.id or item_id, "status": "completed"}
    kept = {name: value for name, value in members.items() if name not in ("type", "id", "status", "content")}
    return Raw(msgspec.json.encode({**made, **kept, "content": content}))
