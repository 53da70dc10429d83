"""The records of a generateContent stream: the fields that are read; all others are passed over.

Source: Gemini API reference v1beta and the google-genai client 3.4 (November 2026). What only its Enterprise Agent Platform
sends (`partialArgs`, `willContinue`, `blockReasonMessage`) is read too.
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

Number = int | float | None


class PartialArg(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A piece of one argument; `json_path` says which."""

    json_path: str = "$"
    string_value: str | None = None
    number_value: int | float | None = None
    bool_value: bool | None = None
    null_value: str | None = None


class FunctionCall(msgspec.Struct, frozen=True, gc=False, rename="camel"):
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
    function_call: FunctionCall | None = None


class Content(msgspec.Struct, frozen=True, gc=False):
    parts: list[Part] | None = None


class TokenInfo(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    token: str = ""
    log_probability: float | None = None


class TopCandidates(msgspec.Struct, frozen=True, gc=False):
    candidates: list[TokenInfo] | None = None


class LogprobsResult(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    chosen_candidates: list[TokenInfo] | None = None
    top_candidates: list[TopCandidates] | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    index: int | None = None
    content: Content | None = None
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


class Chunk(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One record of the stream, or the whole answer of a server that does not stream."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    error: Raw | UnsetType = UNSET


CHUNK_DECODER: msgspec.json.Decoder[Chunk] = msgspec.json.Decoder(Chunk)
