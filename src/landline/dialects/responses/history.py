"""The conversation as a Responses server reads it: the bytes that came in, but for reasoning that it cannot use."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.wire.items import Item, Reasoning, typed_item

_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


class Reading(msgspec.Struct, frozen=True):
    """What an upstream makes of reasoning that it is sent."""

    takes_foreign: bool = False
    """It reads reasoning in plain text, whoever thought it."""
    is_stored: bool = True
    """It keeps its items, so that an id is enough to find one."""
    takes_none: bool = False
    """It refused what it was sent. OpenAI does not take a call that it knows by its id without the reasoning that led to it
    (laravel/ai#1052, 2026-09), so what the model said goes out without ids."""


class Rendered(msgspec.Struct, frozen=True):
    """A link's items in upstream JSON, and what the links before it leave to be said."""

    pieces: tuple[bytes, ...] = ()
    held: tuple[bytes, ...] = ()
    """Reasoning that waits for what it led to. OpenAI takes none without that (openai/openai-agents-python#1611), as an
    answer that was stopped leaves it behind."""
    left_out: int = 0
    """Reasoning of the lineage that is not said."""
    is_bare: bool = False
    """Whether the reasoning of what comes next was left out."""
    has_reasoning: bool = False
    """Whether the upstream's model has reasoned."""


def render_items(before: Rendered | None, items: Sequence[Item], reading: Reading) -> Rendered:
    """The items of the link that follows."""
    state = before or Rendered()
    pieces: list[bytes] = []
    held, left_out, is_bare, has_reasoning = list(state.held), state.left_out, state.is_bare, state.has_reasoning
    for item in items:
        if item.type == "reasoning":
            thought = _read(item)
            has_reasoning = has_reasoning or not thought.is_foreign
            if _is_usable(thought, reading):
                waiting = pieces if reading.takes_foreign else held
                waiting.append(_without(item, "encrypted_content") if thought.is_ours else item.raw)
            else:
                left_out += 1
                is_bare = is_bare or not thought.is_foreign
        elif _is_clients(item):
            pieces.append(item.raw)
            left_out += len(held)
            held, is_bare = [], False
        else:
            is_unknown = (is_bare or reading.takes_none) and item.id is not None
            pieces += (*held, _without(item, "id") if is_unknown else item.raw)
            held = []
    return Rendered(tuple(pieces), tuple(held), left_out, is_bare, has_reasoning)


class _Thought(msgspec.Struct, frozen=True):
    """What is to be known of a reasoning item."""

    is_ours: bool
    """Landline sealed it, or keeps what its vendor signed."""
    is_foreign: bool
    """Another vendor's model thought it, or one that thinks in plain text."""
    is_encrypted: bool


def _read(item: Item) -> _Thought:
    value = typed_item(item)
    is_ours = item.opened is not None or item.signed is not None
    content = value.content if isinstance(value, Reasoning) else None
    encrypted = value.encrypted_content if isinstance(value, Reasoning) else None
    return _Thought(is_ours, is_ours or bool(content), encrypted is not None)


def _is_usable(thought: _Thought, reading: Reading) -> bool:
    if reading.takes_none:
        return False
    if reading.takes_foreign:
        return True
    return not thought.is_foreign and (thought.is_encrypted or reading.is_stored)


def _is_clients(item: Item) -> bool:
    """Whether a client says such items, and no model."""
    if item.type == "message":
        return item.role != "assistant"
    return item.type.endswith(("_output", "_response")) or item.type in ("additional_tools", "configuration_update")


def _without(item: Item, name: str) -> bytes:
    members = _MEMBERS.decode(item.raw)
    return msgspec.json.encode({key: value for key, value in members.items() if key != name})
