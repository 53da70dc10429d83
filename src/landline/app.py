"""Puts the packages together: the composition root. `build_app` makes the parts, `App.opened` opens them."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import structlog
from starlette.applications import Starlette

from landline import __version__
from landline.compression_budget import CompressionBudget
from landline.config import Config, SealingSettings, StoreSettings, provider_of, split_upstream
from landline.ledger import Entry, Ledger, Prices
from landline.ledger.prices import load_prices, published_prices
from landline.ledger.turn_line import log_turn
from landline.metrics.counts import LAG_BUCKETS_S, Histogram, ModelLabels, TurnMetrics, loop_lag_watched
from landline.metrics.families import MemoryUse, MetricSources
from landline.monitor.excerpts import record_excerpts
from landline.monitor.feed import Feed
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.sealing import Sealer, load_keys
from landline.server.access import Access
from landline.server.asgi import create_asgi
from landline.server.compression import warn_of_reduction
from landline.server.drain import Drain, drain_background
from landline.server.edge import Edge, ModelInfo
from landline.server.ids import new_id
from landline.server.lifecycle import LineServer, OnStarted, ServeSettings, serve
from landline.stores import make_store
from landline.stores.default import chosen_store, default_store
from landline.stores.events import EventLog
from landline.stores.memory import MemoryStore
from landline.stores.private_files import default_data_dir
from landline.stores.store import Store, StoreError
from landline.targets import make_target
from landline.telemetry import send_telemetry
from landline.telemetry.conventions import TelemetrySources
from landline.telemetry.settings import TelemetrySettings
from landline.turns.background import BackgroundTurns
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import PrefixIndex
from landline.turns.runner import TurnMemory, TurnRunner
from landline.turns.saves import Saves
from landline.upstream.embedded import EmbeddedTarget
from landline.upstream.target import Target
from landline.wire.responses import AS_THE_API_SAYS, Sampling

_SWEEP_S = 3600.0
"""How often expired responses are deleted."""

_log = structlog.stdlib.get_logger(__name__)


class Observers(msgspec.Struct, frozen=True, eq=False):
    """What watches the ledger for the outside."""

    metrics: MetricSources
    telemetry: TelemetrySources
    telemetry_settings: TelemetrySettings

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Watches the event loop's lag, and sends telemetry where the settings turn that on."""
        telemetry = send_telemetry(self.telemetry_settings, self.metrics.ledger, self.telemetry)
        async with loop_lag_watched(self.metrics.loop_lag), telemetry:
            yield


class App(msgspec.Struct, frozen=True, eq=False):
    """A configured server, not yet listening."""

    asgi: Starlette
    """Serves inside `opened` only."""
    drain: Drain
    targets: Mapping[str, Target]
    store: Store
    runner: TurnRunner
    background: BackgroundTurns
    sealer: Sealer
    sealing: SealingSettings
    observers: Observers
    compression: CompressionBudget
    """Of all sockets, clients' and upstreams'."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Opens everything that is not memory: the sealing keys, the store, every target. Closes them afterwards.

        Raises `StoreError` and what opening a target raises.
        """
        async with contextlib.AsyncExitStack() as stack:
            # First, so that it is closed last: telemetry also gets the turns that end while the others close.
            await stack.enter_async_context(self.observers.opened())
            self.sealer.use_keys(load_keys(self.sealing.keys_env, default_data_dir()))
            await self.store.open()
            stack.push_async_callback(self.store.close)
            for target in self.targets.values():
                stack.push_async_callback(target.close)
            await asyncio.gather(*(target.open() for target in self.targets.values()))
            # Turns end before the targets that answer them and the store that saves them are closed.
            stack.push_async_callback(self.runner.close)
            stack.push_async_callback(self.background.close)
            stack.callback(self.runner.hurry)
            sweeping = asyncio.create_task(_sweep_hourly(self.store))
            stack.callback(sweeping.cancel)
            yield


def build_app(config: Config, *, say_turn: Callable[[Entry], None] = log_turn) -> App:
    """Makes every part that the configuration names. `say_turn` is called with every turn that ended.

    Nothing is started, written, locked or connected: `App.opened` does that. The files that targets are made of (models,
    transcripts) are read.
    """
    compression = CompressionBudget(config.server.compression_bytes, warn_of_reduction)
    targets = {name: make_target(name, each, compression) for name, each in config.targets.items()}
    router = _make_router(config, targets)
    store, sealer, prefixes = _make_store(config.store), Sealer(), PrefixIndex(config.prefixes)
    runner = TurnRunner(
        router,
        store,
        new_id=new_id,
        settings=RunnerSettings(event_names=config.server.event_names, keepalive_s=config.limits.keepalive_s),
        memory=TurnMemory(sealer=sealer, prefixes=prefixes, saves=Saves(config.store.save_wait_s)),
    )
    ledger = Ledger(config.ledger.hop, _make_prices(config))
    ledger.watch(say_turn)
    if config.monitor.enabled and config.monitor.content:
        ledger.record_content(record_excerpts)
    background = BackgroundTurns(EventLog(kept_s=config.background.events_kept_s), config.background)
    drain = Drain()
    drain.expired.subscribe(runner.hurry)
    drain_background(drain, background)
    observers = _make_observers(config, ledger, router, compression, prefixes=prefixes, store=store)
    edge = Edge(
        runner=runner,
        background=background,
        store=store,
        list_models=_model_lister(router),
        list_troubles=partial(_list_troubles, targets),
        item_memo=prefixes.item_memo,
        limits=config.limits,
        drain=drain,
        new_id=new_id,
        clock=time.time,
        ledger=ledger,
        access=Access.of(config.server.host, config.server.allowed_hosts, config.server.allowed_origins),
        is_socket_enabled=config.server.sockets,
        http_compression=compression if config.server.http_compression else None,
        monitor=_make_feed(ledger, router) if config.monitor.enabled else None,
        continues_traces=config.telemetry.enabled and config.telemetry.traces,
        metrics=observers.metrics if config.metrics.enabled else None,
    )
    asgi = create_asgi(edge)
    return App(asgi, drain, targets, store, runner, background, sealer, config.sealing, observers, compression)


def run_server(
    config: Config,
    *,
    listener: socket.socket | None = None,
    on_started: OnStarted,
    say_turn: Callable[[Entry], None] = log_turn,
) -> int:
    """Serves until a signal ends it; returns the exit status. `listener` is the bound address, if it is bound already.

    Raises OSError when the address cannot be bound, `ChildFailedError` when a model cannot be started, and `StoreError`.
    """
    app = build_app(config, say_turn=say_turn)
    serve_settings = ServeSettings(
        host=config.server.host,
        port=config.server.port,
        drain_grace_s=config.server.drain_s,
        max_message_bytes=config.limits.max_frame_bytes,
    )
    server = LineServer(
        app.asgi, app.drain, serve_settings, listener=listener, compression=app.compression, on_started=on_started
    )
    return serve(server, app.opened())


def _make_store(settings: StoreSettings) -> Store:
    make = partial(
        make_store,
        retention_s=settings.retention_days * 24 * 3600,
        timeout_s=settings.timeout_s,
        synchronous=settings.synchronous,
        memory_bytes=settings.memory_bytes,
    )
    return default_store(default_data_dir(), make) if settings.url is None else make(settings.url)


def _make_prices(config: Config) -> Prices:
    rows = published_prices() if config.prices.file is None else load_prices(Path(config.prices.file))
    hosts = {name: provider_of(target).address for name, target in config.targets.items()}
    return Prices({name: model.price for name, model in config.models.items()}, rows, hosts)


async def _sweep_hourly(store: Store) -> None:
    while True:
        try:
            swept = await store.sweep(time.time())
            if swept:
                _log.info("responses_expired", count=swept)
        except StoreError:
            _log.exception("sweep_failed")
        await asyncio.sleep(_SWEEP_S)


def _make_router(config: Config, targets: Mapping[str, Target]) -> Router[Target]:
    routes: dict[str, list[Route[Target]]] = {}
    for model, row in config.models.items():
        upstreams = [split_upstream(reference) for reference in row.targets]
        weights = row.weights or [1.0] * len(upstreams)
        routes[model] = [
            Route(targets[upstream.target], upstream.model, weight, _sampling_of(targets[upstream.target]))
            for upstream, weight in zip(upstreams, weights, strict=True)
        ]
    return Router(routes)


def _sampling_of(target: Target) -> Sampling:
    return target.sampling if isinstance(target, EmbeddedTarget) else AS_THE_API_SAYS


def _make_observers(
    config: Config,
    ledger: Ledger,
    router: Router[Target],
    compression: CompressionBudget,
    *,
    prefixes: PrefixIndex,
    store: Store,
) -> Observers:
    """Both kinds of metrics read the same sums, which count from now on."""
    labels = ModelLabels(router.model_names)
    turns = TurnMetrics(labels)
    ledger.watch(turns.add)
    sources = MetricSources(
        ledger=ledger,
        turns=turns,
        loop_lag=Histogram(LAG_BUCKETS_S),
        routed_turns=router.served_turns,
        target_health=lambda: router.target_health(time.monotonic()),
        memory=partial(_memory_uses, config, prefixes, store),
        store_evictions=lambda: kept.evicted_total if (kept := _memory_store(store)) is not None else 0,
        compression=compression,
        compressed_lines=lambda: compression.sockets.items(),  # noqa: PLW0108  # counted anew each time
    )
    providers = {name: provider_of(each) for name, each in config.targets.items()}
    return Observers(sources, TelemetrySources(providers, labels, turns), config.telemetry)


def _memory_uses(config: Config, prefixes: PrefixIndex, store: Store) -> Sequence[MemoryUse]:
    uses = [MemoryUse("prefixes", prefixes.size_bytes, config.prefixes.budget_bytes)]
    kept = _memory_store(store)
    if kept is not None:
        uses.append(MemoryUse("store", kept.size_bytes, config.store.memory_bytes))
    return uses


def _memory_store(store: Store) -> MemoryStore | None:
    """The store if it is one in memory; a default one is known only once it is open."""
    chosen = chosen_store(store)
    return chosen if isinstance(chosen, MemoryStore) else None


def _make_feed(ledger: Ledger, router: Router[Target]) -> Feed:
    return Feed(
        ledger,
        list_health=lambda: router.target_health(time.monotonic()),
        list_served=router.served_turns,
        clock=time.time,
        version=__version__,
    )


def _model_lister(router: Router[Target]) -> Callable[[], list[ModelInfo]]:
    rows = [ModelInfo(id=name, created=int(time.time()), owned_by="landline") for name in router.model_names]
    return lambda: rows


def _list_troubles(targets: Mapping[str, Target]) -> list[str]:
    return [f"target {name!r} is not ready" for name, each in targets.items() if not each.is_ready()]
