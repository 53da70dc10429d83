"""Puts the rooms together; the only file that knows every room."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import platformdirs
import structlog
from starlette.applications import Starlette

from landline import __version__
from landline import config as settings
from landline.compression_budget import CompressionBudget
from landline.config import Config, SealingSettings, StoreSettings, provider_of, split_upstream, usual_keys
from landline.dialects.anthropic import Anthropic, AnthropicFlags
from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Dialect
from landline.dialects.gemini import Gemini, GeminiFlags
from landline.dialects.responses import Responses, ResponsesFlags
from landline.engine.catalog import resolve_model
from landline.engine.settings import EngineSettings
from landline.ledger import Entry, Ledger
from landline.ledger.turn_line import log_turn
from landline.monitor.excerpts import ExcerptRecorder
from landline.monitor.feed import Feed
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.sealing import Sealer, keep_key, split_keys
from landline.server.access import Access
from landline.server.asgi import create_asgi
from landline.server.compression import warn_of_reduction
from landline.server.drain import Drain, drain_background
from landline.server.edge import Edge, ModelInfo
from landline.server.ids import new_id
from landline.server.lifecycle import OnStarted, ServeSettings, serve
from landline.stores import is_claimed, make_store
from landline.stores.events import EventLog
from landline.stores.memory import MemoryStore
from landline.stores.private_files import make_data_folder
from landline.stores.store import Store, StoreError
from landline.telemetry.observation import Observation, Observed
from landline.turns.background import BackgroundTurns
from landline.turns.prefixes import PrefixIndex
from landline.turns.runner import RunnerSettings, TurnRunner
from landline.turns.saves import Saves
from landline.upstream.embedded import EmbeddedTarget
from landline.upstream.http import HttpDeadlines, HttpTarget
from landline.upstream.scripted import ScriptedTarget
from landline.upstream.target import Target
from landline.upstream.websocket import ResponsesSocketTarget
from landline.wire.responses import AS_THE_API_SAYS, Sampling

DATA_DIR_VARIABLE = "LANDLINE_DATA_DIR"
_DATA_FILES = ("landline.db", "sealing.key")
"""What the data folder holds."""
_SWEEP_S = 3600.0
"""How often what is over its time is deleted."""

_log = structlog.stdlib.get_logger(__name__)

_SettingsT = TypeVar("_SettingsT", bound=msgspec.Struct)


class App(msgspec.Struct, frozen=True, eq=False):
    """A configured server, not yet listening."""

    asgi: Starlette
    """Serves inside `opened` only."""
    drain: Drain
    targets: Mapping[str, Target]
    store: Store
    runner: TurnRunner
    background: BackgroundTurns
    ledger: Ledger
    observation: Observation
    compression: CompressionBudget
    """Of all sockets, clients' and upstreams'."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Opens the store and every target, and closes them afterwards.

        Raises `StoreError` and what opening a target raises.
        """
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.observation.opened())
            await self.store.open()
            stack.push_async_callback(self.store.close)
            for target in self.targets.values():
                stack.push_async_callback(target.close)
            await asyncio.gather(*(target.open() for target in self.targets.values()))
            stack.push_async_callback(self.runner.close)
            stack.push_async_callback(self.background.close)
            stack.callback(self.runner.hurry)
            sweeping = asyncio.create_task(_sweep_hourly(self.store))
            stack.callback(sweeping.cancel)
            yield


def build_app(config: Config, *, say_turn: Callable[[Entry], None] = log_turn) -> App:
    """Makes every part that the configuration names; nothing is started yet. `say_turn` is told of every turn that ended."""
    compression = CompressionBudget(config.server.compression_bytes, warn_of_reduction)
    targets = {name: make_target(name, each, compression) for name, each in config.targets.items()}
    router = _make_router(config, targets)
    runner_settings = RunnerSettings(event_names=config.server.event_names, keepalive_s=config.limits.keepalive_s)
    store = _make_store(config.store)
    sealer = _make_sealer(config.sealing)
    prefixes = PrefixIndex(config.prefixes)
    runner = TurnRunner(
        router,
        store,
        new_id=new_id,
        settings=runner_settings,
        sealer=sealer,
        prefixes=prefixes,
        saves=Saves(config.store.save_wait_s),
    )
    log = EventLog(kept_s=config.background.events_kept_s)
    ledger = Ledger(config.ledger.hop)
    ledger.watch(say_turn)
    conductor = ExcerptRecorder(runner, ledger) if config.monitor.enabled and config.monitor.content else runner
    background = BackgroundTurns(conductor, log, config.background)
    observation = _observe(config, ledger, router, prefixes, compression, store=store)
    drain = Drain()
    drain.expired.subscribe(runner.hurry)
    drain_background(drain, background)
    edge = Edge(
        runner=conductor,
        background=background,
        store=store,
        list_models=_model_lister(router),
        list_troubles=lambda: [
            f"target {name!r} is not ready" for name, each in targets.items() if not each.is_ready()
        ],
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
        metrics=observation.sources if config.metrics.enabled else None,
    )
    return App(create_asgi(edge), drain, targets, store, runner, background, ledger, observation, compression)


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
    return serve(
        app.asgi,
        app.drain,
        serve_settings,
        parts=app.opened(),
        listener=listener,
        compression=app.compression,
        on_started=on_started,
    )


def default_data_dir() -> Path:
    """`LANDLINE_DATA_DIR`, else the user's data folder of this platform."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("landline"))


def _make_store(settings: StoreSettings) -> Store:
    """The store that the settings name; the default one falls back to memory, so that a second server just works."""
    if settings.url is not None:
        return _store_at(settings.url, settings)
    path = default_data_dir() / "landline.db"
    try:
        make_data_folder(path.parent, _DATA_FILES)
        is_free = not is_claimed(str(path))
    except OSError:
        is_free = False
    if is_free:
        return _store_at(f"sqlite:///{path}", settings)
    _log.warning("store_in_memory", path=str(path), reason="another server uses the file, or it cannot be written")
    return _store_at("memory", settings)


def _store_at(url: str, settings: StoreSettings) -> Store:
    return make_store(
        url,
        retention_s=settings.retention_days * 24 * 3600,
        timeout_s=settings.timeout_s,
        synchronous=settings.synchronous,
        memory_bytes=settings.memory_bytes,
    )


def _make_sealer(settings: SealingSettings) -> Sealer:
    if settings.keys_env is not None:
        return Sealer(split_keys(os.environ[settings.keys_env]))
    with contextlib.suppress(OSError):  # `keep_key` says so
        make_data_folder(default_data_dir(), _DATA_FILES)
    return Sealer([keep_key(default_data_dir() / "sealing.key")])


async def _sweep_hourly(store: Store) -> None:
    while True:
        try:
            swept = await store.sweep(time.time())
            if swept:
                _log.info("responses_expired", count=swept)
        except StoreError:
            _log.exception("sweep_failed")
        await asyncio.sleep(_SWEEP_S)


def make_target(name: str, target: settings.TargetSettings, compression: CompressionBudget | None = None) -> Target:
    """The target that the settings describe, not yet open; its key is taken from the environment. `compression` is shared
    by all sockets of the process; without it, the target has a budget of its own.

    Raises `ModelUnavailableError` when an embedded model's file is not there.
    """
    match target:
        case settings.EmbeddedTarget():
            return EmbeddedTarget(name, resolve_model(target.gguf or target.model), _narrow(target, EngineSettings))
        case settings.ChatCompletionsTarget():
            return _over_http(name, target, ChatCompletions(_narrow(target, ChatCompletionsFlags)))
        case settings.ResponsesTarget():
            responses = Responses(_narrow(target, ResponsesFlags))
            if target.transport == "websocket":
                return _over_socket(name, target, responses, compression)
            return _over_http(name, target, responses)
        case settings.GeminiTarget():
            return _over_http(name, target, Gemini(_narrow(target, GeminiFlags)))
        case settings.AnthropicTarget():
            return _over_http(name, target, Anthropic(_narrow(target, AnthropicFlags)))
        case settings.ScriptedTarget():
            return ScriptedTarget(name, Path(target.transcript))


def _over_http(name: str, target: settings.RemoteTarget, dialect: Dialect) -> HttpTarget:
    return HttpTarget(
        name,
        settings.api_url(target),
        dialect,
        api_key=_api_key(target),
        key_header=target.key_header,
        headers=target.headers,
        key_envs=usual_keys(target),
        deadlines=HttpDeadlines(read_idle_s=target.silence_s),
    )


def _over_socket(
    name: str, target: settings.ResponsesTarget, dialect: Responses, compression: CompressionBudget | None
) -> ResponsesSocketTarget:
    return ResponsesSocketTarget(
        name,
        settings.api_url(target),
        dialect,
        api_key=_api_key(target),
        key_header=target.key_header,
        headers=target.headers,
        key_envs=usual_keys(target),
        settings=target.socket,
        deadlines=HttpDeadlines(read_idle_s=target.silence_s),
        compression=compression,
    )


def _api_key(target: settings.RemoteTarget) -> str | None:
    return os.environ[target.api_key_env] if target.api_key_env is not None else None


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


def _observe(
    config: Config,
    ledger: Ledger,
    router: Router[Target],
    prefixes: PrefixIndex,
    compression: CompressionBudget,
    *,
    store: Store,
) -> Observation:
    kept = store if isinstance(store, MemoryStore) else None
    observed = Observed(
        models=router.model_names,
        providers={name: provider_of(each) for name, each in config.targets.items()},
        routed_turns=router.served_turns,
        target_health=lambda: router.target_health(time.monotonic()),
        memory_bytes={"prefixes": lambda: prefixes.size_bytes}
        | ({"store": lambda: kept.size_bytes} if kept is not None else {}),
        memory_limit_bytes={"prefixes": config.prefixes.budget_bytes}
        | ({"store": config.store.memory_bytes} if kept is not None else {}),
        store_evictions=lambda: kept.evicted_total if kept is not None else 0,
        compression=compression,
        compressed_lines=lambda: compression.sockets.items(),  # noqa: PLW0108  # counted anew each time
    )
    return Observation(ledger, observed, config.telemetry)


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


def _narrow(target: msgspec.Struct, kind: type[_SettingsT]) -> _SettingsT:
    """The part of a target's settings that the lower room knows."""
    return kind(**{field: getattr(target, field) for field in kind.__struct_fields__})
