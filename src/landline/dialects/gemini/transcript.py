"""Converts a lineage to Gemini contents, link by link: the items of a link are encoded only once.

Called by `dialect` through `Link.folds`. User and model contents alternate. Gemini requires that every call is answered in
the content that directly follows it, as many responses as calls, in their order. So a transcript keeps the newest model
content open until its calls are answered:

- consecutive items of the model form one content, and so do those of the user's side;
- user content between calls and their outputs moves behind the outputs;
- a call that is unanswered when the model continues, or at the end, gets a note as its output;
- an output whose call is not open any more becomes text;
- a conversation that begins with the model gets a note before it, one that ends with the model a note after it.

The result does not depend on how the items are split into links.
"""

from collections.abc import Iterator, Sequence
from typing import assert_never

import msgspec
from msgspec import Raw

from landline.dialects.gemini.parts import SKIP_CHECK, Media, PartSignature, read_attachment, read_signatures, text_part
from landline.dialects.gemini.settings import ModelFamily, function_name
from landline.dialects.history_calls import OpenCalls
from landline.dialects.history_items import (
    AssistantReasoning,
    AssistantText,
    CallOutput,
    Content,
    HistoryItem,
    InputMessage,
    OmittedItem,
    ToolCall,
    read_item,
)
from landline.dialects.tools import ToolNames
from landline.wire.errors import ApiError
from landline.wire.items import Item, Reasoning, text_of, typed_item

NO_BEGINNING = "(The beginning of the conversation is left out.)"
"""Sent first because Gemini refuses a function call without a user content before it."""
GO_ON = "(Go on.)"
"""Sent last because Gemini refuses a conversation that ends with the model, or answers nothing (2026-08)."""
_encode = msgspec.json.Encoder().encode


class ModelText(msgspec.Struct, frozen=True):
    """A message of the model; `blocks` are the signatures on parts of its text."""

    text: str
    blocks: tuple[PartSignature, ...] = ()
    is_thought: bool = False


def _no_calls() -> OpenCalls[Media]:
    return OpenCalls()


class OpenModelContent(msgspec.Struct):
    """The newest content of the model, still open."""

    said: list[ModelText | ToolCall] = []
    signatures: dict[str, str] = {}
    """Signatures of calls, by call id."""
    open_calls: OpenCalls[Media] = msgspec.field(default_factory=_no_calls)
    """By position in `said`."""
    held: list[bytes] = []
    """User parts that came while calls were unanswered."""

    @property
    def is_over(self) -> bool:
        """Whether an output or user part has followed, so that the model's next item begins a new content."""
        return bool(self.open_calls.outputs or self.held)

    def copy(self) -> "OpenModelContent":
        """A copy that can be added to without changing this one."""
        return OpenModelContent(list(self.said), dict(self.signatures), self.open_calls.copy(), list(self.held))

    def say(self, said: ModelText | ToolCall) -> None:
        """Adds a text or a call."""
        if isinstance(said, ToolCall):
            self.open_calls.add(said.call_id, len(self.said))
        self.said.append(said)

    def sign(self, blocks: Sequence[PartSignature], thought: str) -> None:
        """Adds signatures: of calls to come, of the text before, or of this thought."""
        for block in blocks:
            last = self.said[-1] if self.said else None
            if block.kind == "call":
                self.signatures[block.call_id] = block.signature
            elif block.kind == "text" and isinstance(last, ModelText) and not last.is_thought:
                self.said[-1] = msgspec.structs.replace(last, blocks=(*last.blocks, block))
            elif block.kind == "text":
                self.said.append(ModelText("", (block,)))
            else:
                self.said.append(ModelText(thought[block.start : block.end], (block,), is_thought=True))


class TranscriptOptions(msgspec.Struct, frozen=True):
    """What the conversion depends on besides the items."""

    model: str
    family: ModelFamily
    has_call_ids: bool
    names: ToolNames


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    written: bytes = b""
    """JSON that this link adds inside the array of contents."""
    is_user_open: bool = False
    """Whether the last written content is the user's, with its array of parts still open."""
    has_contents: bool = False
    turn: OpenModelContent | None = None
    system: tuple[str, ...] = ()
    """Leading developer messages."""
    left_out: int = 0
    """Reasoning items of other models, which are not sent."""
    passed_over: int = 0
    """Items of hosted tools of other targets."""
    error: ApiError | None = None
    """Why the conversation cannot be sent; inherited by the rest of the lineage."""


def extend_transcript(before: Transcript | None, items: Sequence[Item], options: TranscriptOptions) -> Transcript:
    """The transcript after more items."""
    if before is not None and before.error is not None:
        return before
    writer = _Writer(before or Transcript(), options)
    for item in items:
        if item.type == "reasoning":
            writer.think(item)
            continue
        saying = read_item(item, options.names, read_attachment)
        if isinstance(saying, ApiError):
            return Transcript(error=saying)
        writer.say(saying)
    return writer.transcript()


def close_transcript(transcript: Transcript, options: TranscriptOptions) -> bytes:
    """JSON that closes the contents that are still open at the end of the conversation."""
    writer = _Writer(transcript, options)
    writer.close()
    return writer.transcript().written


class _Writer:
    """Extends a transcript."""

    def __init__(self, before: Transcript, options: TranscriptOptions) -> None:
        self._options = options
        self._written: list[bytes] = []
        self._is_user_open = before.is_user_open
        self._has_contents = before.has_contents
        self._turn = before.turn.copy() if before.turn is not None else None
        self._system = list(before.system)
        self._left_out = before.left_out
        self._passed_over = before.passed_over

    def transcript(self) -> Transcript:
        return Transcript(
            written=b"".join(self._written),
            is_user_open=self._is_user_open,
            has_contents=self._has_contents,
            turn=self._turn,
            system=tuple(self._system),
            left_out=self._left_out,
            passed_over=self._passed_over,
        )

    def say(self, saying: HistoryItem[Media]) -> None:
        match saying:
            case InputMessage(role, content):
                self._tell(role, content)
            case AssistantText(text):
                if text:
                    self._open_turn().say(ModelText(text))
            case ToolCall():
                self._open_turn().say(saying)
            case CallOutput(call_id, content):
                self._answer(call_id, content)
            case OmittedItem(is_lost):
                self._passed_over += is_lost
            case AssistantReasoning():
                pass
            case _:
                assert_never(saying)

    def think(self, item: Item) -> None:
        """Takes what this model signed; reasoning of other models is not sent."""
        value = typed_item(item)
        assert isinstance(value, Reasoning)
        blocks = read_signatures(item, self._options.model)
        if blocks is not None:
            self._open_turn().sign(blocks, text_of(value.summary))
        elif item.signed is not None or value.content or value.encrypted_content:
            self._left_out += 1

    def close(self) -> None:
        """Closes all contents; the last one is the user's."""
        self._close_turn()
        if self._has_contents and not self._is_user_open:
            self._write_user([text_part(GO_ON)])
        if self._is_user_open:
            self._written.append(b"]}")
            self._is_user_open = False

    def _tell(self, role: str, content: Content[Media]) -> None:
        if role == "developer" and not self._has_contents and self._turn is None:
            self._system.append(content.text)
            return
        parts = [text_part(part) if isinstance(part, str) else part.json for part in content.parts if part]
        if not parts:
            return
        if self._turn is not None and self._turn.open_calls.unanswered:
            self._turn.held += parts
            return
        self._close_turn()
        self._write_user(parts)

    def _answer(self, call_id: str, content: Content[Media]) -> None:
        if self._turn is None or not self._turn.open_calls.answer(call_id, content):
            self._tell("user", Content((f"Output of the tool call {call_id}:", *content.parts)))

    def _open_turn(self) -> OpenModelContent:
        """The content that the model's next item belongs to."""
        if self._turn is not None and self._turn.is_over:
            self._close_turn()
        if self._turn is None:
            self._turn = OpenModelContent()
        return self._turn

    def _close_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        options = self._options
        parts = model_parts(turn, options.family, has_call_ids=options.has_call_ids)
        if parts:
            if not self._has_contents:
                self._write_user([text_part(NO_BEGINNING)])
            if self._is_user_open:
                self._written.append(b"]}")
            self._written.append(b',{"role":"model","parts":[' + b",".join(parts) + b"]}")
            self._is_user_open = False
        self._write_user(answer_parts(turn, options.family, has_call_ids=options.has_call_ids))

    def _write_user(self, parts: Sequence[bytes]) -> None:
        if not parts:
            return
        if self._is_user_open:
            self._written.append(b",")
        else:
            start = b',{"role":"user","parts":[' if self._has_contents else b'{"role":"user","parts":['
            self._written.append(start)
        self._written.append(b",".join(parts))
        self._is_user_open = self._has_contents = True


def model_parts(turn: OpenModelContent, family: ModelFamily, *, has_call_ids: bool) -> list[bytes]:
    """The parts of the model's content.

    Calls made together have one signature, on the first. If it is missing and the model requires one, it gets the value that
    skips the check, also in later requests, so that the beginning of the prompt stays the same.
    """
    parts: list[bytes] = []
    is_first_call = True
    for each in turn.said:
        if isinstance(each, ModelText):
            parts += _thought_part(each) if each.is_thought else _text_parts(each)
            continue
        signature = turn.signatures.get(each.call_id)
        if signature is None and is_first_call and family.needs_signatures:
            signature = SKIP_CHECK
        parts.append(_call_part(each, signature, has_call_ids=has_call_ids))
        is_first_call = False
    return parts


def answer_parts(turn: OpenModelContent, family: ModelFamily, *, has_call_ids: bool) -> list[bytes]:
    """The parts of the user content that answers the calls in their order, then the parts that waited for them."""
    responses: list[bytes] = []
    attached: list[bytes] = []
    for place, call in enumerate(turn.said):
        if isinstance(call, ModelText):
            continue
        answer = turn.open_calls.output(place)
        media = answer.attachments
        inside = [Raw(each.json) for each in media if each.fits_inside and family.takes_media_inside]
        after = [each.json for each in media if not (each.fits_inside and family.takes_media_inside)]
        response: dict[str, object] = {"id": call.call_id} if has_call_ids else {}
        response |= {"name": function_name(call.name), "response": {"output": answer.text}}
        if inside:
            response["parts"] = inside
        responses.append(_encode({"functionResponse": response}))
        if after:
            attached += [text_part(f"Attached to the output of {call.call_id}:"), *after]
    return [*responses, *attached, *turn.held]


def _call_part(call: ToolCall, signature: str | None, *, has_call_ids: bool) -> bytes:
    function: dict[str, object] = {"id": call.call_id} if has_call_ids else {}
    function |= {"name": function_name(call.name), "args": Raw(call.arguments.encode())}
    return _encode({"functionCall": function} | _signed(signature))


def _thought_part(said: ModelText) -> Iterator[bytes]:
    for block in said.blocks:
        yield _encode({"text": said.text, "thought": True} | _signed(block.signature))


def _text_parts(said: ModelText) -> Iterator[bytes]:
    """The text split at its signatures: a signed part must not be merged with another one."""
    position = 0
    for block in said.blocks:
        start = min(max(block.start, position), len(said.text))
        if start > position:
            yield text_part(said.text[position:start])
        position = max(start, min(block.end, len(said.text)))
        yield _encode({"text": said.text[start:position]} | _signed(block.signature))
    if position < len(said.text):
        yield text_part(said.text[position:])


def _signed(signature: str | None) -> dict[str, object]:
    return {"thoughtSignature": signature} if signature is not None else {}
