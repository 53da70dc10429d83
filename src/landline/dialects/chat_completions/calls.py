"""Assembles tool calls from streamed pieces, whatever a server omits or repeats; used by `stream`."""

from collections.abc import Callable, Container, Sequence

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.arguments import json_state
from landline.dialects.chat_completions.chunks import CallDelta, CallFunction
from landline.dialects.tool_calls import StreamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent
from landline.wire.readable import UNREADABLE

LEGACY_INDEX = -1
"""Index of the single call of the legacy `function_call` member."""


class _CallInProgress:
    """One call while its pieces come in."""

    __slots__ = ("given_id", "index", "name", "named", "position", "texts")

    def __init__(self, position: int, index: int | None) -> None:
        self.position = position
        self.index = index
        """The server's index."""
        self.given_id = ""
        """The server's id."""
        self.name = ""
        """The name so far."""
        self.texts: list[str] = []
        """Argument pieces that came before the name was known."""
        self.named: StreamedCall | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are complete."""
        return self.named.is_whole if self.named is not None else json_state("".join(self.texts)) == "whole"

    @property
    def is_empty(self) -> bool:
        """Whether only its index came, as in the last piece of some gateways."""
        return self.named is None and not self.name and not self.given_id and not "".join(self.texts).strip()

    def goes_on(self, text: str) -> bool:
        """Whether the text can only continue its arguments: they are incomplete, and no object begins here."""
        reader = self.named.arguments if self.named is not None else None
        is_open = reader is not None and reader.has_begun and not reader.is_whole
        return is_open and bool(text) and text.lstrip()[:1] != "{"

    def is_said_by(self, text: str) -> bool:
        """Whether the text repeats its arguments, which came in pieces, or is cumulative."""
        reader = self.named.arguments if self.named is not None else None
        if reader is None or not reader.has_begun:
            return False
        return (
            reader.is_in_pieces and _same_json(reader.text, text) if reader.is_whole else text.startswith(reader.text)
        )


class CallAssembler:
    """The calls of one answer.

    Known quirks (November 2026): no `index` (older Ollama, some gateways); the same index for parallel calls (Ollama, Gemini's
    chat-completions layer), with or without ids; no or empty `id`, or a different one in every piece (vLLM); ids of earlier
    answers (`call_0`); `name` empty or repeated in later pieces, or split; arguments as an object, repeated in the last
    piece, or cumulative.
    """

    def __init__(
        self, find_tools: Callable[[], ToolSet], find_call_ids: Callable[[], Container[str]], call_id_prefix: str
    ) -> None:
        """`find_call_ids` returns the ids of the conversation so far: clients identify a call by its id alone."""
        self._find_tools = find_tools
        self._find_call_ids = find_call_ids
        self._call_id_prefix = call_id_prefix
        self.has_begun = False
        self._calls: list[_CallInProgress] = []
        self._started = 0
        """How many calls were announced; they are announced in order."""
        self._by_index: dict[int, _CallInProgress] = {}
        self._by_id: dict[str, _CallInProgress] = {}
        self._call_ids: set[str] = set()
        self.renamed: dict[str, str] = {}
        """Replaced call ids: the server's → the client's."""

    def feed(self, pieces: Sequence[CallDelta]) -> list[ModelEvent]:
        """The events of the pieces of one chunk."""
        events: list[ModelEvent] = []
        siblings: list[_CallInProgress] = []
        for piece in pieces:
            events += self._read(piece, siblings)
        return events

    def settle(self, calls: Sequence[CallDelta]) -> list[ModelEvent]:
        """The events of whole calls that the server repeats: missing text, and calls that did not come before."""
        events: list[ModelEvent] = []
        known = list(self._calls)
        for place, whole in enumerate(calls):
            name, text = _read_delta(whole)
            call = self._by_id.get(whole.id or "") or (known[place] if place < len(known) else None)
            if call is None or (call.name and name and call.name != name):
                events += self._read(msgspec.structs.replace(whole, index=None), [*self._calls])
            elif call.named is not None:
                events += call.named.settle(text)
            else:
                call.texts = [text]
                events += self._name(call, whole, name)
        return events

    def end(self, *, is_cut: bool) -> list[ModelEvent]:
        """What was still held when the answer ended."""
        events: list[ModelEvent] = []
        for call in self._calls:
            if call.named is None and call.name:
                events += self._start(call)
        for call in list(self._calls):
            if call.named is not None:
                events += call.named.end(is_cut=is_cut)
                events += (event for text in call.named.arguments.others for event in self._split(call, text))
        return events

    def are_whole(self) -> bool:
        """Whether all calls are complete."""
        return all(call.is_whole for call in self._calls if not call.is_empty)

    def has_truncated(self) -> bool:
        """Whether a call is truncated, whatever finish reason the server gives."""
        return any(call.named is not None and call.named.is_truncated for call in self._calls)

    def has_nameless(self) -> bool:
        """Whether a call never got its name."""
        return any(call.named is None and not call.name and not call.is_empty for call in self._calls)

    def _read(self, delta: CallDelta, siblings: list[_CallInProgress]) -> list[ModelEvent]:
        """`siblings`: the calls of the earlier pieces of the same chunk."""
        name, text = _read_delta(delta)
        if not name and not delta.id and delta.index is not None:
            going_on = self._by_index.get(delta.index)
            if going_on is not None and going_on.named is not None:
                return going_on.named.add(text)
        call = self._find_call(delta, name, text, siblings)
        siblings.append(call)
        if call.named is not None:
            return call.named.add(text)
        if text:
            call.texts.append(text)
        return self._name(call, delta, name)

    def _name(self, call: _CallInProgress, delta: CallDelta, name: str) -> list[ModelEvent]:
        """Takes the id and name of a piece, and starts the calls whose names are complete."""
        if delta.id:
            call.given_id = call.given_id or delta.id
            self._by_id.setdefault(delta.id, call)
        if name:
            call.name = self._joined(call.name, name)
        events: list[ModelEvent] = []
        for waiting in self._calls[self._started :]:
            if not waiting.name or not self._is_named(waiting, is_over=waiting is call and not name):
                break
            events += self._start(waiting)
        return events

    def _joined(self, before: str, name: str) -> str:
        """The name with one more piece, which may be a repetition, or cumulative."""
        tools = self._find_tools()
        # A split name is recognised by the tools: only the two parts together name one.
        if tools.find_called(before + name) is not None and tools.find_called(name) is None:
            return before + name
        return name if name.startswith(before) else before + name

    def _is_named(self, call: _CallInProgress, *, is_over: bool) -> bool:
        """Whether the name is complete. `is_over`: a piece came with arguments and without a name."""
        tools, has_arguments = self._find_tools(), bool("".join(call.texts).strip())
        if is_over and has_arguments:
            return True
        is_known, may_go_on = tools.find_called(call.name) is not None, tools.has_longer_name(call.name)
        return (is_known or has_arguments) and (not may_go_on or (is_known and has_arguments))

    def _find_call(
        self, delta: CallDelta, name: str, text: str, siblings: Sequence[_CallInProgress]
    ) -> _CallInProgress:
        call = self._call_at(delta, name)
        # Without an index, a second named piece in one chunk is a parallel call, not more of the first.
        is_next = call in siblings and delta.index is None and bool(name) and bool(call is not None and call.name)
        if call is None or is_next or (name and call.name and self._is_other(call, delta, name, text)):
            call = self._open_call(delta.index)
        return call

    def _call_at(self, delta: CallDelta, name: str) -> _CallInProgress | None:
        """The call of the piece's id or index, or the newest one if it has neither."""
        known = self._by_id.get(delta.id or "")
        at_index = self._by_index.get(delta.index) if delta.index is not None else None
        last = self._calls[-1] if self._calls else None
        # An id is trusted unless its index belongs to another call: servers repeat ids (`call_0`) for parallel calls.
        if known is not None and (delta.index in (None, known.index) or (at_index is None and not name)):
            return known
        if delta.index is not None:
            return at_index or (last if last is not None and last.index is None and not name else None)
        # Without an index, an unknown id begins a call only after a complete one: vLLM sends another id in every piece.
        is_new = bool(delta.id) and last is not None and bool(last.given_id) and (last.is_whole or bool(name))
        return None if is_new else last

    def _is_other(self, call: _CallInProgress, delta: CallDelta, name: str, text: str) -> bool:
        """Whether a piece with a name begins another call than the one at its id or index."""
        is_same_name = name == call.name
        if delta.index == LEGACY_INDEX or (is_same_name and call.goes_on(text)):
            return False
        if delta.id and call.given_id:
            return delta.id != call.given_id or (call.named is not None and not is_same_name)
        if call.given_id or call.named is None:
            return call.named is not None and not is_same_name
        if not is_same_name or (delta.index is None and not delta.id):
            return not is_same_name or not call.is_said_by(text)
        return call.is_whole and text.lstrip()[:1] == "{" and not call.is_said_by(text)

    def _open_call(self, index: int | None) -> _CallInProgress:
        self.has_begun = True
        call = _CallInProgress(len(self._calls), index)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _start(self, call: _CallInProgress) -> list[ModelEvent]:
        self._started = call.position + 1
        call_id = call.given_id
        if not call_id or call_id in self._call_ids or call_id in self._find_call_ids():
            call_id = f"{self._call_id_prefix}_{call.position}"
            self.renamed[call.given_id] = call_id
        self._call_ids.add(call_id)
        call.named = StreamedCall(call.position, call_id, call.name, self._find_tools())
        before = self._calls[call.position - 1].named if call.position else None
        released = before.release() if before is not None else []
        texts, call.texts = call.texts, []
        return [*released, call.named.started, *(event for text in texts for event in call.named.add(text))]

    def _split(self, call: _CallInProgress, text: str) -> list[ModelEvent]:
        """A further call of the same tool, whose arguments the server appended to those of the one before."""
        further = self._open_call(None)
        further.name, further.texts = call.name, [text]
        events = self._start(further)
        return [*events, *(further.named.end() if further.named is not None else ())]


def _read_delta(delta: CallDelta) -> tuple[str, str]:
    """The name, if the piece has one, and its part of the arguments or the input."""
    if delta.custom is not None:
        return delta.custom.name or "", delta.custom.input or ""
    if delta.function is None:
        return "", ""
    return delta.function.name or "", _arguments_text(delta.function)


def _arguments_text(function: CallFunction) -> str:
    arguments = function.arguments
    if isinstance(arguments, UnsetType):
        return ""
    data = bytes(arguments)
    if data == b"null":
        return ""
    text = data.decode("utf-8", "replace")
    return msgspec.json.decode(text, type=str) if text[:1] == '"' else text


def _same_json(text: str, other: str) -> bool:
    try:
        return bool(msgspec.json.decode(text) == msgspec.json.decode(other))
    except UNREADABLE:
        return False


def legacy_delta(function: CallFunction) -> CallDelta:
    """A piece of the legacy `function_call` member as a piece of a call."""
    arguments = function.arguments
    return CallDelta(
        index=LEGACY_INDEX,
        function=CallFunction(function.name, Raw(arguments) if isinstance(arguments, Raw) else arguments),
    )
