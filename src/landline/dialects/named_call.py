"""One tool call of an answer, as its text comes in."""

from landline.dialects.arguments import NO_ARGUMENTS, ArgumentsReader
from landline.dialects.custom_input import InputDecoder
from landline.dialects.dialect import Prompt
from landline.dialects.said_text import SaidText
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent, ToolCallDelta, ToolCallStarted


class NamedCall:
    """A call whose name is known: its events under the client's name of the tool.

    The arguments of a function that stands in for a custom tool become that tool's input.
    """

    def __init__(self, index: int, call_id: str, name: str, tool_set: ToolSet) -> None:
        self._index = index
        self._input_decoder: InputDecoder | None = None
        tool = tool_set.find_called(name)
        self.started = ToolCallStarted(index, call_id, name)
        if tool is not None:
            self.started = ToolCallStarted(index, call_id, tool.name, tool.kind, tool.namespace)
        if tool is not None and tool.kind == "custom" and tool.parameters:
            self._input_decoder = InputDecoder()
        is_text = self.started.kind == "custom" and self._input_decoder is None
        self._input = SaidText() if is_text else None
        """Of a custom tool that the upstream knows itself."""
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
        """The whole of its arguments, which the server says once more."""
        if self._input is not None:
            return self._delta(self._input.settle(text))
        return self._say(self.arguments.settle(text))

    def release(self) -> list[ModelEvent]:
        """What was held back although it is complete; another call begins."""
        return self._say(self.arguments.release()) if self._input is None else []

    def end(self, *, is_cut: bool = False) -> list[ModelEvent]:
        """What was still held back when the arguments were complete, or were cut; a second end gives nothing."""
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
    """What ids of calls begin with that the server gave none; another one for every response."""
    item_count = prompt.history.item_count if prompt.history is not None else 0
    id_seed = prompt.response_id.removeprefix("resp_") or str(item_count)
    return f"call_{id_seed[:48]}"
