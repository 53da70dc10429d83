"""Decodes the body of a generateContent answer to model events; opened by `dialect` for each turn."""

from collections.abc import Callable, Sequence

from msgspec import UnsetType

from landline.dialects.answer_body import AnswerBody
from landline.dialects.gemini.answer import PartReader
from landline.dialects.gemini.chunks import (
    CHUNK_DECODER,
    Candidate,
    GeminiChunk,
    LogprobsResult,
    Part,
    TokenCandidate,
    UsageMetadata,
    read_block,
    read_ending,
    read_usage,
)
from landline.dialects.gemini.faults import read_stream_fault
from landline.dialects.lenient_json import LenientReader, UnreadableError
from landline.dialects.tools import ToolSet
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, LogprobEntry, ModelEvent, TokenLogprob
from landline.wire.readable import UNREADABLE


class GeminiStreamDecoder:
    """Decodes one answer, fed in any split.

    Gemini's streams have no end marker (some gateways add one), and several records may have a `finishReason`: so the
    closing events come with the end of the body. A body that ends without a `finishReason` is broken off.
    """

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, model: str) -> None:
        self._body = AnswerBody()
        self._loose = LenientReader(GeminiChunk, _NEEDED)
        self.progress = self._body.progress
        self._parts = PartReader(find_tools, call_id_prefix, model)
        self._is_closed = False
        self._finish_reason: str | None = None
        self._finish_message: str | None = None
        self._usage: UsageMetadata | None = None
        self._tail = b""
        """The stream from its last record on: an error may follow it as plain JSON."""

    @property
    def oddities(self) -> Sequence[str]:
        """Members of the answer that were dropped."""
        return self._loose.oddities

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes."""
        payloads = list(self._body.feed(chunk))
        if self._body.is_stream:
            self._keep_tail(chunk)
        events: list[ModelEvent] = []
        for payload in payloads:
            self._read_record(payload, events)
        return events

    def is_whole(self) -> bool:
        """Whether a finish reason has come, or a body of JSON is complete."""
        return self.progress.is_finished or self._body.is_whole()

    def end(self) -> list[ModelEvent]:
        """The closing events, if they have not come yet."""
        events: list[ModelEvent] = []
        for payload in self._body.end():
            self._read_record(payload, events)
        self._end(events)
        return events

    def _end(self, events: list[ModelEvent]) -> None:
        """Ends the answer: normally if a finish reason came, else as broken off."""
        failed = Failed(_error_behind(self._tail) or _CUT) if self._finish_reason is None else None
        self._close(events, failed)

    def _keep_tail(self, chunk: bytes) -> None:
        tail = self._tail + chunk
        self._tail = tail[tail.rfind(b"\ndata:") + 1 :]

    def _read_record(self, payload: bytes, events: list[ModelEvent]) -> None:
        if self._is_closed or not payload.strip():
            return
        if payload.startswith(b"[DONE]"):
            self._end(events)
            return
        try:
            chunk = CHUNK_DECODER.decode(payload) if not self._loose.is_waiting else self._decode_loosely(payload)
        except UNREADABLE:
            try:
                chunk = self._decode_loosely(payload)
            except (UnreadableError, *UNREADABLE) as error:
                message = f"The target sent a chunk that cannot be read: {error}."
                self._close(events, Failed(api_error("upstream_error", message)))
                return
        if chunk is not None:
            self._read(chunk, payload, events)

    def _decode_loosely(self, payload: bytes) -> GeminiChunk | None:
        """A chunk without its odd members; None if nothing is left."""
        fitted = self._loose.read(payload)
        return CHUNK_DECODER.decode(fitted) if fitted is not None else None

    def _read(self, chunk: GeminiChunk, payload: bytes, events: list[ModelEvent]) -> None:
        signs = self.progress.signs
        for candidate in chunk.candidates or ():
            if not candidate.index:
                self._read_candidate(candidate, events)
        if chunk.usage_metadata is not None:
            is_alone = self.progress.signs == signs
            self.progress.note_usage(is_alone=is_alone, is_new=chunk.usage_metadata != self._usage)
            self._usage = chunk.usage_metadata
        fault = _fault_of(chunk, payload) or read_block(chunk.prompt_feedback)
        if fault is not None:
            self._close(events, Failed(fault))

    def _read_candidate(self, candidate: Candidate, events: list[ModelEvent]) -> None:
        logprobs = _logprobs_of(candidate.logprobs_result)
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            if _says_something(part):
                self.progress.note_output()
            self._parts.read(part, logprobs, events, is_last=bool(candidate.finish_reason))
            if part.text and not part.thought:
                logprobs = None
        if candidate.finish_reason:
            self.progress.note_finish(is_new=candidate.finish_reason != self._finish_reason)
            self._finish_reason = candidate.finish_reason
            self._finish_message = candidate.finish_message

    def _close(self, events: list[ModelEvent], failed: Failed | None) -> None:
        """Appends what was held, the usage and the ending."""
        if self._is_closed:
            return
        for record in self._loose.end():
            self._read(CHUNK_DECODER.decode(record), record, events)
        self._is_closed = True
        self._parts.end(events)
        usage = read_usage(self._usage)
        if usage is not None:
            events.append(usage)
        reason, message = self._finish_reason or "", self._finish_message
        events.append(failed or read_ending(reason, message, has_said=self._parts.has_said))


_NEEDED = frozenset(("candidates", "content", "parts", "text", "functionCall", "name", "args", "partialArgs"))
"""Members that must not be dropped when their type is wrong."""
_CUT = api_error("upstream_error", "The target's answer broke off before it was complete.")


def _says_something(part: Part) -> bool:
    return bool(part.text or part.thought_signature) or part.function_call is not None


def _error_behind(tail: bytes) -> ApiError | None:
    """An error that was written into the stream as plain JSON after its last record (handled by the google-genai client too)."""
    text = tail.replace(b"\r\n", b"\n")
    rest = (text.partition(b"\n\n")[2] if text.startswith(b"data:") else text).strip()
    return read_stream_fault(rest) if rest[:1] in (b"{", b"[") else None


def _fault_of(chunk: GeminiChunk, payload: bytes) -> ApiError | None:
    has_error = not isinstance(chunk.error, UnsetType) and bytes(chunk.error) != b"null"
    return read_stream_fault(payload) if has_error else None


def _logprobs_of(result: LogprobsResult | None) -> list[LogprobEntry] | None:
    """Gemini's two lists merged: the chosen token of each position, and the alternatives."""
    if result is None or not result.chosen_candidates:
        return None
    tops = [each.candidates or [] for each in result.top_candidates or ()]
    tops += [[]] * (len(result.chosen_candidates) - len(tops))
    return [
        LogprobEntry(
            chosen.token, _logprob(chosen), list(chosen.token.encode()), [_token_logprob(top) for top in likely]
        )
        for chosen, likely in zip(result.chosen_candidates, tops, strict=False)
    ]


def _token_logprob(token: TokenCandidate) -> TokenLogprob:
    return TokenLogprob(token.token, _logprob(token), list(token.token.encode()))


def _logprob(token: TokenCandidate) -> float:
    return token.log_probability or 0.0
