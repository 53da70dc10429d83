"""Tool calls put together from their pieces, whatever a server leaves out of them."""

from collections.abc import Callable

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

    __slots__ = ("call_id", "named", "pending", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.call_id = ""
        self.pending = ""
        """Arguments that came before the name."""
        self.named: NamedCall | None = None


class CallAssembler:
    """The calls of one answer.

    Quirks met (November 2026): no `index` (Ollama, some gateways); the same index for parallel calls (Gemini's
    chat-completions layer); no or empty `id`; `name` empty or repeated in later pieces; arguments as an object.
    """

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str) -> None:
        self._find_tools = find_tools
        self._call_id_prefix = call_id_prefix
        self._calls: list[_OpenCall] = []
        self._by_index: dict[int, _OpenCall] = {}
        self._call_ids: set[str] = set()

    def feed(self, delta: CallDelta) -> list[ModelEvent]:
        """The events of one piece of a call."""
        name, text = _read_delta(delta)
        call = self._find_call(delta, name)
        if call.named is not None:
            return call.named.add(text)
        call.pending += text
        call.call_id = call.call_id or delta.id or ""
        return self._start(call, name) if name else []

    def end(self) -> list[ModelEvent]:
        """What was still held back when the answer ended."""
        events: list[ModelEvent] = []
        for call in self._calls:
            if call.named is not None:
                events += call.named.end()
        return events

    def has_nameless(self) -> bool:
        """Whether a call never got its name."""
        return any(call.named is None for call in self._calls)

    def _find_call(self, delta: CallDelta, name: str) -> _OpenCall:
        last = self._calls[-1] if self._calls else None
        call = last if delta.index is None else self._by_index.get(delta.index)
        if call is None:
            return self._open_call(delta.index)
        is_started = call.named is not None
        is_other = bool(name and is_started and delta.id and delta.id != call.call_id)
        is_whole = delta.index is None and bool(name) and is_started and not delta.id
        return self._open_call(delta.index) if is_other or is_whole else call

    def _open_call(self, index: int | None) -> _OpenCall:
        call = _OpenCall(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _start(self, call: _OpenCall, name: str) -> list[ModelEvent]:
        if not call.call_id or call.call_id in self._call_ids:
            call.call_id = f"{self._call_id_prefix}_{call.position}"
        self._call_ids.add(call.call_id)
        call.named = NamedCall(call.position, call.call_id, name, self._find_tools())
        pending, call.pending = call.pending, ""
        return [call.named.started, *call.named.add(pending)]


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
    text = bytes(arguments)
    if text == b"null":
        return ""
    return msgspec.json.decode(text, type=str) if text[:1] == b'"' else text.decode()


def legacy_delta(function: CallFunction) -> CallDelta:
    """A piece of the old `function_call` member as a piece of a call."""
    arguments = function.arguments
    return CallDelta(
        index=LEGACY_INDEX,
        function=CallFunction(function.name, Raw(arguments) if isinstance(arguments, Raw) else arguments),
    )
