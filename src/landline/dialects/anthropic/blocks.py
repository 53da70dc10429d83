"""Converts the content blocks of one answer to model events; called by `stream` with each block event."""

from collections.abc import Callable

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.anthropic.records import (
    ContentBlock,
    InputPiece,
    Kind,
    SignaturePiece,
    TextPiece,
    ThinkingPiece,
    ToolUse,
)
from landline.dialects.anthropic.transcript import VENDOR
from landline.dialects.streamed_text import StreamedText
from landline.dialects.tool_calls import StreamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent, ReasoningSigned, ReasoningSummaryDelta, TextDelta, ToolCallEnded
from landline.wire.readable import UNREADABLE

BLOCK_DECODER = msgspec.json.Decoder(ContentBlock)
_KIND = msgspec.json.Decoder(Kind)
_TEXT = msgspec.json.Decoder(TextPiece)
_THINKING = msgspec.json.Decoder(ThinkingPiece)
_SIGNATURE = msgspec.json.Decoder(SignaturePiece)
_INPUT = msgspec.json.Decoder(InputPiece)
_TOOL_USE = msgspec.json.Decoder(ToolUse)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class _TextBlock:
    """A text block."""

    def __init__(self) -> None:
        self.said = StreamedText()


class _ThinkingBlock:
    """A thinking block; all its members are kept, as the API wants them back unchanged."""

    def __init__(self, block: Raw) -> None:
        self.members = _MEMBERS.decode(block)
        self.said = StreamedText()
        self.text = ""
        self.signature = _SIGNATURE.decode(block).signature

    def add(self, text: str) -> str:
        """The new part of the piece."""
        return self._grow(self.said.feed(text)) if text else ""

    def end(self) -> str:
        """The text that was still held."""
        return self._grow(self.said.end())

    def _grow(self, text: str) -> str:
        self.text += text
        return text

    def signed(self) -> str:
        return _encode({**self.members, "thinking": self.text, "signature": self.signature}).decode()


class _ToolUseBlock:
    """A tool call: its input so far, and the input that came with its start."""

    def __init__(self, use_id: str, named: StreamedCall, whole_input: str) -> None:
        self.use_id = use_id
        """The server's own id."""
        self.named = named
        self.whole_input = whole_input
        self._has_pieces = False

    def add(self, text: str) -> list[ModelEvent]:
        self._has_pieces = self._has_pieces or bool(text)
        return self.named.add(text)

    def is_whole(self) -> bool:
        """Whether the input is certainly complete: a call without arguments looks like one that was truncated at once."""
        text = self.named.arguments.text if self._has_pieces else self.whole_input
        try:
            return bool(_MEMBERS.decode(text))
        except UNREADABLE:
            return False

    def end(self) -> list[ModelEvent]:
        """Ends the call. A call without arguments comes without a piece of input. A truncated one gets no `ToolCallEnded`, so
        that nobody takes it for complete."""
        rest = [] if self._has_pieces else self.named.add(self.whole_input)
        ended = [] if self.named.is_truncated else [ToolCallEnded(self.named.started.index)]
        return [*rest, *self.named.end(), *ended]


class BlockReader:
    """Reads blocks by their index; unknown kinds (server tools, new ones) are ignored."""

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str) -> None:
        self._find_tools = find_tools
        self._call_id_prefix = call_id_prefix
        self._open: dict[int, _TextBlock | _ThinkingBlock | _ToolUseBlock] = {}
        self._stopped: _ToolUseBlock | None = None
        """A call whose block ended but that may be truncated: a token limit closes the block too, and is reported later."""
        self._call_ids: set[str] = set()
        self.has_begun = False
        """Whether any block has come."""
        self._has_truncated = False
        self._has_thought = False
        """Whether the newest text is thinking, so that the next thinking needs a gap before it."""
        self._gap = ""

    def start(self, index: int, block: Raw) -> list[ModelEvent]:
        """The events of `content_block_start`. Gateways may send a whole block here, repeat one or omit its stop."""
        whole = BLOCK_DECODER.decode(block)
        kind = whole.type
        opened = self._open.get(index)
        if kind == "tool_use" and isinstance(opened, _ToolUseBlock) and opened.use_id == whole.id != "":
            return []
        stopped = self.stop(index) if opened is not None else []
        return [*stopped, *self._end_stopped(), *self._start(index, kind, block)]

    def _start(self, index: int, kind: str, block: Raw) -> list[ModelEvent]:
        self.has_begun = True
        self._has_thought = self._has_thought and kind in ("thinking", "redacted_thinking")
        match kind:
            case "text":
                opened = self._open[index] = _TextBlock()
                return _say(opened.said, _TEXT.decode(block).text)
            case "thinking":
                thought = self._open[index] = _ThinkingBlock(block)
                self._gap = "\n\n" if self._has_thought else ""
                return self._think(thought.add(_THINKING.decode(block).thinking))
            case "redacted_thinking":
                return [ReasoningSigned(VENDOR, bytes(block).decode())]
            case "tool_use":
                return self._start_call(index, _TOOL_USE.decode(block))
            case _:
                return []

    def add(self, index: int, delta: Raw) -> list[ModelEvent]:
        """The events of `content_block_delta`."""
        opened = self._open.get(index)
        match _KIND.decode(delta).type:
            case "text_delta":
                if not isinstance(opened, _TextBlock):
                    opened = self._open[index] = _TextBlock()
                    self.has_begun = True
                return _say(opened.said, _TEXT.decode(delta).text)
            case "thinking_delta" if isinstance(opened, _ThinkingBlock):
                return self._think(opened.add(_THINKING.decode(delta).thinking))
            case "signature_delta" if isinstance(opened, _ThinkingBlock):
                opened.signature += _SIGNATURE.decode(delta).signature
                return []
            case "input_json_delta" if isinstance(opened, _ToolUseBlock):
                return opened.add(_INPUT.decode(delta).partial_json)
            case _:
                return []

    def stop(self, index: int) -> list[ModelEvent]:
        """The events of `content_block_stop`."""
        opened = self._open.pop(index, None)
        match opened:
            case _TextBlock():
                return _rest(opened.said)
            case _ThinkingBlock():
                rest = self._think(opened.end())
                return [*rest, ReasoningSigned(VENDOR, opened.signed())] if opened.signature else rest
            case _ToolUseBlock() if opened.is_whole():
                return opened.end()
            case _ToolUseBlock():
                # It ends with the next block or with a good stop reason; a token limit would make it a truncated call.
                self._has_truncated = self._has_truncated or opened.named.is_truncated
                ended = self._end_stopped()
                self._stopped = opened
                return ended
            case None:
                return []

    def end(self, *, is_cut: bool) -> list[ModelEvent]:
        """What was still held when the answer ended (`is_cut`: early); truncated calls stay open."""
        events: list[ModelEvent] = []
        for block in self._open.values():
            if isinstance(block, _ToolUseBlock):
                events += block.named.end(is_cut=True) if is_cut else block.end()
            else:
                events += self._think(block.end()) if isinstance(block, _ThinkingBlock) else _rest(block.said)
        self._open.clear()
        if is_cut and self._stopped is not None:
            events += self._stopped.named.end(is_cut=True)
            self._stopped = None
        return [*self._end_stopped(), *events]

    def has_truncated(self) -> bool:
        """Whether a call is truncated, whatever stop reason the server gives."""
        calls = [block for block in self._open.values() if isinstance(block, _ToolUseBlock)]
        return self._has_truncated or any(call.named.is_truncated for call in calls)

    def _end_stopped(self) -> list[ModelEvent]:
        stopped, self._stopped = self._stopped, None
        return stopped.end() if stopped is not None else []

    def _start_call(self, index: int, use: ToolUse) -> list[ModelEvent]:
        position = len(self._call_ids)
        call_id = use.id if use.id and use.id not in self._call_ids else f"{self._call_id_prefix}_{position}"
        self._call_ids.add(call_id)
        named = StreamedCall(position, call_id, use.name, self._find_tools())
        whole = "{}" if isinstance(use.input, UnsetType) else bytes(use.input).decode()
        self._open[index] = _ToolUseBlock(use.id, named, whole)
        return [named.started]

    def _think(self, text: str) -> list[ModelEvent]:
        if not text:
            return []
        gap, self._gap, self._has_thought = self._gap, "", True
        return [ReasoningSummaryDelta(gap + text)]


def _say(said: StreamedText, text: str) -> list[ModelEvent]:
    new = said.feed(text) if text else ""
    return [TextDelta(new)] if new else []


def _rest(said: StreamedText) -> list[ModelEvent]:
    rest = said.end()
    return [TextDelta(rest)] if rest else []
