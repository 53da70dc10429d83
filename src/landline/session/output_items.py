"""Output items while they grow: each announces itself, takes deltas, and finishes as the item that history keeps."""

from collections.abc import Callable
from typing import Literal, Protocol, TypedDict

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire import events as wire
from landline.wire.events import ServerEvent
from landline.wire.items import UNSIGNED, Item, Signed
from landline.wire.model_events import Compacted, LogprobEntry, ToolCallStarted
from landline.wire.responses import (
    ItemStatus,
    OutputCompaction,
    OutputCustomToolCall,
    OutputFunctionCall,
    OutputMessage,
    OutputReasoning,
    OutputTextPart,
    ReasoningTextPart,
    RefusalPart,
    SealedReasoning,
    SummaryTextPart,
)


class _Stamped(TypedDict):
    sequence_number: int
    stream_id: str | UnsetType


class Stamp:
    """Numbers the events of one response from 0 and names its lane."""

    __slots__ = ("_next", "_stream_id", "event_names")

    def __init__(self, stream_id: str | UnsetType, event_names: Literal["openai", "open_responses"]) -> None:
        self._next = 0
        self._stream_id = stream_id
        self.event_names = event_names

    def next(self) -> _Stamped:
        """The fields that every event carries."""
        number = self._next
        self._next = number + 1
        return {"sequence_number": number, "stream_id": self._stream_id}

    def take(self) -> tuple[int, str | UnsetType]:
        """The same as a pair, for the delta path."""
        number = self._next
        self._next = number + 1
        return number, self._stream_id


class OpenItem(Protocol):
    """An item in the making, at its place in the response's output."""

    output_index: int

    def finish(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> Item:
        """Appends the closing events; returns the finished item."""
        ...


def _raw(value: msgspec.Struct) -> Raw:
    return Raw(msgspec.json.encode(value))


_NO_LOGPROBS: list[LogprobEntry] = []
_EMPTY_TEXT = _raw(OutputTextPart(""))
_EMPTY_REFUSAL = _raw(RefusalPart(""))
_EMPTY_REASONING = _raw(ReasoningTextPart(""))
_EMPTY_SUMMARY = _raw(SummaryTextPart(""))


class OpenMessage:
    """An assistant message: text and refusal parts, one open at a time."""

    def __init__(self, stamp: Stamp, item_id: str, output_index: int) -> None:
        self.output_index = output_index
        self._stamp = stamp
        self._id = item_id
        self._parts: list[Raw] = []
        self._open_part: Literal["text", "refusal"] | None = None
        self._chunks: list[str] = []
        self._logprobs: list[LogprobEntry] = []

    def announce(self, events: list[ServerEvent]) -> None:
        item = _raw(OutputMessage(self._id, "in_progress", "assistant", []))
        events.append(wire.OutputItemAdded(output_index=self.output_index, item=item, **self._stamp.next()))

    def add_text(self, events: list[ServerEvent], text: str, logprobs: list[LogprobEntry] | None) -> None:
        if self._open_part != "text":
            self._start_part(events, "text", _EMPTY_TEXT)
        self._chunks.append(text)
        if logprobs:
            self._logprobs.extend(logprobs)
        number, stream_id = self._stamp.take()
        events.append(
            wire.OutputTextDelta(
                sequence_number=number,
                stream_id=stream_id,
                item_id=self._id,
                output_index=self.output_index,
                content_index=len(self._parts),
                delta=text,
                logprobs=logprobs or _NO_LOGPROBS,
            )
        )

    def add_refusal(self, events: list[ServerEvent], text: str) -> None:
        if self._open_part != "refusal":
            self._start_part(events, "refusal", _EMPTY_REFUSAL)
        self._chunks.append(text)
        events.append(wire.RefusalDeltaEvent(delta=text, **self._place(), **self._stamp.next()))

    def finish(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> Item:
        self._close_part(events)
        raw = _raw(OutputMessage(self._id, status, "assistant", self._parts))
        events.append(wire.OutputItemDone(output_index=self.output_index, item=raw, **self._stamp.next()))
        return Item(raw=bytes(raw), type="message", id=self._id, role="assistant")

    def _start_part(self, events: list[ServerEvent], kind: Literal["text", "refusal"], empty: Raw) -> None:
        self._close_part(events)
        self._open_part = kind
        events.append(wire.ContentPartAdded(part=empty, **self._place(), **self._stamp.next()))

    def _close_part(self, events: list[ServerEvent]) -> None:
        text = "".join(self._chunks)
        if self._open_part is None:
            return
        if self._open_part == "text":
            events.append(
                wire.OutputTextDone(text=text, logprobs=self._logprobs, **self._place(), **self._stamp.next())
            )
            part = _raw(OutputTextPart(text, [], self._logprobs))
        else:
            events.append(wire.RefusalDone(refusal=text, **self._place(), **self._stamp.next()))
            part = _raw(RefusalPart(text))
        events.append(wire.ContentPartDone(part=part, **self._place(), **self._stamp.next()))
        self._parts.append(part)
        self._open_part, self._chunks, self._logprobs = None, [], []

    def _place(self) -> "_PartPlace":
        return {"item_id": self._id, "output_index": self.output_index, "content_index": len(self._parts)}


class OpenReasoning:
    """A reasoning item: summary parts first, then raw reasoning text; one part of either kind is open at a time."""

    def __init__(self, stamp: Stamp, item_id: str, output_index: int, seal: Callable[[bytes], str] | None) -> None:
        """`seal` makes the item's `encrypted_content`, if the client asked for it."""
        self.output_index = output_index
        self._stamp = stamp
        self._id = item_id
        self._seal = seal
        self._summary: list[Raw] = []
        self._content: list[Raw] = []
        self._signed: Signed | None = None
        self._open_part: Literal["summary", "text"] | None = None
        self._chunks: list[str] = []

    def announce(self, events: list[ServerEvent]) -> None:
        item = _raw(OutputReasoning(self._id, [], []))
        events.append(wire.OutputItemAdded(output_index=self.output_index, item=item, **self._stamp.next()))

    def add_text(self, events: list[ServerEvent], text: str) -> None:
        if self._open_part != "text":
            self._close_part(events)
            self._open_part = "text"
            events.append(wire.ContentPartAdded(part=_EMPTY_REASONING, **self._place(), **self._stamp.next()))
        self._chunks.append(text)
        delta = wire.ReasoningTextDelta if self._stamp.event_names == "openai" else wire.ReasoningDeltaEvent
        events.append(delta(delta=text, **self._place(), **self._stamp.next()))

    def add_summary(self, events: list[ServerEvent], text: str) -> None:
        if self._open_part != "summary":
            self._close_part(events)
            self._open_part = "summary"
            events.append(
                wire.ReasoningSummaryPartAdded(part=_EMPTY_SUMMARY, **self._summary_place(), **self._stamp.next())
            )
        self._chunks.append(text)
        events.append(wire.ReasoningSummaryTextDelta(delta=text, **self._summary_place(), **self._stamp.next()))

    def add_signed(self, by: str, block: str) -> None:
        blocks = self._signed.blocks if self._signed is not None else ()
        self._signed = Signed(by, (*blocks, block))

    def finish(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> Item:
        self._close_part(events)
        sealed: str | UnsetType = UNSET
        if self._seal is not None and (self._content or self._signed is not None):
            sealed = self._seal(msgspec.json.encode(SealedReasoning(self._content, self._signed)))
        raw = _raw(OutputReasoning(self._id, self._summary, self._content, sealed))
        events.append(wire.OutputItemDone(output_index=self.output_index, item=raw, **self._stamp.next()))
        return Item(
            raw=bytes(raw), type="reasoning", id=self._id, signed=self._signed or (None if self._content else UNSIGNED)
        )

    def _close_part(self, events: list[ServerEvent]) -> None:
        text = "".join(self._chunks)
        if self._open_part == "text":
            done = wire.ReasoningTextDone if self._stamp.event_names == "openai" else wire.ReasoningDoneEvent
            part = _raw(ReasoningTextPart(text))
            events.append(done(text=text, **self._place(), **self._stamp.next()))
            events.append(wire.ContentPartDone(part=part, **self._place(), **self._stamp.next()))
            self._content.append(part)
        elif self._open_part == "summary":
            part = _raw(SummaryTextPart(text))
            place = self._summary_place()
            events.append(wire.ReasoningSummaryTextDone(text=text, **place, **self._stamp.next()))
            events.append(wire.ReasoningSummaryPartDone(part=part, **place, **self._stamp.next()))
            self._summary.append(part)
        self._open_part, self._chunks = None, []

    def _place(self) -> "_PartPlace":
        return {"item_id": self._id, "output_index": self.output_index, "content_index": len(self._content)}

    def _summary_place(self) -> "_SummaryPlace":
        return {"item_id": self._id, "output_index": self.output_index, "summary_index": len(self._summary)}


class OpenCompaction:
    """A compaction while its summary is written. Its item comes whole, so that a turn that breaks leaves none behind."""

    def __init__(self, stamp: Stamp, item_id: str) -> None:
        self._stamp = stamp
        self._id = item_id

    def announce(self, events: list[ServerEvent], output_index: int) -> None:
        if self._stamp.event_names == "openai":
            stamp = self._stamp.next()
            events.append(wire.CompactionCompacting(item_id=self._id, output_index=output_index, **stamp))

    def finish(self, events: list[ServerEvent], output_index: int, compacted: Compacted) -> Item:
        raw = _raw(OutputCompaction(self._id, compacted.encrypted_content))
        events.append(wire.OutputItemAdded(output_index=output_index, item=raw, **self._stamp.next()))
        events.append(wire.OutputItemDone(output_index=output_index, item=raw, **self._stamp.next()))
        return Item(bytes(raw), "compaction", self._id, opened=compacted.opened, covers=compacted.covers)


class OpenCall:
    """A function call or a custom tool's call; several may be open at once when the model calls in parallel."""

    def __init__(self, stamp: Stamp, item_id: str, output_index: int, started: ToolCallStarted) -> None:
        self.output_index = output_index
        self._stamp = stamp
        self._id = item_id
        self._started = started
        self._chunks: list[str] = []

    def announce(self, events: list[ServerEvent]) -> None:
        item = self._item("", "in_progress")
        events.append(wire.OutputItemAdded(output_index=self.output_index, item=item, **self._stamp.next()))

    def add(self, events: list[ServerEvent], text: str) -> None:
        self._chunks.append(text)
        is_function = self._started.kind == "function"
        delta = wire.FunctionCallArgumentsDelta if is_function else wire.CustomToolCallInputDelta
        events.append(delta(delta=text, **self._place(), **self._stamp.next()))

    def finish(self, events: list[ServerEvent], status: Literal["completed", "incomplete"]) -> Item:
        text = "".join(self._chunks)
        if self._started.kind == "function":
            events.append(wire.FunctionCallArgumentsDone(arguments=text, **self._place(), **self._stamp.next()))
        else:
            events.append(wire.CustomToolCallInputDone(input=text, **self._place(), **self._stamp.next()))
        raw = self._item(text, status)
        events.append(wire.OutputItemDone(output_index=self.output_index, item=raw, **self._stamp.next()))
        kind = "function_call" if self._started.kind == "function" else "custom_tool_call"
        return Item(raw=bytes(raw), type=kind, id=self._id, call_id=self._started.call_id)

    def _item(self, text: str, status: ItemStatus) -> Raw:
        started = self._started
        kind = OutputFunctionCall if started.kind == "function" else OutputCustomToolCall
        return _raw(kind(self._id, started.call_id, started.name, text, status, started.namespace or UNSET))

    def _place(self) -> "_ItemPlace":
        return {"item_id": self._id, "output_index": self.output_index}


class _ItemPlace(TypedDict):
    item_id: str
    output_index: int


class _PartPlace(_ItemPlace):
    content_index: int


class _SummaryPlace(_ItemPlace):
    summary_index: int
