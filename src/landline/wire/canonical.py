"""An item's meaning as bytes: what clients rewrite when they play an item back is left out, the rest is kept.

Dropped: `id`, `status`, null and empty fields, private keys of known clients, and the difference between a string and a
one-part list of the same text; of reasoning that can be read, its sealed copy. A changed character of content is a different
item.
"""

from hashlib import blake2b
from typing import Any, cast

import msgspec

from landline.wire.items import Item

_DROPPED_KEYS = frozenset(("id", "status", "internal_chat_message_metadata_passthrough", "created_by"))
_TEXT_PARTS = frozenset(("input_text", "output_text", "text"))

ITEM_DIGEST_BYTES = 8
"""Enough to tell the items of one conversation apart; nothing is trusted because of it."""

_DECODER: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder(order="deterministic")


def canonical(item: Item) -> bytes:
    """The item's canonical JSON: keys sorted, rewritable spelling removed."""
    if item.type == "reasoning" and item.opened:
        item = item.opened[0]
    value = {key: each for key, each in _DECODER.decode(item.raw).items() if key not in _DROPPED_KEYS}
    value["type"] = item.type
    if item.type == "reasoning" and (value.get("content") or value.get("summary")):
        value.pop("encrypted_content", None)
    for key in ("content", "output", "summary"):
        if key in value:
            value[key] = _canonical_content(value[key])
    return _ENCODER.encode(_without_empty(value))


def item_digest(item: Item) -> bytes:
    """A short name of what the item means, the same however a client spells it."""
    return blake2b(canonical(item), digest_size=ITEM_DIGEST_BYTES).digest()


def _canonical_content(content: object) -> object:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        return content
    return [_canonical_part(part) for part in cast("list[object]", content)]


def _canonical_part(part: object) -> object:
    if not isinstance(part, dict):
        return part
    fields = cast("dict[str, object]", part)
    if fields.get("type") not in _TEXT_PARTS:
        return fields
    return {key: each for key, each in fields.items() if key not in ("type", "annotations", "logprobs")}


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in fields.items() if each is not None and each not in ([], {})}
