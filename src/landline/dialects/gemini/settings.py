"""The flags of a Gemini target, what a model supports, and what they make of a request's settings and tools.

Called by `dialect`; the flags are keys of the configuration.

Sources on models: Gemini API guides "Thinking", "Thought signatures" and "Function calling", the guides of Gemini 3, 3.5,
3.7 and 3.8 Flash and of Gemini 4 Argon (October 2026). `MINIMAL` is refused from 3.7 on and by every Pro model; 3 Pro had no
`MEDIUM`.
"""

import re
from typing import Literal

import msgspec
from msgspec import Raw, UnsetType

from landline.dialects.tools import (
    MAX_NAME_CHARS,
    NO_PARAMETERS,
    ONE_STRING_PARAMETERS,
    ChosenTools,
    ToolDefinition,
    ToolSet,
    UpstreamTool,
    object_schema,
)
from landline.wire.requests import CreateRequest, ReasoningSettings, TextFormat

ThinkingLevel = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"]
JSON_ONLY = "write one JSON value and nothing else: no text before or after it and no code fence"
_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_NEWEST = (99, 0)
"""Version assumed for names without one (`gemini-flash-latest`)."""
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thinking for 2.5 models: the table of Gemini's own chat-completions layer. More is as much as the model takes."""
_SERVICE_TIERS = {"flex": "flex", "priority": "priority", "default": "standard"}
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_encode = msgspec.json.Encoder().encode


class GeminiFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit the Gemini API (`https://generativelanguage.googleapis.com/v1beta`).

    `auto` goes by the model's name: see `family_of`.
    """

    thinking: Literal["auto", "level", "budget", "none"] = "auto"
    """How `reasoning.effort` is said: as a `thinkingLevel` (Gemini 3 and later), as a `thinkingBudget` (2.5), or not at all."""
    thinking_levels: tuple[ThinkingLevel, ...] = ()
    """The levels that the model takes, lowest first; none given goes by the model's name."""
    signatures: Literal["auto", "required", "optional"] = "auto"
    """Whether the model refuses function calls without a thought signature; then calls that have none get the value that
    skips the check."""
    tool_media: Literal["auto", "inside", "after"] = "auto"
    """Whether images and files of tool outputs go inside the function response or after it."""
    schema_with_tools: Literal["auto", "send", "tell"] = "auto"
    """Whether the answer's form (`text.format`) is sent as a setting beside tools, or told in the system instruction: models
    up to 2.5 refuse the two together."""
    call_ids: bool = True
    """Whether function calls and responses carry their ids; some gateways refuse the member."""
    extra_body: dict[str, object] = {}
    """More members of every request body, as in `{"safetySettings": […]}`; they replace ours of the same name, but those of
    `generationConfig` are added to ours."""


class ModelFamily(msgspec.Struct, frozen=True):
    """What one model supports and requires."""

    thinking: Literal["level", "budget", "none"]
    levels: tuple[ThinkingLevel, ...]
    min_budget: int
    """Tokens of thinking that cannot be switched off."""
    max_budget: int
    needs_signatures: bool
    takes_media_inside: bool
    """Whether function responses may hold images and files."""
    takes_schema_with_tools: bool
    """Whether the form of the answer may be set while functions are declared; up to 2.5 the API refuses it ("Function
    calling with a response mime type: 'application/json' is unsupported")."""


def family_of(model: str, flags: GeminiFlags) -> ModelFamily:
    """The family of a model by its name, corrected by the flags."""
    version = _version_of(model)
    is_pro = "pro" in model
    return ModelFamily(
        thinking=_thinking_of(version) if flags.thinking == "auto" else flags.thinking,
        levels=flags.thinking_levels or _levels_of(version, is_pro=is_pro),
        min_budget=128 if is_pro else 0,
        max_budget=32768 if is_pro else 24576,
        needs_signatures=version >= (3, 0) if flags.signatures == "auto" else flags.signatures == "required",
        takes_media_inside=version >= (3, 0) if flags.tool_media == "auto" else flags.tool_media == "inside",
        takes_schema_with_tools=version >= (3, 0)
        if flags.schema_with_tools == "auto"
        else flags.schema_with_tools == "send",
    )


def _version_of(model: str) -> tuple[int, int]:
    """The version in the name; the newest for a Gemini without one, the oldest for another model (Gemma …)."""
    found = _VERSION.search(model)
    if found is None:
        return _NEWEST if "gemini" in model else (0, 0)
    return int(found[1]), int(found[2] or 0)


def _thinking_of(version: tuple[int, int]) -> Literal["level", "budget", "none"]:
    if version >= (3, 0):
        return "level"
    return "budget" if version >= (2, 5) else "none"


def _levels_of(version: tuple[int, int], *, is_pro: bool) -> tuple[ThinkingLevel, ...]:
    if is_pro:
        return ("LOW", "HIGH") if version == (3, 0) else ("LOW", "MEDIUM", "HIGH")
    return ("LOW", "MEDIUM", "HIGH") if version >= (3, 7) else ("MINIMAL", "LOW", "MEDIUM", "HIGH")


def generation_config(
    request: CreateRequest, family: ModelFamily, *, is_format_in_words: bool = False
) -> dict[str, object]:
    """The settings of a request that Gemini has; without `text.format` if that is an instruction in words.

    Not sent: `parallel_tool_calls`, `truncation`, `metadata`, `store`, `max_tool_calls`, `user`, cache keys and verbosity,
    which have no counterpart. Models from 3.5 on take sampling settings and do not heed them.
    """
    settings: dict[str, object] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "maxOutputTokens": request.max_output_tokens,
        "thinkingConfig": _thinking_config(request.reasoning, family),
        **_logprobs(request),
        **_response_format(request.text.format if request.text is not None and not is_format_in_words else None),
    }
    return {name: value for name, value in settings.items() if value is not None}


def format_instruction(request: CreateRequest) -> str:
    """`text.format` as an instruction, for models that accept no such setting beside tools; "" for plain text."""
    wanted = request.text.format if request.text is not None else None
    if wanted is None or wanted.type == "text":
        return ""
    if isinstance(wanted.schema, UnsetType):
        return f"When you answer without calling a function, {JSON_ONLY}."
    schema = bytes(wanted.schema).decode()
    return f"When you answer without calling a function, {JSON_ONLY}, which matches this JSON schema:\n{schema}"


def service_tier(request: CreateRequest) -> dict[str, object]:
    """`serviceTier`, if the client asked for one that Gemini has."""
    tier = _SERVICE_TIERS.get(request.service_tier or "")
    return {"serviceTier": tier} if tier is not None else {}


def _thinking_config(reasoning: ReasoningSettings | None, family: ModelFamily) -> dict[str, object] | None:
    if reasoning is None or family.thinking == "none":
        return None
    config: dict[str, object] = {}
    effort = reasoning.effort
    if effort is not None and family.thinking == "level":
        config["thinkingLevel"] = _level(effort, family)
    elif effort is not None:
        config["thinkingBudget"] = max(_BUDGETS.get(effort, family.max_budget), family.min_budget)
    if reasoning.summary is not None or reasoning.generate_summary is not None:
        config["includeThoughts"] = True
    return config or None


def _level(effort: str, family: ModelFamily) -> str:
    """The model's level for an effort; if it lacks that level, the next higher one, or its highest."""
    ladder = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")
    wanted = {"none": "MINIMAL", "max": "XHIGH"}.get(effort, effort.upper())
    at_least = [level for level in family.levels if ladder.index(level) >= ladder.index(wanted)]
    return at_least[0] if at_least else family.levels[-1]


def _logprobs(request: CreateRequest) -> dict[str, object]:
    if not request.wants_logprobs and not request.top_logprobs:
        return {}
    return {"responseLogprobs": True, "logprobs": request.top_logprobs}


def _response_format(wanted: TextFormat | None) -> dict[str, object]:
    if wanted is None or wanted.type == "text":
        return {}
    if isinstance(wanted.schema, UnsetType):
        return {"responseMimeType": "application/json"}
    return {"responseMimeType": "application/json", "responseJsonSchema": Raw(wanted.schema)}


def declare(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
    """A tool as a function declaration; a custom tool as a function of one string."""
    name = function_name(name)
    if tool.type == "custom":
        parameters, description = ONE_STRING_PARAMETERS, tool.one_string_description
    else:
        parameters, description = object_schema(tool.parameters_json), tool.description
    declaration: dict[str, object] = {"name": name}
    if description:
        declaration["description"] = description
    if parameters != NO_PARAMETERS:
        declaration["parametersJsonSchema"] = Raw(parameters)
    kind = "custom" if tool.type == "custom" else "function"
    made = _encode(declaration)
    return UpstreamTool(kind, namespace, tool.name or "", name, parameters, made, is_strict=tool.strict is True)


def function_name(name: str) -> str:
    """The name as Gemini accepts it: the first character must be a letter or an underscore."""
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"[:MAX_NAME_CHARS]


def tool_members(tool_set: ToolSet, chosen: ChosenTools) -> dict[str, object]:
    """`tools` and `toolConfig`.

    Every tool is declared whatever the choice, so that the beginning of the prompt stays the same and is read from the
    cache; a subset is given by names. `VALIDATED` is `AUTO` that holds calls to their schemas, and the only such mode that takes
    names (API reference, FunctionCallingConfig).
    """
    if not tool_set.tools:
        return {}
    members: dict[str, object] = {"tools": [{"functionDeclarations": [Raw(tool.json) for tool in tool_set.tools]}]}
    config = _calling_config(tool_set, chosen)
    if config:
        members["toolConfig"] = {"functionCallingConfig": config}
    return members


def _calling_config(tool_set: ToolSet, chosen: ChosenTools) -> dict[str, object]:
    if chosen.tool is not None:
        return {"mode": "ANY", "allowedFunctionNames": [chosen.tool.upstream_name]}
    if not chosen.tools:
        return {"mode": "NONE"}
    mode = _MODES[chosen.mode] if chosen.mode is not None else None
    if len(chosen.tools) < len(tool_set.tools) and mode != "NONE":
        names = [tool.upstream_name for tool in chosen.tools]
        return {"mode": "ANY" if mode == "ANY" else "VALIDATED", "allowedFunctionNames": names}
    if mode in (None, "AUTO") and any(tool.is_strict for tool in tool_set.tools):
        return {"mode": "VALIDATED"}
    return {"mode": mode} if mode is not None else {}
