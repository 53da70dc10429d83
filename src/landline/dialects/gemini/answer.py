"""The parts of an answer as model events, with what was signed of them."""

from collections.abc import Callable
from typing import Literal

from landline.dialects.gemini.calls import CallReader
from landline.dialects.gemini.chunks import Part
from landline.dialects.gemini.signatures import VENDOR, Block, encode_block
from landline.dialects.streamed_text import SaidText
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
        self._said = {"text": SaidText(), "thought": SaidText()}
        self._kind: Literal["text", "thought"] | None = None
        self._chars = 0
        """Characters of the text or thought that is being said."""
        self._text_blocks: list[ModelEvent] = []
        self.has_said = False
        """Whether there was any text, thought or call."""

    def read(
        self, part: Part, logprobs: list[LogprobEntry] | None, events: list[ModelEvent], *, is_last: bool = False
    ) -> None:
        """Adds the events of one part. Kinds of parts that are not known say nothing. `is_last`: the answer ends with it."""
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
        """What was still held back when the answer ended."""
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
        self._kind, self._chars = kind, 0
        events += self._text_blocks
        self._text_blocks = []

    def _count(self, kind: Literal["text", "thought"], text: str, part: Part) -> list[ModelEvent]:
        """Counts what is new of the part's text; the block of its signature, if it has one."""
        start = self._chars
        self._chars += len(text)
        self.has_said = self.has_said or bool(part.text)
        if not part.thought_signature:
            return []
        block = Block(kind, part.thought_signature, self._model, start=start, end=self._chars)
        return [ReasoningSigned(VENDOR, encode_block(block))]
