"""What a connection remembers: response id → lineage, so that a continuation needs no store and works for `store: false`.

Any response still in memory may be continued or forked, not only a lane's latest. A byte budget bounds it: the least
recently used responses are forgotten first. Nothing here is visible outside the connection.
"""

import msgspec

from landline.lru_dict import LruDict
from landline.session.held_links import HeldLinks
from landline.session.lineage import Link


class Remembered(msgspec.Struct, frozen=True, eq=False):
    """A finished response that may be continued."""

    response_id: str
    history: Link | None
    """Its whole lineage, its output included."""
    lane_id: str | None
    """The lane that made it; None is the default lane."""
    is_stored: bool = False
    """Whether the store has it too."""


class ResponseMemory:
    """An LRU of responses under a byte budget; links shared by several responses count once."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries: LruDict[str, Remembered] = LruDict()
        self._held = HeldLinks()

    @property
    def size_bytes(self) -> int:
        """JSON bytes of all links that the remembered responses reach."""
        return self._held.size_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, response_id: str) -> Remembered | None:
        """The remembered response, now the most recently used."""
        return self._entries.get(response_id)

    def remember(self, entry: Remembered) -> None:
        """Adds a response; forgets the least recently used ones while over budget, the new one last of all."""
        self._entries.put(entry.response_id, entry)
        self._held.hold(entry.history)
        while self.size_bytes > self._budget_bytes and self._entries:
            _, oldest = self._entries.pop_oldest()
            self._held.release(oldest.history)

    def forget(self, response_id: str) -> None:
        """Drops a response; unknown ids are ignored."""
        entry = self._entries.pop(response_id)
        if entry is not None:
            self._held.release(entry.history)

    def clear(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self._held.clear()
