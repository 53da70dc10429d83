"""Decodes the body of an answer of the Messages API to model events; opened by `dialect` for each turn."""

import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.answer_body import AnswerBody
from landline.dialects.anthropic.blocks import BLOCK_DECODER, BlockReader
from landline.dialects.anthropic.records import (
    Ending,
    Kind,
    LenientEvent,
    MessagesUsage,
    StartedMessage,
    StreamEvent,
    UsageTotals,
    WholeMessage,
)
from landline.dialects.faults import read_stream_fault
from landline.dialects.lenient_json import LenientReader, UnreadableError
from landline.dialects.tools import ToolSet
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, Finished, ModelEvent, RefusalDelta, UsageReported
from landline.wire.readable import UNREADABLE

REFUSED = "The model declined to answer."
"""The refusal's text where the API gives no explanation."""
_CUT = api_error("upstream_error", "The target's answer broke off before it was complete.")

_CUT_SHORT = ("max_tokens", "model_context_window_exceeded", "refusal")
_KNOWN = frozenset(
    (
        "content_block_delta",
        "content_block_start",
        "content_block_stop",
        "error",
        "message",
        "message_delta",
        "message_start",
        "message_stop",
    )
)
_NEEDED = frozenset(("content_block", "delta", "content", "text", "partial_json", "name"))
"""Members that must not be dropped when their type is wrong."""
_EMPTY_PIECE = re.compile(rb':\s*""\s*\}$')
_EMPTY_PIECE_BYTES = 80
"""Longer than any empty piece."""
_KIND = msgspec.json.Decoder(Kind)
_RECORD = msgspec.json.Decoder(StreamEvent)
_STARTED = msgspec.json.Decoder(StartedMessage)
_ENDING = msgspec.json.Decoder(Ending)
_USAGE = msgspec.json.Decoder(MessagesUsage)
_WHOLE = msgspec.json.Decoder(WholeMessage)


class MessageStreamDecoder:
    """Decodes one answer, fed in any split.

    The closing events come with `message_stop`, or at the end of the body if a `stop_reason` came before; a body that ends
    without either is broken off. Unknown events, blocks and fields are ignored.
    """

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, *, is_warm_up: bool = False) -> None:
        self._body = AnswerBody()
        self._loose = LenientReader(LenientEvent, _NEEDED)
        self.progress = self._body.progress
        self._blocks = BlockReader(find_tools, call_id_prefix)
        self._is_warm_up = is_warm_up
        self._is_closed = False
        self._ending = Ending()
        self._usage = UsageTotals()

    @property
    def oddities(self) -> Sequence[str]:
        """Members of the answer that were dropped."""
        return self._loose.oddities

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes."""
        events: list[ModelEvent] = []
        for payload in self._body.feed(chunk):
            if self._is_closed:
                break
            if payload.strip():
                self._read_record(payload, events)
        return self._filtered(events) if self._is_warm_up else events

    def is_whole(self) -> bool:
        """Whether a stop reason has come, or a body of JSON is complete."""
        return self.progress.is_finished or self._body.is_whole()

    def end(self) -> list[ModelEvent]:
        """The closing events, if they have not come yet."""
        events: list[ModelEvent] = []
        if not self._is_closed:
            for payload in self._body.end():
                if payload.strip() and not self._is_closed:
                    self._read_record(payload, events)
        if not self._is_closed:
            self._close(events, None if self._ending.stop_reason is not None else _CUT)
        return self._filtered(events) if self._is_warm_up else events

    def _read_record(self, payload: bytes, events: list[ModelEvent]) -> None:
        if self._loose.is_waiting:
            self._read_loosely(payload, events)
            return
        try:
            self._read(_RECORD.decode(payload), payload, events)
        except UNREADABLE:
            if not _is_unknown(payload):
                self._read_loosely(payload, events)

    def _read_loosely(self, payload: bytes, events: list[ModelEvent]) -> None:
        """Reads an event without its odd members. None of it was applied before: an event is decoded as a whole first."""
        try:
            fitted = self._loose.read(payload)
            if fitted is not None:
                self._read(_RECORD.decode(fitted), fitted, events)
        except (UnreadableError, *UNREADABLE) as error:
            self._close(events, api_error("upstream_error", f"The target sent an event that cannot be read: {error}."))

    def _read(self, record: StreamEvent, payload: bytes, events: list[ModelEvent]) -> None:
        match record.type:
            case "content_block_delta" if not isinstance(record.delta, UnsetType):
                if not _is_empty(record.delta):
                    self.progress.note_output()
                events += self._blocks.add(record.index, record.delta)
            case "content_block_start" if not isinstance(record.content_block, UnsetType):
                self.progress.note_output()
                events += self._blocks.start(record.index, record.content_block)
            case "content_block_stop":
                self.progress.note()
                events += self._blocks.stop(record.index)
            case "message_start" if not isinstance(record.message, UnsetType):
                self.progress.note()
                usage = _STARTED.decode(record.message).usage
                if usage is not None:
                    self._usage.update(usage)
            case "message_delta":
                self._read_ending(record)
            case "message_stop":
                self._close(events, None)
            case "message":
                self._read_whole(payload, events)
            case "error":
                self._close(events, read_stream_fault(payload))
            case "" if not isinstance(record.error, UnsetType):
                self._close(events, read_stream_fault(payload))
            case _:
                pass

    def _read_ending(self, record: StreamEvent) -> None:
        if not isinstance(record.delta, UnsetType):
            ending = _ENDING.decode(record.delta)
            if ending.stop_reason is not None:
                self.progress.note_finish(is_new=ending != self._ending)
                self._ending = ending
        if not isinstance(record.usage, UnsetType) and bytes(record.usage) != b"null":
            is_new = self._usage.update(_USAGE.decode(record.usage))
            # Beside the stop reason is where the API has it: no gateway repeats that in every record.
            self.progress.note_usage(is_alone=True, is_new=is_new)

    def _read_whole(self, payload: bytes, events: list[ModelEvent]) -> None:
        """Reads an answer that was not streamed: a warm-up's, or that of a gateway that ignores `stream`. After streamed
        blocks it repeats them, so its blocks are skipped."""
        message = _WHOLE.decode(payload)
        for block in message.content:
            BLOCK_DECODER.decode(block)
        for index, block in enumerate(() if self._blocks.has_begun else message.content):
            events += self._blocks.start(index, block)
            events += self._blocks.stop(index)
        if not isinstance(message.usage, UnsetType) and bytes(message.usage) != b"null":
            self._usage.update(_USAGE.decode(message.usage))
        self._ending = message
        self._close(events, None)

    def _close(self, events: list[ModelEvent], fault: ApiError | None) -> None:
        """Appends what was held, the usage and the ending."""
        for record in self._loose.end():
            self._read(_RECORD.decode(record), record, events)
        self._is_closed = True
        is_cut = fault is not None or self._ending.stop_reason in _CUT_SHORT or self._blocks.has_truncated()
        events += self._blocks.end(is_cut=is_cut)
        has_refused = fault is None and self._ending.stop_reason == "refusal"
        if has_refused:
            details = self._ending.stop_details
            events.append(RefusalDelta((details.explanation if details is not None else None) or REFUSED))
        usage = self._usage.report()
        if usage is not None:
            events.append(usage)
        if fault is not None:
            events.append(Failed(fault))
        elif has_refused:
            events.append(Finished("content_filter"))
        elif is_cut:
            events.append(Finished("max_output_tokens"))
        else:
            events.append(Finished())

    def _filtered(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """Keeps usage and ending of a warm-up, nothing else. Its stop reason is always `max_tokens`, which is success here."""
        closing = [event for event in events if isinstance(event, UsageReported | Failed)]
        return [*closing, *(Finished() for event in events if isinstance(event, Finished))]


def _is_empty(delta: Raw) -> bool:
    """Whether it is a delta without text, which gateways send to keep connections open."""
    return len(bytes(delta)) < _EMPTY_PIECE_BYTES and _EMPTY_PIECE.search(bytes(delta)) is not None


def _is_unknown(payload: bytes) -> bool:
    """Whether it is an event of an unknown kind, whose members may have any type."""
    try:
        kind = _KIND.decode(payload).type
    except UNREADABLE:
        return False
    return bool(kind) and kind not in _KNOWN
