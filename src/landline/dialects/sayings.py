"""One item of the conversation as what it says: the few kinds of saying that every vendor's API has a form for."""

from typing import Generic, Literal

import msgspec
from msgspec import Raw

from landline.dialects.content import AttachmentReader, Content, PartT, read_content
from landline.dialects.foreign import HOSTED_ITEMS, call_of, output_of, telling_of
from landline.dialects.names import ToolNames, upstream_name
from landline.wire.errors import ApiError, api_error
from landline.wire.items import (
    AdditionalTools,
    Compaction,
    CompactionTrigger,
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    ItemReference,
    Message,
    OpaqueItem,
    Reasoning,
    Signed,
    text_of,
    typed_item,
)
from landline.wire.readable import UNREADABLE


class Told(msgspec.Struct, Generic[PartT], frozen=True):
    """A message of the user's or the developer's side; one of the developer's is text alone."""

    role: Literal["user", "developer"]
    content: Content[PartT]


class Spoken(msgspec.Struct, frozen=True):
    """Text that the model said."""

    text: str


class Thought(msgspec.Struct, frozen=True):
    """What the model thought: its text, "" if it is not told, and what its vendor signed of it."""

    text: str
    signed: Signed | None = None


class Called(msgspec.Struct, frozen=True):
    """A tool call of the model, under the tool's upstream name."""

    call_id: str
    name: str
    arguments: str
    """A JSON object; of a custom tool's call the one that its stand-in function takes."""
    input: str | None = None
    """Of a custom tool's call: the text."""


class Answered(msgspec.Struct, Generic[PartT], frozen=True):
    """The output of a tool call."""

    call_id: str
    content: Content[PartT]


class Unsaid(msgspec.Struct, frozen=True):
    """An item without a counterpart."""

    is_lost: bool
    """Whether the model is not told of it: of what hosted tools of other targets did, but not of tool lists."""


Saying = Told[PartT] | Spoken | Thought | Called | Answered[PartT] | Unsaid


def read_item(item: Item, names: ToolNames, read_attachment: AttachmentReader[PartT]) -> Saying[PartT] | ApiError:
    """What the item says, or why no dialect can say it.

    Passed over: `additional_tools` (they are in `tools`) and what hosted tools of other targets did. Nothing else is:
    built-in tools that the client runs are calls like any other, items of unknown kinds are told as their JSON.
    """
    match typed_item(item):
        case Message(role, content):
            return _read_message(role, content, read_attachment)
        case Reasoning(content=content):
            return Thought(text_of(content or []), item.signed)
        case FunctionCall(call_id, name, arguments, namespace):
            return Called(call_id, _known_name(namespace, name, names), _checked_arguments(arguments))
        case CustomToolCall(call_id, name, text, namespace):
            return Called(call_id, _known_name(namespace, name, names), one_string_arguments(text), text)
        case FunctionCallOutput(call_id, output) | CustomToolCallOutput(call_id, output):
            content = read_content(output, read_attachment)
            return content if isinstance(content, ApiError) else Answered(call_id, content)
        case AdditionalTools():
            return Unsaid(is_lost=False)
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
) -> Saying[PartT] | ApiError:
    read = read_content(content, read_attachment)
    if isinstance(read, ApiError):
        return read
    match role:
        case "assistant":
            return Spoken(read.text)
        case "system" | "developer" if not read.attachments:
            return Told("developer", read)
        case _:
            return Told("user", read)


def _read_foreign(item: OpaqueItem, read_attachment: AttachmentReader[PartT]) -> Saying[PartT] | ApiError:
    if item.type in HOSTED_ITEMS:
        return Unsaid(is_lost=True)
    call = call_of(item)
    if call is not None:
        call_id, name, arguments = call
        return Called(call_id, upstream_name(None, name), arguments)
    output = output_of(item)
    if output is not None:
        call_id, said = output
        part = said if isinstance(said, str) else read_attachment(said)
        return part if isinstance(part, ApiError) else Answered(call_id, Content((part,)))
    return Told("user", Content((telling_of(item),)))


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
