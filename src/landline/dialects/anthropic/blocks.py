"""The content blocks of one answer as model events."""

from collections.abc import Callable

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.anthropic.records import InputPiece, Kind, SignaturePiece, TextPiece, ThinkingPiece, ToolUse
from landline.dialects.anthropic.transcript import VENDOR
from landline.dialects.named_call import NamedCall
from landline.dialects.tools import ToolSet
from landline.wire.model_events import ModelEvent, ReasoningSigned, ReasoningSummaryDelta, TextDelta, ToolCallEnded

_KIND = msgspec.json.Decoder(Kind)
_TEXT = msgspec.json.Decoder(TextPiece)
_THINKING = msgspec.json.Decoder(ThinkingPiece)
_SIGNATURE = msgspec.json.Decoder(SignaturePiece)
_INPUT = msgspec.json.Decoder(InputPiece)
_TOOL_USE = msgspec.json.Decoder(ToolUse)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class _Thought:
    """A thinking block; it goes back with every member that came."""

    def __init__(self, block: Raw) -> None:
        self.members = _MEMBERS.decode(block)
        self.text = _THINKING.decode(block).thinking
        self.signature = _SIGNATURE.decode(block).signature

    def signed(self) -> str:
        return _encode({**self.members, "thinking": self.text, "signature": self.signature}).decode()


class _Call:
    """A tool call, its input so far, and the input that its start gave."""

    def __init__(self, index: int, named: NamedCall, whole_input: str) -> None:
        self.index = index
        self.named = named
        self.whole_input = whole_input
        self.pieces: list[str] = []

    def add(self, text: str) -> list[ModelEvent]:
        if text:
            self.pieces.append(text)
        return self.named.add(text)

    def is_whole(self) -> bool:
        """Whether the input cannot have been cut: a call without arguments looks like one that was cut at once."""
        try:
            return bool(_MEMBERS.decode("".join(self.pieces) or self.whole_input))
        except (msgspec.DecodeError, RecursionError):
            return False

    def end(self) -> list[ModelEvent]:
        """A call without arguments comes without a piece of input."""
        rest: list[ModelEvent] = []
        if not self.pieces and (self.whole_input != "{}" or self.named.started.kind == "function"):
            rest = self.named.add(self.whole_input)
        return [*rest, *self.named.end(), ToolCallEnded(self.index)]


class BlockReader:
    """Blocks by their index; kinds that are not known here say nothing (server tools, what is new)."""

    def __init__(self, find_tools: Callable[[], ToolSet], call_id_prefix: str) -> None:
        self._find_tools = find_tools
        self._call_id_prefix = call_id_prefix
        self._open: dict[int, _Thought | _Call] = {}
        self._stopped: _Call | None = None
        """A call that ended but may have been cut: a token limit closes its block too, and is told after it."""
        self._call_ids: set[str] = set()
        self._has_thought = False
        """Whether the newest text is thinking, which the next thinking would run into."""
        self._gap = ""

    def start(self, index: int, block: Raw) -> list[ModelEvent]:
        """The events of `content_block_start`; gateways may give a whole block here."""
        return [*self._end_stopped(), *self._start(index, block)]

    def _start(self, index: int, block: Raw) -> list[ModelEvent]:
        kind = _KIND.decode(block).type
        self._has_thought = self._has_thought and kind in ("thinking", "redacted_thinking")
        match kind:
            case "text":
                text = _TEXT.decode(block).text
                return [TextDelta(text)] if text else []
            case "thinking":
                thought = self._open[index] = _Thought(block)
                self._gap = "\n\n" if self._has_thought else ""
                return self._think(thought.text)
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
                text = _TEXT.decode(delta).text
                return [TextDelta(text)] if text else []
            case "thinking_delta" if isinstance(opened, _Thought):
                text = _THINKING.decode(delta).thinking
                opened.text += text
                return self._think(text)
            case "signature_delta" if isinstance(opened, _Thought):
                opened.signature += _SIGNATURE.decode(delta).signature
                return []
            case "input_json_delta" if isinstance(opened, _Call):
                return opened.add(_INPUT.decode(delta).partial_json)
            case _:
                return []

    def stop(self, index: int) -> list[ModelEvent]:
        """The events of `content_block_stop`."""
        opened = self._open.pop(index, None)
        match opened:
            case _Thought():
                return [ReasoningSigned(VENDOR, opened.signed())] if opened.signature else []
            case _Call() if opened.is_whole():
                return opened.end()
            case _Call():
                ended = self._end_stopped()
                self._stopped = opened
                return ended
            case None:
                return []

    def end(self, *, is_cut: bool) -> list[ModelEvent]:
        """What was still held back when the answer ended; a call that was cut stays as it is."""
        calls = [each for each in self._open.values() if isinstance(each, _Call)]
        if is_cut and self._stopped is not None:
            calls.append(self._stopped)
            self._stopped = None
        return [*self._end_stopped(), *(event for call in calls for event in call.named.end())]

    def _end_stopped(self) -> list[ModelEvent]:
        stopped, self._stopped = self._stopped, None
        return stopped.end() if stopped is not None else []

    def _start_call(self, index: int, use: ToolUse) -> list[ModelEvent]:
        position = len(self._call_ids)
        call_id = use.id if use.id and use.id not in self._call_ids else f"{self._call_id_prefix}_{position}"
        self._call_ids.add(call_id)
        named = NamedCall(position, call_id, use.name, self._find_tools())
        whole = "{}" if isinstance(use.input, UnsetType) else bytes(use.input).decode()
        self._open[index] = _Call(position, named, whole)
        return [named.started]

    def _think(self, text: str) -> list[ModelEvent]:
        if not text:
            return []
        gap, self._gap, self._has_thought = self._gap, "", True
        return [ReasoningSummaryDelta(gap + text)]
