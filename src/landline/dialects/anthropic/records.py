"""The records of a Messages stream: the fields that are read, each decoded only where its kind is known.

Source: Messages API, streaming, and the anthropic client 2.12 (November 2026).
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.model_events import UsageReported

Number = int | float | None


class StreamEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of the stream, or a whole answer that was not streamed (`type` is `message`)."""

    type: str = ""
    index: int = 0
    message: Raw | UnsetType = UNSET
    content_block: Raw | UnsetType = UNSET
    delta: Raw | UnsetType = UNSET
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    """From gateways that send an error without a `type`."""


class Kind(msgspec.Struct, frozen=True, gc=False):
    """What a block or delta is."""

    type: str = ""


class TextPiece(msgspec.Struct, frozen=True, gc=False):
    text: str = ""


class ThinkingPiece(msgspec.Struct, frozen=True, gc=False):
    thinking: str = ""


class SignaturePiece(msgspec.Struct, frozen=True, gc=False):
    signature: str = ""


class InputPiece(msgspec.Struct, frozen=True, gc=False):
    partial_json: str = ""


class ToolUse(msgspec.Struct, frozen=True, gc=False):
    name: str = ""
    id: str = ""
    input: Raw | UnsetType = UNSET


class StopDetails(msgspec.Struct, frozen=True, gc=False):
    explanation: str | None = None


class Ending(msgspec.Struct, frozen=True, gc=False):
    """Why the model stopped."""

    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: Number = None


class MessagesUsage(msgspec.Struct, frozen=True, gc=False):
    """Running totals; a later record may leave out what has not changed."""

    input_tokens: Number = None
    output_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_read_input_tokens: Number = None
    output_tokens_details: OutputDetails | None = None


class ContentBlock(msgspec.Struct, frozen=True, gc=False):
    """A content block or a piece of one, of whatever kind."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    name: str = ""
    id: str = ""
    input: Raw | UnsetType = UNSET


class StartedMessage(msgspec.Struct, frozen=True, gc=False):
    """The message of `message_start`, empty but for its usage."""

    usage: MessagesUsage | None = None


class WholeMessage(Ending, frozen=True, gc=False):
    """An answer that was not streamed."""

    content: list[Raw] = []
    usage: Raw | UnsetType = UNSET


class LenientDelta(ContentBlock, frozen=True, gc=False):
    """All members that any `delta` may have."""

    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class LenientEvent(msgspec.Struct, frozen=True, gc=False):
    """All members that are read of any event: the type of the lenient decoder."""

    type: str = ""
    index: int = 0
    message: StartedMessage | None = None
    content_block: ContentBlock | None = None
    delta: LenientDelta | None = None
    usage: MessagesUsage | None = None
    content: list[ContentBlock] = []
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class UsageTotals:
    """The maximum of each count. Totals only grow, and gateways send 0 for counts that another record has: Anthropic sends
    input tokens in `message_start` and totals in `message_delta`, OpenRouter and others only one of them (2026-07)."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def update(self, usage: MessagesUsage) -> bool:
        """Adds the counts of one record; whether any of them is new."""
        known = self._counts.copy()
        self._set("input", usage.input_tokens)
        self._set("output", usage.output_tokens)
        self._set("written", usage.cache_creation_input_tokens)
        self._set("read", usage.cache_read_input_tokens)
        if usage.output_tokens_details is not None:
            self._set("thinking", usage.output_tokens_details.thinking_tokens)
        return self._counts != known

    def report(self) -> UsageReported | None:
        """The usage, or None if there is none. The API's `input_tokens` exclude cached ones; ours include them."""
        if not self._counts:
            return None
        read, written = self._counts.get("read", 0), self._counts.get("written", 0)
        return UsageReported(
            input_tokens=self._counts.get("input", 0) + read + written,
            output_tokens=self._counts.get("output", 0),
            cached_tokens=read,
            reasoning_tokens=self._counts.get("thinking", 0),
            cache_write_tokens=written,
        )

    def _set(self, name: str, count: Number) -> None:
        if count is not None:
            self._counts[name] = max(self._counts.get(name, 0), int(count))
