"""The settings of a request under their Gemini names."""

from msgspec import Raw, UnsetType

from landline.dialects.gemini.families import Family
from landline.wire.requests import CreateRequest, ReasoningSettings, TextFormat

_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""Tokens of thinking for 2.5 models: the table of Gemini's own chat-completions layer. More is as much as the model takes."""
JSON_ONLY = "write one JSON value and nothing else: no text before or after it and no code fence"
_SERVICE_TIERS = {"flex": "flex", "priority": "priority", "default": "standard"}


def generation_config(request: CreateRequest, family: Family, *, is_format_told: bool = False) -> dict[str, object]:
    """Every setting that the client gave and that Gemini has; without the form of the answer where that is told in words.

    Left out: `parallel_tool_calls`, `truncation`, `metadata`, `store`, `max_tool_calls`, `user`, cache keys and verbosity,
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
        **_response_format(request.text.format if request.text is not None and not is_format_told else None),
    }
    return {name: value for name, value in settings.items() if value is not None}


def told_format(request: CreateRequest) -> str:
    """The form of the answer in words, for models that take no such setting beside tools; "" if any text will do."""
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


def _thinking_config(reasoning: ReasoningSettings | None, family: Family) -> dict[str, object] | None:
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


def _level(effort: str, family: Family) -> str:
    """The model's level for an effort; where it lacks the level, the next one above it, or its highest."""
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
