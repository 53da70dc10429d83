"""The parts of an answer as model events, with what was signed of them."""

from collections.abc import Callable
from typing import Literal

from landline.dialects.gemini.calls import CallReader
from landline.dialects.gemini.chunks import Part
from landline.dialects.gemini.signatures import VENDOR, Block, encode_block
from landline.dialects.tools import ToolSet
from landline.wire.model_events import LogprobEntry, ModelEvent, ReasoningSigned, ReasoningSummaryDelta, TextDelta


class PartReader:
    """Reads parts in order.

    Text that comes in many parts is one text to our client, so what was signed of it is told when it ends: a signed block
    would end the message before.
    """

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str, model: str) -> None:
        self._calls = CallReader(find_tools, call_id_prefix, model)
        self._model = model
        self._kind: Literal["text", "thought"] | None = None
        self._chars = 0
        """Characters of the text or thought that is being said."""
        self._text_blocks: list[ModelEvent] = []
        self.has_said = False
        """Whether there was any text, thought or call."""

    def read(self, part: Part, logprobs: list[LogprobEntry] | None, events: list[ModelEvent]) -> None:
        """Adds the events of one part. Kinds of parts that are not known say nothing."""
        if part.function_call is not None:
            self._enter(None, events)
            self.has_said = True
            events += self._calls.read(part.function_call, part.thought_signature)
        elif part.text is None and part.thought_signature is None:
            return
        elif part.thought:
            self._enter("thought", events)
            if part.text:
                events.append(ReasoningSummaryDelta(part.text))
            events += self._say("thought", part)
        else:
            self._enter("text", events)
            if part.text:
                events.append(TextDelta(part.text, logprobs))
            self._text_blocks += self._say("text", part)

    def end(self, events: list[ModelEvent]) -> None:
        """What was still held back when the answer ended."""
        self._enter(None, events)
        events += self._calls.end()

    def _enter(self, kind: Literal["text", "thought"] | None, events: list[ModelEvent]) -> None:
        if kind == self._kind and kind is not None:
            return
        self._kind, self._chars = kind, 0
        events += self._text_blocks
        self._text_blocks = []

    def _say(self, kind: Literal["text", "thought"], part: Part) -> list[ModelEvent]:
        """Counts the part's text; the block of its signature, if it has one."""
        start = self._chars
        self._chars += len(part.text or "")
        self.has_said = self.has_said or bool(part.text)
        if not part.thought_signature:
            return []
        block = Block(kind, part.thought_signature, self._model, start=start, end=self._chars)
        return [ReasoningSigned(VENDOR, encode_block(block))]
