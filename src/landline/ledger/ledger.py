"""The ledger: every turn that ended, summed by what it belongs to, and the newest turns of every session.

Memory only, bounded: what was used least recently is folded into "other" or forgotten. No clock of its own.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Literal

from landline.ledger.entry import Entry
from landline.ledger.sums import Sums
from landline.session.meter import Transport

TURNS_KEPT = 200
"""Of one session, to be shown one by one."""
SESSIONS_KEPT = 4096
"""Live ones and those that ended last."""
NAMES_KEPT = 512
"""Of models, targets and keys each: more are counted as "other", because clients choose names."""
OTHER = "other"

Dimension = Literal["key", "model", "target"]


class LiveSession:
    """One socket, or one conversation over HTTP, as far as it is known."""

    def __init__(self, session_id: str, transport: Transport, tenant: str, opened_at: float) -> None:
        self.session_id = session_id
        self.transport = transport
        self.tenant = tenant
        self.opened_at = opened_at
        """Unix seconds."""
        self.last_at = opened_at
        self.is_open = transport == "socket"
        self.overhead_in_bytes = 0
        """On the wire outside of any turn: the handshake, pings."""
        self.overhead_out_bytes = 0
        self.compression = ""
        """What was negotiated, in words; "" for none."""
        self.running = 0
        """Turns in flight."""
        self.sums = Sums()
        self.lanes: dict[str, Sums] = {}
        self.turns: deque[Entry] = deque(maxlen=TURNS_KEPT)


class Ledger:
    """Add entries as turns end; watch or read the sums."""

    def __init__(self) -> None:
        self.process = Sums()
        self._by: dict[Dimension, dict[str, Sums]] = {"key": {}, "model": {}, "target": {}}
        self._sessions: OrderedDict[str, LiveSession] = OrderedDict()
        self._watchers: list[Callable[[Entry], None]] = []

    def open_session(self, session_id: str, transport: Transport, tenant: str, now: float) -> LiveSession:
        """A session begins, or goes on. `now` in Unix seconds."""
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = LiveSession(session_id, transport, tenant, now)
            self._forget_oldest()
        self._sessions.move_to_end(session_id)
        return session

    def close_session(self, session_id: str) -> None:
        """A socket is gone; its turns stay to be looked at until others push them out."""
        session = self._sessions.get(session_id)
        if session is not None:
            session.is_open = False

    def add(self, entry: Entry, now: float) -> None:
        """A turn is over."""
        self.process.add(entry)
        self._named("key", entry.tenant).add(entry)
        self._named("model", entry.model).add(entry)
        if entry.target:
            self._named("target", entry.target).add(entry)
        if entry.session_id:
            session = self.open_session(entry.session_id, entry.transport, entry.tenant, now)
            session.last_at = now
            session.sums.add(entry)
            session.turns.append(entry)
            session.lanes.setdefault(entry.lane, Sums()).add(entry)
        for watcher in self._watchers:
            watcher(entry)

    def watch(self, watcher: Callable[[Entry], None]) -> Callable[[], None]:
        """Calls `watcher` with every entry from now on; returns what ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def by(self, dimension: Dimension) -> Mapping[str, Sums]:
        """Sums by key, model or target name."""
        return self._by[dimension]

    def sessions(self) -> list[LiveSession]:
        """Every session that is still known, the one used last at the end."""
        return list(self._sessions.values())

    def session(self, session_id: str) -> LiveSession | None:
        return self._sessions.get(session_id)

    @property
    def open_lines(self) -> int:
        """Sockets that are open."""
        return sum(session.is_open for session in self._sessions.values())

    def _named(self, dimension: Dimension, name: str) -> Sums:
        names = self._by[dimension]
        if name not in names and len(names) >= NAMES_KEPT:
            name = OTHER
        return names.setdefault(name, Sums())

    def _forget_oldest(self) -> None:
        if len(self._sessions) <= SESSIONS_KEPT:
            return
        ended = next((each for each in self._sessions.values() if not each.is_open and not each.running), None)
        if ended is not None:
            del self._sessions[ended.session_id]
