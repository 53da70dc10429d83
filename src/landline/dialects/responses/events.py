"""Reads the events of a Responses server, one by one from a socket or as the body of an HTTP answer, as model events."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.dialects.answer_body import AnswerBody, as_utf8
from landline.dialects.responses.event_repair import EventRepairer
from landline.dialects.responses.faults import Failure, read_failed_response, read_failure
from landline.wire.errors import api_error
from landline.wire.event_names import (
    ANNOUNCING,
    COMPLETED,
    ERRORS,
    FAILED,
    ITEM_ADDED,
    ITEM_DONE,
    ITEM_EVENTS,
    TERMINAL,
)
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, Relayed, UsageReported
from landline.wire.readable import UNREADABLE, find_unreadable

HELD_EVENTS = 64
"""Events held before a response is announced; if more come, Landline announces it."""
_CUT = Failed(api_error("upstream_error", "The target's answer broke off before it was complete."))
_KEEPALIVES = frozenset(("keepalive", "ping", "heartbeat", "response.keepalive", "response.heartbeat"))
"""The first is OpenAI's and this server's, the others are gateways'."""
_MAX_DIGITS = 4300
"""Longest integer that Python converts: official clients fail on a longer one. Most deltas are shorter as a whole."""
_LF, _CR = 0x0A, 0x0D
_NOTHING = Raw(b"{}")
_NULL = Raw(b"null")
_OBJECTS = {
    **dict.fromkeys(ANNOUNCING | TERMINAL, "response"),
    **dict.fromkeys(ITEM_EVENTS, "item"),
}
"""Event → the member that is stored and decoded later, so it is checked. Deltas are only passed on: long ones are checked."""


class _UpstreamInputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _UpstreamOutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _UpstreamUsage(msgspec.Struct):
    input_tokens: int
    output_tokens: int = 0
    input_tokens_details: _UpstreamInputDetails | None = None
    output_tokens_details: _UpstreamOutputDetails | None = None


class _Counted(msgspec.Struct):
    usage: _UpstreamUsage | None = None


class _Output(msgspec.Struct):
    output: list[Raw] | None = None


class _Reason(msgspec.Struct):
    reason: str | None = None


class _Ended(msgspec.Struct):
    incomplete_details: _Reason | None = None


_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_STRING: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_OUTPUT: msgspec.json.Decoder[_Output] = msgspec.json.Decoder(_Output)
_COUNTED: msgspec.json.Decoder[_Counted] = msgspec.json.Decoder(_Counted)
_ENDED: msgspec.json.Decoder[_Ended] = msgspec.json.Decoder(_Ended)


class EventReader:
    """Reads the events of one response, in order, each as one JSON object.

    Events before the announcement (rate limits, keepalives) are held until it comes, so that a refusal is a lone `Failed`.
    Nothing is read after `Finished` or `Failed`.
    """

    def __init__(self) -> None:
        self.is_announced = False
        """Whether the upstream has announced the response."""
        self.is_over = False
        self.signs = 0
        """Number of events that belong to the response: no keepalives, no repeated announcements."""
        self.failure: Failure | None = None
        """The error that came in an event of its own, with the upstream's code."""
        self._held: list[ModelEvent] = []
        self._repairer = EventRepairer()
        self._announced_as = ""

    @property
    def oddities(self) -> Sequence[str]:
        """Oddities of the events, for the log."""
        return tuple(self._repairer.found)

    def read(self, payload: bytes) -> list[ModelEvent]:
        """The model events of one event. An error event is a `Failed`: on a socket nothing follows it."""
        if self.is_over:
            return []
        payload = as_utf8(payload)
        # Nearly every event takes the first path. The second decodes again in Python, for lone surrogates that msgspec refuses.
        try:
            if not self._repairer.is_waiting:
                return self._read(_MEMBERS.decode(_on_one_line(payload)), payload)
        except UNREADABLE:
            pass  # it is read again below, as an event with lone surrogates
        try:
            joined = [(_MEMBERS.decode(each), each) for each in self._repairer.join(payload)]
        except (ValueError, *UNREADABLE) as error:
            return self._refuse(f"an event that cannot be read: {error}")
        return [event for members, each in joined for event in self._read(members, each)]

    def _read(self, members: dict[str, Raw], payload: bytes) -> list[ModelEvent]:
        if self.is_over:
            return []
        kind = _text(members["type"]) if "type" in members else None
        if kind in ERRORS or (kind is None and ("error" in members or "message" in members)):
            return self._fail(payload)
        if kind is None:
            return []
        wrong = _wrong_member(kind, members, payload)
        if wrong is not None:
            return self._refuse(f"`{kind}` whose {wrong}")
        self._note_sign(kind)
        mended = self._repairer.mend(kind, members)
        events: list[ModelEvent] = [Relayed(*each) for each in mended]
        if kind in TERMINAL:
            self.is_over = True
            return self._announced([*events, *_ending(kind, bytes(mended[-1][1].get("response", _NOTHING)))], kind)
        return self._announced(events, kind)

    def _refuse(self, what: str) -> list[ModelEvent]:
        self.is_over = True
        return [Failed(api_error("upstream_error", f"The target sent {what}."))]

    def _note_sign(self, kind: str) -> None:
        is_announcement = kind in ANNOUNCING
        self.signs += kind not in _KEEPALIVES and not (is_announcement and kind == self._announced_as)
        if is_announcement:
            self._announced_as = kind

    def _fail(self, payload: bytes) -> list[ModelEvent]:
        self.is_over = True
        self.failure = read_failure(payload)
        return [Failed(self.failure.error)]

    def _announced(self, events: list[ModelEvent], kind: str) -> list[ModelEvent]:
        """The events, after those that were held; none yet if the response is not announced.

        Sockets may omit the announcement (openai 3.54.0, its socket's notes): then Landline makes it.
        """
        if self.is_announced:
            return events
        self._held += events
        starts = kind in ITEM_EVENTS or self.is_over or len(self._held) > HELD_EVENTS
        if kind not in ANNOUNCING and not starts:
            return []
        self.is_announced = True
        held, self._held = self._held, []
        return held if kind in ANNOUNCING else [Accepted(), *held]


def _wrong_member(kind: str, members: dict[str, Raw], payload: bytes) -> str | None:
    """What is wrong with the object of an event, or with an event that is only passed on; None for nothing."""
    name = _OBJECTS.get(kind)
    if name is None:
        unreadable = find_unreadable(payload) if len(payload) > _MAX_DIGITS else None
        return f"text cannot be read: {unreadable}" if unreadable is not None else None
    value = members.get(name, _NOTHING if kind in ANNOUNCING else _NULL)
    if bytes(value)[:1] != b"{":
        return f"`{name}` is no object"
    unreadable = find_unreadable(value)
    if unreadable is not None:
        return f"`{name}` cannot be read: {unreadable}"
    if kind in TERMINAL and not _is_list_of_objects(value):
        return "`response.output` is no array of objects"
    return None


def _is_list_of_objects(response: Raw) -> bool:
    try:
        return all(bytes(item)[:1] == b"{" for item in _OUTPUT.decode(response).output or ())
    except msgspec.ValidationError:
        return False


def _on_one_line(payload: bytes) -> bytes:
    """The event without line breaks between its members: our own event streams give each event one line."""
    return msgspec.json.format(payload, indent=-1) if _LF in payload or _CR in payload else payload


def _text(value: Raw) -> str | None:
    """A string's value; None for anything else."""
    try:
        return _STRING.decode(value)
    except msgspec.ValidationError:
        return None


def _ending(kind: str, response: bytes) -> list[ModelEvent]:
    """The model events that a terminal event means."""
    usage = _read_usage(response)
    counted: list[ModelEvent] = [usage] if usage is not None else []
    if kind == FAILED:
        return [*counted, Failed(read_failed_response(response))]
    if kind == COMPLETED:
        return [*counted, Finished()]
    match _read_reason(response):
        case "max_output_tokens":
            return [*counted, Finished("max_output_tokens")]
        case "content_filter":
            return [*counted, Finished("content_filter")]
        case _:
            return [*counted, Finished()]


def _read_usage(response: bytes) -> UsageReported | None:
    """The upstream's usage; None if there is none, or it has another shape."""
    try:
        usage = _COUNTED.decode(response).usage
    except UNREADABLE:
        return None
    if usage is None:
        return None
    read, written = (
        usage.input_tokens_details or _UpstreamInputDetails(),
        usage.output_tokens_details or _UpstreamOutputDetails(),
    )
    return UsageReported(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=read.cached_tokens or 0,
        reasoning_tokens=written.reasoning_tokens or 0,
        cache_write_tokens=read.cache_write_tokens or 0,
    )


def _read_reason(response: bytes) -> str | None:
    try:
        details = _ENDED.decode(response).incomplete_details
    except UNREADABLE:
        return None
    return details.reason if details is not None else None


class ResponsesStreamDecoder:
    """Decodes one answer over HTTP, fed in any split: an event stream, or a response object of a server that does not stream."""

    def __init__(self) -> None:
        self._body = AnswerBody()
        self.progress = self._body.progress
        self._reader = EventReader()
        self._is_closed = False
        self._found: dict[str, None] = {}
        self._error: Failed | None = None
        """The error of an error event. If a terminal event follows, that counts instead: it has the response."""

    @property
    def oddities(self) -> Sequence[str]:
        """Oddities of the answer."""
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
    """Whether an unterminated record is complete."""
    return payload.rstrip()[-1:] in (b"}", b"]")


def _events_of(body: bytes) -> list[bytes]:
    """The events that a response object stands for; any other body is one event, an empty one none."""
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
        events += [{"type": step, **place} for step in (ITEM_ADDED, ITEM_DONE)]
    events.append({"type": f"response.{kind}", "response": Raw(body)})
    return [msgspec.json.encode(event) for event in events]
