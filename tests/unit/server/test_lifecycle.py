"""Running out of descriptors is logged while it lasts, but not in every tick, and so is its end."""

import asyncio
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from landline.server.drain import Drain
from landline.server.lifecycle import (
    EXIT_FORCED,
    EXIT_STARTUP_FAILED,
    LOG_EVERY_S,
    DescriptorWatch,
    LineServer,
    ServeSettings,
)
from landline.session.turn import Turn, TurnProgressed
from landline.wire.model_events import Finished, TextDelta
from support.servers.edge import composed, create, create_frame, read_until_closed, running_edge, saying

DEADLINE_S = 10


class Gate:
    """A script whose turns wait at a gate after their response was created."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()

    async def script(self, turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        await self.is_open.wait()
        composer.feed([TextDelta("done"), Finished()])
        yield composer.close(time.time())


async def test_an_idle_socket_is_told_to_go_elsewhere():
    async with running_edge(saying("hi"), drain_grace_s=30.0) as edge, connect(edge.socket_url) as line:
        edge.server.stop()
        assert await read_until_closed(line) == ([], 1001)
        assert await asyncio.wait_for(edge.serving, DEADLINE_S) == 0


async def test_a_turn_in_flight_ends_before_its_socket_is_closed():
    gate = Gate()
    async with running_edge(gate.script, drain_grace_s=30.0) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        await line.recv()
        edge.drain.begun.subscribe(gate.is_open.set)
        edge.server.stop()
        types, code = await read_until_closed(line)
        assert await asyncio.wait_for(edge.serving, DEADLINE_S) == 0
    assert (types[-1], code) == ("response.completed", 1001)


async def test_a_draining_server_starts_nothing_new():
    gate = Gate()
    async with running_edge(gate.script, drain_grace_s=30.0) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        await line.recv()
        begun = asyncio.Event()
        edge.drain.begun.subscribe(begun.set)
        edge.server.stop()
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        await line.send(create_frame(stream_id="other"))
        await asyncio.wait_for(await line.ping(), DEADLINE_S)
        gate.is_open.set()
        types, code = await read_until_closed(line)
        assert len(edge.runner.started) == 1
    assert (types.count("error"), types.count("response.completed"), code) == (1, 1, 1001)


async def test_what_outlives_the_grace_is_aborted():
    async with running_edge(Gate().script, drain_grace_s=0.05) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        await line.recv()
        edge.server.stop()
        types, code = await read_until_closed(line)
        assert await asyncio.wait_for(edge.serving, DEADLINE_S) == 0
        assert edge.runner.open_count == 0
        assert [error.code for _, error in edge.runner.given_up] == ["server_shutting_down"]
    assert (types[-1], code) == ("response.in_progress", 1001)


async def test_an_http_answer_in_flight_ends_first():
    gate = Gate()
    async with running_edge(gate.script, drain_grace_s=30.0) as edge, aiohttp.ClientSession() as http:
        async with http.post(f"{edge.http_url}/v1/responses", json=create(stream=True)) as answer:
            await answer.content.readline()
            edge.drain.begun.subscribe(gate.is_open.set)
            edge.server.stop()
            assert (await answer.read()).endswith(b"data: [DONE]\n\n")
        assert await asyncio.wait_for(edge.serving, DEADLINE_S) == 0


async def test_an_http_answer_that_outlives_the_grace_is_cut():
    async with running_edge(Gate().script, drain_grace_s=0.05) as edge, aiohttp.ClientSession() as http:
        async with http.post(f"{edge.http_url}/v1/responses", json=create(stream=True)) as answer:
            await answer.content.readline()
            edge.server.stop()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert await asyncio.wait_for(edge.serving, DEADLINE_S) == 0
        assert edge.runner.open_count == 0


async def test_a_draining_server_accepts_no_connection():
    gate = Gate()
    async with running_edge(gate.script, drain_grace_s=30.0) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        await line.recv()
        begun = asyncio.Event()
        edge.drain.begun.subscribe(begun.set)
        edge.server.stop()
        await asyncio.wait_for(begun.wait(), DEADLINE_S)
        await asyncio.wait_for(await line.ping(), DEADLINE_S)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(edge.host, edge.port)
        gate.is_open.set()


async def test_a_taken_port_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LineServer(_no_app, Drain(), ServeSettings(port=taken.getsockname()[1]))
        with pytest.raises(OSError, match=r"in use"):
            await server.run()


async def test_a_lifespan_that_fails_is_a_failed_start():
    server = LineServer(_no_app, Drain(), ServeSettings(port=0))
    assert await server.run() == EXIT_STARTUP_FAILED


async def _no_app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})


PROCESS = """
import asyncio, sys
from contextlib import nullcontext
from landline.server.drain import Drain
from landline.server.lifecycle import LineServer, ServeSettings, serve

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("cleaned up", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("request", flush=True)
    await asyncio.Event().wait()

started = lambda host, port: print(f"port {port}", flush=True)
sys.exit(serve(LineServer(app, Drain(), ServeSettings(port=0), on_started=started), nullcontext()))
"""


async def start_process() -> tuple[asyncio.subprocess.Process, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    while not (line := await read_line(process)).startswith(b"port"):
        pass
    return process, int(line.split()[1])


async def read_line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 2 * DEADLINE_S)
    assert line
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process_and_it_exits_with_0(number: signal.Signals):
    process, _ = await start_process()
    process.send_signal(number)
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0
    assert b"cleaned up" in output


async def test_a_second_signal_ends_the_process_at_once():
    process, port = await start_process()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await read_line(process) == b"request\n"
    process.send_signal(signal.SIGTERM)
    while b"drain_begun" not in await read_line(process):
        pass
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), DEADLINE_S)
    writer.close()
    assert process.returncode == EXIT_FORCED


@pytest.fixture
def limit() -> Iterator[int]:
    """A limit that is near what the test's process has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = max(int(name) for name in os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, before[1]))
    yield low
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def take_all() -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


def give_back(taken: list[int]) -> None:
    while taken:
        os.close(taken.pop())


def test_exhaustion_and_its_end_are_said_once_in_a_while(limit: int) -> None:
    now = 0.0
    watch = DescriptorWatch(lambda: now)
    with capture_logs() as logs:
        watch.look(3)
        assert logs == []
        taken = take_all()
        watch.look(3)
        watch.look(4)
        now = LOG_EVERY_S
        watch.look(5)
        give_back(taken)
        watch.look(2)
        watch.look(2)
    assert [each["event"] for each in logs] == [*["descriptors_exhausted"] * 2, "descriptors_available"]
    assert (logs[0]["limit"], logs[0]["connections"], logs[1]["connections"]) == (limit, 3, 5)
    assert "ulimit -n" in logs[0]["advice"]


def test_exhaustion_that_comes_and_goes_does_not_fill_the_log(limit: int) -> None:
    watch = DescriptorWatch(lambda: 0.0)
    with capture_logs() as logs:
        for _ in range(5):
            taken = take_all()
            watch.look(1)
            give_back(taken)
            watch.look(1)
    assert [each["event"] for each in logs] == ["descriptors_exhausted", "descriptors_available"]
