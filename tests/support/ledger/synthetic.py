"""Ledgers of made-up agents: sessions whose turns look like an agent's, without any server. The same each time."""

import random

import msgspec

from landline.ledger import ByteCounts, Entry, Ledger, Split, Times, Tokens
from landline.ledger.prices import ModelPrice, ModelRates
from landline.monitor.feed import Feed
from landline.routing.router import RoutedTurns, TargetHealth

STARTED_AT = 1_790_000_000.0
TARGETS = ("gpu1", "gpu2", "claude")
MODELS = ("coder", "coder-large", "writer")
_RATES = ModelRates.of(ModelPrice(input=2.0, cached=0.2, cache_write=2.5, output=10.0)).usual
_TOOLS_BYTES = 17_800
_INSTRUCTIONS_BYTES = 11_600


class MadeUpAgents:
    """Agents that take turns, one entry at a time, into one ledger."""

    def __init__(self, ledger: Ledger | None = None, *, seed: int = 5) -> None:
        self.ledger = ledger or Ledger()
        self.now = STARTED_AT
        self._random = random.Random(seed)
        self._history_bytes: dict[str, int] = {}

    def feed(self) -> Feed:
        """What a watcher of the ledger sees; two targets are healthy, the circuit of one is open."""
        return Feed(
            self.ledger,
            list_health=lambda: [
                TargetHealth(name, "open" if name == "claude" else "closed", 1, 12.0 if name == "claude" else 0.0)
                for name in TARGETS
            ],
            list_served=self._served,
            clock=lambda: self.now,
            version="0.0.0",
        )

    def open(self, session_id: str) -> None:
        """A socket is opened."""
        self.now += 0.25
        session = self.ledger.open_session(session_id, "socket", "", self.now)
        session.compression = "permessage-deflate, 15 bits"
        session.overhead_in_bytes += 412
        self.ledger.note_change(session)

    def turn(self, session_id: str, **changes: object) -> Entry:
        """The next turn of a session; `changes` replace fields of its entry."""
        entry = self._entry(session_id)
        entry = msgspec.structs.replace(entry, **changes)
        self.ledger.add(entry, self.now)
        return entry

    def run(self, sessions: int, turns: int) -> None:
        """So many sessions with up to so many turns each."""
        for number in range(sessions):
            self.open(f"sess_{number:05d}")
        for number in range(sessions):
            for _ in range(self._random.randint(1, turns)):
                self.turn(f"sess_{number:05d}")

    def _entry(self, session_id: str) -> Entry:
        draw = self._random
        history = self._history_bytes.get(session_id, 0)
        new = draw.randint(300, 5200)
        self._history_bytes[session_id] = history + new + draw.randint(200, 900)
        payload = _TOOLS_BYTES + _INSTRUCTIONS_BYTES + new + 310
        uploaded = 900 + new // 3 if history else payload // 4
        tokens = (history + payload) // 4
        cached, written = tokens * 9 // 10 if history else 0, draw.randint(20, 400)
        first = draw.uniform(0.15, 0.9)
        number = abs(hash_of(session_id))
        self.now += 0.1
        return Entry(
            response_id=f"resp_{draw.getrandbits(48):012x}",
            tenant="",
            session_id=session_id,
            transport="socket",
            lane="",
            model=MODELS[number % len(MODELS)],
            target=TARGETS[number % 2],
            upstream_model="m",
            reason="warm" if history else "load",
            affinity="soft" if history else "none",
            tries=1,
            resends=0,
            upstream_requests=1,
            compactions=0,
            is_warm_up=False,
            created_at=self.now,
            outcome="completed" if draw.random() > 0.01 else "failed",
            bytes=ByteCounts(
                wire_in=uploaded,
                wire_out=draw.randint(700, 4000),
                payload_in=payload,
                payload_out=draw.randint(30_000, 60_000),
                stateless=payload + history,
                upstream_out=payload + history,
                upstream_in=draw.randint(2000, 9000),
                uploaded=uploaded,
            ),
            split=Split(tools=_TOOLS_BYTES, instructions=_INSTRUCTIONS_BYTES, history=0, new_items=new, other=310),
            tokens=Tokens(input=tokens, cached=cached, output=written),
            cost=_RATES.cost_of(tokens, cached, 0, written),
            times=Times(
                queued=draw.uniform(0.001, 0.08),
                first_event=first,
                total=first + draw.uniform(0.2, 3.0),
                saved=history / 1_250_000,
            ),
        )

    def _served(self) -> list[RoutedTurns]:
        by_target = self.ledger.by("target")
        return [RoutedTurns(name, "warm", "soft", sums.soft_turns) for name, sums in sorted(by_target.items())]


def hash_of(text: str) -> int:
    """A number of a text, the same in every process."""
    return sum(place * ord(character) for place, character in enumerate(text, 1))
