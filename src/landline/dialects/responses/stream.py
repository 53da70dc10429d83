"""The body of a Responses server's answer over HTTP as model events: relayed, not rebuilt."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.dialects.answer_body import AnswerBody
from landline.dialects.responses.events import EventReader
from landline.wire.errors import api_error
from landline.wire.model_events import Failed, ModelEvent
from landline.wire.readable import UNREADABLE

_CUT = Failed(api_error("upstream_error", "The target's answer broke off before it was complete."))


class ResponsesStreamDecoder:
    """One answer, fed in any split: an event stream, or one response object of a server that does not stream."""

    def __init__(self) -> None:
        self._body = AnswerBody()
        self.progress = self._body.progress
        self._reader = EventReader()
        self._is_closed = False
        self._found: dict[str, None] = {}
        self._error: Failed | None = None
        """What an error event said. If the response's own end follows, that counts: it has the response."""

    @property
    def oddities(self) -> Sequence[str]:
        """What was odd in the answer."""
        return tuple({**self._found, **dict.fromkeys(self._reader.oddities)})

    def feed(self, chunk: bytes) -> list[ModelEvent]:
        """The model events that the chunk completes."""
        events: list[ModelEvent] = []
        for payload in self._body.feed(chunk):
            events += self._read(payload)
        return events

    def is_whole(self) -> bool:
        """Whether an error has come that the response's own end did not follow, or a body of JSON is complete."""
        return self._error is not None or self._body.is_whole()

    def end(self) -> list[ModelEvent]:
        """The closing event, if it has not come yet."""
        whole = self._body.whole
        rest = _events_of(whole) if whole is not None else filter(_is_whole, self._body.end())
        events = [event for payload in rest for event in self._read(payload)]
        return events if self._is_closed else [*events, *self._close(self._error or _CUT)]

    def _read(self, payload: bytes) -> list[ModelEvent]:
        if self._is_closed or not payload.strip():
            return []
        if payload[:6] == b"[DONE]":
            return self._close(self._error or _CUT)
        signs = self._reader.signs
        events = self._reader.read(payload)
        if self._reader.signs > signs:
            self.progress.note()
        last = events[-1] if events else None
        if not self._reader.is_over or last is None:
            return events
        if isinstance(last, Failed) and self._reader.failure is not None and self._reader.is_announced:
            self._found |= dict.fromkeys(self._reader.oddities)
            self._error, self._reader = last, _resumed()
            return []
        self._is_closed = True
        return events

    def _close(self, failed: Failed) -> list[ModelEvent]:
        self._is_closed = True
        return [failed]


class _Whole(msgspec.Struct):
    object: str = ""
    status: str = ""
    output: list[Raw] = []


def _resumed() -> EventReader:
    """A reader for what follows an error event."""
    reader = EventReader()
    reader.is_announced = True
    return reader


def _is_whole(payload: bytes) -> bool:
    """Whether a record without its blank line is all there."""
    return payload.rstrip()[-1:] in (b"}", b"]")


def _events_of(body: bytes) -> list[bytes]:
    """The events that would have told a response object; a body that is none is one event, an empty one none."""
    if not body.strip():
        return []
    try:
        whole = msgspec.json.decode(body, type=_Whole)
    except UNREADABLE:
        return [body]
    if whole.object != "response":
        return [body]
    kind = {"incomplete": "incomplete", "failed": "failed", "cancelled": "incomplete"}.get(whole.status, "completed")
    events: list[dict[str, object]] = []
    for index, item in enumerate(whole.output):
        place: dict[str, object] = {"output_index": index, "item": item}
        events += [{"type": f"response.output_item.{step}", **place} for step in ("added", "done")]
    events.append({"type": f"response.{kind}", "response": Raw(body)})
    return [msgspec.json.encode(event) for event in events]
