"""The server process: listens, serves, and drains on SIGTERM or SIGINT; its log says when no file descriptor is left."""

import asyncio
import contextlib
import errno
import gc
import math
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import cast

import msgspec
import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from landline.compression_budget import CompressionBudget
from landline.server.drain import Drain
from landline.server.http_protocol import HttpProtocol
from landline.server.line_protocol import LineProtocol
from landline.server.log_throttle import LogThrottle

EXIT_STARTUP_FAILED = 3
EXIT_FORCED = 130
_BACKLOG = 2048
_KEEP_ALIVE_S = 75
"""Idle HTTP connections are kept longer than clients and proxies keep theirs (60 s is usual), so that the client closes first."""
_OBJECTS_A_COLLECTION = 20_000
_CLEANUP_S = 5.0
"""After the grace: the time that aborted turns and closed sockets have to be gone."""

_log = structlog.get_logger(__name__)


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the process listens and leaves."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes any free one; `on_started` tells which."""
    drain_grace_s: float = 30.0
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 120.0
    """Long, because a client that runs a tool between two events may not read, so not answer, for a while."""
    max_message_bytes: int = 128 * 1024 * 1024
    """Inflated size of one WebSocket message; the same number as `Limits.max_frame_bytes`."""


OnStarted = Callable[[str, int], None]
"""Called once with the host and the bound port, when connections are accepted."""


def serve(server: "LineServer", parts: AbstractAsyncContextManager[object]) -> int:
    """Serves until SIGTERM or SIGINT and a drain; returns the exit code. A second signal ends it at once.

    `parts` is what the app needs while it serves: entered before, left after. Raises what entering `parts` raises, and
    OSError when the address cannot be bound.
    """
    _tune_garbage_collection()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve_until_signalled(server, parts))


def _tune_garbage_collection() -> None:
    """Makes the collector look less often and at less. What a turn makes is freed by counting references as soon as the turn
    is over; looking for cycles every 700 objects, as Python does by default, took an eighth of the time of many streams."""
    gc.freeze()
    gc.set_threshold(_OBJECTS_A_COLLECTION, *gc.get_threshold()[1:])


def bind(host: str, port: int) -> socket.socket:
    """Takes an address before anything that needs time is started; connections are refused until `serve` listens on it.

    Raises OSError when the address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


class LineServer:
    """uvicorn with Landline's protocols and drain, for use inside a running event loop."""

    def __init__(
        self,
        app: ASGIApp,
        drain: Drain,
        settings: ServeSettings,
        *,
        listener: socket.socket | None = None,
        compression: CompressionBudget | None = None,
        on_started: OnStarted | None = None,
    ) -> None:
        """`compression` bounds what all sockets' windows take; without it, they have the default budget. `listener` is
        what `bind` gave; without it, the address of the settings is bound when the server runs."""
        self._settings = settings
        self._listener = listener
        protocol = partial(LineProtocol, budget=compression or CompressionBudget())
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws=cast(type[LineProtocol], protocol),
            ws_max_size=settings.max_message_bytes,
            ws_ping_interval=settings.ping_interval_s,
            ws_ping_timeout=settings.ping_timeout_s,
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.drain_grace_s + _CLEANUP_S),
        )
        self._server = _Uvicorn(config, drain, settings.drain_grace_s, on_started)

    async def run(self) -> int:
        """Serves until `stop`; returns the exit code. Raises OSError when the address cannot be bound."""
        listener = self._listener or bind(self._settings.host, self._settings.port)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            listener.close()
        return 0 if self._server.started else EXIT_STARTUP_FAILED

    def stop(self) -> None:
        """Begins the drain."""
        self._server.should_exit = True


class _Uvicorn(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, drain: Drain, drain_grace_s: float, on_started: OnStarted | None
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_grace_s = drain_grace_s
        self._on_started = on_started
        self._descriptors = DescriptorWatch()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals alone: uvicorn would raise them again after the drain, and the exit code would not be 0."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            # uvicorn's answer to a lifespan that failed, which it has logged; here the exit code tells.
            self.should_exit = True
        if not self.started or not sockets:
            return
        host, port = sockets[0].getsockname()[:2]
        _log.info("server_started", host=host, port=port)
        if self._on_started is not None:
            self._on_started(host, port)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second while the server runs."""
        self._descriptors.look(len(self.server_state.connections))
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("drain_begun", grace_s=self._drain_grace_s, connections=len(self.server_state.connections))
        self._drain.begun.set()
        expiry = asyncio.get_running_loop().call_later(self._drain_grace_s, self._drain.expired.set)
        try:
            await super().shutdown(sockets)
            for wait_until_done in self._drain.work:
                await wait_until_done()
        finally:
            expiry.cancel()
        _log.info("server_stopped")


async def _serve_with(server: LineServer, parts: AbstractAsyncContextManager[object]) -> int:
    async with parts:
        return await server.run()


async def _serve_until_signalled(server: LineServer, parts: AbstractAsyncContextManager[object]) -> int:
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_serve_with(server, parts))
    is_stopping = False

    def receive_signal() -> None:
        nonlocal is_stopping
        if is_stopping:
            _log.warning("exit_forced")
            serving.cancel()
        else:
            is_stopping = True
            server.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive_signal)
    await asyncio.wait({serving})
    return EXIT_FORCED if serving.cancelled() else serving.result()


LOG_EVERY_S = 30.0
"""While it lasts, the log repeats it this often."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_ADVICE = (
    "New connections are closed unanswered, and upstreams and files cannot be opened, until descriptors are free again. "
    "Raise the limit (`ulimit -n`, `LimitNOFILE=` of a systemd unit, `--ulimit nofile=` of a container)."
)
_SYSTEM_ADVICE = (
    "The whole machine has none left: raise `fs.file-max`, or find the process that takes them. Until then new connections "
    "are closed unanswered."
)


class DescriptorWatch:
    """Call `look` a few times a second: it costs some microseconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._seldom = LogThrottle(LOG_EVERY_S, clock)
        self._is_said = False

    def look(self, connections: int) -> None:
        """Logs if none is left, and once when there are some again; `connections` is how many of them clients have."""
        error = _try_one()
        if error is None:
            if self._is_said:
                self._is_said = False
                _log.info("descriptors_available", connections=connections)
        elif self._seldom.ask() is not None:
            self._is_said = True
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            advice = _ADVICE if error == errno.EMFILE else _SYSTEM_ADVICE
            _log.error("descriptors_exhausted", limit=limit, connections=connections, advice=advice)


def _try_one() -> int | None:
    """Opens a file and closes it; the error's number if no descriptor is left for it."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno if error.errno in _EXHAUSTED else None
    return None
