"""Converts a lineage to chat messages, link by link: the items of a link are encoded only once.

Called by `dialect` through `Link.folds`. Strict servers require that every call is answered exactly once, in the messages
that directly follow it. So a transcript keeps the newest assistant message open until its calls are answered:

- consecutive items of the model form one assistant message;
- messages between calls and their outputs move behind the outputs;
- images in outputs become a user message after the outputs (or stay in them, by flag);
- a call that is unanswered when the model continues, or at the end, gets a note as its output;
- an output whose call is not open any more becomes a user message;
- a call id is used only once in a conversation, and in a format that the server accepts.

The result does not depend on how the items are split into links, so a history that is sent whole and one that is sent in
deltas look the same to the model.
"""

import re
from collections.abc import Sequence
from typing import assert_never

import msgspec
from msgspec import Raw

from landline.dialects.chat_completions.reasoning_details import VENDOR, with_ids
from landline.dialects.chat_completions.settings import ChatCompletionsFlags
from landline.dialects.history_calls import CallIdFormat, CallIds, CallIdWriter, OpenCalls
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

GO_ON = "(Go on.)"
"""Appended as a user message for servers that refuse a conversation that ends with the model."""
NOTED = "(Noted.)"
"""Inserted as an assistant message between outputs and a user message, for servers that require it."""
ID_FORMS = {
    "max_40": CallIdFormat(re.compile(r".{1,40}", re.DOTALL), "call_", 24),
    "alphanumeric_9": CallIdFormat(re.compile(r"[a-zA-Z0-9]{9}"), "", 9),
}
"""OpenAI takes ids of 40 characters (vercel/ai#5171), and each once in a conversation (agno-agi/agno#5116). Mistral:
anomalyco/opencode#1680."""
ChatPart = dict[str, object] | Raw
"""One chat part as an object, or as the bytes of a kind that both APIs spell alike."""
_IMAGE_DATA_URL = re.compile(r"data:([^;,]*)[^,]*;base64,", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


class RequestCall(msgspec.Struct, frozen=True):
    """A call with the id that it has in the request."""

    call: ToolCall
    upstream_id: str


def _no_calls() -> OpenCalls[ChatPart]:
    return OpenCalls()


class OpenAssistantMessage(msgspec.Struct):
    """The newest assistant message, still open."""

    texts: list[str] = []
    thoughts: list[str] = []
    details: list[str] = []
    """What its vendor signed, as JSON objects."""
    calls: list[RequestCall] = []
    open_calls: OpenCalls[ChatPart] = msgspec.field(default_factory=_no_calls)
    """By position in `calls`."""
    held: list[bytes] = []
    """Messages that came while calls were unanswered."""

    @property
    def is_over(self) -> bool:
        """Whether an output or a message has followed, so that the model's next item begins a new message."""
        return bool(self.open_calls.outputs or self.held)

    def copy(self) -> "OpenAssistantMessage":
        """A copy that can be added to without changing this one."""
        lists = list(self.texts), list(self.thoughts), list(self.details), list(self.calls)
        return OpenAssistantMessage(*lists, self.open_calls.copy(), list(self.held))

    def call(self, used: RequestCall) -> None:
        """Adds a call."""
        self.open_calls.add(used.call.call_id, len(self.calls))
        self.calls.append(used)


class Transcript(msgspec.Struct, frozen=True):
    """The conversation up to and with one link."""

    closed: bytes = b""
    """The messages that this link completed, as JSON, each followed by a comma."""
    open_message: OpenAssistantMessage | None = None
    system: tuple[str, ...] = ()
    """Leading system messages, if the server accepts only one."""
    call_ids: CallIds = CallIds()
    """The ids of all calls."""
    has_messages: bool = False
    left_out: int = 0
    """Reasoning items that are not sent."""
    passed_over: int = 0
    """Items of hosted tools of other targets."""
    error: ApiError | None = None
    """Why the conversation cannot be sent; inherited by the rest of the lineage."""


def extend_transcript(
    before: Transcript | None, items: Sequence[Item], flags: ChatCompletionsFlags, names: ToolNames
) -> Transcript:
    """The transcript after more items."""
    if before is not None and before.error is not None:
        return before
    writer = _Writer(before or Transcript(), flags)
    for item in items:
        saying = read_item(item, names, read_attachment)
        if isinstance(saying, ApiError):
            return Transcript(error=saying)
        writer.say(saying)
    return writer.transcript()


def close_transcript(transcript: Transcript, flags: ChatCompletionsFlags) -> bytes:
    """The messages that are still open at the end of the conversation, each followed by a comma."""
    opened = transcript.open_message
    if opened is None:
        return b""
    messages = assistant_messages(opened, flags)
    if flags.role_order == "strict" and messages and not opened.calls:
        messages.append(_encode({"role": "user", "content": GO_ON}))
    return b"".join(message + b"," for message in messages)


class _Writer:
    """Extends a transcript."""

    def __init__(self, before: Transcript, flags: ChatCompletionsFlags) -> None:
        self._flags = flags
        self._had_messages = before.has_messages
        self._closed: list[bytes] = []
        self._opened = before.open_message.copy() if before.open_message is not None else None
        self._system = list(before.system)
        self._call_ids = CallIdWriter(before.call_ids, ID_FORMS[flags.call_ids])
        self._left_out = before.left_out
        self._passed_over = before.passed_over

    def transcript(self) -> Transcript:
        return Transcript(
            closed=b"".join(message + b"," for message in self._closed),
            open_message=self._opened,
            system=tuple(self._system),
            call_ids=self._call_ids.call_ids(),
            has_messages=self._has_messages(),
            left_out=self._left_out,
            passed_over=self._passed_over,
        )

    def say(self, saying: HistoryItem[ChatPart]) -> None:
        match saying:
            case InputMessage(role, content):
                is_developer = role == "developer"
                self._tell(self._flags.developer_role if is_developer else role, as_chat(content))
            case AssistantText(text):
                self._open_message().texts.append(text)
            case AssistantReasoning():
                self._think(saying)
            case ToolCall(call_id):
                self._open_message().call(RequestCall(saying, self._call_ids.add(call_id)))
            case CallOutput(call_id, content):
                if self._opened is None or not self._opened.open_calls.answer(call_id, content):
                    self._tell("user", _late_output(saying))
            case OmittedItem(is_lost):
                self._passed_over += is_lost
            case _:
                assert_never(saying)

    def _think(self, thought: AssistantReasoning) -> None:
        signed = thought.signed
        details = signed.blocks if signed is not None and signed.by == VENDOR and self._flags.reasoning_details else ()
        if thought.text or details:
            opened = self._open_message()
            opened.thoughts += [thought.text] if thought.text else []
            opened.details += details
        if not details and (not thought.text or self._flags.reasoning_field == "none"):
            self._left_out += 1

    def _has_messages(self) -> bool:
        return self._had_messages or bool(self._closed) or self._opened is not None

    def _tell(self, role: str, content: str | list[ChatPart]) -> None:
        if self._flags.system_position == "start" and role == self._flags.developer_role:
            if isinstance(content, str) and not self._has_messages():
                self._system.append(content)
                return
            role = "user"
        message = _encode({"role": role, "content": content})
        if self._opened is not None and self._opened.open_calls.unanswered:
            self._opened.held.append(message)
            return
        self._close(then_told=True)
        self._closed.append(message)

    def _open_message(self) -> OpenAssistantMessage:
        """The message that the model's next item belongs to."""
        if self._opened is not None and self._opened.is_over:
            self._close()
        if self._opened is None:
            self._opened = OpenAssistantMessage()
        return self._opened

    def _close(self, *, then_told: bool = False) -> None:
        if self._opened is not None:
            self._closed += assistant_messages(self._opened, self._flags, then_told=then_told)
            self._opened = None


def _late_output(answered: CallOutput[ChatPart]) -> str | list[ChatPart]:
    return as_chat(Content((f"Output of the tool call {answered.call_id}:", *answered.content.parts)))


def assistant_messages(
    opened: OpenAssistantMessage, flags: ChatCompletionsFlags, *, then_told: bool = False
) -> list[bytes]:
    """The assistant message, the outputs of its calls, then the messages that waited for them.

    `then_told`: a message of the user or the developer follows.
    """
    assistant = _assistant_message(opened, flags)
    messages = [_encode(assistant)] if assistant is not None else []
    attachments: list[ChatPart] = []
    for place, used in enumerate(opened.calls):
        content = opened.open_calls.output(place)
        said = as_chat(content) if flags.tool_images else content.text
        messages.append(_encode({"role": "tool", "tool_call_id": used.upstream_id, "content": said}))
        if not flags.tool_images and content.attachments:
            attachments += [text_part(f"Attached to the output of {used.upstream_id}:"), *content.attachments]
    if opened.calls and flags.role_order == "strict" and (attachments or opened.held or then_told):
        messages.append(_encode({"role": "assistant", "content": NOTED}))
    if attachments:
        messages.append(_encode({"role": "user", "content": attachments}))
    return [*messages, *opened.held]


def _assistant_message(opened: OpenAssistantMessage, flags: ChatCompletionsFlags) -> dict[str, object] | None:
    """None if it is empty, which servers refuse."""
    text = "\n\n".join(text for text in opened.texts if text)
    thought = "\n\n".join(opened.thoughts) if flags.reasoning_field != "none" else ""
    if not text and not thought and not opened.details and not opened.calls:
        return None
    message: dict[str, object] = {"role": "assistant", "content": text if text or not opened.calls else None}
    reasoning = thought or flags.reasoning_placeholder
    if opened.details:
        call_ids = {used.call.call_id: used.upstream_id for used in opened.calls}
        message["reasoning_details"] = with_ids(opened.details, call_ids)
    elif reasoning and flags.reasoning_field != "none":
        message[flags.reasoning_field] = reasoning
    if opened.calls:
        message["tool_calls"] = [_call_member(used, flags) for used in opened.calls]
    return message


def _call_member(used: RequestCall, flags: ChatCompletionsFlags) -> dict[str, object]:
    call = used.call
    if call.input is not None and flags.custom_tools == "custom":
        return {"id": used.upstream_id, "type": "custom", "custom": {"name": call.name, "input": call.input}}
    return {"id": used.upstream_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def as_chat(content: Content[ChatPart]) -> str | list[ChatPart]:
    """A string if there is only text, which every server accepts; else a list of parts."""
    if not content.attachments:
        return content.text
    return [text_part(part) if isinstance(part, str) else part for part in content.parts]


def text_part(text: str) -> ChatPart:
    return {"type": "text", "text": text}


def read_attachment(part: Attachment) -> ChatPart | ApiError:
    """A part that is no text."""
    match part:
        case InputImage():
            return _image_part(part)
        case InputFile():
            return _file_part(part)
        case OpaquePart(type="input_audio", raw=data):
            return Raw(data)
        case OpaquePart(type=kind):
            return api_error("unsupported_content", f"Content of type {kind!r} cannot be sent to this model.")


def _image_part(image: InputImage) -> ChatPart | ApiError:
    if image.image_url is None:
        return api_error("unsupported_content", "This model takes images by `image_url`, not by `file_id`.")
    url: dict[str, object] = {"url": _with_true_type(image.image_url)}
    if image.detail is not None:
        url["detail"] = "high" if image.detail == "original" else image.detail
    return {"type": "image_url", "image_url": url}


def _with_true_type(url: str) -> str:
    """The image's URL; a base64 `data:` URL gets the media type that its bytes have."""
    found = _IMAGE_DATA_URL.match(url)
    if found is None:
        return url
    media_type = image_type(found[1], url[found.end() :])
    return url if media_type == found[1] else f"data:{media_type}{url[found.end(1) :]}"


def _file_part(file: InputFile) -> ChatPart | ApiError:
    if file.file_data is None and file.file_id is None:
        return api_error(
            "unsupported_content", "This model takes files by `file_data` or `file_id`, not by `file_url`."
        )
    known = {"filename": file.filename, "file_data": file.file_data, "file_id": file.file_id}
    return {"type": "file", "file": {key: value for key, value in known.items() if value is not None}}
