"""Repairs odd events of a Responses server so that clients can read them; called by `events` for every relayed event."""

import json
import re
from codecs import BOM_UTF8
from typing import Any, cast

import msgspec
from msgspec import Raw

from landline.dialects.arguments import ArgumentsReader
from landline.dialects.lenient_json import SurrogateJoiner, replace_lone_surrogates
from landline.wire.event_names import ARGUMENTS_DELTA, ARGUMENTS_DONE, DELTAS, ITEM_DONE, ITEM_EVENTS, TERMINAL
from landline.wire.readable import UNREADABLE

Members = dict[str, Raw]

_CALL = b'"function_call"'
_WHOLE_NUMBER = re.compile(rb"0|[1-9]\d{0,8}")
_IDS = ("id", "call_id")
_PLACE = ("type", "item_id", "output_index", "content_index", "summary_index")
"""Members that identify the text to which a delta belongs."""
_MEMBERS: msgspec.json.Decoder[Members] = msgspec.json.Decoder(Members)
_STRING: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_INTEGER: msgspec.json.Decoder[int] = msgspec.json.Decoder(int)
_RAWS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


class EventRepairer:
    """Repairs the events of one response. Members that nobody needs stay unchanged, however odd."""

    def __init__(self) -> None:
        self.is_waiting = False
        """Whether a low surrogate is missing, so that the next event must go through `join`."""
        self.found: dict[str, None] = {}
        """Oddities, for the log."""
        self._halves = SurrogateJoiner()
        self._waiting: dict[str, Members] = {}
        """Events whose text ends in a high surrogate, by the place of that text."""
        self._said: set[bytes] = set()
        """`output_index` of the calls whose arguments came in deltas."""

    def join(self, payload: bytes) -> list[bytes]:
        """The events for one that contains lone surrogates, or follows one; none for JSON that is no event.

        Raises ValueError, RecursionError or msgspec.DecodeError for what is no JSON.
        """
        told: Any = json.loads(payload.decode("utf-8", "replace").lstrip("\ufeff"), strict=False)
        if not isinstance(told, dict):
            if isinstance(told, list) and told:
                raise ValueError("expected an object, got an array")
            self.found["an event is no object"] = None
            return []
        record = cast("dict[str, Any]", told)
        place = json.dumps([record.get(name) for name in _PLACE])
        delta = record.get("delta")
        flushed = self._flush() if place not in self._waiting else []
        members = _MEMBERS.decode(replace_lone_surrogates(payload.removeprefix(BOM_UTF8)))
        if isinstance(delta, str) and delta:
            text: str = self._halves.mend({place: {"delta": delta}})[place]["delta"]
            self._waiting.pop(place, None)
            if self._halves.is_waiting:
                self._waiting[place] = members
            self.is_waiting = bool(self._waiting)
            if not text:
                return flushed
            members["delta"] = Raw(_encode(text))
        return [*flushed, _encode(members)]

    def _flush(self) -> list[bytes]:
        """Deltas with U+FFFD for high surrogates whose low surrogate does not follow."""
        flushed = [_encode({**members, "delta": "\ufffd"}) for members in self._waiting.values()]
        self._waiting.clear()
        self._halves = SurrogateJoiner()
        self.is_waiting = False
        return flushed

    def mend(self, kind: str, members: Members) -> list[tuple[str, Members]]:
        """The event as clients can read it: none if it is empty, two if the arguments that it ends had no delta."""
        index = members.get("output_index")
        if index is not None and not _is_integer(index) and bytes(index)[:1] == b'"':
            digits = bytes(index).strip(b'"')
            members = {**members, "output_index": Raw(digits if _WHOLE_NUMBER.fullmatch(digits) else b"0")}
            self.found["`output_index` is a string in place of an integer"] = None
        if kind in DELTAS:
            delta = members.get("delta")
            if delta is None or not is_string(delta):
                self.found[f"`delta` of `{kind}` is no string"] = None
                return []
            if kind == ARGUMENTS_DELTA and bytes(delta) != b'""':
                self._said.add(bytes(members.get("output_index", b"")))
        elif kind == ARGUMENTS_DONE:
            return self._end_arguments(members)
        elif kind in ITEM_EVENTS and "item" in members:
            item = self._mend_item(bytes(members["item"]), is_done=kind == ITEM_DONE)
            members = members if item is None else {**members, "item": Raw(item)}
        elif kind in TERMINAL and _CALL in bytes(members.get("response", b"")):
            members = {**members, "response": self._mend_response(members["response"])}
        return [(kind, members)]

    def _end_arguments(self, members: Members) -> list[tuple[str, Members]]:
        mended = _mended(members.get("arguments"))
        if mended is None:
            return [(ARGUMENTS_DONE, members)]
        place = bytes(members.get("output_index", b""))
        told = [(ARGUMENTS_DONE, {**members, "arguments": mended})]
        if place in self._said:
            return told
        self._said.add(place)
        delta = {name: value for name, value in members.items() if name not in ("arguments", "name")}
        return [(ARGUMENTS_DELTA, {**delta, "type": Raw(_encode(ARGUMENTS_DELTA)), "delta": mended}), *told]

    def _mend_item(self, item: bytes, *, is_done: bool) -> bytes | None:
        """The item with string ids and, once it is done, with JSON arguments; None if nothing needs repair."""
        try:
            members = _MEMBERS.decode(item)
        except msgspec.DecodeError:
            return None
        changed: Members = {}
        for name in _IDS:
            if name in members and bytes(members[name])[:1] in b"-0123456789":
                changed[name] = Raw(b'"' + bytes(members[name]) + b'"')
                self.found[f"`item.{name}` is a number in place of a string"] = None
        is_call = bytes(members.get("type", b"")) == _CALL
        if is_done and is_call and bytes(members.get("status", b"")) != b'"incomplete"':
            mended = _mended(members.get("arguments"))
            if mended is not None:
                changed["arguments"] = mended
        return _encode({**members, **changed}) if changed else None

    def _mend_response(self, response: Raw) -> Raw:
        try:
            members = _MEMBERS.decode(response)
            items = _RAWS.decode(members.get("output", b"[]"))
        except msgspec.DecodeError:
            return response
        mended = [self._mend_item(bytes(item), is_done=True) for item in items]
        if not any(mended):
            return response
        output = [Raw(new) if new is not None else old for new, old in zip(mended, items, strict=True)]
        return Raw(_encode({**members, "output": Raw(_encode(output))}))


def is_string(value: Raw) -> bool:
    """Whether the value is a JSON string, well-formed or not. Decoding a short one costs less than copying its bytes."""
    try:
        _STRING.decode(value)
    except msgspec.ValidationError:
        return False
    except UNREADABLE:
        return bytes(value)[:1] == b'"'
    return True


def _is_integer(value: Raw) -> bool:
    try:
        _INTEGER.decode(value)
    except UNREADABLE:
        return False
    return True


def _mended(arguments: Raw | None) -> Raw | None:
    """The arguments as one JSON text; None if nothing needs repair."""
    data = bytes(arguments) if arguments is not None else b"null"
    try:
        text = msgspec.json.decode(data, type=str) if data[:1] == b'"' else data.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    reader = ArgumentsReader()
    read = reader.feed(text) + reader.end(is_cut=False)
    return Raw(_encode(read)) if read != text or data[:1] != b'"' else None
