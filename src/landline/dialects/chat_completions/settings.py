"""The settings of a request under their chat-completions names."""

import msgspec
from msgspec import UnsetType

from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.wire.requests import CreateRequest, TextFormat


def read_settings(request: CreateRequest, flags: ChatCompletionsFlags) -> dict[str, object]:
    """Every setting that the client gave and that chat completions has.

    Left out: `truncation`, `metadata`, `store`, `max_tool_calls` and reasoning summaries, which have no counterpart.
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
