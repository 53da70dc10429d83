"""Maps items of the conversation to the few kinds of entries that every vendor's API has a form for.

Also content values with their attachments, and items that other vendors' APIs have no counterpart for: calls of built-in
tools that the client runs become ordinary calls, named by the item type, so that the model sees what was done; unknown items
are described by their JSON; what hosted tools of other targets did is left out, because the model's own answer says what
came of it. Called by the transcript writers of the dialects.
"""

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
"""Converts an attachment to the dialect's own part, or returns the error that names what it does not support."""
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
"""Magic numbers of image files (WHATWG MIME Sniffing §6.1, the formats' specifications)."""
_IMAGE_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Media types in use that no vendor accepts."""


class Content(msgspec.Struct, Generic[PartT], frozen=True):
    """A content value: its parts in order; text parts are strings."""

    parts: tuple[str | PartT, ...]

    @property
    def text(self) -> str:
        """All text, each part on its own line."""
        return join_lines([part for part in self.parts if isinstance(part, str)])

    @property
    def attachments(self) -> list[PartT]:
        """Images, files and audio."""
        return [part for part in self.parts if not isinstance(part, str)]


class InputMessage(msgspec.Struct, Generic[PartT], frozen=True):
    """A message of the user or the developer; a developer message holds text only."""

    role: Literal["user", "developer"]
    content: Content[PartT]


class AssistantText(msgspec.Struct, frozen=True):
    """Text that the model said."""

    text: str


class AssistantReasoning(msgspec.Struct, frozen=True):
    """Reasoning of the model: its text ("" if it is not readable) and what its vendor signed."""

    text: str
    signed: Signed | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A tool call of the model, under the tool's upstream name."""

    call_id: str
    name: str
    arguments: str
    """A JSON object; for a custom tool's call the arguments of the function that stands in for it."""
    input: str | None = None
    """The text of a custom tool's call."""


class CallOutput(msgspec.Struct, Generic[PartT], frozen=True):
    """The output of a tool call."""

    call_id: str
    content: Content[PartT]


class OmittedItem(msgspec.Struct, frozen=True):
    """An item without a counterpart upstream."""

    is_lost: bool
    """Whether the model learns nothing of it (what hosted tools of other targets did), unlike tool lists."""


HistoryItem = InputMessage[PartT] | AssistantText | AssistantReasoning | ToolCall | CallOutput[PartT] | OmittedItem


def read_item(item: Item, names: ToolNames, read_attachment: AttachmentReader[PartT]) -> HistoryItem[PartT] | ApiError:  # noqa: PLR0911 - a table of kinds
    """The item as a history entry, or the error for an item that no dialect can express."""
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
    """The function arguments of a custom tool's call, spaced as models write JSON."""
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

    Arguments that were truncated by the token limit, or are nested too deep to decode, become a string in an object.
    """
    if not arguments.strip():
        return "{}"
    try:
        msgspec.json.decode(arguments, type=dict[str, Raw])
    except UNREADABLE:
        return '{"malformed_arguments": ' + msgspec.json.encode(arguments).decode() + "}"
    return arguments


def call_of(item: OpaqueItem) -> tuple[str, str, str] | None:
    """Call id, name and arguments (JSON) of a built-in tool's call; None for any other item."""
    members = foreign_members(item.raw)
    call_id = members.get("call_id")
    if not isinstance(call_id, str) or not item.type.endswith("_call"):
        return None
    arguments = {name: value for name, value in members.items() if name not in _FRAME_MEMBERS}
    return call_id, item.type.removesuffix("_call"), msgspec.json.encode(arguments).decode()


def output_of(item: OpaqueItem) -> tuple[str, str | InputImage] | None:
    """Call id and output of a built-in tool: text, a screenshot's image, or any other output as JSON."""
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
    """An unknown item as text."""
    return f"Item of type {item.type!r}: {msgspec.json.encode(foreign_members(item.raw)).decode()}"


def read_content(content: str | list[Raw], read_attachment: AttachmentReader[PartT]) -> Content[PartT] | ApiError:
    """The content of a message or tool output, or the error that names the unsupported part."""
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
    """The texts joined, with a line break where two would run together."""
    joined = ""
    for text in texts:
        if joined and text and not joined.endswith("\n"):
            joined += "\n"
        joined += text
    return joined


def image_type(declared: str, data: str) -> str:
    """The media type of a base64 image by its first bytes, else the declared one.

    Declared types are often wrong: tools and uploaders go by the file name. OpenAI looks at the bytes; vendors that compare
    both refuse the request, and with it every later request of the conversation.
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
