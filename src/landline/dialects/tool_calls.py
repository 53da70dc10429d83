"""One tool call of an answer as it streams in: its model events, and the input of custom tools out of function arguments.

Used by the stream decoders of the dialects that rebuild answers, and by the embedded engine.
"""

import re
from typing import Literal

import msgspec

from landline.dialects.arguments import NO_ARGUMENTS, ArgumentsReader
from landline.dialects.dialect import Prompt
from landline.dialects.streamed_text import StreamedText
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent, ToolCallDelta, ToolCallStarted
from landline.wire.readable import UNREADABLE

_HEAD = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_HEAD_START = re.compile(r'\s*(\{\s*("(i(n(p(u(t("\s*(:\s*)?)?)?)?)?)?)?)?)?\Z')
"""Text that may still become a head."""
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)
"""A surrogate pair, one UTF-16 unit, or any other escape."""
_INCOMPLETE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_LOW_INCOMPLETE = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")
"""Text that may still become the low half of a surrogate pair."""


class StreamedCall:
    """A call whose name is known; emits its events under the client's name of the tool.

    If a function stands in for a custom tool, its arguments become that tool's input.
    """

    def __init__(self, index: int, call_id: str, name: str, tool_set: ToolSet) -> None:
        self._index = index
        self._input_decoder: CustomInputDecoder | None = None
        tool = tool_set.find_called(name)
        self.started = ToolCallStarted(index, call_id, name)
        if tool is not None:
            self.started = ToolCallStarted(index, call_id, tool.name, tool.kind, tool.namespace)
        if tool is not None and tool.kind == "custom" and tool.parameters:
            self._input_decoder = CustomInputDecoder()
        is_text = self.started.kind == "custom" and self._input_decoder is None
        self._input = StreamedText() if is_text else None
        """For a custom tool that the upstream supports natively."""
        self.arguments = ArgumentsReader(only_objects=self._input_decoder is not None)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are known to be complete."""
        return self.arguments.is_whole

    @property
    def is_truncated(self) -> bool:
        """Whether the arguments end in the middle of their JSON."""
        return self.arguments.is_truncated

    def add(self, text: str) -> list[ModelEvent]:
        """More of its arguments."""
        if self._input is not None:
            return self._delta(self._input.feed(text)) if text else []
        return self._say(self.arguments.feed(text))

    def settle(self, text: str) -> list[ModelEvent]:
        """The whole arguments, which the server repeats."""
        if self._input is not None:
            return self._delta(self._input.settle(text))
        return self._say(self.arguments.settle(text))

    def release(self) -> list[ModelEvent]:
        """Complete arguments that were held; called when another call begins."""
        return self._say(self.arguments.release()) if self._input is None else []

    def end(self, *, is_cut: bool = False) -> list[ModelEvent]:
        """What was still held when the arguments were complete, or truncated (`is_cut`); a second call returns nothing."""
        if self._input is not None:
            return self._delta(self._input.end())
        rest = self.arguments.end(is_cut=is_cut)
        if self._input_decoder is None:
            return self._delta(rest)
        if rest == self.arguments.text == NO_ARGUMENTS:
            return []
        text = self._input_decoder.feed(rest)
        return self._delta(text + self._input_decoder.end())

    def _say(self, text: str) -> list[ModelEvent]:
        if self._input_decoder is not None:
            text = self._input_decoder.feed(text)
        return self._delta(text)

    def _delta(self, text: str) -> list[ModelEvent]:
        return [ToolCallDelta(self._index, text)] if text else []


def call_id_prefix(prompt: Prompt) -> str:
    """Prefix of the ids made for calls to which the server gave none; different for every response."""
    item_count = prompt.history.item_count if prompt.history is not None else 0
    id_seed = prompt.response_id.removeprefix("resp_") or str(item_count)
    return f"call_{id_seed[:48]}"


class CustomInputDecoder:
    """Is fed the arguments in any split and returns the value of `input` as soon as its characters are certain.

    Arguments of another shape are held until the end: an object with one string yields that string, everything else
    passes unchanged, because text that a model wrote is never dropped.
    """

    def __init__(self) -> None:
        self._state: Literal["head", "string", "done", "other"] = "head"
        self._rest = ""

    def feed(self, text: str) -> str:
        """The next part of the input; "" while nothing is certain."""
        if self._state == "done":
            return ""
        self._rest += text
        if self._state == "head":
            self._read_head()
        return self._read_string() if self._state == "string" else ""

    def end(self) -> str:
        """What is left when the arguments are complete."""
        rest, self._rest = self._rest, ""
        if self._state in ("head", "other"):
            return _input_of(rest)
        return rest if self._state == "string" else ""

    def _read_head(self) -> None:
        head = _HEAD.match(self._rest)
        if head is not None:
            self._rest = self._rest[head.end() :]
            self._state = "string"
        elif _HEAD_START.match(self._rest) is None:
            self._state = "other"

    def _read_string(self) -> str:
        """Decodes as far as the text is certain; an invalid escape passes unchanged."""
        rest, pieces, position = self._rest, list[str](), 0
        while position < len(rest):
            plain = _PLAIN.match(rest, position)
            if plain is not None:
                pieces.append(plain.group())
                position = plain.end()
            elif rest[position] == '"':
                self._state, position = "done", len(rest)
            else:
                decoded = _read_escape(rest, position)
                if decoded is None:
                    break
                character, position = decoded
                pieces.append(character)
        self._rest = rest[position:]
        return "".join(pieces)


def _read_escape(text: str, start: int) -> tuple[str, int] | None:
    """The character of the escape at `start` and where it ends; None if more text is needed."""
    match = None if _INCOMPLETE.match(text, start) else _ESCAPE.match(text, start)
    if match is None:
        return None
    high, low, unit, other = match.groups()
    if other is not None:
        return _ESCAPES.get(other, "\\" + other), match.end()
    if unit is None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)), match.end()
    code = int(unit, 16)
    if 0xD800 <= code <= 0xDBFF and _LOW_INCOMPLETE.match(text, match.end()):
        return None
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code), match.end()


def _input_of(arguments: str) -> str:
    """The one string of a complete object, or the arguments as they are."""
    try:
        members = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return arguments
    value = members.get("input") or (next(iter(members.values())) if len(members) == 1 else None)
    if value is None:
        return arguments
    text = bytes(value)
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()
