"""The ledger: every turn that ended, summed by what it belongs to, and the newest turns of every session.

Memory only, bounded: names beyond the limit are counted as "other", the sessions used least recently are dropped. It has no
clock of its own. `server.account` adds entries; metrics, telemetry, the monitor and the log watch or read it.
"""

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from landline.ledger.entry import Entry, Hop
from landline.ledger.prices import NO_PRICES, Prices
from landline.ledger.report import TurnReport
from landline.ledger.sums import Sums, tally_of
from landline.session.turn import Transport

TURNS_KEPT = 200
"""Turns kept of one session, for the monitor."""
ALL_TURNS_KEPT = 20_000
"""Of all sessions together: some 30 MB."""
SESSIONS_KEPT = 4096
"""Live ones and those that ended last."""
NAMES_KEPT = 512
"""Of models, targets and keys each: more are counted as "other", because clients choose names."""
ROWS_KEPT = 4096
"""Of sums by key, model and target together: in what comes after them, models are counted as "other"."""
NEWEST_ITEMS_KEPT = 20
"""Of one session, and only where content may be shown."""
OTHER = "other"

Dimension = Literal["key", "model", "target"]
_DIMENSIONS: tuple[Dimension, ...] = ("key", "model", "target")
_Names = tuple[str, str, str]
"""Of a key, a model and a target."""


class Excerpt(msgspec.Struct, frozen=True):
    """How an item of a conversation begins."""

    kind: str
    """The role of a message, or the kind of item."""
    text: str


class LiveSession:
    """One socket, or one conversation over HTTP, as far as it is known."""

    def __init__(self, session_id: str, transport: Transport, tenant: str, opened_at: float) -> None:
        self.session_id = session_id
        self.transport: Transport = transport
        self.tenant = tenant
        self.opened_at = opened_at
        """Unix seconds."""
        self.last_at = opened_at
        self.is_open = transport == "socket"
        self.change = 0
        """The ledger's number of its last change."""
        self.overhead_in_bytes = 0
        """On the wire outside of any turn: the handshake, pings."""
        self.overhead_out_bytes = 0
        self.compression = ""
        """What its socket has, in words; "" over HTTP."""
        self.running = 0
        """Turns in flight."""
        self.history_bytes: Callable[[], int] = _none
        """Memory of the socket for what its lanes may continue."""
        self.lanes: dict[str, Sums] = {}
        """By `stream_id`; "" is the default lane."""
        self.turns: deque[Entry] = deque(maxlen=TURNS_KEPT)
        self.newest_items: deque[Excerpt] = deque(maxlen=NEWEST_ITEMS_KEPT)
        """Empty unless content may be shown."""

    @property
    def sums(self) -> Sums:
        """Those of its lanes, added up now."""
        return Sums.total(self.lanes.values())

    @property
    def is_ended(self) -> bool:
        """A socket that closed; of a conversation over HTTP nobody knows."""
        return self.transport == "socket" and not self.is_open


class Ledger:
    """Add entries as turns end; watch or read the sums."""

    def __init__(self, hop: Hop = "clients", prices: Prices = NO_PRICES) -> None:
        self.hop: Hop = hop
        self.prices = prices
        """Where the uploads that are compared with stateless bytes are counted."""
        self.changes = 0
        """Goes up with every change that a watcher can see."""
        self.running_turns = 0
        self.open_lines = 0
        """Sockets that are open."""
        self.forgotten_sessions = 0
        self.overhead_in_bytes = 0
        """On the wire outside of any turn: other HTTP requests when they are over, the overhead of sockets when they are
        closed."""
        self.overhead_out_bytes = 0
        self._rows: dict[_Names, Sums] = {}
        """Every turn is counted in one row; all other sums of the process are made of these when they are asked for."""
        self._known_names: tuple[set[str], set[str], set[str]] = (set(), set(), set())
        """Keys, models and targets that have sums of their own."""
        self._sessions: OrderedDict[str, LiveSession] = OrderedDict()
        self._quiet: OrderedDict[str, None] = OrderedDict()
        """Sessions that are not open and run nothing, the one that changed last at the end: they may be forgotten."""
        self._kept: deque[tuple[LiveSession, Entry]] = deque()
        """Every turn that is kept in a session, the oldest first, and some that are not any more."""
        self._watchers: list[Callable[[Entry], None]] = []
        self._record_content: Callable[[LiveSession, TurnReport], None] | None = None

    def open_session(self, session_id: str, transport: Transport, tenant: str, now: float) -> LiveSession:
        """The session of this id, which begins if it is not known. `now` in Unix seconds."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = LiveSession(session_id, transport, tenant, now)
            self.open_lines += session.is_open
            self._forget_oldest()
        self.note_change(session)
        return session

    def note_change(self, session: LiveSession | None = None) -> None:
        """Something changed in the session, or outside of all sessions: `changes` goes up, so watchers look again."""
        self.changes += 1
        if session is not None and self._sessions.get(session.session_id) is session:
            session.change = self.changes
            self._sessions.move_to_end(session.session_id)
            self._quiet.pop(session.session_id, None)
            if not session.is_open and not session.running:
                self._quiet[session.session_id] = None

    def begin_turn(self, session: LiveSession | None) -> None:
        """A turn is in flight, until `end_turn`; None while it is not known in which session."""
        self._count_running(session, 1)

    def end_turn(self, session: LiveSession | None) -> None:
        self._count_running(session, -1)

    def close_session(self, session_id: str) -> None:
        """The socket is closed. Its turns are kept until newer ones displace them."""
        session = self._sessions.get(session_id)
        if session is not None and session.is_open:
            session.is_open = False
            session.history_bytes = _none
            self.open_lines -= 1
            self.note_change(session)

    def add_overhead(self, in_bytes: int, out_bytes: int) -> None:
        """Bytes on the wire that belong to no turn."""
        self.overhead_in_bytes += in_bytes
        self.overhead_out_bytes += out_bytes

    def add(self, entry: Entry, now: float, report: TurnReport | None = None) -> None:
        """A turn is over; `report` is what the entry was made of, for those who look at content."""
        tally = tally_of(entry)
        names = (entry.tenant, entry.model, entry.target)
        row = self._rows.get(names)
        if row is None:
            row = self._open_row(names)
        row.add_tally(tally)
        if entry.session_id:
            session = self.open_session(entry.session_id, entry.transport, entry.tenant, now)
            session.last_at = now
            self._keep(session, entry)
            if report is not None and self._record_content is not None:
                self._record_content(session, report)
            lane = session.lanes.get(entry.lane)
            if lane is None:
                lane = session.lanes[entry.lane] = Sums()
            lane.add_tally(tally)
        else:
            self.note_change()
        for watcher in self._watchers:
            watcher(entry)

    def record_content(self, recorder: Callable[[LiveSession, TurnReport], None]) -> None:
        """Shows the recorder every turn of a session, with what was said in it."""
        self._record_content = recorder

    def watch(self, watcher: Callable[[Entry], None]) -> Callable[[], None]:
        """Calls `watcher` with every entry from now on; returns what ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    @property
    def process(self) -> Sums:
        """Sums of everything, added up now."""
        return Sums.total(self._rows.values())

    def by(self, dimension: Dimension) -> Mapping[str, Sums]:
        """Sums by key, model or target name, added up now. Turns that no target took are in no target's sums."""
        place = _DIMENSIONS.index(dimension)
        rows: dict[str, list[Sums]] = {}
        for names, sums in self._rows.items():
            rows.setdefault(names[place], []).append(sums)
        if dimension == "target":
            rows.pop("", None)
        return {name: Sums.total(each) for name, each in rows.items()}

    def sessions(self) -> list[LiveSession]:
        """Every session that is still known, the one that changed last at the end."""
        return list(self._sessions.values())

    def changed_sessions(self, since: int) -> list[LiveSession]:
        """Those that changed after `changes` was so high, the last one first; costs no more than what it returns."""
        newest_first = reversed(self._sessions.values())
        return list(itertools.takewhile(lambda session: session.change > since, newest_first))

    def session(self, session_id: str) -> LiveSession | None:
        return self._sessions.get(session_id)

    def _keep(self, session: LiveSession, entry: Entry) -> None:
        session.turns.append(entry)
        self._kept.append((session, entry))
        if len(self._kept) > ALL_TURNS_KEPT:
            session, oldest = self._kept.popleft()
            if session.turns and session.turns[0] is oldest:
                session.turns.popleft()

    def _count_running(self, session: LiveSession | None, turns: int) -> None:
        self.running_turns += turns
        if session is not None:
            session.running += turns
        self.note_change(session)

    def _open_row(self, names: _Names) -> Sums:
        """The row for turns of these names, which have none by themselves yet."""
        key, model, target = map(_known_or_other, names, self._known_names)
        if len(self._rows) >= ROWS_KEPT:
            model = OTHER
        return self._rows.setdefault((key, model, target), Sums())

    def _forget_oldest(self) -> None:
        if len(self._sessions) > SESSIONS_KEPT and self._quiet:
            session_id, _ = self._quiet.popitem(last=False)
            del self._sessions[session_id]
            self.forgotten_sessions += 1


def _known_or_other(name: str, known: set[str]) -> str:
    if name not in known and len(known) >= NAMES_KEPT:
        return OTHER
    known.add(name)
    return name


def _none() -> int:
    return 0
