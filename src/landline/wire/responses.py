"""The response object as the schema requires it (every key present, null where nothing applies), and output items.

Output items and parts are those that Landline writes itself; items from elsewhere keep their own bytes.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.items import Item, Signed
from landline.wire.model_events import LogprobEntry
from landline.wire.requests import NULL, CacheOptions, CreateRequest, ToolChoice, ToolChoiceObject

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    """Tokens the model read and wrote; `cached_tokens` were reused, not read again."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(msgspec.Struct, frozen=True):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct, frozen=True):
    reason: str


class ReasoningEcho(msgspec.Struct, frozen=True):
    effort: str | None
    summary: str | None


class ConversationEcho(msgspec.Struct, frozen=True):
    id: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The response object (Open Responses `ResponseResource`): all keys required but for those that may be UNSET.

    Those are known to OpenAI's clients only, and stand there only when the request set them.
    """

    id: str
    object: Literal["response"] = "response"
    created_at: int
    """Unix seconds."""
    completed_at: int | None = None
    status: ResponseStatus
    background: bool = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    model: str
    output: list[Raw]
    parallel_tool_calls: bool = True
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: ReasoningEcho | None = None
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    text: Raw
    tool_choice: ToolChoice = "auto"
    tools: list[Raw]
    truncation: Literal["auto", "disabled"] = "disabled"
    usage: Usage | None = None
    user: str | None = None
    metadata: dict[str, str]
    conversation: ConversationEcho | UnsetType = UNSET
    prompt_cache_retention: str | UnsetType = UNSET
    prompt_cache_options: CacheOptions | UnsetType = UNSET


class Sampling(msgspec.Struct, frozen=True):
    """A target's defaults for sampling settings that a request omits; None: the API's default, 1."""

    temperature: float | None = None
    top_p: float | None = None


AS_THE_API_SAYS = Sampling()
"""Of targets without defaults of their own."""


def new_response(
    request: CreateRequest, *, id: str, created_at: int, model: str, conversation_id: str | None = None
) -> Response:
    """The response before any output: settings echoed with their defaults."""
    reasoning = request.reasoning
    return Response(
        id=id,
        created_at=created_at,
        status="in_progress",
        background=request.background is True,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        model=model,
        output=[],
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=None
        if reasoning is None
        else ReasoningEcho(effort=reasoning.effort, summary=reasoning.summary or reasoning.generate_summary),
        safety_identifier=request.safety_identifier,
        service_tier=_echo_service_tier(request.service_tier),
        store=request.store is not False,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        top_logprobs=request.top_logprobs or 0,
        text=_echo_text(request),
        tool_choice=_echo_tool_choice(request.tool_choice),
        tools=[_echo_tool(tool) for tool in request.tools or ()],
        truncation=request.truncation or "disabled",
        user=request.user,
        metadata=request.metadata or {},
        conversation=UNSET if conversation_id is None else ConversationEcho(conversation_id),
        prompt_cache_retention=request.prompt_cache_retention or UNSET,
        prompt_cache_options=request.prompt_cache_options or UNSET,
    )


class _FunctionToolHead(msgspec.Struct):
    type: str
    name: str | None = None


class _FunctionToolEcho(msgspec.Struct):
    """The keys that the schema requires of an echoed function tool, null where the client sent none."""

    type: str
    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None


class _FormatEcho(msgspec.Struct):
    type: str
    name: str | None
    description: str | None
    schema: Raw
    strict: bool


_TOOL_HEAD_DECODER: msgspec.json.Decoder[_FunctionToolHead] = msgspec.json.Decoder(_FunctionToolHead)
_FUNCTION_TOOL_DECODER: msgspec.json.Decoder[_FunctionToolEcho] = msgspec.json.Decoder(_FunctionToolEcho)
_FUNCTION_TOOL_KEYS = (b'"name"', b'"description"', b'"parameters"', b'"strict"')


def with_sampling(response: Response, request: CreateRequest, sampling: Sampling) -> Response:
    """The response with its target's defaults for sampling settings that the request omits."""
    return msgspec.structs.replace(
        response,
        temperature=_first_of(request.temperature, sampling.temperature),
        top_p=_first_of(request.top_p, sampling.top_p),
    )


def _first_of(*values: float | None) -> float:
    return next((value for value in values if value is not None), 1.0)


def _echo_tool(tool: Raw) -> Raw:
    data = bytes(tool)
    if _TOOL_HEAD_DECODER.decode(data).type != "function" or all(key in data for key in _FUNCTION_TOOL_KEYS):
        return tool
    return Raw(msgspec.json.encode(_FUNCTION_TOOL_DECODER.decode(data)))


def _echo_text(request: CreateRequest) -> Raw:
    text = request.text
    chosen = text.format if text is not None else None
    echo: dict[str, object] = {"format": {"type": chosen.type if chosen is not None else "text"}}
    if chosen is not None and chosen.type == "json_schema":
        schema = chosen.schema if isinstance(chosen.schema, Raw) else NULL
        echo["format"] = _FormatEcho("json_schema", chosen.name, chosen.description, schema, chosen.strict is True)
    echo["verbosity"] = (text.verbosity if text is not None else None) or "medium"
    return Raw(msgspec.json.encode(echo))


def _echo_service_tier(tier: str | None) -> str:
    return "default" if tier is None or tier == "auto" else tier


def _echo_tool_choice(choice: ToolChoice | None) -> ToolChoice:
    if choice is None:
        return "auto"
    if isinstance(choice, ToolChoiceObject) and choice.type == "allowed_tools" and choice.mode is None:
        return msgspec.structs.replace(choice, mode="auto")
    return choice


def with_output(response: Response, output: list[Item], **changes: object) -> Response:
    """The same response with its output items and any other fields replaced."""
    return msgspec.structs.replace(response, output=[Raw(item.raw) for item in output], **changes)


class OutputTextPart(msgspec.Struct, frozen=True, tag="output_text"):
    text: str
    annotations: list[Raw] = msgspec.field(default_factory=list[Raw])
    logprobs: list[LogprobEntry] = msgspec.field(default_factory=list[LogprobEntry])


class RefusalPart(msgspec.Struct, frozen=True, tag="refusal"):
    refusal: str


class ReasoningTextPart(msgspec.Struct, frozen=True, tag="reasoning_text"):
    text: str


class SummaryTextPart(msgspec.Struct, frozen=True, tag="summary_text"):
    text: str


class OutputMessage(msgspec.Struct, frozen=True, tag="message"):
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[Raw]


class OutputReasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    id: str
    summary: list[Raw]
    content: list[Raw]
    encrypted_content: str | UnsetType = UNSET
    """The content sealed, for clients that play it back and keep nothing here."""


class SealedReasoning(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `encrypted_content` holds: the reasoning's text, and what its vendor signed."""

    content: list[Raw] = msgspec.field(default_factory=list[Raw])
    signed: Signed | None = None


class OutputCompaction(msgspec.Struct, frozen=True, tag="compaction"):
    id: str
    encrypted_content: str


class OutputFunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class OutputCustomToolCall(msgspec.Struct, frozen=True, tag="custom_tool_call"):
    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET
