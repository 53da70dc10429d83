"""What is known of a target: its circuit breaker, its rest after a rate limit, its turns in flight, and what its errors
say about it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ApiError

State = Literal["closed", "open", "half_open", "probing"]
"""`closed`: healthy. `open`: failed too often, gets no turns for a while. `half_open`: that time is over, one turn may try.
`probing`: that turn is under way."""
Incident = Literal["tripped", "waited", "probe_begun", "proved", "probe_failed", "probe_abandoned"]

TRANSITIONS: dict[tuple[State, Incident], State] = {
    ("closed", "tripped"): "open",
    ("open", "waited"): "half_open",
    ("open", "proved"): "closed",
    ("half_open", "probe_begun"): "probing",
    ("half_open", "proved"): "closed",
    ("probing", "proved"): "closed",
    ("probing", "probe_failed"): "open",
    ("probing", "probe_abandoned"): "half_open",
}
"""The circuit breaker. What is not in the table changes nothing: turns begun before a change report after it."""

FAILURES_IN_A_ROW = 3
"""So many failures, with nothing else between them, open the breaker: one may be an accident, and every failure before
the opening costs a turn the time of a try."""
WATCHED_TURNS = 20
WATCHED_MIN = 10
FAILURE_SHARE = 0.5
"""Of the latest turns (`WATCHED_MIN` at least, `WATCHED_TURNS` at most), the share of failures that opens it as well."""
BACKOFF_S = 1.0
BACKOFF_MAX_S = 30.0
"""How long a breaker stays open: the first time, doubled by each failed probe, and at most."""
JITTER_SHARE = 0.2
"""How much of a wait is left to chance, so that servers do not probe in step."""


class Health:
    """What is known of one target. Times are seconds of any clock that only goes forward."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives a number from 0 to 1 at each opening."""
        self.state: State = "closed"
        self.in_flight = 0
        self.resting_until = 0.0
        """The end of a rate limit that the target sent; it is healthy nevertheless."""
        self.open_until = 0.0
        """While `open`: when one turn may try."""
        self._jitter = jitter
        self._openings = 0
        """Since a turn last succeeded."""
        self._failures_in_a_row = 0
        self._watched: deque[bool] = deque(maxlen=WATCHED_TURNS)
        """Whether the latest turns succeeded."""
        self._probe: Ticket | None = None

    def is_usable(self, now: float) -> bool:
        """Whether a turn may begin here: no rate limit holds, and the circuit is closed or may be probed."""
        if now < self.resting_until:
            return False
        return self.state in ("closed", "half_open") or (self.state == "open" and now >= self.open_until)

    def is_broken(self, now: float) -> bool:
        """Whether its circuit is open. A rate limit alone does not open it."""
        return self.state == "probing" or (self.state == "open" and now < self.open_until)

    def wait_s(self, now: float) -> float:
        """How long until it may be tried; 0 when it may now."""
        until = max(self.resting_until, self.open_until if self.state == "open" else 0.0)
        return max(0.0, until - now)

    def begin(self, now: float) -> "Ticket":
        """A turn begins here; of a half-open target it is the probe."""
        if self.state == "open" and now >= self.open_until:
            self._change("waited")
        ticket = Ticket(self)
        if self.state == "half_open":
            self._change("probe_begun")
            self._probe = ticket
        self.in_flight += 1
        return ticket

    def prove(self) -> None:
        """The target accepted a turn, which closes the circuit: its answer may still be minutes away."""
        if self.state != "closed":
            self._change("proved")
            self._probe = None
            self._forget_turns()

    def note_success(self) -> None:
        """A turn succeeded."""
        self.prove()
        self._openings = 0
        self._failures_in_a_row = 0
        self._watched.append(True)

    def note_failure(self, ticket: "Ticket", now: float) -> None:
        """A turn failed by the target's fault. Of a target that is not closed only the probe counts."""
        if ticket is self._probe:
            self._probe = None
            self._open("probe_failed", now)
        elif self.state == "closed":
            self._failures_in_a_row += 1
            self._watched.append(False)
            if self._failures_in_a_row >= FAILURES_IN_A_ROW or self._fails_mostly():
                self._open("tripped", now)

    def note_rest(self, until: float) -> None:
        """The target sent a rate limit: it is healthy."""
        self.prove()
        self.resting_until = max(self.resting_until, until)

    def note_end(self, ticket: "Ticket") -> None:
        """The turn is over, however it went; an undecided probe leaves its place to another turn."""
        self.in_flight -= 1
        if ticket is self._probe:
            self._probe = None
            self._change("probe_abandoned")

    def _fails_mostly(self) -> bool:
        count = len(self._watched)
        return count >= WATCHED_MIN and self._watched.count(False) >= FAILURE_SHARE * count

    def _open(self, incident: Incident, now: float) -> None:
        self._change(incident)
        self._forget_turns()
        wait_s = min(BACKOFF_S * 2.0**self._openings, BACKOFF_MAX_S)
        self.open_until = now + wait_s * (1 - JITTER_SHARE * self._jitter())
        self._openings = min(self._openings + 1, 16)  # far beyond the longest wait, and no overflow

    def _forget_turns(self) -> None:
        self._failures_in_a_row = 0
        self._watched.clear()

    def _change(self, incident: Incident) -> None:
        self.state = TRANSITIONS.get((self.state, incident), self.state)


class Ticket:
    """One turn at one target. Report at most one outcome, and `end` once."""

    __slots__ = ("_health", "_is_over")

    def __init__(self, health: Health) -> None:
        self._health = health
        self._is_over = False

    def prove(self) -> None:
        """The target took the turn and begins to answer."""
        self._health.prove()

    def succeed(self) -> None:
        """The turn succeeded."""
        self._health.note_success()

    def fail(self, now: float) -> None:
        """The turn failed by the target's fault."""
        self._health.note_failure(self, now)

    def rest(self, now: float, wait_s: float) -> None:
        """The target sent a rate limit."""
        self._health.note_rest(now + wait_s)

    def end(self) -> None:
        """The turn is over. Without an outcome before, as when its client went away, it counts neither for the target nor
        against it."""
        if not self._is_over:
            self._is_over = True
            self._health.note_end(self)


Verdict = Literal["fault", "busy", "elsewhere", "final"]
"""`fault`: the target failed. `busy`: it works and asks for a wait. `elsewhere`: it works and has not what the turn needs.
`final`: the turn itself is at fault, or its model; every target would say the same. All but the last may be tried at
another target."""

_VERDICTS: dict[str, Verdict] = {
    "rate_limit_exceeded": "busy",
    "insufficient_quota": "fault",
    "model_not_found": "elsewhere",
    "model_error": "final",
}
"""By code. Every other 5xx is a fault, whatever else is final. A target's account without credit fails every turn until
somebody pays, so it counts as a fault."""

_USEFUL_FIRST = ("rate_limit_exceeded", "server_is_overloaded", "upstream_error", "upstream_unavailable")
"""Errors that a client can act on, by waiting as long as they tell, best first."""


def verdict(error: ApiError) -> Verdict:
    """What the error means for its target."""
    return _VERDICTS.get(error.code, "fault" if error.status >= 500 else "final")


def wait_of(error: ApiError) -> float:
    """Seconds for which a busy target gets no turns."""
    return DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s


def most_useful(errors: Sequence[ApiError]) -> ApiError:
    """The error for the client when every target failed: of rate limits the one with the shortest wait."""
    return min(errors, key=_usefulness)


def _usefulness(error: ApiError) -> tuple[int, float]:
    order = _USEFUL_FIRST.index(error.code) if error.code in _USEFUL_FIRST else len(_USEFUL_FIRST)
    return order, wait_of(error)
