"""Sessions in the order of one number, kept in order as they change: a move costs two searches, not a sort."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from math import inf

from landline.ledger.ledger import LiveSession

_Place = tuple[bool, float, str]
"""Whether it ended, its number with the sign turned, its id: so the order is ended ones last, then largest first."""


class Order:
    """Ids of sessions; the largest number first, sockets that ended after all others."""

    def __init__(self, number: Callable[[LiveSession], float]) -> None:
        self._number = number
        self._places: dict[str, _Place] = {}
        self._sorted: list[_Place] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def __iter__(self) -> Iterator[str]:
        return (session_id for _, _, session_id in self._sorted)

    def place(self, session: LiveSession) -> None:
        """The session is new or changed."""
        place = (session.is_ended, -self._number(session), session.session_id)
        before = self._places.get(session.session_id)
        if place == before:
            return
        if before is not None:
            del self._sorted[bisect_left(self._sorted, before)]
        self._places[session.session_id] = place
        insort(self._sorted, place)

    def keep(self, is_known: Callable[[str], bool]) -> None:
        """Drops the sessions that are not known any more."""
        self._sorted = [place for place in self._sorted if is_known(place[2])]
        self._places = {place[2]: place for place in self._sorted}

    def ids(self, offset: int, count: int) -> list[str]:
        """A part of the order."""
        return [session_id for _, _, session_id in self._sorted[offset : offset + max(count, 0)]]

    @property
    def live_count(self) -> int:
        """Sessions that did not end."""
        return bisect_left(self._sorted, (True, -inf, ""))
