"""Everything that watches the ledger for the outside: metrics to be scraped, and telemetry where it is configured."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

import msgspec

from landline.ledger.ledger import Ledger
from landline.metrics.counts import Histogram, ModelLabels, TurnMetrics
from landline.metrics.families import Compression, Sources
from landline.metrics.loop_lag import LAG_BUCKETS_S, watch_loop_lag
from landline.routing.router import RoutedTurns, TargetHealth
from landline.telemetry.settings import Provider, TelemetrySettings


class Observed(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is watched besides the ledger."""

    models: Sequence[str]
    """The names of the configuration."""
    providers: Mapping[str, Provider]
    """By the targets' names."""
    routed_turns: Callable[[], Sequence[RoutedTurns]]
    target_health: Callable[[], Sequence[TargetHealth]]
    memory_bytes: Mapping[str, Callable[[], int]]
    memory_limit_bytes: Mapping[str, int]
    store_evictions: Callable[[], int]
    compression: Compression
    compressed_lines: Callable[[], Iterable[tuple[tuple[str, str], int]]]


class Observation:
    """Counts from the moment it is made; tells while it is `open`."""

    def __init__(self, ledger: Ledger, observed: Observed, telemetry: TelemetrySettings) -> None:
        self._observed = observed
        self._settings = telemetry
        self._ledger = ledger
        self._labels = ModelLabels(observed.models)
        self._turns = TurnMetrics(self._labels)
        self.sources = Sources(
            ledger=ledger,
            turns=self._turns,
            loop_lag=Histogram(LAG_BUCKETS_S),
            routed_turns=observed.routed_turns,
            target_health=observed.target_health,
            memory_bytes=observed.memory_bytes,
            memory_limit_bytes=observed.memory_limit_bytes,
            store_evictions=observed.store_evictions,
            compression=observed.compression,
            compressed_lines=observed.compressed_lines,
        )
        ledger.watch(self._turns.add)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Watches the event loop and, if it is configured, tells the collector; at the end, of the last turns too."""
        watching = asyncio.create_task(watch_loop_lag(self.sources.loop_lag))
        try:
            async with self._telling():
                yield
        finally:
            watching.cancel()

    @contextlib.asynccontextmanager
    async def _telling(self) -> AsyncGenerator[None]:
        if not self._settings.enabled:
            yield
            return
        from landline.telemetry.exporter import open_telemetry  # noqa: PLC0415  # 0.1 s for those alone who use it

        telemetry = open_telemetry(
            self._settings, providers=self._observed.providers, labels=self._labels, turns=self._turns
        )
        end = self._ledger.watch(telemetry.add)
        try:
            yield
        finally:
            end()
            await telemetry.close()
