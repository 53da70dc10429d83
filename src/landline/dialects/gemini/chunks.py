"""The records of a generateContent stream as decoded types, their token counts and finish reasons; read by `stream`.

Only fields that are read are declared; all others are ignored.

Source: Gemini API reference v1beta and the google-genai client 3.4 (November 2026). What only its Enterprise Agent Platform
sends (`partialArgs`, `willContinue`, `blockReasonMessage`) is read too.
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Failed, Finished, UsageReported

Number = int | float | None
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


class PartialArg(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A piece of one argument; `json_path` says which."""

    json_path: str = "$"
    string_value: str | None = None
    number_value: int | float | None = None
    bool_value: bool | None = None
    null_value: str | None = None


class FunctionCallPart(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A call: whole, or a piece of one where `will_continue` is true or the pieces before it said so."""

    id: str | None = None
    name: str | None = None
    args: Raw | UnsetType = UNSET
    partial_args: list[PartialArg] | None = None
    will_continue: bool | None = None


class Part(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Text, a thought, a function call; a signature may stand on any of them, or alone."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCallPart | None = None


class CandidateContent(msgspec.Struct, frozen=True, gc=False):
    parts: list[Part] | None = None


class TokenCandidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    token: str = ""
    log_probability: float | None = None


class TopCandidates(msgspec.Struct, frozen=True, gc=False):
    candidates: list[TokenCandidate] | None = None


class LogprobsResult(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    chosen_candidates: list[TokenCandidate] | None = None
    top_candidates: list[TopCandidates] | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    index: int | None = None
    content: CandidateContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    logprobs_result: LogprobsResult | None = None


class PromptFeedback(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    block_reason: str | None = None
    block_reason_message: str | None = None


class UsageMetadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    prompt_token_count: Number = None
    cached_content_token_count: Number = None
    candidates_token_count: Number = None
    thoughts_token_count: Number = None
    tool_use_prompt_token_count: Number = None


class GeminiChunk(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One record of the stream, or the whole answer of a server that does not stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    error: Raw | UnsetType = UNSET


CHUNK_DECODER: msgspec.json.Decoder[GeminiChunk] = msgspec.json.Decoder(GeminiChunk)


def read_usage(usage: UsageMetadata | None) -> UsageReported | None:
    """The server's usage, or None if it sent none.

    Input: the prompt, cached parts included, and results of the server's own tools. Output: the answer and the thoughts,
    which Gemini counts separately.
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


def read_ending(reason: str, message: str | None, *, has_said: bool) -> Finished | Failed:
    """The closing event of a `finishReason`.

    An unknown reason ends an answer normally; for an empty answer it becomes the error, being all that is known.
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
    """The error of a prompt that the target blocked."""
    if feedback is None or not feedback.block_reason:
        return None
    message = f": {feedback.block_reason_message}" if feedback.block_reason_message else "."
    return api_error("invalid_prompt", f"The target blocked the prompt ({feedback.block_reason}){message}")
