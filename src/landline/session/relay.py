"""Passes on the response of an upstream that speaks Responses itself: its events and items stay the bytes that they are.

Ours are the response's id and what Landline does in the upstream's place (`previous_response_id`, `store`, `background`,
`conversation`), `sequence_number`, `stream_id`, and, behind a compaction of ours, `output_index`.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, UnsetType

from landline.session.output_items import Stamp
from landline.wire.event_names import (
    ANNOUNCING,
    ARGUMENTS_DELTA,
    COMPLETED,
    CUSTOM_INPUT_DELTA,
    FAILED,
    INCOMPLETE,
    ITEM_ADDED,
    ITEM_DONE,
    REFUSAL_DELTA,
    TERMINAL,
    TEXT_DELTA,
)
from landline.wire.events import OutputItemDone, RelayedEvent, ServerEvent
from landline.wire.items import Item, decode_item
from landline.wire.model_events import Relayed
from landline.wire.responses import IncompleteDetails, Response, ResponseError, ResponseStatus, Usage

_STATUSES: dict[str, ResponseStatus] = {COMPLETED: "completed", INCOMPLETE: "incomplete", FAILED: "failed"}
_GROWING = {TEXT_DELTA: "text", REFUSAL_DELTA: "refusal", ARGUMENTS_DELTA: "arguments", CUSTOM_INPUT_DELTA: "input"}
"""Deltas that are kept while their item is open: if the turn is stopped, the item ends with what it had."""


MAX_GAP = 1024
"""Upstreams number their items without gaps; a number this far ahead is not taken for one."""

_LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""

_Value = TypeVar("_Value")


class _Told(msgspec.Struct):
    """What is understood of the upstream's response object."""

    model: str | None = None
    status: str | None = None
    completed_at: float | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None


class _ItemHead(msgspec.Struct):
    type: str = ""


class _OpenItem(msgspec.Struct):
    """An item that was added and is not done yet."""

    raw: bytes
    texts: dict[str, list[str]]


_TOLD: msgspec.json.Decoder[_Told] = msgspec.json.Decoder(_Told)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_OBJECT: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_HEAD: msgspec.json.Decoder[_ItemHead] = msgspec.json.Decoder(_ItemHead)
_RAWS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_INDEX: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
_TEXT: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_NULL = Raw(b"null")
_encode = msgspec.json.Encoder().encode


class Relay:
    """The relayed part of one response. A turn that relays nothing never touches it."""

    def __init__(self, stamp: Stamp) -> None:
        self.is_announced = False
        """Whether the response was announced without the upstream's word, so that its own announcement is late."""
        self.has_called = False
        """Whether a call was relayed, whose output is owed."""
        self._stamp = stamp
        self._open: dict[int, _OpenItem] = {}
        self._offset: int | None = None
        """Output items of ours before the upstream's first."""
        self._terminal: Relayed | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the upstream told the response's end."""
        return self._terminal is not None

    @property
    def is_between_items(self) -> bool:
        return not self._open

    def feed(self, events: list[ServerEvent], event: Relayed, ours: Response, output: list[Item]) -> None:
        """Takes one event; items that are done stand in `output`. The terminal event waits for `close`."""
        if event.kind in TERMINAL:
            self._terminal = event
            return
        if event.kind in ANNOUNCING and self.is_announced:
            return
        members = event.members
        if "output_index" in members:
            members = self._place(event, output)
        if "response" in members:
            told = _read(members["response"], _MEMBERS, {})
            members = {**members, "response": Raw(_encode(_with_ours(told, ours)))}
        events.append(RelayedEvent(kind=event.kind, members=members, **self._stamp.next()))

    def finish_open(self, events: list[ServerEvent], output: list[Item]) -> None:
        """Ends the items that the upstream left open, with what they had."""
        for index, open_item in sorted(self._open.items()):
            raw = _unfinished(open_item)
            output[index] = _item(raw)
            events.append(OutputItemDone(output_index=index, item=Raw(raw), **self._stamp.next()))
        self._open.clear()
        if self._offset is not None:
            _drop_gaps(output)

    def close(
        self, events: list[ServerEvent], ours: Response, output: list[Item], usage: Usage | None, *, has_spent: bool
    ) -> tuple[Response, bytes]:
        """Appends the terminal event; returns what is understood of the response, and its whole object.

        `has_spent`: the usage is the sum of several passes, not the upstream's own.
        """
        assert self._terminal is not None
        members = dict(_read(self._terminal.members.get("response", _NULL), _MEMBERS, {}))
        told = _read(Raw(_encode(members)), _TOLD, _Told())
        items = _read(members.get("output", _NULL), _RAWS, [])
        start = len(output) if self._offset is None else self._offset
        told_items = [_item(bytes(raw)) for raw in items]
        output[start:] = final_items(output[start:], told_items, has_open=bool(self._open))
        _drop_gaps(output)
        if start or not items:
            members["output"] = Raw(_encode([Raw(item.raw) for item in output]))
        if has_spent:
            members["usage"] = Raw(_encode(usage))
        response = msgspec.structs.replace(
            ours,
            model=told.model or ours.model,
            status=_status(self._terminal.kind, told),
            completed_at=_second(told.completed_at),
            error=told.error,
            incomplete_details=told.incomplete_details,
            output=[Raw(item.raw) for item in output],
            usage=usage,
        )
        members["status"] = Raw(_encode(response.status))
        body = _encode(_with_ours(members, response))
        event = {**self._terminal.members, "response": Raw(body)}
        events.append(RelayedEvent(kind=self._terminal.kind, members=event, **self._stamp.next()))
        return response, body

    def _place(self, event: Relayed, output: list[Item]) -> dict[str, Raw]:
        """Notes what the event says of its item; returns the members with the item's place in our output."""
        if self._offset is None:
            self._offset = len(output)
        index = _read(event.members["output_index"], _INDEX, -1) + self._offset
        if not self._offset <= index <= len(output) + MAX_GAP:
            return event.members
        item = bytes(event.members.get("item", _NULL))
        if event.kind == ITEM_ADDED and item[:1] == b"{":
            self._reserve(index, output)
            self._open[index] = _OpenItem(item, {})
        elif event.kind == ITEM_DONE and item[:1] == b"{":
            self._reserve(index, output)
            self._open.pop(index, None)
            output[index] = _item(item)
            self.has_called = self.has_called or output[index].type.endswith("_call")
        elif event.kind in _GROWING and index in self._open:
            text = _read(event.members.get("delta", _NULL), _TEXT, "")
            self._open[index].texts.setdefault(_GROWING[event.kind], []).append(text)
        return event.members if not self._offset else {**event.members, "output_index": Raw(str(index).encode())}

    def _reserve(self, index: int, output: list[Item]) -> None:
        """Makes room up to the index."""
        while len(output) <= index:
            output.append(_NOTHING)


def final_items(done: Sequence[_Value], terminal: Sequence[_Value], *, has_open: bool) -> Sequence[_Value]:
    """The items of a response that ended: those that its terminal event lists, or those that were done one by one.

    The terminal event counts if it lists at least as many: Azure tells encrypted content only there (earendil-works/pi#4256,
    2026-05). It also counts if an item was left open, whatever it lists.
    """
    return terminal if terminal and (has_open or len(terminal) >= len(done)) else done


_NOTHING = Item(raw=b"null", type="")


def _drop_gaps(output: list[Item]) -> None:
    output[:] = [item for item in output if item is not _NOTHING]


def _read(raw: Raw, decoder: msgspec.json.Decoder[_Value], otherwise: _Value) -> _Value:
    """The value as the decoder reads it; `otherwise` if it is something else: an upstream's mistake breaks no turn."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return otherwise


def _with_ours(members: dict[str, Raw], ours: Response) -> dict[str, Raw]:
    """The upstream's response object as our client knows it."""
    changed: dict[str, object] = {"id": ours.id, "previous_response_id": ours.previous_response_id}
    changed |= {name: getattr(ours, name) for name in ("store", "background") if name in members}
    if not isinstance(ours.conversation, UnsetType):
        changed["conversation"] = ours.conversation
    return {**members, **{name: Raw(_encode(value)) for name, value in changed.items()}}


def _item(raw: bytes) -> Item:
    """The item, whatever it is: what an upstream made is never refused."""
    try:
        return decode_item(raw)
    except msgspec.ValidationError:
        return Item(raw=raw, type=_read(Raw(raw), _HEAD, _ItemHead()).type)


def _status(kind: str, told: _Told) -> ResponseStatus:
    status = _STATUSES[kind]
    return "cancelled" if status == "incomplete" and told.status == "cancelled" else status


def _second(time: float | None) -> int | None:
    """A time of an upstream as we keep it; None for what is no time."""
    return int(time) if time is not None and 0 <= time <= _LAST_SECOND else None


def _unfinished(item: _OpenItem) -> bytes:
    """The item as it stood when the turn was stopped: its first members, and the text that came since."""
    members = _read(Raw(item.raw), _OBJECT, {})
    texts = {name: "".join(chunks) for name, chunks in item.texts.items()}
    parts: list[dict[str, object]] = []
    if "text" in texts:
        parts.append({"type": "output_text", "text": texts.pop("text"), "annotations": []})
    if "refusal" in texts:
        parts.append({"type": "refusal", "refusal": texts.pop("refusal")})
    if parts:
        members["content"] = parts
    return _encode({**members, **texts, "status": "incomplete"})
