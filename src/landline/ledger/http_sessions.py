"""Names the sessions of turns over HTTP, which has none: turns of one conversation are one session. `turns` calls it.

Memory only, bounded. Turns of a socket are not looked up: the socket is their session.
"""

from collections.abc import Callable

from landline.lru_dict import LruDict
from landline.routing.warmth import conversation_key, is_written
from landline.session.lineage import Link
from landline.session.turn import Turn

MAX_REMEMBERED = 16_384
"""Ends and beginnings of conversations, together: some 4 MB."""


class HttpSessions:
    """Names the sessions of turns. The first of these that is known names it:

    1. the turn's conversation (`conversation`), which has an id;
    2. the lineage that it continues, by id or recognised as one that was played back: the session that made it;
    3. how its lineage begins, if a model has written in it: the newest session that began so. Clients that play back
       less than they received continue no lineage, but are recognised by this.

    A turn of which none is known begins a session, and so does one in which no model has written: agents that are given
    the same task twice are two.
    """

    def __init__(
        self, new_id: Callable[[str], str], *, knows_lineages: bool = True, max_remembered: int = MAX_REMEMBERED
    ) -> None:
        """Without `knows_lineages` lineages are not looked up: computing their digests for this alone costs too much."""
        self._new_id = new_id
        self._knows_lineages = knows_lineages
        self._names: LruDict[tuple[str, bytes], str] = LruDict(max_remembered)

    def name(self, turn: Turn) -> str:
        """The session of a turn whose history was found."""
        history = turn.history
        if turn.conversation_id is not None:
            return turn.conversation_id
        if history is None:
            return self._new_id("sess")
        found = self._find_lineage(turn.tenant, history) if self._knows_lineages else None
        if found is not None:
            return found
        beginning = (conversation_key(turn.tenant, history) or "").encode()
        found = self._find(turn.tenant, beginning) if _has_answer(history) else None
        if found is None:
            found = self._new_id("sess")
            self._remember(turn.tenant, beginning, found)
        return found

    def remember(self, tenant: str, history: Link | None, name: str) -> None:
        """The session's lineage has come to here, what the model wrote included."""
        if history is not None and self._knows_lineages:
            self._remember(tenant, history.digest, name)

    def _find_lineage(self, tenant: str, history: Link) -> str | None:
        """The turn's own input is its last link, if it has any; what it continues ends before it."""
        for link in (history, history.parent):
            found = self._find(tenant, link.digest) if link is not None else None
            if found is not None:
                return found
        return None

    def _find(self, tenant: str, key: bytes) -> str | None:
        return self._names.get((tenant, key))

    def _remember(self, tenant: str, key: bytes, name: str) -> None:
        self._names.put((tenant, key), name)


def _has_answer(history: Link) -> bool:
    """Whether a model has written in the lineage."""
    link: Link | None = history
    while link is not None:
        if any(is_written(item) for item in reversed(link.items)):
            return True
        link = link.parent
    return False
