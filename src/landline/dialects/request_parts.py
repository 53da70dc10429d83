"""Parts of upstream requests that several dialects share: affinity headers, and the answer of token counters.

Called by the `dialect` module of each dialect.
"""

from collections.abc import Sequence

import msgspec


def affinity_headers(names: Sequence[str], key: str | None) -> dict[str, str]:
    """Headers that tell a router in front of replicas which conversation a request belongs to; none without a key."""
    return dict.fromkeys(names, _header_value(key)) if key is not None else {}


def _header_value(text: str) -> str:
    """The text as a header value. Clients choose it (`prompt_cache_key`), so it may hold any character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in text.encode())


class _InputTokenCount(msgspec.Struct):
    input_tokens: int


def read_input_tokens(body: bytes) -> int | None:
    """The `input_tokens` that Anthropic, OpenAI and llama-server answer with; None for any other body."""
    try:
        return msgspec.json.decode(body, type=_InputTokenCount).input_tokens
    except msgspec.DecodeError:
        return None
