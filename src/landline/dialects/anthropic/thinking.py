"""What a request says about thinking.

Sources: Messages API, extended and adaptive thinking, effort, preserved thinking (November 2026).
"""

import msgspec

from landline.dialects.anthropic.flags import AnthropicFlags
from landline.wire.requests import CreateRequest, ReasoningEffort

BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""Beta that knows what `drop_stale_thinking` asks for."""
MIN_BUDGET_TOKENS = 1024
ANSWER_SHARE = 5
"""A fifth of `max_tokens`, which includes thinking, is kept for the answer; the API would let thinking have all but one."""
_BUDGETS: dict[ReasoningEffort, int] = {
    "minimal": 1024,
    "low": 4096,
    "medium": 10_240,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 65_536,
}
"""Tokens of thinking for models without efforts. The API has no such table; these are the steps that coding agents use."""

_FORCED = "thinking: off, because tool_choice forces a call"


class Thinking(msgspec.Struct, frozen=True):
    """The members that ask for thinking, or ask for none."""

    thinking: dict[str, object] | None = None
    effort: str | None = None
    is_on: bool = False
    """Whether the request itself turns thinking on."""
    beta: str | None = None
    note: str | None = None
    """Why there is no thinking although it was asked for."""


def ask_for_thinking(
    request: CreateRequest, flags: AnthropicFlags, max_tokens: int, *, is_forced: bool, starts_signed: bool
) -> Thinking:
    """How the model is to think. `is_forced`: it must call a tool; `starts_signed`: an open tool loop has its thinking."""
    effort = request.reasoning.effort if request.reasoning is not None else None
    match flags.thinking:
        case "off":
            return Thinking()
        case "budget":
            return _ask_by_budget(effort, max_tokens, is_forced=is_forced, starts_signed=starts_signed)
        case "adaptive":
            return _ask_adaptively(request, effort, flags, is_forced=is_forced)


def _ask_adaptively(
    request: CreateRequest, effort: ReasoningEffort | None, flags: AnthropicFlags, *, is_forced: bool
) -> Thinking:
    wanted = "low" if effort == "minimal" else effort
    if is_forced and flags.no_thinking == "disabled":
        # Models that think by themselves refuse a forced call unless they are told not to think.
        note = _FORCED if effort not in (None, "none") else None
        return Thinking({"type": "disabled"}, _effort_without_thinking(wanted), note=note)
    if effort == "none":
        if flags.no_thinking == "low_effort":
            return Thinking(effort="low")
        return Thinking({"type": flags.no_thinking})
    summary = request.reasoning is not None and (request.reasoning.summary or request.reasoning.generate_summary)
    if effort is None and not summary and not flags.drop_stale_thinking:
        return Thinking()
    thinking: dict[str, object] = {"type": "adaptive"}
    if summary:
        thinking["display"] = "summarized"
    if not flags.drop_stale_thinking:
        return Thinking(thinking, wanted, is_on=True)
    thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return Thinking(thinking, wanted, is_on=True, beta=BINDING_BETA)


def _effort_without_thinking(effort: str | None) -> str | None:
    """Efforts above `high` are refused where thinking is switched off (Opus 5, 2026-10)."""
    if effort == "none":
        return None
    return "high" if effort in ("xhigh", "max") else effort


def _ask_by_budget(
    effort: ReasoningEffort | None, max_tokens: int, *, is_forced: bool, starts_signed: bool
) -> Thinking:
    """With a budget, the API refuses what it lets pass when thinking is adaptive: a tool loop that began without it."""
    if effort is None or effort == "none":
        return Thinking()
    if is_forced:
        return Thinking(note=_FORCED)
    if not starts_signed:
        return Thinking(note="thinking: off, because the open tool calls were made without it")
    room = max_tokens - max_tokens // ANSWER_SHARE
    if room < MIN_BUDGET_TOKENS:
        return Thinking(note=f"thinking: off, because max_output_tokens leaves no room ({max_tokens})")
    budget = min(_BUDGETS[effort], room)
    return Thinking({"type": "enabled", "budget_tokens": budget}, is_on=True)
