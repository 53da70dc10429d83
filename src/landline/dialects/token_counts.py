"""The answer of a token counter: vendors agree on its one member."""

import msgspec


class _Count(msgspec.Struct):
    input_tokens: int


def read_input_tokens(body: bytes) -> int | None:
    """`input_tokens` (Anthropic, OpenAI, llama-server); None if the server meant something else."""
    try:
        return msgspec.json.decode(body, type=_Count).input_tokens
    except msgspec.DecodeError:
        return None
