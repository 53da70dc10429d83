"""A real server over a fake runner, inside the test's event loop."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from landline.compression_budget import CompressionBudget
from landline.monitor.feed import Feed
from landline.server.access import Access
from landline.server.asgi import create_asgi
from landline.server.drain import Drain
from landline.server.edge import Edge, ModelInfo
from landline.server.ids import new_id
from landline.server.lifecycle import LineServer, ServeSettings
from landline.session.composer import Composer
from landline.session.limits import Limits
from landline.session.turn import Turn, TurnProgressed, TurnUpdate
from landline.stores.events import EventLog
from landline.stores.memory import MemoryStore
from landline.turns.background import BackgroundSettings, BackgroundTurns
from landline.wire.errors import ApiError
from landline.wire.events import SteerAnswer
from landline.wire.item_memo import ItemMemo
from landline.wire.model_events import Finished, ModelEvent, TextDelta, UsageReported
from support.turns.scripted import Script, ScriptRunner


class FakeRunner(ScriptRunner):
    """Keeps what was asked of turns beside what became of them."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.given_up: list[tuple[str, ApiError]] = []
        self.on_stop: Callable[[], object] = lambda: None
        self.steer_answers: list[tuple[str, SteerAnswer]] = []
        self.on_steer: Callable[[], object] = lambda: None
        self.was_stopped = asyncio.Event()
        self.ended = asyncio.Event()
        """Set whenever a turn's script was closed, by its end or by an abort."""

    def note_stopped(self, response_id: str) -> None:
        super().note_stopped(response_id)
        self.was_stopped.set()
        self.on_stop()

    def note_given_up(self, response_id: str, error: ApiError) -> bool:
        self.given_up.append((response_id, error))
        return True

    def note_steered(self, response_id: str, answer: SteerAnswer) -> None:
        self.steer_answers.append((response_id, answer))
        self.on_steer()

    def note_ended(self) -> None:
        self.ended.set()

    async def all_closed(self) -> None:
        """Returns once no turn's script is open."""
        while self.open_count:
            self.ended.clear()
            await self.ended.wait()


class RunningEdge(msgspec.Struct):
    """A server that listens."""

    host: str
    port: int
    runner: FakeRunner
    drain: Drain
    server: LineServer
    serving: asyncio.Task[int]

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://{self.host}:{self.port}/v1/responses"


@asynccontextmanager
async def running_edge(  # noqa: PLR0913 - what tests vary
    script: Script,
    *,
    limits: Limits | None = None,
    models: Sequence[str] = ("demo",),
    troubles: list[str] | None = None,
    is_socket_enabled: bool = True,
    monitor: Feed | None = None,
    http_compression: CompressionBudget | None = None,
    clock: Callable[[], float] = time.time,
    sse_silence_s: float = 25.0,
    access: Access | None = None,
    **settings: Any,
) -> AsyncGenerator[RunningEdge]:
    """Serves the script on a free loopback port; stops with no grace unless `drain_grace_s` says otherwise."""
    limits = limits or Limits()
    drain = Drain()
    drain.abort_s = 0.05
    runner = FakeRunner(script)
    edge = Edge(
        runner=runner,
        background=BackgroundTurns(EventLog(), BackgroundSettings()),
        store=MemoryStore(),
        list_models=lambda: [ModelInfo(id=name, created=1_700_000_000, owned_by="landline") for name in models],
        list_troubles=lambda: troubles or [],
        item_memo=ItemMemo(2**20),
        limits=limits,
        drain=drain,
        new_id=new_id,
        clock=clock,
        is_socket_enabled=is_socket_enabled,
        monitor=monitor,
        http_compression=http_compression,
        sse_silence_s=sse_silence_s,
        access=access or Access(),
    )
    started: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    fields: dict[str, Any] = {"port": 0, "drain_grace_s": 0.0, **settings}
    serve_settings = ServeSettings(max_message_bytes=limits.max_frame_bytes, **fields)
    server = LineServer(
        create_asgi(edge), edge.drain, serve_settings, on_started=lambda *bound: started.set_result(bound)
    )
    serving = asyncio.create_task(server.run())
    try:
        host, port = await started
        yield RunningEdge(host, port, runner, edge.drain, server, serving)
    finally:
        server.stop()
        await serving


def composed(turn: Turn) -> Composer:
    return Composer(turn, model=turn.request.model or "demo", new_id=new_id)


def answering(*batches: Sequence[ModelEvent]) -> Script:
    """A script that says these model events, one update a batch, and then ends well."""

    async def script(turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        for batch in batches:
            events = composer.feed(batch)
            if events:
                yield TurnProgressed(events)
        if not composer.is_over:
            composer.feed([UsageReported(input_tokens=3, output_tokens=2), Finished()])
        yield composer.close(time.time())

    return script


def saying(*texts: str) -> Script:
    """A script that answers with a message, one delta a text."""
    return answering(*([TextDelta(text)] for text in texts))


def create(text: str = "hi", **fields: object) -> dict[str, object]:
    """A create body."""
    return {"model": "demo", "input": text, **fields}


def create_frame(text: str = "hi", **fields: object) -> str:
    """A `response.create` message."""
    return msgspec.json.encode({"type": "response.create", **create(text, **fields)}).decode()


async def read_until_closed(
    line: ClientConnection, frames: list[dict[str, Any]] | None = None
) -> tuple[list[str], int | None]:
    """The types of all events that still come, and the close code (1006 for a cut); the events are added to `frames`."""
    frames = [] if frames is None else frames
    with suppress(ConnectionClosed):
        while True:
            frames.append(json.loads(await asyncio.wait_for(line.recv(), 10)))
    return [frame["type"] for frame in frames], line.close_code
