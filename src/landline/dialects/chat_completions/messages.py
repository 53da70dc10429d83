"""One item of the conversation as what it says in chat-completions terms."""

import msgspec

from landline.dialects.chat_completions.content import ChatPart, Content, read_content
from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.chat_completions.foreign import HOSTED_ITEMS, call_of, output_of, telling_of
from landline.dialects.names import upstream_name
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
    text_of,
    typed_item,
)

ToolNames = dict[tuple[str | None, str], str]
"""Upstream names of the tools whose usual one is taken: (namespace, name) → name. Nearly always empty."""


class Told(msgspec.Struct, frozen=True):
    """A message of the user's or the developer's side."""

    role: str
    content: str | list[ChatPart]


class Spoken(msgspec.Struct, frozen=True):
    """Text that the model said."""

    text: str


class Thought(msgspec.Struct, frozen=True):
    """Text that the model thought."""

    text: str


class Called(msgspec.Struct, frozen=True):
    """A tool call of the model; `call` is the member of `tool_calls`."""

    call_id: str
    call: dict[str, object]


class Answered(msgspec.Struct, frozen=True):
    """The output of a tool call."""

    call_id: str
    content: Content


class Unsaid(msgspec.Struct, frozen=True):
    """An item without a counterpart: tool lists, and what hosted tools of other targets did."""


Saying = Told | Spoken | Thought | Called | Answered | Unsaid


def read_item(item: Item, flags: ChatCompletionsFlags, names: ToolNames) -> Saying | ApiError:
    """What the item says, or why this dialect cannot say it.

    Passed over: `additional_tools` (they are in `tools`) and what hosted tools of other targets did. Nothing else is:
    built-in tools that the client runs are calls like any other, items of unknown kinds are told as their JSON.
    """
    match typed_item(item):
        case Message(role, content):
            return _read_message(role, content, flags)
        case Reasoning(content=content):
            text = text_of(content or [])
            return Thought(text) if text else Unsaid()
        case FunctionCall(call_id, name, arguments, namespace):
            known = names.get((namespace, name)) or upstream_name(namespace, name)
            return Called(call_id, _function_call(call_id, known, _checked_arguments(arguments)))
        case CustomToolCall(call_id, name, text, namespace):
            known = names.get((namespace, name)) or upstream_name(namespace, name)
            return Called(call_id, _custom_call(call_id, known, text, flags))
        case FunctionCallOutput(call_id, output) | CustomToolCallOutput(call_id, output):
            content = read_content(output)
            return content if isinstance(content, ApiError) else Answered(call_id, content)
        case AdditionalTools():
            return Unsaid()
        case OpaqueItem() as opaque:
            return _read_foreign(opaque)
        case Compaction() | CompactionTrigger() as compaction:
            kind = "compaction" if isinstance(compaction, Compaction) else "compaction_trigger"
            return api_error(
                "unsupported_content", f"Items of type `{kind}` cannot be sent to this model.", param="input"
            )
        case ItemReference(id=item_id):
            message = f"Item {item_id!r} is not stored here. Send the item itself."
            return api_error("invalid_value", message, param="input")


def _read_message(role: str, content: str | list[msgspec.Raw], flags: ChatCompletionsFlags) -> Saying | ApiError:
    read = read_content(content)
    if isinstance(read, ApiError):
        return read
    match role:
        case "assistant":
            return Spoken(read.text)
        case "system" | "developer" if not read.attachments:
            return Told(flags.developer_role, read.text)
        case _:
            return Told("user", read.as_chat())


def _read_foreign(item: OpaqueItem) -> Saying:
    if item.type in HOSTED_ITEMS:
        return Unsaid()
    call = call_of(item)
    if call is not None:
        call_id, name, arguments = call
        return Called(call_id, _function_call(call_id, upstream_name(None, name), arguments))
    output = output_of(item)
    if output is not None:
        return Answered(*output)
    return Told("user", telling_of(item))


def _function_call(call_id: str, name: str, arguments: str) -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _custom_call(call_id: str, name: str, text: str, flags: ChatCompletionsFlags) -> dict[str, object]:
    if flags.custom_tools == "custom":
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": text}}
    return _function_call(call_id, name, one_string_arguments(text))


def one_string_arguments(text: str) -> str:
    """The arguments of a custom tool that is offered as a function, spaced as models write JSON."""
    return '{"input": ' + msgspec.json.encode(text).decode() + "}"


def _checked_arguments(arguments: str) -> str:
    """The arguments if they are a JSON object; servers render them with a template and refuse anything else.

    An incomplete call (cut by the token limit) is kept as text in an object.
    """
    if not arguments.strip():
        return "{}"
    try:
        msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return '{"malformed_arguments": ' + msgspec.json.encode(arguments).decode() + "}"
    return arguments
