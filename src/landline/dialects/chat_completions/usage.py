"""Token counts of whatever server as one report."""

from landline.dialects.chat_completions.chunks import Number, Timings, Usage
from landline.wire.model_events import UsageReported


def read_usage(usage: Usage | None, timings: Timings | None) -> UsageReported | None:
    """The server's own count, or None if it gave none; nothing is estimated.

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
