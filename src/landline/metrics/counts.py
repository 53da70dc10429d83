"""Turns counted for time series: by model and target, with histograms of their times; and the event loop's lag.

`TurnMetrics.add` watches the ledger. `metrics.families` reads the counts for Prometheus, `telemetry.instruments` for
OpenTelemetry.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterable, Mapping
from hashlib import blake2s
from itertools import accumulate

import msgspec

from landline.ledger.entry import Entry, Outcome
from landline.ledger.ledger import OTHER
from landline.ledger.sums import Sums
from landline.session.turn import Transport

MODELS_KEPT = 32
"""Labels for model names that are not in the configuration (a `"*"` row accepts any name): further ones are counted as
`other`. Each name is some 80 time series for every target that serves it."""

QUEUE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FIRST_EVENT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
OUTPUT_TOKEN_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_SLEEP_S = 0.5


class Distribution(msgspec.Struct, frozen=True):
    """A histogram as it stood at one moment."""

    buckets: list[tuple[str, int]]
    """Each upper end with the number of values up to it; `+Inf` is last and has them all."""
    sum: float


class Histogram:
    """Values counted by their size. Like prometheus_client's, without its lock: 0.2 µs a value instead of 1.5."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` are the buckets' upper ends, ascending; a bound belongs to the bucket that it ends."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> Distribution:
        """What was observed until now."""
        ends = [*map(str, self._bounds), "+Inf"]
        return Distribution(list(zip(ends, accumulate(self._counts), strict=True)), self._sum)


class TurnCounts:
    """The turns of one model at one target."""

    __slots__ = ("duration", "first_event", "outcomes", "output_token", "queue", "sums", "tries", "upstream_requests")

    def __init__(self) -> None:
        self.sums = Sums()
        self.outcomes: dict[tuple[Outcome, Transport], int] = {}
        self.tries = 0
        self.upstream_requests = 0
        self.queue = Histogram(QUEUE_BUCKETS_S)
        self.first_event = Histogram(FIRST_EVENT_BUCKETS_S)
        self.output_token = Histogram(OUTPUT_TOKEN_BUCKETS_S)
        self.duration = Histogram(DURATION_BUCKETS_S)

    def add(self, entry: Entry) -> None:
        """Counts one more turn."""
        self.sums.add(entry)
        ending = (entry.outcome, entry.transport)
        self.outcomes[ending] = self.outcomes.get(ending, 0) + 1
        self.tries += entry.tries
        self.upstream_requests += entry.upstream_requests
        times = entry.times
        self.duration.observe(times.total)
        if times.queued is not None:
            self.queue.observe(times.queued)
        if times.first_event is not None:
            self.first_event.observe(times.first_event)
        if times.per_output_token is not None:
            self.output_token.observe(times.per_output_token)


class ModelLabels:
    """Model names as labels, from a closed set: what a client makes up is no label unless a target took it."""

    def __init__(self, models: Iterable[str]) -> None:
        """`models` are the names of the configuration."""
        self._configured = frozenset(models)
        self._made_up: set[str] = set()

    def label(self, entry: Entry) -> str:
        """The turn's model, or `other`. A name that was once a label stays one."""
        name = entry.model
        if name in self._configured or name in self._made_up:
            return name
        if not entry.target or len(self._made_up) >= MODELS_KEPT:
            return OTHER
        self._made_up.add(name)
        return name

    def upstream_label(self, entry: Entry) -> str:
        """The model that the target was asked for; of a row that takes any name, it is the client's word too."""
        return OTHER if self.label(entry) == OTHER else entry.upstream_model


class TurnMetrics:
    """Rows by model and target."""

    def __init__(self, labels: ModelLabels) -> None:
        self._labels = labels
        self._rows: dict[tuple[str, str], TurnCounts] = {}

    @property
    def rows(self) -> Mapping[tuple[str, str], TurnCounts]:
        """By model (`other` for those without a label of their own) and target ("" for turns that none served)."""
        return self._rows

    def add(self, entry: Entry) -> None:
        """A turn is over: for `Ledger.watch`."""
        row = self._rows.get((entry.model, entry.target))
        if row is None:
            row = self._rows.setdefault((self._labels.label(entry), entry.target), TurnCounts())
        row.add(entry)


def key_label(key: str) -> str:
    """A key as a label: the first digits of its hash, because scraped labels are stored and shown elsewhere."""
    return blake2s(key.encode(), digest_size=4).hexdigest() if key else "none"


@contextlib.asynccontextmanager
async def loop_lag_watched(lags: Histogram, *, sleep_s: float = _LAG_SLEEP_S) -> AsyncGenerator[None]:
    """Observes how late the event loop wakes from short sleeps: what holds the loop up holds up every turn."""
    watching = asyncio.create_task(_watch_loop_lag(lags, sleep_s))
    try:
        yield
    finally:
        watching.cancel()


async def _watch_loop_lag(lags: Histogram, sleep_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        slept_at = loop.time()
        await asyncio.sleep(sleep_s)
        lags.observe(max(loop.time() - slept_at - sleep_s, 0.0))
