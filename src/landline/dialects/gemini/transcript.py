"""A lineage as Gemini contents, carried along link by link: what a link's items add is made into bytes once.

The contents take turns, user and model. Gemini wants every call answered in the content that directly follows it, as many
responses as calls, in their order. So a transcript keeps the newest content of the model's open until its calls are answered:

- items of the model that follow each other are one content, items of the user's side too;
- what the user says between calls and their outputs comes after the outputs;
- a call that is still unanswered when the model goes on, or at the end, gets a note in place of its output;
- an output whose call is not open any more is told as text;
- a conversation that begins with the model gets a note in front, one that ends with its words a note behind.

The result does not depend on how the items are cut into links.
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
"""Gemini refuses a function call that follows no content of the user's."""
GO_ON = "(Go on.)"
"""Gemini refuses a conversation that ends with the model, or answers it with nothing (2026-08)."""
_encode = msgspec.json.Encoder().encode


class ModelText(msgspec.Struct, frozen=True):
    """One message of the model's; `blocks` say which of its text was signed."""

    text: str
    blocks: tuple[PartSignature, ...] = ()
    is_thought: bool = False


def _no_calls() -> OpenCalls[Media]:
    return OpenCalls()


class OpenModelContent(msgspec.Struct):
    """The newest content of the model's, still open."""

    said: list[ModelText | ToolCall] = []
    signatures: dict[str, str] = {}
    """Of calls, by their ids."""
    open_calls: OpenCalls[Media] = msgspec.field(default_factory=_no_calls)
    """By their places in `said`."""
    held: list[bytes] = []
    """Parts of the user's that came while calls were unanswered."""

    @property
    def is_over(self) -> bool:
        """Whether the user has spoken since: what the model says next is another content."""
        return bool(self.open_calls.outputs or self.held)

    def copy(self) -> "OpenModelContent":
        """One that can be added to without changing this one."""
        return OpenModelContent(list(self.said), dict(self.signatures), self.open_calls.copy(), list(self.held))

    def say(self, said: ModelText | ToolCall) -> None:
        """Adds what the model said next."""
        if isinstance(said, ToolCall):
            self.open_calls.add(said.call_id, len(self.said))
        self.said.append(said)

    def sign(self, blocks: Sequence[PartSignature], thought: str) -> None:
        """Adds what was signed: of calls to come, of the text before, of this thought."""
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
    """How the conversation is said to one model."""

    model: str
    family: ModelFamily
    has_call_ids: bool
    names: ToolNames


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    written: bytes = b""
    """What this link adds to the inside of the array of contents."""
    is_user_open: bool = False
    """Whether the last content that was written is the user's, its array of parts still open."""
    has_contents: bool = False
    turn: OpenModelContent | None = None
    system: tuple[str, ...] = ()
    """Leading messages of the developer's."""
    left_out: int = 0
    """Reasoning of other models."""
    passed_over: int = 0
    """Items that tell what hosted tools of other targets did."""
    error: ApiError | None = None
    """Why the conversation cannot be said; it stays for the rest of the lineage."""


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
    """What ends the contents that are still open at the end of the conversation."""
    writer = _Writer(transcript, options)
    writer.close()
    return writer.transcript().written


class _Writer:
    """A transcript that is being extended."""

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
        """Takes what this model signed; reasoning that only another one can read is left out."""
        value = typed_item(item)
        assert isinstance(value, Reasoning)
        blocks = read_signatures(item, self._options.model)
        if blocks is not None:
            self._open_turn().sign(blocks, text_of(value.summary))
        elif item.signed is not None or value.content or value.encrypted_content:
            self._left_out += 1

    def close(self) -> None:
        """Ends every content; the last is the user's."""
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
        """The turn that the model's next item belongs to."""
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

    Calls made together have one signature, on the first; a model that demands one gets the value that skips the check where
    there is none. It stays there for good, so that the start of the prompt does not change when the user speaks again.
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
    """The parts of the user's content that answers the calls, in their order, then what had to wait for them."""
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
    """The text cut where it was signed: a signed part must not be joined with another one."""
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
