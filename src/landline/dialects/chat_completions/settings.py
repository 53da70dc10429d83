"""The flags of a chat-completions target, and what they make of a request's settings and tools.

Called by `dialect` and by the embedded target; the flags are keys of the configuration.
"""

from typing import Literal

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.tools import ONE_STRING_PARAMETERS, ChosenTools, ToolDefinition, ToolMaker, UpstreamTool
from landline.wire.requests import CreateRequest, TextFormat

_encode = msgspec.json.Encoder().encode
Forwarded = Literal["prompt_cache_key", "user", "service_tier", "safety_identifier", "verbosity"]


class ChatCompletionsFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit vLLM, SGLang, llama-server, Ollama and DeepSeek."""

    developer_role: Literal["system", "developer"] = "system"
    """The role that carries `instructions` and developer messages; open models know only `system`."""
    system_position: Literal["anywhere", "start"] = "start"
    """`start` joins all leading system messages into one and sends later ones as user messages: the chat templates of many
    open models (Qwen 3.5 and later) allow a single system message, at the beginning, and refuse any other request.
    `anywhere` sends each where it stands, for APIs that take that."""
    custom_tools: Literal["function", "custom"] = "function"
    """How a custom tool is offered: as a function of one string `input`, or as a chat `custom` tool."""
    reasoning_field: Literal["reasoning_content", "reasoning", "none"] = "reasoning_content"
    """The member of assistant messages that carries earlier reasoning back. Both are read, whatever this says."""
    reasoning_placeholder: str = ""
    """What stands there in assistant messages without reasoning, as of another vendor's model, where a server refuses a
    message without the member; an empty one leaves it out."""
    reasoning_details: bool = False
    """Whether `reasoning_details` that a vendor signed or encrypted are kept, and sent back in place of that member."""
    call_ids: Literal["max_40", "alphanumeric_9"] = "max_40"
    """The ids of calls that a server takes: those of up to 40 characters, or only those of nine letters and digits. Others
    are sent as ids that are made of them."""
    role_order: Literal["any", "strict"] = "any"
    """`strict` puts a word of the model between a tool's output and the user's next message, and one of the user's behind
    the model's last words, for servers that refuse these orders."""
    stream_usage: bool = True
    """Whether to ask for token counts by `stream_options.include_usage`."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Which member carries `max_output_tokens`; OpenAI's own reasoning models take only
    `max_completion_tokens`."""
    warm_up: Literal["skip", "prefill"] = "skip"
    """`prefill` sends a warm-up as a request for one token; `skip` answers it without a request."""
    tool_images: bool = False
    """Whether tool messages may carry images and files; if not, a user message after them does."""
    forward: tuple[Forwarded, ...] = ("prompt_cache_key", "user")
    """Settings passed on under their own names when the client gave them."""
    extra_body: dict[str, object] = {}
    """More members of every request body; they replace ours of the same name."""
    affinity_headers: tuple[str, ...] = ("X-Session-Id",)
    """Headers that tell a router in front of replicas which conversation this is."""


class RequestOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to one request, by callers that know more about the server than the dialect: the embedded target."""

    members: dict[str, object] = {}
    """Members added to the body, or replacing others, as in `{"id_slot": 3, "cache_prompt": True}`."""
    omit: frozenset[str] = frozenset()
    """Members left out, as in `{"tools", "tool_choice"}`."""
    system_suffix: str = ""
    """Text appended to the system message, such as a description of tools."""


def read_settings(request: CreateRequest, flags: ChatCompletionsFlags) -> dict[str, object]:
    """The settings of a request that chat completions has.

    Not sent: `truncation`, `metadata`, `store`, `max_tool_calls` and reasoning summaries, which have no counterpart.
    """
    text = request.text
    reasoning = request.reasoning
    settings: dict[str, object] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        flags.max_tokens_field: 1 if request.is_warm_up else request.max_output_tokens,
        "reasoning_effort": reasoning.effort if reasoning is not None else None,
        "response_format": _response_format(text.format) if text is not None else None,
        **_logprobs(request),
        **_forwarded(request, flags),
    }
    return {name: value for name, value in settings.items() if value is not None}


def _logprobs(request: CreateRequest) -> dict[str, object]:
    if not request.wants_logprobs and not request.top_logprobs:
        return {}
    return {"logprobs": True, "top_logprobs": request.top_logprobs}


def _forwarded(request: CreateRequest, flags: ChatCompletionsFlags) -> dict[str, object]:
    known: dict[str, object] = {
        "prompt_cache_key": request.prompt_cache_key,
        "user": request.user,
        "service_tier": request.service_tier,
        "safety_identifier": request.safety_identifier,
        "verbosity": request.text.verbosity if request.text is not None else None,
    }
    return {name: known[name] for name in flags.forward}


def _response_format(wanted: TextFormat | None) -> dict[str, object] | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "json_object"}
    schema: dict[str, object] = {"name": wanted.name or "answer"}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if not isinstance(wanted.schema, UnsetType):
        schema["schema"] = msgspec.Raw(wanted.schema)
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def tool_maker(flags: ChatCompletionsFlags) -> ToolMaker:
    """Returns the function that encodes tools for a server with these flags."""
    make_custom = _native_custom if flags.custom_tools == "custom" else _one_string_function

    def make(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
        return make_custom(namespace, tool, name) if tool.type == "custom" else _function(namespace, tool, name)

    return make


def choice_member(chosen: ChosenTools, flags: ChatCompletionsFlags) -> str | dict[str, object] | None:
    """The value of `tool_choice`; None omits it."""
    if chosen.tool is None:
        return chosen.mode
    kind = "custom" if chosen.tool.kind == "custom" and flags.custom_tools == "custom" else "function"
    return {"type": kind, kind: {"name": chosen.tool.upstream_name}}


def _function(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
    parameters = tool.parameters_json
    function: dict[str, object] = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = Raw(parameters)
    if tool.strict:
        function["strict"] = True
    made = _encode({"type": "function", "function": function})
    return UpstreamTool("function", namespace, tool.name or "", name, parameters, made)


def _one_string_function(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
    """A custom tool as a function, for servers that only know functions."""
    parameters = ONE_STRING_PARAMETERS
    function = {"name": name, "description": tool.one_string_description, "parameters": Raw(parameters)}
    made = _encode({"type": "function", "function": function})
    return UpstreamTool("custom", namespace, tool.name or "", name, parameters, made)


def _native_custom(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
    custom: dict[str, object] = {"name": name}
    if tool.description:
        custom["description"] = tool.description
    if tool.format is not None and tool.format.definition is not None:
        grammar = {"syntax": tool.format.syntax, "definition": tool.format.definition}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    return UpstreamTool("custom", namespace, tool.name or "", name, b"", _encode({"type": "custom", "custom": custom}))
