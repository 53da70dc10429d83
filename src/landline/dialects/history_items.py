"""One item of the conversation as what it says: the few kinds of saying that every vendor's API has a form for."""

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec import Raw

from landline.dialects.tools import ToolNames, upstream_name
from landline.wire.canonical import foreign_members
from landline.wire.errors import ApiError, api_error
from landline.wire.items import (
    AdditionalTools,
    Compaction,
    CompactionTrigger,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    InputFile,
    InputImage,
    InputText,
    Item,
    ItemReference,
    Message,
    OpaqueItem,
    OpaquePart,
    OutputText,
    PlainText,
    Reasoning,
    ReasoningText,
    Refusal,
    Signed,
    SummaryText,
    decode_part,
    text_of,
    typed_item,
)
from landline.wire.readable import UNREADABLE

PartT = TypeVar("PartT")
Attachment = InputImage | InputFile | OpaquePart
AttachmentReader = Callable[[Attachment], PartT | ApiError]
"""A part that is no text as the dialect's own, or the error that names what cannot be said."""
HOSTED_ITEMS = frozenset(
    (
        "code_interpreter_call",
        "configuration_update",
        "file_search_call",
        "image_generation_call",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    )
)
"""Item types of tools that another server ran, and settings in the shape of items (Responses reference, 2026-11)."""
_FRAME_MEMBERS = ("type", "call_id", "status")
_IMAGE_START_CHARS = 32
"""In base64; the longest of the beginnings below takes twelve bytes."""
_IMAGE_MAGIC = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/bmp", re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL)),
    ("image/tiff", re.compile(rb"II\*\0|MM\0\*")),
    ("image/avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("image/heic", re.compile(rb"....ftyp(?:heic|heix|hevc|hevx)", re.DOTALL)),
    ("image/heif", re.compile(rb"....ftyp(?:mif1|msf1)", re.DOTALL)),
)
"""How files of these kinds begin (WHATWG MIME Sniffing §6.1, the formats' own specifications)."""
_IMAGE_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Names that are in use and that no vendor takes."""


class Content(msgspec.Struct, Generic[PartT], frozen=True):
    """A content value: its parts in order; text parts are plain strings."""

    parts: tuple[str | PartT, ...]

    @property
    def text(self) -> str:
        """All text, parts on lines of their own."""
        return join_lines([part for part in self.parts if isinstance(part, str)])

    @property
    def attachments(self) -> list[PartT]:
        """Images, files and audio."""
        return [part for part in self.parts if not isinstance(part, str)]


class InputMessage(msgspec.Struct, Generic[PartT], frozen=True):
    """A message of the user's or the developer's side; one of the developer's is text alone."""

    role: Literal["user", "developer"]
    content: Content[PartT]


class AssistantText(msgspec.Struct, frozen=True):
    """Text that the model said."""

    text: str


class AssistantReasoning(msgspec.Struct, frozen=True):
    """What the model thought: its text, "" if it is not told, and what its vendor signed of it."""

    text: str
    signed: Signed | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call of the model, under the tool's upstream name."""

    call_id: str
    name: str
    arguments: str
    """A JSON object; of a custom tool's call the one that its stand-in function takes."""
    input: str | None = None
    """Of a custom tool's call: the text."""


class CallOutput(msgspec.Struct, Generic[PartT], frozen=True):
    """The output of a tool call."""

    call_id: str
    content: Content[PartT]


class OmittedItem(msgspec.Struct, frozen=True):
    """An item without a counterpart."""

    is_lost: bool
    """Whether the model is not told of it: of what hosted tools of other targets did, but not of tool lists."""


HistoryItem = InputMessage[PartT] | AssistantText | AssistantReasoning | ToolCall | CallOutput[PartT] | OmittedItem


def read_item(item: Item, names: ToolNames, read_attachment: AttachmentReader[PartT]) -> HistoryItem[PartT] | ApiError:
    """What the item says, or why no dialect can say it.

    Passed over: `additional_tools` (they are in `tools`) and what hosted tools of other targets did. Nothing else is:
    built-in tools that the client runs are calls like any other, items of unknown kinds are told as their JSON.
    """
    match typed_item(item):
        case Message(role, content):
            return _read_message(role, content, read_attachment)
        case Reasoning(content=content):
            return AssistantReasoning(text_of(content or []), item.signed)
        case FunctionCall(call_id, name, arguments, namespace):
            return ToolCall(call_id, _known_name(namespace, name, names), _checked_arguments(arguments))
        case CustomToolCall(call_id, name, text, namespace):
            return ToolCall(call_id, _known_name(namespace, name, names), one_string_arguments(text), text)
        case FunctionCallOutput(call_id, output) | CustomToolCallOutput(call_id, output):
            content = read_content(output, read_attachment)
            return content if isinstance(content, ApiError) else CallOutput(call_id, content)
        case AdditionalTools():
            return OmittedItem(is_lost=False)
        case OpaqueItem() as opaque:
            return _read_foreign(opaque, read_attachment)
        case Compaction() | CompactionTrigger() as compaction:
            kind = "compaction" if isinstance(compaction, Compaction) else "compaction_trigger"
            return api_error(
                "unsupported_content", f"Items of type `{kind}` cannot be sent to this model.", param="input"
            )
        case ItemReference(id=item_id):
            message = f"Item {item_id!r} is not stored here. Send the item itself."
            return api_error("invalid_value", message, param="input")


def one_string_arguments(text: str) -> str:
    """The arguments of a custom tool that is offered as a function, spaced as models write JSON."""
    return '{"input": ' + msgspec.json.encode(text).decode() + "}"


def _read_message(
    role: str, content: str | list[Raw], read_attachment: AttachmentReader[PartT]
) -> HistoryItem[PartT] | ApiError:
    read = read_content(content, read_attachment)
    if isinstance(read, ApiError):
        return read
    match role:
        case "assistant":
            return AssistantText(read.text)
        case "system" | "developer" if not read.attachments:
            return InputMessage("developer", read)
        case _:
            return InputMessage("user", read)


def _read_foreign(item: OpaqueItem, read_attachment: AttachmentReader[PartT]) -> HistoryItem[PartT] | ApiError:
    if item.type in HOSTED_ITEMS:
        return OmittedItem(is_lost=True)
    call = call_of(item)
    if call is not None:
        call_id, name, arguments = call
        return ToolCall(call_id, upstream_name(None, name), arguments)
    output = output_of(item)
    if output is not None:
        call_id, said = output
        part = said if isinstance(said, str) else read_attachment(said)
        return part if isinstance(part, ApiError) else CallOutput(call_id, Content((part,)))
    return InputMessage("user", Content((describe_item(item),)))


def _known_name(namespace: str | None, name: str, names: ToolNames) -> str:
    return names.get((namespace, name)) or upstream_name(namespace, name)


def _checked_arguments(arguments: str) -> str:
    """The arguments if they are a JSON object; servers render them with a template and refuse anything else.

    An incomplete call (cut by the token limit) is kept as text in an object, as is one that is nested without end.
    """
    if not arguments.strip():
        return "{}"
    try:
        msgspec.json.decode(arguments, type=dict[str, Raw])
    except UNREADABLE:
        return '{"malformed_arguments": ' + msgspec.json.encode(arguments).decode() + "}"
    return arguments


def call_of(item: OpaqueItem) -> tuple[str, str, str] | None:
    """Call id, name and arguments (JSON) of a built-in tool's call; None if the item is none."""
    members = foreign_members(item.raw)
    call_id = members.get("call_id")
    if not isinstance(call_id, str) or not item.type.endswith("_call"):
        return None
    arguments = {name: value for name, value in members.items() if name not in _FRAME_MEMBERS}
    return call_id, item.type.removesuffix("_call"), msgspec.json.encode(arguments).decode()


def output_of(item: OpaqueItem) -> tuple[str, str | InputImage] | None:
    """Call id and output of a built-in tool: its text, a screenshot's image, or the JSON of any other."""
    members = foreign_members(item.raw)
    call_id = members.get("call_id")
    if not isinstance(call_id, str) or not item.type.endswith("_output"):
        return None
    match members.get("output"):
        case str() as text:
            return call_id, text
        case {"type": "computer_screenshot", "image_url": str() as url}:
            return call_id, InputImage(url)
        case output:
            return call_id, msgspec.json.encode(output).decode()


def describe_item(item: OpaqueItem) -> str:
    """An unknown item in words."""
    return f"Item of type {item.type!r}: {msgspec.json.encode(foreign_members(item.raw)).decode()}"


def read_content(content: str | list[Raw], read_attachment: AttachmentReader[PartT]) -> Content[PartT] | ApiError:
    """The content of a message or tool output, or the error that names the part that cannot be said."""
    if isinstance(content, str):
        return Content((content,))
    parts: list[str | PartT] = []
    for raw in content:
        match decode_part(raw):
            case InputText(text) | OutputText(text) | PlainText(text) | SummaryText(text) | ReasoningText(text):
                parts.append(text)
            case Refusal(refusal):
                parts.append(refusal)
            case attachment:
                part = read_attachment(attachment)
                if isinstance(part, ApiError):
                    return part
                parts.append(part)
    return Content(tuple(parts))


def join_lines(texts: Sequence[str]) -> str:
    """The texts one after the other, with a line break where two would run together."""
    joined = ""
    for text in texts:
        if joined and text and not joined.endswith("\n"):
            joined += "\n"
        joined += text
    return joined


def image_type(declared: str, data: str) -> str:
    """The media type of an image in base64: the one that its first bytes have, else the declared one.

    Tools declare what they mean to make and uploaders go by a file's name. OpenAI looks at the bytes; vendors that compare
    both refuse the request, and every later one of the conversation.
    """
    try:
        start = b64decode(data[:_IMAGE_START_CHARS])
    except ValueError:
        start = b""
    for kind, magic in _IMAGE_MAGIC:
        if magic.match(start):
            return kind
    declared = declared.lower()
    return _IMAGE_ALIASES.get(declared, declared)
