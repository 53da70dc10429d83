"""What is remembered of turns that ended: the lineages that they ended in, for those that continue them."""

import asyncio

import msgspec
import structlog

from landline.ledger.http_sessions import HttpSessions
from landline.routing.choice import Choice
from landline.routing.router import Router
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.turns.prefixes import PrefixIndex
from landline.upstream.target import Target

_log = structlog.stdlib.get_logger(__name__)


class EndedTurn(msgspec.Struct, frozen=True, eq=False):
    """A turn that ended well enough to be continued."""

    turn: Turn
    history: Link | None
    """The lineage that it ended in, what the model wrote included."""
    session_id: str
    served: Choice[Target] | None
    stored_id: str | None
    """Its response, if it can be continued in the store."""


class Lineages:
    """Where lineages are warm, which of them are known, and to which session over HTTP they belong."""

    def __init__(self, router: Router[Target], prefixes: PrefixIndex, http_sessions: HttpSessions) -> None:
        self._router = router
        self._prefixes = prefixes
        self._http_sessions = http_sessions
        self._ended: list[EndedTurn] = []
        """Turns that are still to be remembered."""

    def resolve(self, turn: Turn) -> tuple[Turn, int]:
        """The turn on what is remembered of its history, and how many items of that it brought although they were known.

        Raises nothing of earlier turns: what cannot be remembered of them is logged.
        """
        self.remember_ended()
        adopted, known_items = self._prefixes.adopt(turn)
        return self._prefixes.find_stored(adopted), known_items

    def name_session(self, turn: Turn) -> str:
        """The session of a turn with its history."""
        return turn.arrival.session_id or self._http_sessions.name(turn)

    def note_ended(self, ended: EndedTurn) -> None:
        """Remembers the turn once this step of the event loop is over: no client waits for it.

        A turn that starts in the same step does it first, because it may continue this one.
        """
        self._ended.append(ended)
        asyncio.get_running_loop().call_soon(self.remember_ended)

    def remember_ended(self) -> None:
        """Remembers what is still to be remembered."""
        ended, self._ended = self._ended, []
        for each in ended:
            try:
                self._remember(each)
            except Exception:  # noqa: BLE001 - it may be called in another turn, which has nothing to do with it
                _log.exception("lineage_not_remembered", response_id=each.turn.response_id)

    def _remember(self, ended: EndedTurn) -> None:
        turn, history = ended.turn, ended.history
        # A warm-up is found again by its key: its bare input may be the beginning of other conversations too.
        if ended.served is not None and history is not None and not turn.request.is_warm_up:
            self._router.remember(turn.tenant, history, ended.served)
        self._prefixes.remember(turn.tenant, history, asked=turn.history, stored_id=ended.stored_id)
        if turn.arrival.transport != "socket":
            self._http_sessions.remember(turn.tenant, history, ended.session_id)
