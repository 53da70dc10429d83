"""Anthropic's prompt cache, simulated: what a request reads and writes is decided by its breakpoints alone."""

import json
from hashlib import blake2b
from typing import Any

from support.strict.anthropic import all_blocks, without_marks

LOOKBACK_BLOCKS = 20
CHARS_PER_TOKEN = 4
"""A token is so many characters of a block's JSON; the cache has no smallest size here."""


class PromptCache:
    """Remembers prefixes that ended at a breakpoint; they do not expire."""

    def __init__(self) -> None:
        self._entries: set[bytes] = set()

    def count(self, body: dict[str, Any]) -> dict[str, int]:
        """The input's part of `usage`, as the API counts it: read, written, and neither."""
        blocks = list(all_blocks(body))
        digests, sizes = _prefixes(body, blocks)
        places = [index for index, block in enumerate(blocks) if "cache_control" in block]
        read = max((self._hit(digests, place) for place in places), default=-1)
        last = max(places, default=-1)
        self._entries.update(digests[place] for place in places)
        total, up_to_read, up_to_last = sum(sizes), sum(sizes[: read + 1]), sum(sizes[: last + 1])
        return {
            "input_tokens": total - up_to_last,
            "cache_read_input_tokens": up_to_read,
            "cache_creation_input_tokens": up_to_last - up_to_read,
        }

    def _hit(self, digests: list[bytes], place: int) -> int:
        """The newest remembered prefix that this breakpoint finds; -1 if none."""
        first = max(0, place - LOOKBACK_BLOCKS + 1)
        return next((index for index in range(place, first - 1, -1) if digests[index] in self._entries), -1)


def _prefixes(body: dict[str, Any], blocks: list[dict[str, Any]]) -> tuple[list[bytes], list[int]]:
    roles = ["tools"] * len(body.get("tools", ())) + ["system"] * len(body.get("system", ()))
    roles += [f"{number}{each['role']}" for number, each in enumerate(body["messages"]) for _ in each["content"]]
    digests: list[bytes] = []
    sizes: list[int] = []
    before = body["model"].encode()
    for role, block in zip(roles, blocks, strict=True):
        text = json.dumps([role, without_marks(block)]).encode()
        before = blake2b(before + text, digest_size=16).digest()
        digests.append(before)
        sizes.append(-(-len(text) // CHARS_PER_TOKEN))
    return digests, sizes
