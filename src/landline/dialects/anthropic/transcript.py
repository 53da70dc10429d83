"""Converts a lineage to messages of the Messages API, link by link: the items of a link are encoded only once.

Called by `dialect` through `Link.folds`. User and assistant messages alternate; the rules, and how they are kept:

- consecutive items of one side form one message;
- every `tool_use` gets exactly one result, at the start of the next message: user content in between moves behind the
  results; a call that is unanswered when the model continues, or at the end, gets a note as its result; an output
  whose call is not open any more becomes text;
- the first and the last message are the user's: models since 4.6 accept no unfinished answers;
- a call id is used only once in a conversation;
- blank text is dropped, and so is thinking that nothing follows in its message.

Messages only grow at their end (except for results of the last calls), because caches and thinking signatures depend on
everything before them. The result does not depend on how the items are split into links.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from itertools import chain
from typing import Literal, assert_never

import msgspec
from msgspec import Raw

from landline.dialects.anthropic.breakpoints import marked_parts
from landline.dialects.history_calls import NO_OUTPUT, CallIdFormat, CallIds, CallIdWriter
from landline.dialects.history_items import (
    AssistantReasoning,
    AssistantText,
    Attachment,
    CallOutput,
    Content,
    HistoryItem,
    InputMessage,
    OmittedItem,
    ToolCall,
    image_type,
    read_item,
)
from landline.dialects.tools import ToolNames
from landline.wire.errors import ApiError, api_error
from landline.wire.items import InputFile, InputImage, Item, OpaquePart

VENDOR = "anthropic"
"""`Signed.by` of thinking that goes back."""
CALL_ID_FORMAT = CallIdFormat(re.compile(r"[a-zA-Z0-9_-]{1,64}"), "call_", 24)
BEGIN = b'{"type":"text","text":"(Begin.)"}'
"""The first user block of a conversation that is empty or begins with the model."""
GO_ON = b'{"type":"text","text":"(Go on.)"}'
"""The last user block of a conversation that ends with the model."""
Role = Literal["user", "assistant"]
BlockJson = bytes
"""One content block as a JSON object."""
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_IMAGE_TYPES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
"""Base64 images that the API reads (Messages reference, November 2026)."""
_PDF_START = "JVBERi"
"""`%PDF` in base64."""
_TEXT_TYPES = re.compile(r"text/.*|application/(?:json|xml|yaml|javascript|x-.*|.*\+(?:json|xml))")
_encode = msgspec.json.Encoder().encode


class MessageSpan(msgspec.Struct, frozen=True):
    """A part of the messages' JSON. It stops before the brace that closes its last block, so that the member of a cache
    breakpoint can be inserted there; the next span, or the end of the body, closes the block."""

    body: bytes
    begins_answer: bool = False
    """Whether it begins an assistant message: the spans before it are those of an answered request."""
    is_marked: bool = False
    """Whether the client wants a breakpoint at its end."""


class OpenToolUse(msgspec.Struct, frozen=True):
    """A call without a result."""

    call_id: str
    use_id: str


class UserBlock(msgspec.Struct, frozen=True):
    """User content that came while calls were unanswered."""

    block: BlockJson
    is_marked: bool = False


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    pieces: tuple[MessageSpan, ...] = ()
    """What this link added."""
    role: Role | None = None
    """The role of the open message; None before the first one."""
    system: tuple[str, ...] = ()
    """Leading developer messages."""
    is_system_marked: bool = False
    """Whether the client wants a breakpoint at one of them."""
    open_calls: tuple[OpenToolUse, ...] = ()
    """The unanswered calls of the newest assistant message."""
    call_ids: CallIds = CallIds()
    """The ids of all calls."""
    held: tuple[UserBlock, ...] = ()
    """User content that waits for their results."""
    thoughts: tuple[BlockJson, ...] = ()
    """Signed thinking that waits for the block that follows it."""
    is_loop: bool = False
    """Whether the newest assistant message has calls."""
    starts_signed: bool = False
    """Whether that message starts with thinking."""
    left_out: int = 0
    """Reasoning items that are not sent: of other vendors, unsigned, or followed by nothing."""
    passed_over: int = 0
    """Items of hosted tools of other targets."""
    error: ApiError | None = None
    """Why the conversation cannot be sent; inherited by the rest of the lineage."""

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing that the model could read."""
        return self.role is None and not self.system


def extend_transcript(before: Transcript | None, items: Sequence[Item], names: ToolNames) -> Transcript:
    """The transcript after more items."""
    if before is not None and before.error is not None:
        return before
    writer = _Writer(before or Transcript())
    for item in items:
        saying = read_item(item, names, read_attachment)
        if isinstance(saying, ApiError):
            return Transcript(error=saying)
        writer.say(saying, marked_parts(item))
    return writer.transcript()


def close_transcript(transcript: Transcript) -> Transcript:
    """What completes the messages of a request: missing results, content that waited for them, a last user message."""
    writer = _Writer(transcript)
    writer.settle()
    if writer.role != "user":
        writer.write("user", BEGIN if writer.role is None else GO_ON)
    return writer.transcript()


class _Writer:
    """Extends a transcript."""

    def __init__(self, before: Transcript) -> None:
        self._pieces: list[MessageSpan] = []
        self._body: list[bytes] = []
        self._begins_answer = False
        self.role: Role | None = before.role
        self._system = list(before.system)
        self._is_system_marked = before.is_system_marked
        self._open_calls: dict[str, list[str]] = {}
        """Call id → ids in the request: a call id may come again before it is answered."""
        for call in before.open_calls:
            self._open_calls.setdefault(call.call_id, []).append(call.use_id)
        self._held = list(before.held)
        self._thoughts = before.thoughts
        self._call_ids = CallIdWriter(before.call_ids, CALL_ID_FORMAT)
        self._is_loop = before.is_loop
        self._starts_signed = before.starts_signed
        self._left_out = before.left_out
        self._passed_over = before.passed_over

    def transcript(self) -> Transcript:
        self._end_piece()
        return Transcript(
            pieces=tuple(self._pieces),
            role=self.role,
            system=tuple(self._system),
            is_system_marked=self._is_system_marked,
            open_calls=tuple(
                OpenToolUse(call_id, each) for call_id, use_ids in self._open_calls.items() for each in use_ids
            ),
            call_ids=self._call_ids.call_ids(),
            held=tuple(self._held),
            thoughts=self._thoughts,
            is_loop=self._is_loop,
            starts_signed=self._starts_signed,
            left_out=self._left_out,
            passed_over=self._passed_over,
        )

    def say(self, saying: HistoryItem[BlockJson], marked: frozenset[int]) -> None:
        match saying:
            case InputMessage("developer", content) if self.role is None and not self._thoughts:
                self._system.append(content.text)
                self._is_system_marked = self._is_system_marked or bool(marked)
            case InputMessage(content=content):
                self._tell(content, marked)
            case AssistantText(text):
                block = text_block(text)
                if block is not None:
                    self._write_answer(block)
            case AssistantReasoning(signed=signed):
                if signed is not None and signed.by == VENDOR:
                    self._begin_answer()
                    self._thoughts = (*self._thoughts, *(block.encode() for block in signed.blocks))
                else:
                    self._left_out += 1
            case ToolCall(call_id, name, arguments):
                self._call(call_id, name, arguments)
            case CallOutput(call_id, content):
                self._answer(call_id, content, is_marked=bool(marked))
            case OmittedItem(is_lost):
                self._passed_over += is_lost
            case _:
                assert_never(saying)

    def settle(self) -> None:
        """Writes results for unanswered calls, then the content that waited for them."""
        self._drop_thoughts()
        for use_id in chain.from_iterable(self._open_calls.values()):
            self.write("user", tool_result(use_id, Content((NO_OUTPUT,))))
        self._open_calls = {}
        held, self._held = self._held, []
        for each in held:
            self.write("user", each.block, is_marked=each.is_marked)

    def _tell(self, content: Content[BlockJson], marked: frozenset[int]) -> None:
        self._drop_thoughts()
        for index, block in enumerate(blocks_of(content)):
            if block is None:
                continue
            if self._open_calls:
                self._held.append(UserBlock(block, index in marked))
            else:
                self.write("user", block, is_marked=index in marked)

    def _call(self, call_id: str, name: str, arguments: str) -> None:
        use_id = self._call_ids.add(call_id)
        use = {"type": "tool_use", "id": use_id, "name": name, "input": Raw(arguments.strip().encode())}
        self._write_answer(_encode(use))
        self._open_calls.setdefault(call_id, []).append(use_id)
        self._is_loop = True

    def _answer(self, call_id: str, content: Content[BlockJson], *, is_marked: bool) -> None:
        use_ids = self._open_calls.get(call_id)
        if use_ids is None:
            late = Content((f"Output of the tool call {call_id}:", *content.parts))
            self._tell(late, frozenset((len(late.parts) - 1,)) if is_marked else frozenset())
            return
        self._drop_thoughts()
        self.write("user", tool_result(use_ids.pop(0), content), is_marked=is_marked)
        if not use_ids:
            del self._open_calls[call_id]
        if not self._open_calls:
            self.settle()

    def _begin_answer(self) -> None:
        """Starts a new assistant message if the user replied to the current one."""
        if self._held or (self.role == "user" and self._open_calls):
            self.settle()

    def _write_answer(self, block: BlockJson) -> None:
        self._begin_answer()
        if self.role is None:
            self.write("user", BEGIN)
        if self.role == "user":
            self._is_loop, self._starts_signed = False, bool(self._thoughts)
        thoughts, self._thoughts = self._thoughts, ()
        for each in (*thoughts, block):
            self.write("assistant", each)

    def _drop_thoughts(self) -> None:
        """Drops thinking at the end of a message, which the API refuses (an answer that stopped while the model thought)."""
        self._left_out += bool(self._thoughts)
        self._thoughts = ()

    def write(self, role: Role, block: BlockJson, *, is_marked: bool = False) -> None:
        opening = b'{"role":"' + role.encode() + b'","content":['
        if self.role is None:
            joint = opening
        elif self.role == role:
            joint = b"},"
        else:
            joint = b"}]}," + opening
            if role == "assistant":
                # A span must not cross the beginning of an answer: the previous request, whose breakpoint is set again,
                # ended there.
                self._end_piece()
                self._begins_answer = True
        self._body += (joint, block[:-1])
        self.role = role
        if is_marked:
            self._end_piece(is_marked=True)

    def _end_piece(self, *, is_marked: bool = False) -> None:
        if self._body:
            self._pieces.append(MessageSpan(b"".join(self._body), self._begins_answer, is_marked))
            self._body, self._begins_answer = [], False


def text_block(text: str) -> BlockJson | None:
    """A text block; None for blank text, which the API refuses."""
    return _encode({"type": "text", "text": text}) if text.strip() else None


def blocks_of(content: Content[BlockJson]) -> list[BlockJson | None]:
    """One block a part, None for a blank one."""
    return [text_block(part) if isinstance(part, str) else part for part in content.parts]


def tool_result(tool_use_id: str, content: Content[BlockJson]) -> BlockJson:
    """The result block of a call: a string if the output is only text, else blocks."""
    result: dict[str, object] = {"type": "tool_result", "tool_use_id": tool_use_id}
    if content.attachments:
        result["content"] = [msgspec.Raw(block) for block in blocks_of(content) if block is not None]
    elif content.text.strip():
        result["content"] = content.text
    return _encode(result)


def read_attachment(part: Attachment) -> BlockJson | ApiError:
    """An image or file as a block, or the error that names the unsupported kind."""
    match part:
        case InputImage(image_url, file_id):
            return _image_block(image_url, file_id)
        case InputFile():
            return _document_block(part)
        case OpaquePart(type=kind):
            return _refused(f"Content of type {kind!r} cannot be sent to this model.")


def _image_block(image_url: str | None, file_id: str | None) -> BlockJson | ApiError:
    if image_url is None:
        if file_id is None:
            return _refused("Expected an image with `image_url` or `file_id`.")
        return _encode({"type": "image", "source": {"type": "file", "file_id": file_id}})
    data = _DATA_URL.match(image_url)
    if data is None:
        return _encode({"type": "image", "source": {"type": "url", "url": image_url}})
    encoded = image_url[data.end() :]
    media_type = image_type(data[1], encoded) if _is_base64(data) else data[1]
    if media_type not in _IMAGE_TYPES or not _is_base64(data):
        return _refused(
            f"This model reads base64 images of type {', '.join(sorted(_IMAGE_TYPES))}, not {media_type!r}."
        )
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return _encode({"type": "image", "source": source})


def _document_block(file: InputFile) -> BlockJson | ApiError:
    if file.file_data is not None:
        source = _data_source(file.file_data, file.filename or "")
        if isinstance(source, ApiError):
            return source
    elif file.file_url is not None:
        source = {"type": "url", "url": file.file_url}
    elif file.file_id is not None:
        source = {"type": "file", "file_id": file.file_id}
    else:
        return _refused("Expected a file with `file_data`, `file_url` or `file_id`.")
    block: dict[str, object] = {"type": "document", "source": source}
    if file.filename:
        block["title"] = file.filename
    return _encode(block)


def _data_source(file_data: str, filename: str) -> dict[str, str] | ApiError:
    """A PDF as it is, text as text; `file_data` is a data URL or bare base64."""
    data = _DATA_URL.match(file_data)
    encoded = file_data[data.end() :] if data is not None else file_data
    media_type = data[1].lower() if data is not None else ""
    if media_type == "application/pdf" or encoded.startswith(_PDF_START):
        return {"type": "base64", "media_type": "application/pdf", "data": encoded}
    if media_type and media_type != "application/octet-stream" and _TEXT_TYPES.fullmatch(media_type) is None:
        return _refused(f"This model reads PDF and text files, not {media_type!r}.")
    try:
        text = b64decode(encoded, validate=True).decode()
    except (Base64Error, ValueError):
        return _refused(f"This model reads PDF and text files; {filename or 'this file'!r} is neither.")
    return {"type": "text", "media_type": "text/plain", "data": text}


def _is_base64(data: re.Match[str]) -> bool:
    return "base64" in data[2].lower()


def _refused(message: str) -> ApiError:
    return api_error("unsupported_content", message, param="input")
