"""The settings of a request under the names of the Messages API, and those that it lacks."""

import msgspec
from msgspec import UnsetType

from landline.dialects.anthropic.enforced import Enforced, enforced
from landline.dialects.anthropic.flags import AnthropicFlags
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import CreateRequest

JSON_OBJECT = "Answer with one JSON object and nothing else: no text before or after it and no code fence."
"""Follows the system prompt for `json_object`: the API enforces schemas only."""
JSON_VALUE = "Answer with one JSON value and nothing else: no text before or after it and no code fence."
"""Likewise for a schema that the API cannot enforce; the schema follows."""
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


class AnswerForm(msgspec.Struct, frozen=True):
    """How the form of the answer is asked for."""

    enforced: Enforced | None = None
    """The schema that the API enforces, as `output_config.format`."""
    told: str = ""
    """What is asked in words, behind the system prompt."""
    note: str | None = None
    """What of it is not enforced, for the log."""

    @property
    def member(self) -> dict[str, object] | None:
        """The value of `output_config.format`."""
        return None if self.enforced is None else {"type": "json_schema", "schema": msgspec.Raw(self.enforced.schema)}


def answer_form(request: CreateRequest) -> AnswerForm:
    """The form of the answer that the request wants."""
    wanted = request.text.format if request.text is not None else None
    if wanted is None or wanted.type == "text" or request.is_warm_up:
        return AnswerForm()
    if wanted.type != "json_schema" or isinstance(wanted.schema, UnsetType):
        return AnswerForm(told=JSON_OBJECT)
    form = enforced(bytes(wanted.schema))
    if form is None:
        told = f"{JSON_VALUE} It matches this JSON schema:\n{bytes(wanted.schema).decode()}"
        return AnswerForm(told=told, note="text.format: told in words, because the API cannot enforce its schema")
    return AnswerForm(form, note="text.format: limits told in words" if form.is_told else None)


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
