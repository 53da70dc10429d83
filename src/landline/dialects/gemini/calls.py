"""The function calls of one answer as model events."""

from collections.abc import Callable

from msgspec import UnsetType

from landline.dialects.gemini.chunks import FunctionCall
from landline.dialects.gemini.partial_args import ArgumentsBuilder
from landline.dialects.gemini.signatures import VENDOR, Block, encode_block
from landline.dialects.tool_calls import NamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent, ReasoningSigned, ToolCallEnded

_OWN_PREFIXES = ("default_api:", "default_api.")
"""What models at times put in front of a tool's name, because their prompt shows them the tools that way."""


class _OpenCall:
    """A call whose arguments come in pieces."""

    def __init__(self, call: FunctionCall, signature: str | None) -> None:
        self.head = call
        self.signature = signature
        self.arguments = ArgumentsBuilder()


class CallReader:
    """Gemini sends each call whole, in a part of its own."""

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, model: str) -> None:
        self._find_tools = find_tools
        self._call_id_prefix = call_id_prefix
        self._model = model
        self._call_ids: dict[str, tuple[str, str]] = {}
        """With the name and arguments of their calls."""
        self._open: _OpenCall | None = None

    def read(self, call: FunctionCall, signature: str | None) -> list[ModelEvent]:
        """The events of one part: what was signed with the call, then the call."""
        if self._open is None:
            if not call.will_continue and not call.partial_args:
                return self._make(call, signature, _arguments_text(call), is_whole=True)
            self._open = _OpenCall(call, signature)
        opened = self._open
        opened.signature = opened.signature or signature
        for piece in call.partial_args or ():
            opened.arguments.add(piece)
        return [] if call.will_continue else self._end_open(is_whole=True)

    def end(self) -> list[ModelEvent]:
        """The call whose last piece never came, as far as it is known."""
        return self._end_open(is_whole=False)

    def _end_open(self, *, is_whole: bool) -> list[ModelEvent]:
        opened, self._open = self._open, None
        if opened is None:
            return []
        return self._make(opened.head, opened.signature, opened.arguments.encode(), is_whole=is_whole)

    def _make(self, call: FunctionCall, signature: str | None, arguments: str, *, is_whole: bool) -> list[ModelEvent]:
        index = len(self._call_ids)
        call_id = call.id or ""
        said = call.name or "", arguments
        if self._call_ids.get(call_id) == said:
            return []  # a gateway says its calls again in the last record
        if not call_id or call_id in self._call_ids:
            call_id = f"{self._call_id_prefix}_{index}"
        self._call_ids[call_id] = said
        events: list[ModelEvent] = []
        if signature:
            block = Block("call", signature, self._model, call_id=call_id)
            events.append(ReasoningSigned(VENDOR, encode_block(block)))
        tools = self._find_tools()
        named = NamedCall(index, call_id, _tool_name(call.name or "", tools), tools)
        events += [named.started, *named.add(arguments), *named.end(is_cut=not is_whole)]
        return [*events, ToolCallEnded(index)] if is_whole else events


def _tool_name(name: str, tools: ToolSet) -> str:
    bare = next((name.removeprefix(prefix) for prefix in _OWN_PREFIXES if name.startswith(prefix)), name)
    return bare if tools.find_called(name) is None and tools.find_called(bare) is not None else name


def _arguments_text(call: FunctionCall) -> str:
    """The object as it came; what is none is for the reader of arguments."""
    return "" if isinstance(call.args, UnsetType) else bytes(call.args).decode("utf-8", "replace")
