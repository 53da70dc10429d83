"""Items, parts and tools of a conversation.

An item is kept as the bytes that came in, beside the few fields that sessions read; dialects decode the rest when they need
it. Nothing unknown is lost, because nothing is re-encoded.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

CallId = Annotated[str, Meta(min_length=1)]
"""Links an output to its call; upstreams refuse an empty one."""


class Item(msgspec.Struct, frozen=True):
    """One item of the conversation: its JSON and the fields that sessions and lineages look at."""

    raw: bytes
    """One JSON object, UTF-8, exactly as received or authored."""
    type: str
    """`message` when the client left it out, as most do."""
    id: str | None = None
    role: str | None = None
    call_id: str | None = None
    opened: "tuple[Item, ...] | None" = None
    """For an opened compaction or encrypted reasoning: the items that a model reads in its place."""
    covers: frozenset[bytes] = frozenset()
    """For an opened compaction: the messages and tool lists that it replaces, by `item_digest`."""
    signed: "Signed | None" = None
    """For reasoning: what its vendor wants back with it."""


class Signed(msgspec.Struct, frozen=True):
    """What a vendor signed of its model's reasoning, and wants back unchanged when the conversation goes on."""

    by: str
    """The dialect whose vendor signed it; nobody else can use it."""
    blocks: tuple[str, ...]
    """JSON objects in that dialect's own form, in order."""


UNSIGNED = Signed(by="", blocks=())
"""For reasoning that has only a summary and no signature: no model can use it."""


class InputText(msgspec.Struct, frozen=True, tag="input_text"):
    text: str


class InputImage(msgspec.Struct, frozen=True, tag="input_image"):
    image_url: str | None = None
    """A `data:` URL or an address."""
    file_id: str | None = None
    detail: str | None = None


class InputFile(msgspec.Struct, frozen=True, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class OutputText(msgspec.Struct, frozen=True, tag="output_text"):
    text: str
    annotations: list[Raw] = msgspec.field(default_factory=list[Raw])


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    refusal: str


class SummaryText(msgspec.Struct, frozen=True, tag="summary_text"):
    text: str


class ReasoningText(msgspec.Struct, frozen=True, tag="reasoning_text"):
    text: str


class PlainText(msgspec.Struct, frozen=True, tag="text"):
    """The bare `text` part that some clients play back."""

    text: str


class OpaquePart(msgspec.Struct, frozen=True):
    """A content part of a kind this version does not know."""

    type: str
    raw: bytes


KnownPart = InputText | InputImage | InputFile | OutputText | Refusal | SummaryText | ReasoningText | PlainText
Part = KnownPart | OpaquePart


class Message(msgspec.Struct, frozen=True, tag="message"):
    role: str
    content: str | list[Raw]
    phase: str | None = None


class FunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    call_id: CallId
    name: str
    arguments: str
    namespace: str | None = None


class FunctionCallOutput(msgspec.Struct, frozen=True, tag="function_call_output"):
    call_id: CallId
    output: str | list[Raw]


class CustomToolCall(msgspec.Struct, frozen=True, tag="custom_tool_call"):
    call_id: CallId
    name: str
    input: str
    namespace: str | None = None


class CustomToolCallOutput(msgspec.Struct, frozen=True, tag="custom_tool_call_output"):
    call_id: CallId
    output: str | list[Raw]


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    summary: list[Raw] = msgspec.field(default_factory=list[Raw])
    content: list[Raw] | None = None
    encrypted_content: str | None = None


class Compaction(msgspec.Struct, frozen=True, tag="compaction"):
    encrypted_content: str


class CompactionTrigger(msgspec.Struct, frozen=True, tag="compaction_trigger"):
    pass


class ItemReference(msgspec.Struct, frozen=True, tag="item_reference"):
    id: str


class AdditionalTools(msgspec.Struct, frozen=True, tag="additional_tools"):
    """Tools added in mid-conversation; they stay in force for every later turn of the lineage."""

    tools: list[Raw] = msgspec.field(default_factory=list[Raw])


class OpaqueItem(msgspec.Struct, frozen=True):
    """An item of a kind this version does not know, or a hosted tool's."""

    type: str
    raw: bytes


KnownItem = (
    Message
    | FunctionCall
    | FunctionCallOutput
    | CustomToolCall
    | CustomToolCallOutput
    | Reasoning
    | Compaction
    | CompactionTrigger
    | ItemReference
    | AdditionalTools
)
AnyItem = KnownItem | OpaqueItem
_KNOWN_ITEMS: dict[str, type[KnownItem]] = {
    "message": Message,
    "function_call": FunctionCall,
    "function_call_output": FunctionCallOutput,
    "custom_tool_call": CustomToolCall,
    "custom_tool_call_output": CustomToolCallOutput,
    "reasoning": Reasoning,
    "compaction": Compaction,
    "compaction_trigger": CompactionTrigger,
    "item_reference": ItemReference,
    "additional_tools": AdditionalTools,
}
KNOWN_ITEM_TYPES = frozenset(_KNOWN_ITEMS)
"""Every other kind is opaque."""


class _ItemHead(msgspec.Struct):
    type: str | None = None
    id: str | None = None
    role: str | None = None
    call_id: str | None = None


class _PartHead(msgspec.Struct):
    type: str


_HEAD_DECODER: msgspec.json.Decoder[_ItemHead] = msgspec.json.Decoder(_ItemHead)
_PART_HEAD_DECODER: msgspec.json.Decoder[_PartHead] = msgspec.json.Decoder(_PartHead)
_PART_DECODER: msgspec.json.Decoder[KnownPart] = msgspec.json.Decoder(KnownPart)
_MEMBERS_DECODER: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_PART_TYPES = frozenset(
    ("input_text", "input_image", "input_file", "output_text", "refusal", "summary_text", "reasoning_text", "text")
)
_ITEM_DECODERS: dict[str, Callable[[bytes], KnownItem]] = {
    name: msgspec.json.Decoder(kind).decode for name, kind in _KNOWN_ITEMS.items()
}


def decode_item(raw: bytes | Raw) -> Item:
    """Reads an item's head and checks the whole item if its kind is known.

    Raises msgspec.ValidationError with the path of the wrong field.
    """
    raw = bytes(raw)
    head = _HEAD_DECODER.decode(raw)
    kind = head.type if head.type is not None else "message" if head.role is not None else None
    if kind is None:
        raise msgspec.ValidationError("Object missing required field `type`")
    item = Item(raw=raw, type=kind, id=head.id, role=head.role, call_id=head.call_id)
    _check_inside(typed_item(item))
    return item


def _check_inside(item: AnyItem) -> None:
    """Checks the parts and tools that an item holds: once it is stored, a broken one would break every later turn."""
    match item:
        case Message(content=list() as parts):
            _check_each(parts, "content", decode_part)
        case FunctionCallOutput(output=list() as parts) | CustomToolCallOutput(output=list() as parts):
            _check_each(parts, "output", decode_part)
        case Reasoning(summary, content):
            _check_each(summary, "summary", decode_part)
            _check_each(content or (), "content", decode_part)
        case AdditionalTools(tools):
            _check_each(tools, "tools", check_tool)
        case _:
            pass


def _check_each(raws: Iterable[Raw], name: str, check: Callable[[Raw], object]) -> None:
    for index, raw in enumerate(raws):
        try:
            check(raw)
        except msgspec.ValidationError as error:
            raise nested_error(error, f"{name}[{index}]") from None


def typed_item(item: Item) -> AnyItem:
    """The item's typed view; kinds this version does not know come as `OpaqueItem`."""
    decode = _ITEM_DECODERS.get(item.type)
    if decode is None:
        return OpaqueItem(item.type, item.raw)
    return decode(item.raw)


def decode_part(raw: Raw | bytes) -> Part:
    """Decodes one content part; raises msgspec.ValidationError when a known kind is malformed."""
    head = _PART_HEAD_DECODER.decode(raw)
    if head.type not in _PART_TYPES:
        return OpaquePart(head.type, bytes(raw))
    return _PART_DECODER.decode(raw)


def is_sealed(item: Item) -> bool:
    """Whether it must be opened before a model can read it; reasoning with plain content need not be."""
    if item.opened is not None or item.signed is not None:
        return False
    if item.type != "reasoning" or b'"encrypted_content"' not in item.raw:
        return item.type == "compaction"
    value = typed_item(item)
    return isinstance(value, Reasoning) and value.encrypted_content is not None and not value.content


def text_of(content: str | list[Raw]) -> str:
    """All plain text of a content value, parts joined without separator; other kinds of part are left out."""
    if isinstance(content, str):
        return content
    texts: list[str] = []
    for raw in content:
        match decode_part(raw):
            case InputText(text) | OutputText(text) | PlainText(text) | SummaryText(text) | ReasoningText(text):
                texts.append(text)
            case _:
                pass
    return "".join(texts)


def encode_item(value: KnownItem | dict[str, Any], *, id: str | None = None) -> Item:
    """Makes an `Item` out of a typed value or a plain object that Landline authored."""
    raw = msgspec.json.encode(value)
    head = _HEAD_DECODER.decode(raw)
    return Item(raw=raw, type=head.type or "message", id=id or head.id, role=head.role, call_id=head.call_id)


def with_id(item: Item, item_id: str) -> Item:
    """The same item under an id of its own; its other members stay as they are."""
    members = _MEMBERS_DECODER.decode(item.raw)
    raw = msgspec.json.encode({"id": item_id} | {name: value for name, value in members.items() if name != "id"})
    return msgspec.structs.replace(item, raw=raw, id=item_id)


Name = Annotated[str, Meta(min_length=1)]


class FunctionTool(msgspec.Struct, frozen=True, tag="function"):
    """A function of the client's."""

    name: Name
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    """A JSON Schema of the arguments."""
    strict: bool | None = None


class ToolFormat(msgspec.Struct, frozen=True):
    """What a custom tool's input looks like: free text, or a grammar."""

    type: str = "text"
    syntax: str | None = None
    definition: str | None = None


class CustomTool(msgspec.Struct, frozen=True, tag="custom"):
    """A tool of the client's whose input is free text."""

    name: Name
    description: str | None = None
    format: ToolFormat | None = None


class NamespaceTool(msgspec.Struct, frozen=True, tag="namespace"):
    """Tools of the client's under one name."""

    name: Name
    description: str | None = None
    tools: list[Raw] | None = None


KnownTool = FunctionTool | CustomTool | NamespaceTool


class _ToolType(msgspec.Struct):
    type: str


_TOOL_TYPE_DECODER: msgspec.json.Decoder[_ToolType] = msgspec.json.Decoder(_ToolType)
_TOOL_DECODER: msgspec.json.Decoder[KnownTool] = msgspec.json.Decoder(KnownTool)
_KNOWN_TOOLS = frozenset(("function", "custom", "namespace"))


def check_tool(raw: Raw | bytes) -> None:
    """Raises msgspec.ValidationError with the path of the wrong field; a tool of an unknown kind needs a `type` only."""
    if _TOOL_TYPE_DECODER.decode(raw).type not in _KNOWN_TOOLS:
        return
    tool = _TOOL_DECODER.decode(raw)
    if isinstance(tool, NamespaceTool):
        for index, each in enumerate(tool.tools or ()):
            try:
                check_tool(each)
            except msgspec.ValidationError as error:
                raise nested_error(error, f"tools[{index}]") from None


def nested_error(error: msgspec.ValidationError, place: str) -> msgspec.ValidationError:
    """The same error of a value that was decoded on its own, with its path from the whole's root."""
    text, _, path = str(error).partition(" - at `")
    inner = path.rstrip("`").removeprefix("$")
    return msgspec.ValidationError(f"{text} - at `$.{place}{inner}`")
