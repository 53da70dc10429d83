"""What clients send: the create body (the same over HTTP and the socket) and the socket's other events.

Lenient where real clients are (unknown keys, private keys, `stream` on the socket), exact about types and limits.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from landline.wire.errors import ApiError, api_error
from landline.wire.item_memo import KnownItems
from landline.wire.items import InputFile, InputImage, InputText, Item, decode_item, decode_part
from landline.wire.readable import find_unreadable

STREAM_ID_PATTERN = r"^[A-Za-z0-9_.\-]{1,256}$"
NULL = Raw(b"null")
"""An absent or null field that is kept as raw JSON."""
MESSAGE_ROLES = ("user", "assistant", "system", "developer")
"""Open Responses 2026-04-24, `MessageRole`."""
MIN_OUTPUT_TOKENS = 16
"""The API's least `max_output_tokens` (Open Responses 2026-04-24, `CreateResponseBody`)."""
CHAT_MEMBERS = {
    "messages": "`input`",
    "response_format": "`text.format`",
    "functions": "`tools`, each with `type`, `name` and `parameters` at its own top level",
    "function_call": "`tool_choice`",
    "max_tokens": "`max_output_tokens`",
    "max_completion_tokens": "`max_output_tokens`",
    "n": "one request for each answer",
    "stop": "no stop sequences: this API has none",
}
"""Members of the chat-completions API that a create may have by mistake → what to use instead."""
_MESSAGE_MEMBERS = {
    "tool_calls": "a `function_call` item for each call",
    "function_call": "a `function_call` item",
    "tool_call_id": "a `function_call_output` item with its `call_id`",
}
_ROLE_MEANT = {
    "tool": " The output of a tool is an item of type `function_call_output`.",
    "function": " The output of a tool is an item of type `function_call_output`.",
}
_NOTHING = frozenset((b"null", b"[]"))
_Body = TypeVar("_Body")
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Verbosity = Literal["low", "medium", "high"]


class ReasoningSettings(msgspec.Struct, frozen=True):
    effort: ReasoningEffort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    context: str | None = None
    generate_summary: str | None = None
    """Deprecated spelling of `summary`."""


class TextFormat(msgspec.Struct, frozen=True, omit_defaults=True):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    schema: Raw | UnsetType = UNSET
    strict: bool | None = None


class TextSettings(msgspec.Struct, frozen=True):
    format: TextFormat | None = None
    verbosity: Verbosity | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_obfuscation: bool | None = None


class CacheOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    mode: str | None = None
    ttl: str | None = None
    prewarm: bool | None = None
    """True is the published spelling of `generate: false`."""


class ContextManagement(msgspec.Struct, frozen=True):
    """What to do when the context grows: `compaction` is the one published kind."""

    type: str
    compact_threshold: Annotated[int, Meta(ge=1)] | None = None
    """Tokens of context beyond which it is compacted."""


class ToolChoiceObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `tool_choice` that is not a word: one tool, or a subset with a mode."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: Literal["none", "auto", "required"] | None = None
    tools: list["ToolChoiceObject"] | None = None


ToolChoice = Literal["none", "auto", "required"] | ToolChoiceObject
Metadata = dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]]


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The create body. Absent and null mean the same except where noted; `input` and `tools` stay as bytes."""

    type: str | None = None
    """Socket only: `response.create`."""
    model: str | None = None
    input: Raw = NULL
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Raw = NULL
    tools: list[Raw] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    """The least that a client may ask for is checked by `decode_create`: a server can lower it."""
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    include: list[str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    context_management: list[ContextManagement] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: Metadata | None = None
    prompt: Raw = NULL
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: CacheOptions | None = None
    safety_identifier: Annotated[str, Meta(max_length=128)] | None = None
    service_tier: str | None = None
    user: str | None = None
    multi_agent: Raw = NULL
    messages: Raw = NULL
    response_format: Raw = NULL
    functions: Raw = NULL
    function_call: Raw = NULL
    max_tokens: Raw = NULL
    max_completion_tokens: Raw = NULL
    n: Raw = NULL
    stop: Raw = NULL
    """`messages` to `stop` are the chat-completions API's: refused, where they would change what is meant."""
    generate: bool | None = None
    """Socket only: false makes the request a warm-up."""
    stream_id: Raw | UnsetType = UNSET
    """Socket only; checked apart, because its error has a code of its own."""

    @property
    def is_warm_up(self) -> bool:
        prewarm = self.prompt_cache_options is not None and self.prompt_cache_options.prewarm is True
        return prewarm or self.generate is False

    @property
    def compact_threshold(self) -> int | None:
        """Tokens of context beyond which the turn compacts it first."""
        thresholds = [each.compact_threshold for each in self.context_management or () if each.compact_threshold]
        return min(thresholds, default=None)

    @property
    def wants_encrypted_reasoning(self) -> bool:
        return self.include is not None and "reasoning.encrypted_content" in self.include

    @property
    def wants_logprobs(self) -> bool:
        return self.include is not None and "message.output_text.logprobs" in self.include


class SteerRequest(msgspec.Struct, frozen=True):
    """`response.steer`: user messages for a response that is running. Every field as it came: a wrong one is answered."""

    previous_response_id: Raw | UnsetType = UNSET
    """The response to steer."""
    input: Raw | UnsetType = UNSET
    stream_id: Raw | UnsetType = UNSET
    """Not allowed: the response knows its lane."""


class _SteerMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["user"]
    content: str | list[Raw]
    type: Literal["message"] = "message"


_CREATE_DECODER: msgspec.json.Decoder[CreateRequest] = msgspec.json.Decoder(CreateRequest)
_ITEMS_DECODER: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_STEER_MESSAGE_DECODER: msgspec.json.Decoder[_SteerMessage] = msgspec.json.Decoder(_SteerMessage)
_STRING_DECODER: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


def decode_create(body: bytes | str, *, min_output_tokens: int = MIN_OUTPUT_TOKENS) -> CreateRequest | ApiError:
    """Decodes a create body; a wrong one comes back as the error that names the field and what was expected."""
    request = decode_body(body, _CREATE_DECODER)
    if isinstance(request, ApiError) or request.max_output_tokens is None:
        return request
    if request.max_output_tokens < min_output_tokens:
        message = f"Expected `int` >= {min_output_tokens} at `max_output_tokens`."
        return api_error("invalid_value", message, param="max_output_tokens")
    return request


def decode_body(body: bytes | str, decoder: msgspec.json.Decoder[_Body]) -> _Body | ApiError:
    """The decoded body, or the error that says what is wrong with it. Raw members are checked too."""
    try:
        decoded = decoder.decode(body)
    except msgspec.ValidationError as error:
        return unreadable_error(body) or validation_error(error)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return unreadable_error(body) or api_error("invalid_json", f"Expected a JSON object: {error}.")
    return unreadable_error(body) or decoded


def unreadable_error(data: bytes | str) -> ApiError | None:
    """The error for JSON of a client that cannot be decoded as a whole; None if it can."""
    unreadable = find_unreadable(data)
    if unreadable is None:
        return None
    code = "invalid_value" if unreadable.is_json else "invalid_json"
    return api_error(code, f"{unreadable}.", param=unreadable.where or None)


def is_null(raw: Raw) -> bool:
    """Whether the field was absent or null."""
    return bytes(raw) == b"null"


def decode_input(raw: Raw, known: KnownItems | None = None) -> tuple[Item, ...] | ApiError:
    """The items of `input`: a string is one user message, null or absent is no item; `known` as for `decode_items`."""
    data = bytes(raw)
    if data == b"null":
        return ()
    if data[:1] == b'"':
        text = msgspec.json.encode(_STRING_DECODER.decode(data)) if b"\\" in data else data
        message = b'{"type":"message","role":"user","content":[{"type":"input_text","text":' + text + b"}]}"
        return (Item(raw=message, type="message", role="user"),)
    if data[:1] != b"[":
        return api_error("invalid_value", "Expected `input` to be a string or an array of items.", param="input")
    return decode_items(_ITEMS_DECODER.decode(data), "input", known)


def decode_items(raws: Sequence[Raw], name: str, known: KnownItems | None = None) -> tuple[Item, ...] | ApiError:
    """The items of an array; `name` is the field that errors speak of. What is in `known` has passed before, and what passes
    now is kept there."""
    texts = [bytes(raw) for raw in raws]
    found = known.find(texts) if known is not None else [None] * len(texts)
    items: list[Item] = []
    for index, (text, known_item) in enumerate(zip(texts, found, strict=True)):
        item = known_item or _read_item(text, f"{name}[{index}]")
        if isinstance(item, ApiError):
            return item
        if known is not None and known_item is None:
            known.keep(item)
        items.append(item)
    return tuple(items)


def _read_item(raw: bytes, place: str) -> Item | ApiError:
    try:
        item = decode_item(raw)
    except msgspec.ValidationError as error:
        return validation_error(error, prefix=place)
    refused = refuse_chat_message(item, place) if item.type == "message" else None
    return refused or item


def decode_steer_input(raw: Raw) -> tuple[Item, ...] | ApiError:
    """The user messages of a steer: a string, or messages that have nothing but `type`, `role` and `content`."""
    items = decode_input(raw)
    if isinstance(items, ApiError) or bytes(raw)[:1] != b"[":
        return items if items else _empty_steer("input")
    for index, item in enumerate(items):
        refused = _check_steer_message(item, f"input[{index}]")
        if refused is not None:
            return refused
    return items or _empty_steer("input")


def _check_steer_message(item: Item, place: str) -> ApiError | None:
    try:
        message = _STEER_MESSAGE_DECODER.decode(item.raw)
        parts = [] if isinstance(message.content, str) else [decode_part(part) for part in message.content]
    except msgspec.ValidationError as error:
        return validation_error(error, prefix=place)
    if not parts and not isinstance(message.content, str):
        return _empty_steer(f"{place}.content")
    for index, part in enumerate(parts):
        if not isinstance(part, InputText | InputImage | InputFile):
            param = f"{place}.content[{index}]"
            expected = "a part of type `input_text`, `input_image` or `input_file`"
            return api_error("invalid_value", f"Expected {expected} at `{param}`.", param=param)
    return None


def _empty_steer(place: str) -> ApiError:
    return api_error("invalid_value", f"Expected a string or a non-empty array at `{place}`.", param=place)


class _ConversationId(msgspec.Struct):
    id: str


_CONVERSATION_DECODER: msgspec.json.Decoder[str | _ConversationId | None] = msgspec.json.Decoder(
    str | _ConversationId | None
)


def decode_conversation_id(raw: Raw) -> str | ApiError | None:
    """The id in `conversation`, which is a string or an object with an `id`."""
    try:
        value = _CONVERSATION_DECODER.decode(raw)
    except msgspec.ValidationError as error:
        return validation_error(error, prefix="conversation")
    return value.id if isinstance(value, _ConversationId) else value


def validation_error(error: msgspec.ValidationError, *, prefix: str = "") -> ApiError:
    """Turns msgspec's message (`Expected … - at `$.path``) into an error with the field's path as `param`."""
    text, _, path = str(error).partition(" - at `")
    param = path.rstrip("`").rpartition("$")[2].removeprefix(".")  # of a wrong key: "key` in `$.metadata`"
    if prefix:
        param = prefix if not param else f"{prefix}{param}" if param.startswith("[") else f"{prefix}.{param}"
    where = f" at `{param}`" if param else ""
    return api_error("invalid_value", f"{text}{where}.", param=param or None)


class _ChatMessage(msgspec.Struct):
    """Members that only messages of the chat-completions API have."""

    tool_calls: Raw | UnsetType = UNSET
    function_call: Raw | UnsetType = UNSET
    tool_call_id: Raw | UnsetType = UNSET


_CHAT_MESSAGE: msgspec.json.Decoder[_ChatMessage] = msgspec.json.Decoder(_ChatMessage)


def refuse_chat_member(name: str, value: Raw) -> ApiError | None:
    """The error for a member of `CHAT_MEMBERS`; None if its value is empty or the default."""
    if bytes(value) in _NOTHING or (name == "n" and bytes(value) == b"1"):
        return None
    message = f"`{name}` belongs to the chat-completions API and would be ignored: use {CHAT_MEMBERS[name]}."
    return api_error("unsupported_parameter", message, param=name)


def refuse_chat_message(item: Item, place: str) -> ApiError | None:
    """The error for a message with an unknown role, or with tool calls or outputs as members; `place` is its path."""
    if item.role not in MESSAGE_ROLES:
        roles = ", ".join(f"`{role}`" for role in MESSAGE_ROLES)
        message = f"Expected `{place}.role` to be one of {roles}; got {_shown(item.role)}.{_ROLE_MEANT.get(item.role or '', '')}"
        return api_error("invalid_value", message, param=f"{place}.role")
    if b"tool_call" not in item.raw and b"function_call" not in item.raw:
        return None
    members = _CHAT_MESSAGE.decode(item.raw)
    for name, instead in _MESSAGE_MEMBERS.items():
        value: Raw | UnsetType = getattr(members, name)
        if isinstance(value, Raw) and bytes(value) not in _NOTHING:
            param = f"{place}.{name}"
            message = f"`{param}` belongs to the chat-completions API and would be ignored: use {instead}."
            return api_error("unsupported_parameter", message, param=param)
    return None


def _shown(role: str | None) -> str:
    return repr(role if role is None or len(role) <= 80 else f"{role[:80]}…")
