"""What a `finish_reason` means."""

from landline.wire.errors import api_error
from landline.wire.model_events import Failed, Finished

_LIMITS = frozenset(("length", "model_length", "max_tokens", "model_context_window_exceeded"))
"""Of Mistral the second, of Gemini the third, of Z.ai the last."""
_FILTERS = frozenset(
    ("content_filter", "sensitive", "safety", "recitation", "blocklist", "prohibited_content", "spii", "language")
)
"""Of Z.ai the second; of Gemini's chat-completions layer the others, and `content_filter: PROHIBITED_CONTENT`."""
_FAILURES = {
    "error": ("upstream_error", "The model's answer broke off with an error."),
    "abort": ("upstream_error", "The target aborted the answer."),
    "network_error": ("upstream_error", "The target's answer broke off with an error of its network."),
    "insufficient_system_resource": ("server_is_overloaded", "The target ran out of capacity while it answered."),
    "function_call_filter": ("model_error", "The model made a tool call that its server could not read."),
    "malformed_function_call": ("model_error", "The model made a tool call that its server could not read."),
}
"""OpenRouter and vLLM; vLLM and SGLang; Z.ai; DeepSeek; Gemini (`function_call_filter: MALFORMED_FUNCTION_CALL`)."""


def read_reason(reason: str | None) -> Finished | Failed:
    """The ending; a reason that is not known is a good one, as is none."""
    kind = (reason or "").partition(":")[0].strip().lower()
    if kind in _LIMITS:
        return Finished("max_output_tokens")
    if kind in _FILTERS:
        return Finished("content_filter")
    failure = _FAILURES.get(kind)
    return Failed(api_error(*failure)) if failure is not None else Finished()
