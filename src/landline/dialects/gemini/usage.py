"""Token counts of generateContent as one report."""

from landline.dialects.gemini.chunks import Number, UsageMetadata
from landline.wire.model_events import UsageReported


def read_usage(usage: UsageMetadata | None) -> UsageReported | None:
    """The server's own count, or None if it gave none.

    What the model read is the prompt, which counts what an explicit or implicit cache had of it, and what tools of the
    server gave it; what it wrote is the answer and its thoughts, which Gemini counts apart.
    """
    if usage is None or usage.prompt_token_count is None:
        return None
    thoughts = _count(usage.thoughts_token_count)
    return UsageReported(
        input_tokens=_count(usage.prompt_token_count) + _count(usage.tool_use_prompt_token_count),
        output_tokens=_count(usage.candidates_token_count) + thoughts,
        cached_tokens=_count(usage.cached_content_token_count),
        reasoning_tokens=thoughts,
    )


def _count(number: Number) -> int:
    return int(number or 0)
