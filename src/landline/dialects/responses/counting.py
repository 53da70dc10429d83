"""How a Responses server counts a prompt without running it: `POST /responses/input_tokens`."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from landline.dialects.dialect import CountRequest
from landline.dialects.request_parts import read_input_tokens
from landline.dialects.responses.members import Members

# fmt: off
_COUNTED = frozenset((
    "model", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
    "personality",
))
# fmt: on
"""What the counter takes (openai 3.54.0, `InputTokenCountParams`); it refuses what concerns only an answer."""


def count_request(members: Members, pieces: Sequence[bytes]) -> CountRequest:
    """The question for these members and items."""
    asked = {name: value for name, value in members.items() if name in _COUNTED}
    body = msgspec.json.encode({**asked, "input": Raw(b"[" + b",".join(pieces) + b"]")})
    return CountRequest("/responses/input_tokens", body, read_input_tokens)
