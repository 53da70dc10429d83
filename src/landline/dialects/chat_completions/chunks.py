"""The chunks of a chat-completions stream as decoded types, their token counts and finish reasons; read by `stream`.

Only fields that are read are declared, nearly all optional, because servers differ.

Sources: OpenAI chat-completions reference; vLLM, SGLang, llama.cpp server, Ollama, DeepSeek, OpenRouter, Mistral and
Moonshot documentation (November 2026).
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.errors import api_error
from landline.wire.model_events import Failed, Finished, UsageReported
from landline.wire.readable import UNREADABLE

Number = int | float | None
_LIMITS = frozenset(("length", "model_length", "max_tokens", "model_context_window_exceeded"))
"""Mistral sends the second, Gemini the third, Z.ai the last."""
_FILTERS = frozenset(
    ("content_filter", "sensitive", "safety", "recitation", "blocklist", "prohibited_content", "spii", "language")
)
"""Z.ai sends the second; Gemini's chat-completions layer the others, and `content_filter: PROHIBITED_CONTENT`."""
_FAILURES = {
    "error": ("upstream_error", "The model's answer broke off with an error."),
    "abort": ("upstream_error", "The target aborted the answer."),
    "network_error": ("upstream_error", "The target's answer broke off with an error of its network."),
    "insufficient_system_resource": ("server_is_overloaded", "The target ran out of capacity while it answered."),
    "function_call_filter": ("model_error", "The model made a tool call that its server could not read."),
    "malformed_function_call": ("model_error", "The model made a tool call that its server could not read."),
}
"""OpenRouter and vLLM; vLLM and SGLang; Z.ai; DeepSeek; Gemini (`function_call_filter: MALFORMED_FUNCTION_CALL`)."""


class CallFunction(msgspec.Struct, frozen=True, gc=False):
    """A piece of a function call; `arguments` is a string, or an object from servers that do not stream it."""

    name: str | None = None
    arguments: Raw | UnsetType = UNSET


class CallCustom(msgspec.Struct, frozen=True, gc=False):
    """A piece of a custom tool call."""

    name: str | None = None
    input: str | None = None


class CallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of one tool call."""

    index: int | None = None
    id: str | None = None
    function: CallFunction | None = None
    custom: CallCustom | None = None


class ContentPart(msgspec.Struct, frozen=True, gc=False):
    """A part of `content` from servers that send a list (Mistral): text, or thinking with parts of its own."""

    type: str = "text"
    text: str | None = None
    thinking: "str | list[ContentPart] | None" = None


class ReasoningDetail(msgspec.Struct, frozen=True, gc=False):
    """The text of OpenRouter's structured reasoning."""

    text: str | None = None
    summary: str | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """The delta of a chunk; in an unstreamed answer the whole message."""

    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Raw] | None = None
    """Each a `ReasoningDetail`."""
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: CallFunction | None = None


class TopLogprob(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None


class ChatTokenLogprob(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    content: list[ChatTokenLogprob] | None = None


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: Number = None
    cache_write_tokens: Number = None


class CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: Number = None


class ChatUsage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: Number = None
    completion_tokens: Number = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: Number = None
    """DeepSeek."""
    cached_tokens: Number = None
    """Moonshot."""
    reasoning_tokens: Number = None
    """SGLang."""


class Timings(msgspec.Struct, frozen=True, gc=False):
    """llama.cpp's own count of one answer."""

    cache_n: Number = None
    prompt_n: Number = None
    predicted_n: Number = None


class ChatChoice(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    usage: ChatUsage | None = None
    """Moonshot."""
    error: Raw | UnsetType = UNSET
    """OpenRouter."""


class ChatChunk(msgspec.Struct, frozen=True, gc=False):
    """One record of the stream, or the whole answer of a server that does not stream."""

    choices: list[ChatChoice] | None = None
    usage: ChatUsage | None = None
    error: Raw | UnsetType = UNSET
    timings: Timings | None = None
    object: str | None = None
    message: Raw | UnsetType = UNSET
    """The text of an error that has no envelope (`object` is `error`, or there are no choices)."""
    detail: Raw | UnsetType = UNSET
    """The same (FastAPI)."""


CHUNK_DECODER: msgspec.json.Decoder[ChatChunk] = msgspec.json.Decoder(ChatChunk)
_DETAIL_DECODER: msgspec.json.Decoder[ReasoningDetail] = msgspec.json.Decoder(ReasoningDetail)


def detail_text(raw: Raw) -> str:
    """The text of a detail; "" if it has none."""
    try:
        detail = _DETAIL_DECODER.decode(raw)
    except UNREADABLE:
        return ""
    return detail.text or detail.summary or ""


def read_usage(usage: ChatUsage | None, timings: Timings | None) -> UsageReported | None:
    """The server's usage, or None if it sent none; nothing is estimated.

    Cached tokens: `prompt_tokens_details` (OpenAI, vLLM, SGLang, llama.cpp), `prompt_cache_hit_tokens` (DeepSeek),
    `cached_tokens` (Moonshot), `timings.cache_n` (llama.cpp without `include_usage`).
    """
    if usage is None or usage.prompt_tokens is None:
        return _read_timings(timings)
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (
        prompt.cached_tokens if prompt is not None else None,
        usage.prompt_cache_hit_tokens,
        usage.cached_tokens,
        timings.cache_n if timings is not None else None,
    )
    reasoning = (completion.reasoning_tokens if completion is not None else None, usage.reasoning_tokens)
    return UsageReported(
        input_tokens=int(usage.prompt_tokens),
        output_tokens=_first(usage.completion_tokens),
        cached_tokens=_first(*cached),
        reasoning_tokens=_first(*reasoning),
        cache_write_tokens=_first(prompt.cache_write_tokens if prompt is not None else None),
    )


def _read_timings(timings: Timings | None) -> UsageReported | None:
    if timings is None or timings.prompt_n is None:
        return None
    cached = _first(timings.cache_n)
    return UsageReported(
        input_tokens=cached + int(timings.prompt_n), output_tokens=_first(timings.predicted_n), cached_tokens=cached
    )


def _first(*counts: Number) -> int:
    return next((int(count) for count in counts if count is not None), 0)


def read_reason(reason: str | None) -> Finished | Failed:
    """The ending that a finish reason means; an unknown reason, or none, is success."""
    kind = (reason or "").partition(":")[0].strip().lower()
    if kind in _LIMITS:
        return Finished("max_output_tokens")
    if kind in _FILTERS:
        return Finished("content_filter")
    failure = _FAILURES.get(kind)
    return Failed(api_error(*failure)) if failure is not None else Finished()
