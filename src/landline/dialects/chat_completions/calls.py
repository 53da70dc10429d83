"""Tool calls put together from their pieces, whatever a server leaves out of them."""

from collections.abc import Callable, Container

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.chat_completions.chunks import CallDelta, CallFunction
from landline.dialects.named_call import NamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent

LEGACY_INDEX = -1
"""Stands for the one call of the old `function_call` member."""


class _OpenCall:
    """One call while its pieces come in."""

    __slots__ = ("given_id", "name", "named", "position", "texts")

    def __init__(self, position: int) -> None:
        self.position = position
        self.given_id = ""
        """As the server says it."""
        self.name = ""
        self.texts: list[str] = []
        """Pieces of the arguments."""
        self.named: NamedCall | None = None

    def is_over_before(self, text: str) -> bool:
        """Whether the arguments are complete, so that this text belongs to another call."""
        return text[:1] == "{" and bool(self.texts) and self.texts[-1][-1:] == "}" and self.is_whole()

    def is_whole(self) -> bool:
        """Whether the arguments are complete."""
        try:
            msgspec.json.decode("".join(self.texts), type=dict[str, Raw])
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


class CallAssembler:
    """The calls of one answer.

    Quirks met (November 2026): no `index` (older Ollama, some gateways); the same index for parallel calls (Ollama, Gemini's
    chat-completions layer), with ids or without; no or empty `id`; ids that earlier answers had (`call_0`); `name` empty or
    repeated in later pieces; arguments as an object.
    """

    def __init__(
        self, find_tools: Callable[[], ToolSet], find_call_ids: Callable[[], Container[str]], call_id_prefix: str
    ) -> None:
        """`find_call_ids` gives the ids of the conversation so far: clients know a call by its id alone."""
        self._find_tools = find_tools
        self._find_call_ids = find_call_ids
        self._call_id_prefix = call_id_prefix
        self.has_begun = False
        self._calls: list[_OpenCall] = []
        self._by_index: dict[int, _OpenCall] = {}
        self._call_ids: set[str] = set()
        self.renamed: dict[str, str] = {}
        """Ids of calls that were replaced, as the server says them → as the client knows them."""

    def feed(self, delta: CallDelta) -> list[ModelEvent]:
        """The events of one piece of a call."""
        name, text = _read_delta(delta)
        call = self._find_call(delta, name, text)
        if text:
            call.texts.append(text)
        if call.named is not None:
            return call.named.add(text)
        call.given_id = call.given_id or delta.id or ""
        return self._start(call, name) if name else []

    def end(self) -> list[ModelEvent]:
        """What was still held back when the answer ended."""
        events: list[ModelEvent] = []
        for call in self._calls:
            if call.named is not None:
                events += call.named.end()
        return events

    def are_whole(self) -> bool:
        """Whether no call was cut."""
        return all(call.is_whole() for call in self._calls)

    def has_nameless(self) -> bool:
        """Whether a call never got its name."""
        return any(call.named is None for call in self._calls)

    def _find_call(self, delta: CallDelta, name: str, text: str) -> _OpenCall:
        last = self._calls[-1] if self._calls else None
        call = last if delta.index is None else self._by_index.get(delta.index)
        if call is None:
            return self._open_call(delta.index)
        if not name or call.named is None:
            return call
        if delta.id and call.given_id:
            is_other = delta.id != call.given_id
        elif delta.index is None and not delta.id:
            is_other = True
        else:
            is_other = name != call.name or call.is_over_before(text)
        return self._open_call(delta.index) if is_other else call

    def _open_call(self, index: int | None) -> _OpenCall:
        self.has_begun = True
        call = _OpenCall(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _start(self, call: _OpenCall, name: str) -> list[ModelEvent]:
        call_id = call.given_id
        if not call_id or call_id in self._call_ids or call_id in self._find_call_ids():
            call_id = f"{self._call_id_prefix}_{call.position}"
            self.renamed[call.given_id] = call_id
        self._call_ids.add(call_id)
        call.name = name
        call.named = NamedCall(call.position, call_id, name, self._find_tools())
        return [call.named.started, *call.named.add("".join(call.texts))]


def _read_delta(delta: CallDelta) -> tuple[str, str]:
    """The name, if this piece has one, and the piece of arguments or input."""
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


def legacy_delta(function: CallFunction) -> CallDelta:
    """A piece of the old `function_call` member as a piece of a call."""
    arguments = function.arguments
    return CallDelta(
        index=LEGACY_INDEX,
        function=CallFunction(function.name, Raw(arguments) if isinstance(arguments, Raw) else arguments),
    )
