"""The conversation as a Responses server reads it: the bytes that came in, but for reasoning that it cannot use."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.dialects.responses.flags import ResponsesFlags
from landline.wire.items import Item, Reasoning, typed_item

_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


class Rendered(msgspec.Struct, frozen=True):
    """A link's items in upstream JSON, and how much reasoning of the lineage up to there is left out."""

    pieces: tuple[bytes, ...] = ()
    left_out: int = 0


def render_items(before: Rendered | None, items: Sequence[Item], flags: ResponsesFlags, *, is_plain: bool) -> Rendered:
    """The items of the link that follows.

    `is_plain` leaves out all reasoning, and the ids of what the model said, for an upstream that refused the reasoning:
    OpenAI does not take a call that it knows by its id without the reasoning that led to it.
    """
    left_out = before.left_out if before is not None else 0
    pieces: list[bytes] = []
    for item in items:
        piece = _without_reasoning(item) if is_plain else _with_reasoning(item, flags)
        if piece is None:
            left_out += 1
        else:
            pieces.append(piece)
    return Rendered(tuple(pieces), left_out)


def _with_reasoning(item: Item, flags: ResponsesFlags) -> bytes | None:
    """The item's bytes; None for reasoning that means nothing to this upstream."""
    if item.type != "reasoning":
        return item.raw
    value = typed_item(item)
    is_ours = item.opened is not None or item.signed is not None
    is_foreign = is_ours or (isinstance(value, Reasoning) and bool(value.content))
    if is_foreign and flags.foreign_reasoning == "omit":
        return None
    return _without(item, "encrypted_content") if is_ours else item.raw


def _without_reasoning(item: Item) -> bytes | None:
    if item.type == "reasoning":
        return None
    is_models = item.role == "assistant" or item.type.endswith("_call")
    return _without(item, "id") if is_models and item.id is not None else item.raw


def _without(item: Item, name: str) -> bytes:
    members = _MEMBERS.decode(item.raw)
    return msgspec.json.encode({key: value for key, value in members.items() if key != name})
