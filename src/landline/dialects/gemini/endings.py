"""How an answer of Gemini ends: its `finishReason`, or why the prompt was blocked."""

from landline.dialects.gemini.chunks import PromptFeedback
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, Finished

_WHOLE = frozenset(("STOP", "FINISH_REASON_UNSPECIFIED"))
_TOO_LONG = frozenset(("MAX_TOKENS", "CONTINUATION"))
"""`CONTINUATION`: the most that one request may write, with budget left (Gemini 4, "Long decode")."""
_FILTERED = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
    )
)
_BROKEN = {
    "OTHER": ("model_error", "The model stopped for a reason that it does not give."),
    "MALFORMED_FUNCTION_CALL": ("model_error", "The model made a function call that cannot be read."),
    "UNEXPECTED_TOOL_CALL": ("model_error", "The model called a tool that it was not given."),
    "TOO_MANY_TOOL_CALLS": ("model_error", "The model called too many tools."),
    "MALFORMED_RESPONSE": ("model_error", "The model's answer cannot be read."),
    "NO_IMAGE": ("model_error", "The model gave no image where one was expected."),
    "IMAGE_OTHER": ("model_error", "The model stopped making an image for a reason that it does not give."),
    "MISSING_THOUGHT_SIGNATURE": ("upstream_error", "The target misses a thought signature in the conversation."),
    "PUP_LIMITED_DISABLED": ("upstream_auth_error", "The target has limited or disabled this server's account."),
}


def read_ending(reason: str, message: str | None, *, has_said: bool) -> Finished | Failed:
    """The closing event of a `finishReason`.

    One that is not known here ends the answer as usual if there is one; of an empty answer it is the only thing known.
    """
    if reason in _TOO_LONG:
        return Finished("max_output_tokens")
    if reason in _FILTERED:
        return Finished("content_filter")
    broken = _BROKEN.get(reason)
    if broken is None:
        if reason in _WHOLE or has_said:
            return Finished()
        broken = ("model_error", "The model stopped before it said anything.")
    code, told = broken
    return Failed(api_error(code, f"{told} ({reason}{f': {message}' if message else ''})"))


def read_block(feedback: PromptFeedback | None) -> ApiError | None:
    """The error of a prompt that the target did not let through to the model."""
    if feedback is None or not feedback.block_reason:
        return None
    message = f": {feedback.block_reason_message}" if feedback.block_reason_message else "."
    return api_error("invalid_prompt", f"The target blocked the prompt ({feedback.block_reason}){message}")
