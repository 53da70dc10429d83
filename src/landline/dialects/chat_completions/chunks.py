"""The chunks of a chat-completions stream: the fields that are read, as lenient as servers are different.

Sources: OpenAI chat-completions reference; vLLM, SGLang, llama.cpp server, Ollama, DeepSeek, OpenRouter, Mistral and
Moonshot documentation (November 2026).
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.readable import UNREADABLE

Number = int | float | None


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
    """OpenRouter's structured reasoning, as far as it is text."""

    text: str | None = None
    summary: str | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """What a chunk adds; in an unstreamed answer the whole message."""

    content: str | list[ContentPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Raw] | None = None
    """Of `ReasoningDetail`."""
    refusal: str | None = None
    tool_calls: list[CallDelta] | None = None
    function_call: CallFunction | None = None


class TopLogprob(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenInfo(msgspec.Struct, frozen=True, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    content: list[TokenInfo] | None = None


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: Number = None
    cache_write_tokens: Number = None


class CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: Number = None


class Usage(msgspec.Struct, frozen=True, gc=False):
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


class Choice(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    usage: Usage | None = None
    """Moonshot."""
    error: Raw | UnsetType = UNSET
    """OpenRouter."""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One record of the stream, or the whole answer of a server that does not stream."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Raw | UnsetType = UNSET
    timings: Timings | None = None
    object: str | None = None
    message: Raw | UnsetType = UNSET
    """The text of an error that has no envelope (`object` is `error`, or there are no choices)."""
    detail: Raw | UnsetType = UNSET
    """The same (FastAPI)."""


CHUNK_DECODER: msgspec.json.Decoder[Chunk] = msgspec.json.Decoder(Chunk)
_DETAIL_DECODER: msgspec.json.Decoder[ReasoningDetail] = msgspec.json.Decoder(ReasoningDetail)


def detail_text(raw: Raw) -> str:
    """What a detail says; "" if it says nothing that can be read."""
    try:
        detail = _DETAIL_DECODER.decode(raw)
    except UNREADABLE:
        return ""
    return detail.text or detail.summary or ""
