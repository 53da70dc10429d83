"""One tool call of an answer, as its text comes in."""

from landline.dialects.custom_input import InputDecoder
from landline.dialects.dialect import Prompt
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
        if tool is None:
            self.started = ToolCallStarted(index, call_id, name)
            return
        self.started = ToolCallStarted(index, call_id, tool.name, tool.kind, tool.namespace)
        if tool.kind == "custom" and tool.parameters:
            self._input_decoder = InputDecoder()

    def add(self, text: str) -> list[ModelEvent]:
        """More of its arguments."""
        if self._input_decoder is not None:
            text = self._input_decoder.feed(text)
        return [ToolCallDelta(self._index, text)] if text else []

    def end(self) -> list[ModelEvent]:
        """What was still held back when the arguments were complete."""
        if self._input_decoder is None:
            return []
        rest = self._input_decoder.end()
        self._input_decoder = None
        return [ToolCallDelta(self._index, rest)] if rest else []


def call_id_prefix(prompt: Prompt) -> str:
    """What ids of calls begin with that the server gave none; another one for every response."""
    item_count = prompt.history.item_count if prompt.history is not None else 0
    id_seed = prompt.response_id.removeprefix("resp_") or str(item_count)
    return f"call_{id_seed[:48]}"
