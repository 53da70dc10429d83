"""What is told about a context: its compacted window, its tokens."""

from typing import Literal

import msgspec
from msgspec import Raw

from landline.wire.items import Item
from landline.wire.responses import Usage


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


_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


def retained_message(item: Item, *, item_id: str) -> Raw:
    """A client's message as an output item: with an id, a status and its content as parts."""
    members = _MEMBERS.decode(item.raw)
    content = members["content"]
    if bytes(content)[:1] == b'"':
        content = Raw(b'[{"type":"input_text","text":' + bytes(content) + b"}]")
    made: dict[str, object] = {"type": "message", "id": item.id or item_id, "status": "completed"}
    kept = {name: value for name, value in members.items() if name not in ("type", "id", "status", "content")}
    return Raw(msgspec.json.encode({**made, **kept, "content": content}))
