"""The settings of a request under the names of the Messages API, and those that it lacks."""

import msgspec
from msgspec import UnsetType

from landline.dialects.anthropic.flags import AnthropicFlags
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import CreateRequest, TextFormat

JSON_OBJECT = "Answer with one JSON object and nothing else: no text before or after it and no code fence."
"""Follows the system prompt for `json_object`: the API enforces schemas only."""
_SERVICE_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}


def read_settings(request: CreateRequest, flags: AnthropicFlags, *, is_thinking: bool) -> dict[str, object] | ApiError:
    """Every plain setting that the client gave, or the error that names one that this API lacks.

    Left out: `truncation`, `metadata`, `store`, `max_tool_calls`, `text.verbosity` and `prompt_cache_key`, which say
    nothing about the answer or have no counterpart.
    """
    refused = _refuse_lacking(request)
    if refused is not None:
        return refused
    settings = _sampling(request, flags, is_thinking=is_thinking)
    if isinstance(settings, ApiError):
        return settings
    if "safety_identifier" in flags.forward and request.safety_identifier is not None:
        settings["metadata"] = {"user_id": request.safety_identifier}
    tier = _SERVICE_TIERS.get(request.service_tier or "")
    if "service_tier" in flags.forward and tier is not None:
        settings["service_tier"] = tier
    return settings


def output_format(request: CreateRequest) -> dict[str, object] | None:
    """The schema of the answer, as `output_config.format`."""
    wanted = _format_of(request)
    if wanted is None or wanted.type != "json_schema" or isinstance(wanted.schema, UnsetType):
        return None
    return {"type": "json_schema", "schema": msgspec.Raw(wanted.schema)}


def system_suffix(request: CreateRequest) -> str:
    """What is asked of the model for want of a setting."""
    wanted = _format_of(request)
    return JSON_OBJECT if wanted is not None and wanted.type == "json_object" else ""


def _format_of(request: CreateRequest) -> TextFormat | None:
    return request.text.format if request.text is not None else None


def _refuse_lacking(request: CreateRequest) -> ApiError | None:
    lacking = {
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
        "top_logprobs": request.top_logprobs or request.wants_logprobs,
    }
    for name, value in lacking.items():
        if value:
            return _refused(name)
    return None


def _sampling(request: CreateRequest, flags: AnthropicFlags, *, is_thinking: bool) -> dict[str, object] | ApiError:
    given = {"temperature": request.temperature, "top_p": request.top_p}
    for name, value in given.items():
        if value is None or value == 1:
            continue
        if flags.sampling == "refuse":
            return _refused(name)
        if is_thinking and name == "temperature":
            message = "Expected `temperature` 1: this model cannot think at another one. Ask without `reasoning`."
            return api_error("unsupported_parameter", message, param=name)
        if value > 1:
            return api_error(
                "invalid_value", f"Expected `{name}` from 0 to 1 for this model, got {value:g}.", param=name
            )
    return {name: value for name, value in given.items() if value is not None and value != 1}


def _refused(name: str) -> ApiError:
    return api_error("unsupported_parameter", f"This model does not take `{name}`.", param=name)
