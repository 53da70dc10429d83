"""Token counts of the Messages API as one report."""

from landline.dialects.anthropic.records import Number, Usage
from landline.wire.model_events import UsageReported


class UsageTotals:
    """The highest of every count: totals grow, and gateways send a 0 for what another record tells (`message_start` gives
    the input's and `message_delta` the totals at Anthropic; OpenRouter and others give one of them, 2026-07)."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def update(self, usage: Usage) -> bool:
        """Whether the record says anything new."""
        known = self._counts.copy()
        self._set("input", usage.input_tokens)
        self._set("output", usage.output_tokens)
        self._set("written", usage.cache_creation_input_tokens)
        self._set("read", usage.cache_read_input_tokens)
        if usage.output_tokens_details is not None:
            self._set("thinking", usage.output_tokens_details.thinking_tokens)
        return self._counts != known

    def report(self) -> UsageReported | None:
        """None if nothing was counted. The API's `input_tokens` are those that the cache had no part in."""
        if not self._counts:
            return None
        read, written = self._counts.get("read", 0), self._counts.get("written", 0)
        return UsageReported(
            input_tokens=self._counts.get("input", 0) + read + written,
            output_tokens=self._counts.get("output", 0),
            cached_tokens=read,
            reasoning_tokens=self._counts.get("thinking", 0),
            cache_write_tokens=written,
        )

    def _set(self, name: str, count: Number) -> None:
        if count is not None:
            self._counts[name] = max(self._counts.get(name, 0), int(count))
