"""How servers that speak chat completions count a prompt without running it: with their own template and tokenizer."""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.dialect import CountRequest
from landline.dialects.request_parts import read_input_tokens


def count_requests(body: bytes) -> list[CountRequest]:
    """For a chat-completions body: llama-server's counter, which takes it as it stands, and vLLM's tokenizer."""
    shape = msgspec.json.decode(body, type=_Shape)
    return [
        CountRequest("/chat/completions/input_tokens", body, read_input_tokens),
        CountRequest("/tokenize", msgspec.json.encode(shape), _read_count, is_at_root=True),
    ]


class _Shape(msgspec.Struct):
    """What vLLM's `TokenizeChatRequest` takes of a chat request (0.11: model, messages, tools, template arguments)."""

    model: str
    messages: Raw
    tools: Raw | UnsetType = UNSET
    chat_template: Raw | UnsetType = UNSET
    chat_template_kwargs: Raw | UnsetType = UNSET


class _VllmCount(msgspec.Struct):
    count: int


def _read_count(body: bytes) -> int | None:
    """None also for llama-server's own `/tokenize`, which counts plain text and knows nothing of messages."""
    try:
        return msgspec.json.decode(body, type=_VllmCount).count
    except msgspec.DecodeError:
        return None
