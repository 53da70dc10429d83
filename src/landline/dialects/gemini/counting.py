"""How Gemini counts a prompt without running it."""

import msgspec

from landline.dialects.dialect import CountRequest


def count_request(model_path: str, body: bytes) -> CountRequest:
    """For a generateContent body: `countTokens`, which reads it whole, its tools and instructions too."""
    model = msgspec.json.encode({"model": model_path.removeprefix("/")})
    request = b'{"generateContentRequest":' + model[:-1] + b"," + body[1:] + b"}"
    return CountRequest(f"{model_path}:countTokens", request, _read_total)


class _Count(msgspec.Struct, rename="camel"):
    total_tokens: int


def _read_total(body: bytes) -> int | None:
    try:
        return msgspec.json.decode(body, type=_Count).total_tokens
    except msgspec.DecodeError:
        return None
