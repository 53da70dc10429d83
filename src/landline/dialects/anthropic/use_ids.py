"""Ids of `tool_use` blocks: call ids as the API takes them, each one once in a conversation.

Servers that count their calls anew in every answer (Kimi's `list_dir:0`, `call_0` of small servers, 2026-09) repeat
theirs, and the API refuses a conversation that holds one twice.
"""

import re
from hashlib import blake2b

import msgspec

_TAKEN_AS_IT_IS = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class UseIds(msgspec.Struct, frozen=True):
    """The ids of a conversation, in sets that grow from the newest to the oldest and that longer conversations share:
    looking one up and adding one cost O(log n)."""

    newest: frozenset[str] = frozenset()
    older: "UseIds | None" = None
    count: int = 0

    def __contains__(self, use_id: str) -> bool:
        ids: UseIds | None = self
        while ids is not None:
            if use_id in ids.newest:
                return True
            ids = ids.older
        return False

    def with_id(self, use_id: str) -> "UseIds":
        """The same with one more."""
        newest, older = frozenset((use_id,)), self if self.newest else None
        while older is not None and len(older.newest) <= len(newest):
            newest, older = newest | older.newest, older.older
        return UseIds(newest, older, self.count + 1)


def new_use_id(call_id: str, taken: UseIds) -> str:
    """The call id if the API takes it; else, and where it is taken, one that is made of it, the same one every time."""
    use_id = call_id if _TAKEN_AS_IT_IS.fullmatch(call_id) else _hashed(call_id)
    return _hashed(f"{call_id}\0{taken.count}") if use_id in taken else use_id


def _hashed(text: str) -> str:
    return f"call_{blake2b(text.encode(), digest_size=12).hexdigest()}"
