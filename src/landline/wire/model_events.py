"""Events of any model's answer, independent of the upstream's API: dialects produce them, the composer reads them."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Raw

from landline.wire.errors import ApiError
from landline.wire.event_names import ITEM_ADDED, TEXT_DELTA
from landline.wire.items import Item


class TokenLogprob(msgspec.Struct, frozen=True):
    """One token's log-probability (natural log) with its UTF-8 bytes."""

    token: str
    logprob: float
    bytes: list[int]


class LogprobEntry(msgspec.Struct, frozen=True):
    """The chosen token and the most likely ones at its position."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenLogprob]


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The upstream took the request; nothing is generated yet. Comes first, at most once."""


class TextDelta(msgspec.Struct, frozen=True, tag=True):
    """More text of the answer."""

    text: str
    logprobs: list[LogprobEntry] | None = None


class RefusalDelta(msgspec.Struct, frozen=True, tag=True):
    """More text of a refusal."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, tag=True):
    """More raw reasoning text."""

    text: str


class ReasoningSummaryDelta(msgspec.Struct, frozen=True, tag=True):
    """More of the readable summary of the reasoning."""

    text: str


class ReasoningSigned(msgspec.Struct, frozen=True, tag=True):
    """A block of reasoning that the vendor wants back unchanged. It belongs to the open reasoning item, or, if none is open,
    to an empty one of its own."""

    by: str
    """The dialect of the vendor."""
    block: str
    """One JSON object in the dialect's own form."""


class ToolCallStarted(msgspec.Struct, frozen=True, tag=True):
    """The model began a tool call; `index` numbers the calls of an answer in order of appearance."""

    index: int
    call_id: str
    name: str
    kind: Literal["function", "custom"] = "function"
    namespace: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, tag=True):
    """More of a call's arguments (JSON text) or, for a custom tool, of its input (free text)."""

    index: int
    text: str


class ToolCallEnded(msgspec.Struct, frozen=True, tag=True):
    """A call is complete. Optional: calls that are still open end with the turn."""

    index: int


class Relayed(msgspec.Struct, frozen=True, tag=True):
    """An event of an upstream that speaks Responses itself, relayed unchanged except for number, lane and ids.

    A terminal one is followed by its meaning: `UsageReported`, then `Finished` or `Failed`.
    """

    kind: str
    """Its `type`."""
    members: dict[str, Raw]
    """All its members, in order, as raw JSON."""


class UsageReported(msgspec.Struct, frozen=True, tag=True):
    """Token counts as the upstream reports them; the last report counts. `cached_tokens` is part of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0


class CompactionStarted(msgspec.Struct, frozen=True, tag=True):
    """A summary of the conversation is being written; `Compacted` follows unless the turn breaks."""


class Compacted(msgspec.Struct, frozen=True, tag=True):
    """The conversation so far was compacted: a model reads `opened` in its place from now on.

    Usage reported before belongs to the pass that ended; another pass follows, and the turn's usage is their sum.
    """

    encrypted_content: str
    opened: tuple[Item, ...]
    covers: frozenset[bytes]


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The turn ended. `incomplete_reason` None means completed (a turn that ends in tool calls is completed too)."""

    incomplete_reason: Literal["max_output_tokens", "content_filter"] | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The turn broke, before or after output. Nothing comes after it."""

    error: ApiError


ModelEvent = (
    Accepted
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningSummaryDelta
    | ReasoningSigned
    | Relayed
    | ToolCallStarted
    | ToolCallDelta
    | ToolCallEnded
    | UsageReported
    | CompactionStarted
    | Compacted
    | Finished
    | Failed
)
"""A turn is: `Accepted`, any number of deltas and calls, one `UsageReported` if the upstream counts, then exactly one
`Finished` or `Failed`. A refused request is a lone `Failed`. An upstream that speaks Responses gives `Relayed` events in
place of `Accepted`, deltas and calls."""


_SPOKEN = (TextDelta, ReasoningDelta, ReasoningSummaryDelta, RefusalDelta, ToolCallStarted)
_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


def relayed_text(event: Relayed) -> str:
    """The text that a relayed event adds to the answer; "" for any other event."""
    delta = event.members.get("delta") if event.kind == TEXT_DELTA else None
    return _TEXT.decode(delta) if delta is not None and bytes(delta)[:1] == b'"' else ""


def says_something(batch: Sequence[ModelEvent]) -> bool:
    """Whether the batch has text, reasoning or a call."""
    return any(
        isinstance(event, _SPOKEN) or (isinstance(event, Relayed) and event.kind == ITEM_ADDED) for event in batch
    )
