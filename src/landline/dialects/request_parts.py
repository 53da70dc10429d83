"""How routers in front of replicas are told which conversation a request belongs to."""

from collections.abc import Sequence

import msgspec


def affinity_headers(names: Sequence[str], key: str | None) -> dict[str, str]:
    """The headers of these names with the key; none without one."""
    return dict.fromkeys(names, _header_value(key)) if key is not None else {}


def _header_value(text: str) -> str:
    """The text as a header may carry it; clients choose it (`prompt_cache_key`), so anything may be in it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in text.encode())


class _InputTokenCount(msgspec.Struct):
    input_tokens: int


def read_input_tokens(body: bytes) -> int | None:
    """`input_tokens` (Anthropic, OpenAI, llama-server); None if the server meant something else."""
    try:
        return msgspec.json.decode(body, type=_InputTokenCount).input_tokens
    except msgspec.DecodeError:
        return None
