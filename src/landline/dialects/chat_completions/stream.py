"""Decodes the body of a chat-completions answer to model events; opened by `dialect` for each turn."""

from collections.abc import Callable, Container, Sequence
from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from landline.dialects.answer_body import AnswerBody
from landline.dialects.chat_completions.calls import CallAssembler, legacy_delta
from landline.dialects.chat_completions.chunks import (
    CHUNK_DECODER,
    ChatChoice,
    ChatChunk,
    ChatTokenLogprob,
    ChatUsage,
    ContentPart,
    Delta,
    Timings,
    detail_text,
    read_reason,
    read_usage,
)
from landline.dialects.chat_completions.reasoning_details import VENDOR, DetailCollector
from landline.dialects.faults import read_stream_fault
from landline.dialects.lenient_json import LenientReader, UnreadableError
from landline.dialects.streamed_text import StreamedText
from landline.dialects.tools import ToolSet
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import (
    Failed,
    Finished,
    LogprobEntry,
    ModelEvent,
    ReasoningDelta,
    ReasoningSigned,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    UsageReported,
)
from landline.wire.readable import UNREADABLE

_decode = CHUNK_DECODER.decode
_NEEDED = frozenset(
    (
        "choices",
        "delta",
        "message",
        "content",
        "text",
        "tool_calls",
        "function_call",
        "function",
        "custom",
        "name",
        "input",
    )
)
"""Members that must not be dropped when their type is wrong."""
_PieceKind = Literal["new", "last", "whole"]
"""What a delta or message holds: new text, the same with the answer's end, or a repetition of the whole answer."""


class ChatStreamDecoder:
    """Decodes one answer, fed in any split.

    Text, reasoning and calls are emitted with the chunk that completes them. The closing events come with `[DONE]`, or at
    the end of the body if a `finish_reason` came before; a body that ends without either is broken off.
    """

    def __init__(
        self,
        find_tools: Callable[[], ToolSet],
        find_call_ids: Callable[[], Container[str]],
        call_id_prefix: str,
        *,
        keeps_details: bool = False,
        is_warm_up: bool = False,
    ) -> None:
        self._body = AnswerBody()
        self.progress = self._body.progress
        self._calls = CallAssembler(find_tools, find_call_ids, call_id_prefix)
        self._loose = LenientReader(ChatChunk, _NEEDED)
        self._text, self._thought, self._refusal = StreamedText(), StreamedText(), StreamedText()
        self._has_messages = False
        """Whether the answer began with a `message`: further messages are then new text. After deltas, a message repeats them."""
        self._details = DetailCollector() if keeps_details else None
        self._is_warm_up = is_warm_up
        self._is_closed = False
        self._finish_reason: str | None = None
        self._fault: ApiError | None = None
        self._usage: ChatUsage | None = None
        self._timings: Timings | None = None
        self._logprobs: list[LogprobEntry] = []
        self._text_after_calls: list[ModelEvent] = []
        """Text after a call. It is held until the calls are complete, because it would end them."""

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
            self._read_record(payload, events)
        return self._filtered(events) if self._is_warm_up else events

    def is_whole(self) -> bool:
        """Whether a finish reason has come, or a body of JSON is complete."""
        return self.progress.is_finished or self._body.is_whole()

    def end(self) -> list[ModelEvent]:
        """The closing events, if they have not come yet."""
        events: list[ModelEvent] = []
        if not self._is_closed:
            for payload in self._body.end():
                if payload.strip() and not self._is_closed:
                    self._read_record(payload, events)
        if not self._is_closed:
            self._close(events, None if self._finish_reason is not None else _CUT)
        return self._filtered(events) if self._is_warm_up else events

    def _read_record(self, payload: bytes, events: list[ModelEvent]) -> None:
        if payload.startswith(b"[DONE]"):
            self._close(events, None)
            return
        try:
            chunk = _decode(payload) if not self._loose.is_waiting else self._decode_loosely(payload)
        except UNREADABLE:
            try:
                chunk = self._decode_loosely(payload)
            except (UnreadableError, *UNREADABLE) as error:
                message = f"The target sent a chunk that cannot be read: {error}."
                self._close(events, api_error("upstream_error", message))
                return
        if chunk is None:
            return
        signs = self.progress.signs
        if chunk.choices:
            for choice in chunk.choices:
                if not choice.index:
                    self._read_choice(choice, events)
        if chunk.usage is not None:
            is_alone = self.progress.signs == signs
            self.progress.note_usage(is_alone=is_alone, is_new=chunk.usage != self._usage)
            self._count(chunk.usage)
        if chunk.timings is not None:
            self._timings = chunk.timings
        if chunk.error is not UNSET or not chunk.choices:
            fault = _fault_of(chunk, payload)
            if fault is not None:
                self._close(events, fault)

    def _decode_loosely(self, payload: bytes) -> ChatChunk | None:
        """A chunk without its odd members; None if nothing is left."""
        fitted = self._loose.read(payload) if payload.strip() else None
        return _decode(fitted) if fitted is not None else None

    def _read_choice(self, choice: ChatChoice, events: list[ModelEvent]) -> None:
        delta, message = choice.delta, choice.message
        if choice.logprobs is not None and not _is_thought(delta or message):
            self._logprobs += [_logprob_entry(token) for token in choice.logprobs.content or ()]
        reason = choice.finish_reason if choice.finish_reason != "0" else None
        kind = "last" if reason or self._finish_reason is not None else "new"
        if delta is not None:
            self._read_delta(delta, events, kind)
        if message is not None:
            self._has_messages = self._has_messages or not self._has_begun
            self._read_delta(message, events, kind if self._has_messages else "whole")
        if reason:
            self.progress.note_finish(is_new=reason != self._finish_reason)
            self._finish_reason = reason
            if choice.error is not UNSET and _has_value(choice.error):
                self._fault = read_stream_fault(bytes(choice.error))
        if choice.usage is not None:
            self._count(choice.usage)

    @property
    def _has_begun(self) -> bool:
        said = self._text.has_begun or self._thought.has_begun or self._refusal.has_begun
        return said or self._calls.has_begun

    def _count(self, usage: ChatUsage) -> None:
        """Keeps the last usage that is not empty: some gateways end with an empty one."""
        if usage.prompt_tokens or self._usage is None:
            self._usage = usage

    def _read_delta(self, delta: Delta, events: list[ModelEvent], kind: _PieceKind) -> None:
        if _says_something(delta):
            self.progress.note_output()
        said = self._text_after_calls if self._calls.has_begun else events
        thought = delta.reasoning_content or delta.reasoning
        if not thought and delta.reasoning_details:
            thought = "".join(map(detail_text, delta.reasoning_details))
        if thought:
            self._think(thought, said, kind)
        calls = delta.tool_calls or delta.function_call is not None
        if self._details is not None:
            self._details.add(delta.reasoning_details or ())
            if said is events and (delta.content or calls):
                events += self._take_details()
        if delta.content:
            self._read_content(delta.content, said, kind)
        if delta.refusal:
            refusal = _new_text(self._refusal, delta.refusal, kind)
            if refusal:
                said.append(RefusalDelta(refusal))
        if calls:
            if said is events:
                self._release(said)
            events += self._read_calls(delta, is_whole=kind == "whole")

    def _think(self, text: str, said: list[ModelEvent], kind: _PieceKind) -> None:
        text = _new_text(self._thought, text, kind)
        if text:
            said.append(ReasoningDelta(text))

    def _read_calls(self, delta: Delta, *, is_whole: bool) -> list[ModelEvent]:
        pieces = delta.tool_calls or []
        if delta.function_call is not None:
            pieces = [*pieces, legacy_delta(delta.function_call)]
        return self._calls.settle(pieces) if is_whole else self._calls.feed(pieces)

    def _take_details(self) -> list[ModelEvent]:
        """What the vendor signed of the latest reasoning, and of calls."""
        details = self._details.take(self._calls.renamed) if self._details is not None else ()
        return [ReasoningSigned(VENDOR, each) for each in details]

    def _read_content(self, content: str | list[ContentPart], said: list[ModelEvent], kind: _PieceKind) -> None:
        if not isinstance(content, str):
            thought = "".join(_thinking_text(part.thinking) for part in content)
            if thought:
                self._think(thought, said, kind)
            content = "".join(part.text or "" for part in content)
        if not content:
            return
        if self._thought.is_holding:
            said.append(ReasoningDelta(self._thought.end()))
        content = self._text.feed(content) if kind == "new" else _new_text(self._text, content, kind)
        if self._logprobs and content:
            logprobs, self._logprobs = self._logprobs, []
            said.append(TextDelta(content, logprobs))
        elif content:
            said.append(TextDelta(content))

    def _release(self, said: list[ModelEvent]) -> None:
        """Emits text that was held as a possible repetition: something else begins, or the answer ends."""
        thought, text, refusal = self._thought.end(), self._text.end(), self._refusal.end()
        if thought:
            said.append(ReasoningDelta(thought))
        if text:
            said.append(TextDelta(text))
        if refusal:
            said.append(RefusalDelta(refusal))

    def _close(self, events: list[ModelEvent], fault: ApiError | None) -> None:
        """Appends what was held, the usage and the ending."""
        for record in self._loose.end():
            self._read_record(record, events)
        self._is_closed = True
        self._release(self._text_after_calls if self._calls.has_begun else events)
        ending = self._ending(fault)
        is_whole = ending == Finished()
        events += self._calls.end(is_cut=not is_whole)
        if is_whole or self._calls.are_whole():
            events += (*self._take_text_after_calls(), *self._take_details())
        usage = read_usage(self._usage, self._timings)
        if usage is not None:
            events.append(usage)
        events.append(ending)

    def _take_text_after_calls(self) -> list[ModelEvent]:
        """The text after the calls; nothing if it is blank: parsers leave line breaks between calls."""
        is_said = any(not isinstance(event, TextDelta) or event.text.strip() for event in self._text_after_calls)
        return self._text_after_calls if is_said else []

    def _ending(self, fault: ApiError | None) -> Finished | Failed:
        ending = read_reason(self._finish_reason)
        fault = fault or self._fault
        if fault is not None:
            return Failed(fault)
        if isinstance(ending, Finished) and self._calls.has_nameless():
            return Failed(api_error("model_error", "The model made a tool call without a name."))
        # For a call that the token limit truncated, vLLM reports `tool_calls` and Ollama `stop` (2026).
        return Finished("max_output_tokens") if ending == Finished() and self._calls.has_truncated() else ending

    def _filtered(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """Keeps usage and ending of a warm-up, nothing else."""
        closing = [event for event in events if isinstance(event, UsageReported | Failed)]
        return [*closing, *(Finished() for event in events if isinstance(event, Finished))]


_EMPTY = frozenset((b"null", b"false", b"0", b'""', b"{}", b"[]"))
_CUT = api_error("upstream_error", "The target's answer broke off before it was complete.")


def _fault_of(chunk: ChatChunk, payload: bytes) -> ApiError | None:
    """The error that a record carries, in any of the known envelopes."""
    is_envelope = chunk.object == "error" or (
        chunk.choices is None and (_has_value(chunk.message) or _has_value(chunk.detail))
    )
    return read_stream_fault(payload) if is_envelope or _has_value(chunk.error) else None


def _has_value(value: Raw | UnsetType) -> bool:
    """Whether a member has a value; gateways send null or empty errors in good records."""
    return not isinstance(value, UnsetType) and bytes(value) not in _EMPTY


def _says_something(delta: Delta) -> bool:
    """Whether it has output; gateways send empty deltas to keep connections open."""
    return bool(
        delta.content
        or delta.tool_calls
        or delta.reasoning_content
        or delta.reasoning
        or delta.reasoning_details
        or delta.refusal
        or delta.function_call
    )


def _is_thought(delta: Delta | None) -> bool:
    """Whether the chunk's tokens are reasoning; vLLM sends their log-probabilities, which the API has no member for."""
    return delta is not None and not delta.content and bool(delta.reasoning_content or delta.reasoning)


def _new_text(said: StreamedText, text: str, kind: _PieceKind) -> str:
    """The new part of the text."""
    return said.settle(text) if kind == "whole" else said.feed(text, is_last=kind == "last")


def _thinking_text(thinking: str | list[ContentPart] | None) -> str:
    if thinking is None or isinstance(thinking, str):
        return thinking or ""
    return "".join(part.text or "" for part in thinking)


def _logprob_entry(token: ChatTokenLogprob) -> LogprobEntry:
    tops = [TokenLogprob(top.token, top.logprob, _bytes_of(top.token, top.bytes)) for top in token.top_logprobs or ()]
    return LogprobEntry(token.token, token.logprob, _bytes_of(token.token, token.bytes), tops)


def _bytes_of(token: str, given: list[int] | None) -> list[int]:
    return given if given is not None else list(token.encode())
