"""Reads tool calls that a model writes as JSON, bare or between tags, out of its text as it streams. Pure.

Text that is not a call stays text, and is passed on as soon as it is certain that it is none. Nothing that the model
wrote is dropped: JSON that turns out to be no call is given as the text that it is.
"""

import re
from collections.abc import Callable
from typing import Literal, assert_never

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.arguments import JsonScanner
from landline.dialects.tool_calls import CustomInputDecoder
from landline.dialects.tools import UpstreamTool
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    ModelEvent,
    ReasoningDelta,
    ReasoningSigned,
    ReasoningSummaryDelta,
    RefusalDelta,
    Relayed,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)
from landline.wire.readable import UNREADABLE

_OPEN_TAG = "<tool_call>"
_CLOSE_TAG = "</tool_call>"
_HEAD = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
_FIRST_KEY = re.compile(r'\{\s*"([^"\\]*)"')
_CALL_KEYS = frozenset(("name", "arguments", "parameters", "function", "type", "id"))
"""With any other first member the object is an answer, not a call."""


class _WholeCall(msgspec.Struct, frozen=True):
    """A call in any order of its members, as different models spell them."""

    name: str | None = None
    arguments: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    function: Raw | UnsetType = UNSET


_WHOLE: msgspec.json.Decoder[_WholeCall] = msgspec.json.Decoder(_WholeCall)


class CallReader:
    """Model events in, model events out; one per turn. `find` gives the tool of a name that the model used."""

    def __init__(self, find: Callable[[str], UpstreamTool | None], call_id_prefix: str) -> None:
        self.calls_read = 0
        self._find = find
        self._call_id_prefix = call_id_prefix
        self._state: Literal["start", "text", "json", "arguments", "tail", "after"] = "start"
        self._buffer = ""
        """Text that was not used yet."""
        self._held: list[TextDelta] = []
        """The same as deltas, to be passed on as they came."""
        self._scanner = JsonScanner()
        self._scanned = 0
        """How much of the buffer the scanner has seen."""
        self._call: _StreamingCall | None = None
        self._out: list[ModelEvent] = []

    def read(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """The events that these complete, in order."""
        for event in events:
            match event:
                case TextDelta():
                    self._held.append(event)
                    self._buffer += event.text
                    while self._step():
                        pass
                case Finished() | Failed() | UsageReported():
                    self._end()
                    self._out.append(event)
                case ToolCallStarted(index=index):
                    self.calls_read = max(self.calls_read, index + 1)
                    self._out.append(event)
                case (
                    Accepted()
                    | RefusalDelta()
                    | ReasoningDelta()
                    | ReasoningSummaryDelta()
                    | ReasoningSigned()
                    | Relayed()
                    | ToolCallDelta()
                    | ToolCallEnded()
                    | CompactionStarted()
                    | Compacted()
                ):
                    self._out.append(event)
                case _:
                    assert_never(event)
        out, self._out = self._out, []
        return out

    def _step(self) -> bool:
        """Takes one step; False when more text is needed."""
        match self._state:
            case "start" | "after":
                return self._look_for_call()
            case "text":
                return self._pass_text()
            case "json":
                return self._read_object()
            case "arguments":
                return self._stream_arguments()
            case "tail":
                return self._skip_tail()

    def _look_for_call(self) -> bool:
        """Whether what comes next is a call, cannot be one, or is not known yet."""
        text = self._buffer.lstrip()
        is_after = self._state == "after"
        if is_after and text.startswith(_CLOSE_TAG):
            self._keep(text[len(_CLOSE_TAG) :])
            return True
        body = text.removeprefix(_OPEN_TAG).lstrip()
        if not body or _OPEN_TAG.startswith(body) or (is_after and _CLOSE_TAG.startswith(body)):
            return False
        start = len(self._buffer) - len(body)
        if body[0] == "{":
            self._scanner = JsonScanner()
            self._scanned = start
            self._state = "json"
            return True
        if text.startswith(_OPEN_TAG):  # a tag around something else is text, and is not looked at again
            self._out.append(TextDelta(self._buffer[:start]))
            self._keep(body)
        self._state = "text"
        return True

    def _pass_text(self) -> bool:
        """Passes text on; holds back only what may be the beginning of a tag."""
        at = self._buffer.find(_OPEN_TAG)
        if at >= 0:
            before = self._buffer[:at]
            if before:
                self._out.append(TextDelta(before))
            self._keep(self._buffer[at:])
            self._state = "start"
            return True
        if not _may_begin_tag(self._buffer):
            self._give_up()
        return False

    def _read_object(self) -> bool:
        start = self._buffer.index("{")
        first_key = _FIRST_KEY.match(self._buffer, start)
        if first_key is not None and first_key.group(1) not in _CALL_KEYS:
            self._give_up()
            return False
        if self._open_early(start):
            return True
        length = self._scanner.feed(self._buffer[self._scanned :])
        if length is None:
            self._scanned = len(self._buffer)
            return False
        end = self._scanned + length
        if self._read_whole(self._buffer[start:end]):
            self._keep(self._buffer[end:])
            self._state = "after"
            return True
        self._give_up()
        return False

    def _open_early(self, start: int) -> bool:
        """Starts a call as soon as its name is known and its arguments begin."""
        head = _HEAD.match(self._buffer, start)
        tool = self._find(msgspec.json.decode(head.group(1), type=str)) if head is not None else None
        if head is None or tool is None:
            return False
        self._call = self._start(tool)
        self._scanner = JsonScanner()
        self._keep(self._buffer[head.end() :])
        self._state = "arguments"
        return True

    def _stream_arguments(self) -> bool:
        end = self._scanner.feed(self._buffer)
        if self._call is not None:
            self._out += self._call.feed(self._buffer[:end])
        self._keep("" if end is None else self._buffer[end:])
        if end is None:
            return False
        if self._call is not None:
            self._out += self._call.end()
        self._call = None
        self._scanner = JsonScanner(depth=1)
        self._state = "tail"
        return True

    def _skip_tail(self) -> bool:
        """Leaves out the rest of the call's own object: its brace, or members that mean nothing here."""
        end = self._scanner.feed(self._buffer)
        self._keep("" if end is None else self._buffer[end:])
        if end is not None:
            self._state = "after"
        return end is not None

    def _read_whole(self, text: str) -> bool:
        """Reads a call whose members came in another order; whether it was one."""
        try:
            call = _WHOLE.decode(text)
            if call.name is None and not isinstance(call.function, UnsetType):
                call = _WHOLE.decode(call.function)
        except UNREADABLE:
            return False
        tool = self._find(call.name) if call.name is not None else None
        if tool is None:
            return False
        made = self._start(tool)
        self._out += made.feed(_arguments_text(call))
        self._out += made.end()
        return True

    def _start(self, tool: UpstreamTool) -> "_StreamingCall":
        index = self.calls_read
        self.calls_read += 1
        call_id = f"{self._call_id_prefix}_{index}"
        self._out.append(ToolCallStarted(index, call_id, tool.name, tool.kind, tool.namespace))
        return _StreamingCall(index, tool)

    def _end(self) -> None:
        """The model is done: what is held is text; a call that is open ends with the turn."""
        if self._call is not None:
            self._out += self._call.cut()
            self._call = None
        if self._state in ("start", "text", "json") or self._buffer.strip():
            self._out += self._held
        self._keep("")

    def _give_up(self) -> None:
        """What is held is text."""
        self._out += self._held
        self._keep("")
        self._state = "text"

    def _keep(self, rest: str) -> None:
        """Forgets what was used."""
        self._buffer = rest
        self._held = [TextDelta(rest)] if rest else []


class _StreamingCall:
    """A call whose arguments are streaming."""

    def __init__(self, index: int, tool: UpstreamTool) -> None:
        self._index = index
        self._input = CustomInputDecoder() if tool.kind == "custom" else None

    def feed(self, text: str) -> list[ModelEvent]:
        return self._delta(text if self._input is None else self._input.feed(text))

    def end(self) -> list[ModelEvent]:
        return [*self.cut(), ToolCallEnded(self._index)]

    def cut(self) -> list[ModelEvent]:
        """The rest of a call that the model did not finish."""
        return self._delta("" if self._input is None else self._input.end())

    def _delta(self, text: str) -> list[ModelEvent]:
        return [ToolCallDelta(self._index, text)] if text else []


def _may_begin_tag(text: str) -> bool:
    at = text.rfind("<")
    return at >= 0 and _OPEN_TAG.startswith(text[at:])


def _arguments_text(call: _WholeCall) -> str:
    """Arguments as JSON text; some models write them as a string of JSON, or leave them out."""
    for value in (call.arguments, call.parameters):
        if not isinstance(value, UnsetType):
            data = bytes(value)
            text = msgspec.json.decode(data, type=str) if data[:1] == b'"' else data.decode()
            return "{}" if text in ("", "null") else text
    return "{}"
