"""The flags of an Anthropic target, and what they make of a request's settings: sampling, answer format, thinking.

Called by `dialect`; the flags are keys of the configuration.

Sources: Messages API, extended and adaptive thinking, effort, preserved thinking (November 2026).
"""

from typing import Literal

import msgspec
from msgspec import UnsetType

from landline.dialects.anthropic.schemas import EnforceableSchema, enforceable_schema
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import CreateRequest, ReasoningEffort

Forwarded = Literal["safety_identifier", "service_tier"]
JSON_OBJECT = "Answer with one JSON object and nothing else: no text before or after it and no code fence."
"""Follows the system prompt for `json_object`: the API enforces schemas only."""
JSON_VALUE = "Answer with one JSON value and nothing else: no text before or after it and no code fence."
"""Likewise for a schema that the API cannot enforce; the schema follows."""
BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""Beta that knows what `drop_stale_thinking` asks for."""
MIN_BUDGET_TOKENS = 1024
ANSWER_SHARE = 5
"""A fifth of `max_tokens`, which includes thinking, is kept for the answer; the API would let thinking have all but one."""
_SERVICE_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}
_BUDGETS: dict[ReasoningEffort, int] = {
    "minimal": 1024,
    "low": 4096,
    "medium": 10_240,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Thinking budgets for models without efforts. The API has no such table; coding agents use these steps."""
_FORCED = "thinking: off, because tool_choice forces a call"


class AnthropicFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit the current models on Anthropic's own API (November 2026)."""

    api_version: str = "2023-06-01"
    """The `anthropic-version` header. Every gateway knows this one; `2026-10-21` takes no sampling parameters at all."""
    betas: tuple[str, ...] = ()
    """Values of the `anthropic-beta` header, as in `interleaved-thinking-2025-05-14`."""
    max_tokens: int = 32_000
    """`max_tokens` of requests that name no `max_output_tokens`; the API wants one. It includes thinking."""
    thinking: Literal["adaptive", "budget", "off"] = "adaptive"
    """How `reasoning` is asked for: `adaptive` thinking with an effort (4.6 and later), a `budget` of tokens (up to 4.5),
    or not at all, for models and gateways without thinking."""
    no_thinking: Literal["disabled", "between_tools", "low_effort"] = "disabled"
    """What `reasoning.effort` `none` says: `disabled` (up to Opus 5), `between_tools` (Sonnet 5.5), or the lowest effort,
    for models that always think (Opus 5.5, Fable and Mythos)."""
    drop_stale_thinking: bool = False
    """Has the API leave out earlier thinking whose system prompt, tools or history changed since, where it would refuse
    the request (accounts made since 2026-08-31); for clients that change instructions or tools between turns."""
    sampling: Literal["send", "refuse"] = "send"
    """Whether `temperature` and `top_p` other than their defaults are sent, for the API to answer (models since Opus 4.7 and
    API version 2026-10-21 have none and refuse them), or refused here, without a request."""
    strict_tools: bool = True
    """Whether a function's `strict` is passed on, as far as the API can hold calls to its schema."""
    cache: Literal["auto", "explicit", "off"] = "auto"
    """Where the prompt cache's breakpoints are: at the ends of tools, system prompt and the last turns, only where the
    client puts its own (`prompt_cache_breakpoint`), or nowhere."""
    cache_ttl: Literal["5m", "1h"] = "5m"
    """How long the cache keeps what was read up to a breakpoint."""
    warm_up: Literal["skip", "prefill"] = "skip"
    """`prefill` sends a warm-up as a request for no token, which fills the cache (a write costs more than plain input);
    `skip` answers it without a request."""
    forward: tuple[Forwarded, ...] = ("safety_identifier",)
    """Settings passed on when the client gave them: `safety_identifier` as `metadata.user_id`, and `service_tier`."""
    extra_body: dict[str, object] = {}
    """More members of every request body; they replace ours of the same name."""
    affinity_headers: tuple[str, ...] = ()
    """Headers that tell a router in front of the API which conversation this is."""


def read_settings(request: CreateRequest, flags: AnthropicFlags, *, is_thinking: bool) -> dict[str, object] | ApiError:
    """The plain settings of a request, or the error that names one that this API lacks.

    Not sent: `truncation`, `metadata`, `store`, `max_tool_calls`, `text.verbosity` and `prompt_cache_key`, which do not
    concern the answer or have no counterpart.
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


class AnswerFormat(msgspec.Struct, frozen=True):
    """How the answer's format (`text.format`) is requested."""

    enforced: EnforceableSchema | None = None
    """The schema that the API enforces, as `output_config.format`."""
    told: str = ""
    """The instruction after the system prompt, where the API cannot enforce the format."""
    note: str | None = None
    """What is not enforced, for the log."""

    @property
    def member(self) -> dict[str, object] | None:
        """The value of `output_config.format`."""
        return None if self.enforced is None else {"type": "json_schema", "schema": msgspec.Raw(self.enforced.schema)}


def answer_format(request: CreateRequest) -> AnswerFormat:
    """How to request the format that the client wants."""
    wanted = request.text.format if request.text is not None else None
    if wanted is None or wanted.type == "text" or request.is_warm_up:
        return AnswerFormat()
    if wanted.type != "json_schema" or isinstance(wanted.schema, UnsetType):
        return AnswerFormat(told=JSON_OBJECT)
    form = enforceable_schema(bytes(wanted.schema))
    if form is None:
        told = f"{JSON_VALUE} It matches this JSON schema:\n{bytes(wanted.schema).decode()}"
        return AnswerFormat(told=told, note="text.format: told in words, because the API cannot enforce its schema")
    return AnswerFormat(form, note="text.format: limits told in words" if form.is_told else None)


class ThinkingMembers(msgspec.Struct, frozen=True):
    """The members of a request that turn thinking on or off."""

    thinking: dict[str, object] | None = None
    effort: str | None = None
    is_on: bool = False
    """Whether the request turns thinking on."""
    beta: str | None = None
    note: str | None = None
    """Why there is no thinking although the client asked for it."""


def ask_for_thinking(
    request: CreateRequest, flags: AnthropicFlags, max_tokens: int, *, is_forced: bool, starts_signed: bool
) -> ThinkingMembers:
    """How the model shall think. `is_forced`: it must call a tool; `starts_signed`: the open tool loop began with thinking."""
    effort = request.reasoning.effort if request.reasoning is not None else None
    match flags.thinking:
        case "off":
            return ThinkingMembers()
        case "budget":
            return _ask_by_budget(effort, max_tokens, is_forced=is_forced, starts_signed=starts_signed)
        case "adaptive":
            return _ask_adaptively(request, effort, flags, is_forced=is_forced)


def _ask_adaptively(
    request: CreateRequest, effort: ReasoningEffort | None, flags: AnthropicFlags, *, is_forced: bool
) -> ThinkingMembers:
    wanted = "low" if effort == "minimal" else effort
    if is_forced and flags.no_thinking == "disabled":
        # Models that think by themselves refuse a forced call unless they are told not to think.
        note = _FORCED if effort not in (None, "none") else None
        return ThinkingMembers({"type": "disabled"}, _effort_without_thinking(wanted), note=note)
    if effort == "none":
        if flags.no_thinking == "low_effort":
            return ThinkingMembers(effort="low")
        return ThinkingMembers({"type": flags.no_thinking})
    summary = request.reasoning is not None and (request.reasoning.summary or request.reasoning.generate_summary)
    if effort is None and not summary and not flags.drop_stale_thinking:
        return ThinkingMembers()
    thinking: dict[str, object] = {"type": "adaptive"}
    if summary:
        thinking["display"] = "summarized"
    if not flags.drop_stale_thinking:
        return ThinkingMembers(thinking, wanted, is_on=True)
    thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return ThinkingMembers(thinking, wanted, is_on=True, beta=BINDING_BETA)


def _effort_without_thinking(effort: str | None) -> str | None:
    """Efforts above `high` are refused where thinking is switched off (Opus 5, 2026-10)."""
    if effort == "none":
        return None
    return "high" if effort in ("xhigh", "max") else effort


def _ask_by_budget(
    effort: ReasoningEffort | None, max_tokens: int, *, is_forced: bool, starts_signed: bool
) -> ThinkingMembers:
    """With a budget, the API refuses a tool loop that began without thinking; with adaptive thinking it accepts it."""
    if effort is None or effort == "none":
        return ThinkingMembers()
    if is_forced:
        return ThinkingMembers(note=_FORCED)
    if not starts_signed:
        return ThinkingMembers(note="thinking: off, because the open tool calls were made without it")
    room = max_tokens - max_tokens // ANSWER_SHARE
    if room < MIN_BUDGET_TOKENS:
        return ThinkingMembers(note=f"thinking: off, because max_output_tokens leaves no room ({max_tokens})")
    budget = min(_BUDGETS[effort], room)
    return ThinkingMembers({"type": "enabled", "budget_tokens": budget}, is_on=True)
