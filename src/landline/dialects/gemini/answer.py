"""Converts the parts of an answer to model events, with their signatures; used by `stream`."""

import re
from collections.abc import Callable
from typing import Any, Literal, cast

import msgspec
from msgspec import UnsetType

from landline.dialects.gemini.chunks import FunctionCallPart, Part, PartialArg
from landline.dialects.gemini.parts import VENDOR, PartSignature, encode_signature
from landline.dialects.streamed_text import StreamedText
from landline.dialects.tool_calls import StreamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import (
    LogprobEntry,
    ModelEvent,
    ReasoningSigned,
    ReasoningSummaryDelta,
    TextDelta,
    ToolCallEnded,
)

_OWN_PREFIXES = ("default_api:", "default_api.")
"""Prefixes that models sometimes put before a tool's name, because their prompt shows the tools that way."""
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[(?:'([^']*)'|\"([^\"]*)\")\]")
"""One step of a JSONPath (RFC 9535) to a single value: a member in either spelling, or an index."""


class PartReader:
    """Reads parts in order.

    Text in many parts is one text to our client, so its signatures are emitted when it ends: a `ReasoningSigned` in the
    middle would end the message.
    """

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, model: str) -> None:
        self._calls = FunctionCallReader(find_tools, call_id_prefix, model)
        self._model = model
        self._said = {"text": StreamedText(), "thought": StreamedText()}
        self._kind: Literal["text", "thought"] | None = None
        self._chars = 0
        """Characters of the current text or thought."""
        self._text_blocks: list[ModelEvent] = []
        self.has_said = False
        """Whether there was any text, thought or call."""

    def read(
        self, part: Part, logprobs: list[LogprobEntry] | None, events: list[ModelEvent], *, is_last: bool = False
    ) -> None:
        """Appends the events of one part; unknown parts are ignored. `is_last`: the answer ends with it."""
        if part.function_call is not None:
            self._enter(None, events)
            self.has_said = True
            events += self._calls.read(part.function_call, part.thought_signature)
        elif part.text is None and part.thought_signature is None:
            return
        elif part.thought:
            self._enter("thought", events)
            text = self._said["thought"].feed(part.text, is_last=is_last) if part.text else ""
            if text:
                events.append(ReasoningSummaryDelta(text))
            events += self._count("thought", text, part)
        else:
            self._enter("text", events)
            text = self._said["text"].feed(part.text, is_last=is_last) if part.text else ""
            if text:
                events.append(TextDelta(text, logprobs))
            self._text_blocks += self._count("text", text, part)

    def end(self, events: list[ModelEvent]) -> None:
        """Appends what was still held when the answer ended."""
        self._enter(None, events)
        events += self._calls.end()

    def _enter(self, kind: Literal["text", "thought"] | None, events: list[ModelEvent]) -> None:
        if kind == self._kind and kind is not None:
            return
        thought, text = self._said["thought"].end(), self._said["text"].end()
        if thought:
            events.append(ReasoningSummaryDelta(thought))
        if text:
            events.append(TextDelta(text))
        # Positions in signatures count from the beginning of one continuous text or thought.
        self._kind, self._chars = kind, 0
        events += self._text_blocks
        self._text_blocks = []

    def _count(self, kind: Literal["text", "thought"], text: str, part: Part) -> list[ModelEvent]:
        """Counts the new text of a part; returns the event of its signature, if it has one."""
        start = self._chars
        self._chars += len(text)
        self.has_said = self.has_said or bool(part.text)
        if not part.thought_signature:
            return []
        block = PartSignature(kind, part.thought_signature, self._model, start=start, end=self._chars)
        return [ReasoningSigned(VENDOR, encode_signature(block))]


class _PartialCall:
    """A call whose arguments come in pieces."""

    def __init__(self, call: FunctionCallPart, signature: str | None) -> None:
        self.head = call
        self.signature = signature
        self.arguments = ArgumentsBuilder()


class FunctionCallReader:
    """Reads function calls. Gemini sends each call whole, in a part of its own."""

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, model: str) -> None:
        self._find_tools = find_tools
        self._call_id_prefix = call_id_prefix
        self._model = model
        self._call_ids: dict[str, tuple[str, str]] = {}
        """Call id → name and arguments."""
        self._open: _PartialCall | None = None

    def read(self, call: FunctionCallPart, signature: str | None) -> list[ModelEvent]:
        """The events of one part: the call's signature, then the call."""
        if self._open is None:
            if not call.will_continue and not call.partial_args:
                return self._make(call, signature, _arguments_text(call), is_whole=True)
            self._open = _PartialCall(call, signature)
        opened = self._open
        opened.signature = opened.signature or signature
        for piece in call.partial_args or ():
            opened.arguments.add(piece)
        return [] if call.will_continue else self._end_open(is_whole=True)

    def end(self) -> list[ModelEvent]:
        """The call whose last piece never came, with the arguments so far."""
        return self._end_open(is_whole=False)

    def _end_open(self, *, is_whole: bool) -> list[ModelEvent]:
        opened, self._open = self._open, None
        if opened is None:
            return []
        return self._make(opened.head, opened.signature, opened.arguments.encode(), is_whole=is_whole)

    def _make(
        self, call: FunctionCallPart, signature: str | None, arguments: str, *, is_whole: bool
    ) -> list[ModelEvent]:
        index = len(self._call_ids)
        call_id = call.id or ""
        said = call.name or "", arguments
        if self._call_ids.get(call_id) == said:
            return []  # gateways repeat calls in the last record
        if not call_id or call_id in self._call_ids:
            call_id = f"{self._call_id_prefix}_{index}"
        self._call_ids[call_id] = said
        events: list[ModelEvent] = []
        if signature:
            block = PartSignature("call", signature, self._model, call_id=call_id)
            events.append(ReasoningSigned(VENDOR, encode_signature(block)))
        tools = self._find_tools()
        named = StreamedCall(index, call_id, _tool_name(call.name or "", tools), tools)
        events += [named.started, *named.add(arguments), *named.end(is_cut=not is_whole)]
        return [*events, ToolCallEnded(index)] if is_whole else events


def _tool_name(name: str, tools: ToolSet) -> str:
    bare = next((name.removeprefix(prefix) for prefix in _OWN_PREFIXES if name.startswith(prefix)), name)
    return bare if tools.find_called(name) is None and tools.find_called(bare) is not None else name


def _arguments_text(call: FunctionCallPart) -> str:
    """The arguments unchanged; `ArgumentsReader` handles what is no object."""
    return "" if isinstance(call.args, UnsetType) else bytes(call.args).decode("utf-8", "replace")


class ArgumentsBuilder:
    """Assembles one call's arguments from values with JSONPaths.

    Only the Enterprise Agent Platform sends such pieces, if `streamFunctionCallArguments` is set, which Landline does not do;
    a gateway may.
    """

    def __init__(self) -> None:
        self._arguments: dict[str | int, Any] = {}

    def add(self, piece: PartialArg) -> None:
        """Adds a piece: strings are concatenated, any other value is complete."""
        path = [_step(found) for found in _STEP.finditer(piece.json_path)]
        if not path:
            return
        holder = self._arguments
        for step in path[:-1]:
            holder = holder.setdefault(step, {})
        before = holder.get(path[-1])
        value = _value_of(piece)
        holder[path[-1]] = before + value if isinstance(before, str) and isinstance(value, str) else value

    def encode(self) -> str:
        """The object as JSON text."""
        return msgspec.json.encode(_plain(self._arguments) or {}).decode()


def _step(found: re.Match[str]) -> str | int:
    member, index, quoted, double_quoted = found.groups()
    return int(index) if index is not None else member or quoted or double_quoted or ""


def _value_of(piece: PartialArg) -> str | float | bool | None:
    if piece.string_value is not None:
        return piece.string_value
    return piece.bool_value if piece.bool_value is not None else piece.number_value


def _plain(value: Any) -> Any:
    """Converts the nested dictionaries: one whose keys are all integers is an array."""
    if not isinstance(value, dict):
        return value
    holder = cast("dict[str | int, Any]", value)
    if holder and all(isinstance(key, int) for key in holder):
        return [_plain(holder[key]) for key in sorted(holder, key=int)]
    return {str(key): _plain(each) for key, each in holder.items()}
