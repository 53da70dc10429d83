"""The body of a chat-completions answer as model events."""

from collections.abc import Callable, Container

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.answer_body import AnswerBody, as_utf8
from landline.dialects.chat_completions.calls import CallAssembler, legacy_delta
from landline.dialects.chat_completions.chunks import (
    CHUNK_DECODER,
    Choice,
    Chunk,
    ContentPart,
    Delta,
    Timings,
    TokenInfo,
    Usage,
    decode_core,
    detail_text,
)
from landline.dialects.chat_completions.details import VENDOR, DetailCollector
from landline.dialects.chat_completions.endings import read_reason
from landline.dialects.chat_completions.usage import read_usage
from landline.dialects.faults import read_stream_fault
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

_decode = CHUNK_DECODER.decode


class ChatStreamDecoder:
    """One answer, fed in any split.

    Text, reasoning and calls come out with the chunk that completes them. The closing events come with `[DONE]`, or at the
    end of the body if a `finish_reason` was there before; an end without either is a cut.
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
        self._calls = CallAssembler(find_tools, find_call_ids, call_id_prefix)
        self._details = DetailCollector() if keeps_details else None
        self._is_warm_up = is_warm_up
        self._is_closed = False
        self._finish_reason: str | None = None
        self._fault: ApiError | None = None
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self._logprobs: list[LogprobEntry] = []
        self._said_behind: list[ModelEvent] = []
        """Behind a call. It waits until the calls are complete, because it ends them."""

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes."""
        events: list[ModelEvent] = []
        for payload in self._body.feed(chunk):
            if self._is_closed:
                break
            self._read_record(payload, events)
        return self._filtered(events) if self._is_warm_up else events

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
            chunk = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not payload.strip():
                return
            chunk = decode_core(as_utf8(payload))
            if chunk is None:
                message = f"The target sent a chunk that cannot be read: {error}."
                self._close(events, api_error("upstream_error", message))
                return
        if chunk.choices:
            for choice in chunk.choices:
                if not choice.index:
                    self._read_choice(choice, events)
        if chunk.usage is not None:
            self._count(chunk.usage)
        if chunk.timings is not None:
            self._timings = chunk.timings
        if chunk.error is not UNSET or not chunk.choices:
            fault = _fault_of(chunk, payload)
            if fault is not None:
                self._close(events, fault)

    def _read_choice(self, choice: Choice, events: list[ModelEvent]) -> None:
        delta = choice.delta or choice.message
        if choice.logprobs is not None and not _is_thought(delta):
            self._logprobs += [_logprob_entry(token) for token in choice.logprobs.content or ()]
        if delta is not None:
            self._read_delta(delta, events)
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason
            if choice.error is not UNSET and _is_said(choice.error):
                self._fault = read_stream_fault(bytes(choice.error))
        if choice.usage is not None:
            self._count(choice.usage)

    def _count(self, usage: Usage) -> None:
        """The last count holds; gateways end with one of nothing."""
        if usage.prompt_tokens or self._usage is None:
            self._usage = usage

    def _read_delta(self, delta: Delta, events: list[ModelEvent]) -> None:
        said = self._said_behind if self._calls.has_begun else events
        thought = delta.reasoning_content or delta.reasoning
        if not thought and delta.reasoning_details:
            thought = "".join(map(detail_text, delta.reasoning_details))
        if thought:
            said.append(ReasoningDelta(thought))
        calls = self._read_calls(delta) if delta.tool_calls or delta.function_call is not None else ()
        if self._details is not None:
            self._details.add(delta.reasoning_details or ())
            if said is events and (delta.content or calls):
                events += self._take_details()
        if delta.content:
            self._read_content(delta.content, said)
        if delta.refusal:
            said.append(RefusalDelta(delta.refusal))
        if calls:
            events += calls

    def _read_calls(self, delta: Delta) -> list[ModelEvent]:
        pieces = delta.tool_calls or []
        if delta.function_call is not None:
            pieces = [*pieces, legacy_delta(delta.function_call)]
        return [event for piece in pieces for event in self._calls.feed(piece)]

    def _take_details(self) -> list[ModelEvent]:
        """What the vendor signed of the reasoning that was just said, and of calls."""
        details = self._details.take(self._calls.renamed) if self._details is not None else ()
        return [ReasoningSigned(VENDOR, each) for each in details]

    def _read_content(self, content: str | list[ContentPart], said: list[ModelEvent]) -> None:
        if not isinstance(content, str):
            thought = "".join(_thinking_text(part.thinking) for part in content)
            if thought:
                said.append(ReasoningDelta(thought))
            content = "".join(part.text or "" for part in content)
        if self._logprobs and content:
            logprobs, self._logprobs = self._logprobs, []
            said.append(TextDelta(content, logprobs))
        elif content:
            said.append(TextDelta(content))

    def _close(self, events: list[ModelEvent], fault: ApiError | None) -> None:
        """Ends the turn: what was held back, the count, the ending."""
        self._is_closed = True
        ending = self._ending(fault)
        events += self._calls.end()
        if ending == Finished() or self._calls.are_whole():
            events += (*self._take_said_behind(), *self._take_details())
        usage = read_usage(self._usage, self._timings)
        if usage is not None:
            events.append(usage)
        events.append(ending)

    def _take_said_behind(self) -> list[ModelEvent]:
        """Nothing if it is blank: parsers leave the line breaks between calls."""
        is_said = any(not isinstance(event, TextDelta) or event.text.strip() for event in self._said_behind)
        return self._said_behind if is_said else []

    def _ending(self, fault: ApiError | None) -> Finished | Failed:
        ending = read_reason(self._finish_reason)
        fault = fault or self._fault
        if fault is not None:
            return Failed(fault)
        if isinstance(ending, Finished) and self._calls.has_nameless():
            return Failed(api_error("model_error", "The model made a tool call without a name."))
        return ending

    def _filtered(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """A warm-up says nothing; only what it cost and how it ended is left."""
        closing = [event for event in events if isinstance(event, UsageReported | Failed)]
        return [*closing, *(Finished() for event in events if isinstance(event, Finished))]


_EMPTY = frozenset((b"null", b"false", b'""', b"{}", b"[]"))
_CUT = api_error("upstream_error", "The target's answer broke off before it was complete.")


def _fault_of(chunk: Chunk, payload: bytes) -> ApiError | None:
    """The error that a record carries, in any of the known envelopes."""
    is_envelope = chunk.object == "error" or (
        chunk.choices is None and (_is_said(chunk.message) or _is_said(chunk.detail))
    )
    return read_stream_fault(payload) if is_envelope or _is_said(chunk.error) else None


def _is_said(value: Raw | UnsetType) -> bool:
    """Whether a member has a value; gateways write the error of a good record as null or empty."""
    return not isinstance(value, UnsetType) and bytes(value) not in _EMPTY


def _is_thought(delta: Delta | None) -> bool:
    """Whether the chunk's tokens are reasoning, whose log-probabilities have no place in the answer (vLLM sends them)."""
    return delta is not None and not delta.content and bool(delta.reasoning_content or delta.reasoning)


def _thinking_text(thinking: str | list[ContentPart] | None) -> str:
    if thinking is None or isinstance(thinking, str):
        return thinking or ""
    return "".join(part.text or "" for part in thinking)


def _logprob_entry(token: TokenInfo) -> LogprobEntry:
    tops = [TokenLogprob(top.token, top.logprob, _bytes_of(top.token, top.bytes)) for top in token.top_logprobs or ()]
    return LogprobEntry(token.token, token.logprob, _bytes_of(token.token, token.bytes), tops)


def _bytes_of(token: str, given: list[int] | None) -> list[int]:
    return given if given is not None else list(token.encode())
