"""The ledger as watchers see it: one snapshot, then what changed. The monitor's endpoints read it.

Nothing is computed unless someone asks, and then what changed since the last time is looked at, not everything.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from math import inf

import msgspec

from landline.ledger.ledger import Ledger, LiveSession
from landline.monitor.rows import choice_rows, make_detail, make_row, model_rows, target_rows, total_up
from landline.monitor.state import (
    PAGE_MAX,
    Change,
    SessionDetail,
    SessionPage,
    SessionRow,
    Snapshot,
    Sort,
    Totals,
    View,
)
from landline.routing.router import RoutedTurns, TargetHealth

_Place = tuple[bool, float, str]
"""Whether it ended, its number with the sign turned, its id: so the order is ended ones last, then largest first."""


class SessionOrder:
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


_NUMBERS: dict[Sort, Callable[[LiveSession], float]] = {
    "opened": lambda session: session.opened_at,
    "changed": lambda session: session.change,
    "uploaded": lambda session: session.sums.bytes.uploaded,
    "stateless": lambda session: session.sums.bytes.stateless,
    "saved": lambda session: session.sums.bytes.saved,
    "turns": lambda session: session.sums.turns,
    "failed": lambda session: session.sums.failed_turns,
}


class Feed:
    """What can be seen of one ledger. Times come from `clock`, in Unix seconds.

    `tenant` limits the sessions to those of one tenant; None shows all.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        list_health: Callable[[], list[TargetHealth]],
        list_served: Callable[[], list[RoutedTurns]],
        clock: Callable[[], float],
        version: str,
    ) -> None:
        self.started_at = clock()
        self.clock = clock
        self._ledger = ledger
        self._list_health = list_health
        self._list_served = list_served
        self._version = version
        self._orders: dict[Sort, SessionOrder] = {}
        self._rows: dict[str, tuple[int, SessionRow]] = {}
        """By session id: its change number at the time, and the row."""
        self._seen = 0
        self._forgotten = 0
        self._totals: tuple[tuple[int, int, int], Totals] | None = None
        """And the state of the ledger that they were added up in."""

    @property
    def mark(self) -> tuple[int, list[TargetHealth]]:
        """Differs when there is something new to see."""
        return self._ledger.changes, [_in_whole_seconds(each) for each in self._list_health()]

    def snapshot(self, view: View, tenant: str | None = None, *, after: int = 0) -> Snapshot:
        """Everything now; of the session that the view names, the turns after the one of that number."""
        return Snapshot(
            at=self.clock(),
            started_at=self.started_at,
            version=self._version,
            hop=self._ledger.hop,
            totals=self.totals(),
            sessions=self.page(view, tenant),
            targets=target_rows(self._list_health(), self._ledger.by("target")),
            choices=choice_rows(self._list_served()),
            models=model_rows(self._ledger.by("model")),
            session=self.detail(view.session, tenant, after=after) if view.session else None,
        )

    def totals(self) -> Totals:
        """Sums of the process."""
        ledger = self._ledger
        state = (ledger.changes, ledger.overhead_in_bytes, ledger.overhead_out_bytes)
        if self._totals is None or self._totals[0] != state:
            self._totals = (state, total_up(ledger))
        return self._totals[1]

    def page(self, view: View, tenant: str | None = None) -> SessionPage:
        """The sessions that the view asks for."""
        order = self._order(view.sort)
        count = max(0, min(view.sessions, PAGE_MAX))
        offset = max(0, view.offset)
        if view.find or tenant is not None:
            found = list(self._matching(order, view, tenant))
            matching, ids = len(found), found[offset : offset + count]
        else:
            matching = order.live_count if view.show == "live" else len(order)
            ids = order.ids(offset, min(count, matching - offset))
        rows = [row for session_id in ids if (row := self._row(session_id)) is not None]
        return SessionPage(known=len(order), matching=matching, offset=offset, ids=ids, rows=rows)

    def detail(self, session_id: str, tenant: str | None = None, *, after: int = 0) -> SessionDetail | None:
        """One session with its newest turns, those after the turn of that number; None if there is none of this id."""
        session = self._ledger.session(session_id)
        if session is None or (tenant is not None and session.tenant != tenant):
            return None
        return make_detail(session, after=after)

    def watch(self, view: View, tenant: str | None = None) -> "FeedWatch":
        """The changes for one watcher."""
        return FeedWatch(self, view, tenant)

    def _order(self, sort: Sort) -> SessionOrder:
        """The order, brought up to date with every other one in use."""
        changed = self._ledger.changed_sessions(self._seen)
        for order in self._orders.values():
            for session in changed:
                order.place(session)
        self._seen = self._ledger.changes
        if self._ledger.forgotten_sessions != self._forgotten:
            self._forgotten = self._ledger.forgotten_sessions
            self._drop_forgotten()
        if sort not in self._orders:
            self._orders[sort] = SessionOrder(_NUMBERS[sort])
            for session in self._ledger.sessions():
                self._orders[sort].place(session)
        return self._orders[sort]

    def _drop_forgotten(self) -> None:
        def is_known(session_id: str) -> bool:
            return self._ledger.session(session_id) is not None

        for order in self._orders.values():
            order.keep(is_known)
        self._rows = {session_id: row for session_id, row in self._rows.items() if is_known(session_id)}

    def _matching(self, order: SessionOrder, view: View, tenant: str | None) -> Iterator[str]:
        wanted = view.find.casefold()
        for session_id in order:
            session = self._ledger.session(session_id)
            if session is None or (tenant is not None and session.tenant != tenant):
                continue
            if view.show == "live" and session.is_ended:
                return
            last = session.turns[-1] if session.turns else None
            names = (session_id, session.transport, last.model if last else "", last.target if last else "")
            if any(wanted in name.casefold() for name in names):
                yield session_id

    def _row(self, session_id: str) -> SessionRow | None:
        session = self._ledger.session(session_id)
        if session is None:
            return None
        known = self._rows.get(session_id)
        if known is None or known[0] != session.change:
            known = self._rows[session_id] = (session.change, make_row(session))
        return known[1]


class FeedWatch:
    """The changes for one watcher: it remembers what it sent last."""

    def __init__(self, feed: Feed, view: View, tenant: str | None) -> None:
        self.first = feed.snapshot(view, tenant)
        """Everything, to begin with."""
        self._feed = feed
        self._mark = feed.mark
        self._view = view
        self._tenant = tenant
        self._told = self.first
        self._rows = {row.id: row for row in self.first.sessions.rows}
        self._session = self.first.session

    def change(self) -> Change | None:
        """What changed since the last call; None if nothing did."""
        mark = self._feed.mark
        if mark == self._mark:
            return None
        self._mark = mark
        before = self._told
        after = self._session.row.turns if self._session is not None else 0
        now = self._told = self._feed.snapshot(self._view, self._tenant, after=after)
        return Change(
            at=now.at,
            totals=now.totals if now.totals != before.totals else None,
            sessions=self._changed_page(before.sessions, now.sessions),
            targets=now.targets if now.targets != before.targets else None,
            choices=now.choices if now.choices != before.choices else None,
            models=now.models if now.models != before.models else None,
            session=self._changed_session(now.session),
        )

    def still(self) -> Change:
        """An empty change, so that the watcher can tell an idle server from a dead connection."""
        return Change(at=self._feed.clock())

    def _changed_page(self, before: SessionPage, now: SessionPage) -> SessionPage | None:
        rows = [row for row in now.rows if self._rows.get(row.id) is not row]
        self._rows = {row.id: row for row in now.rows}
        if not rows and (now.ids, now.known, now.matching) == (before.ids, before.known, before.matching):
            return None
        return msgspec.structs.replace(now, rows=rows)

    def _changed_session(self, now: SessionDetail | None) -> SessionDetail | None:
        if now is None or (self._session is not None and self._session.row == now.row):
            return None
        self._session = now
        return now


def _in_whole_seconds(health: TargetHealth) -> TargetHealth:
    """So that a wait that runs down is news once a second."""
    return msgspec.structs.replace(health, wait_s=float(-(-health.wait_s // 1)))
