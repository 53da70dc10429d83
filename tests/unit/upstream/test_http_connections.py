"""Connections to an upstream: kept for the next turn, and replaced where nothing can have been read."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import aclosing

import pytest
import uvloop
from aiohttp import web

from landline.upstream import HttpTarget
from landline.upstream.http_reply import LARGE_BODY_BYTES
from landline.wire.model_events import Accepted, Finished
from support.turns.http_target import DONE, STOP, TEXT, WAIT_S, answering, collect, error_in, prompt, serve, target_at
from support.turns.reply import stream_of


async def _ask_until_finished(target: HttpTarget) -> None:
    """As the runner does: stops at the ending and closes."""
    async with aclosing(stream_of(target, prompt())) as batches:
        async for batch in batches:
            if isinstance(batch[-1], Finished):
                return


async def test_connections_are_kept_for_the_next_turn() -> None:
    peers: list[object] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        peers.append(request.transport and request.transport.get_extra_info("peername"))
        return web.Response(body=TEXT + STOP + DONE)

    async with serve(answer) as base_url, target_at(base_url) as target:
        for _ in range(3):
            await _ask_until_finished(target)
    assert len(peers) == 3
    assert len(set(peers)) == 1


async def test_no_turn_carries_a_cookie_that_another_was_given() -> None:
    came: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        came.append(request.headers.get("Cookie"))
        return web.Response(body=TEXT + STOP + DONE, headers={"Set-Cookie": "route=1; Path=/"})

    async with serve(answer) as base_url, target_at(base_url.replace("127.0.0.1", "localhost")) as target:
        for _ in range(2):
            await collect(target)
    assert came == [None, None]


async def test_a_connection_whose_body_ends_after_the_answer_is_kept_too() -> None:
    ports: list[int] = []
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        response = await answering(TEXT, STOP, DONE)(request)
        await asyncio.wait_for(left.wait(), WAIT_S)
        return response

    async with serve(answer) as base_url, target_at(base_url) as target:
        await _ask_until_finished(target)
        left.set()
        for _ in range(5):
            await _ask_until_finished(target)
    assert ports[0] in ports[1:]


class KeptConnections:
    """A server on blocking sockets, so that a test decides what it does before the client's event loop sees any of it."""

    def __init__(self) -> None:
        self.read_bytes = 0
        """Of requests that were not answered."""
        self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> "KeptConnections":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def answer(self) -> socket.socket:
        """Answers the first request of the next connection."""
        connection, _ = self._listener.accept()
        connection.settimeout(WAIT_S)
        self._read(connection)
        body = STOP + DONE
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.answered += 1
        return connection

    def break_off(self, connection: socket.socket) -> None:
        """Reads a request and closes instead of answering it."""
        self.read_bytes += self._read(connection)
        connection.close()

    def reset(self, connection: socket.socket) -> None:
        """The same, but the client is told of it by a reset."""
        self.read_bytes += self._read(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def _read(self, connection: socket.socket) -> int:
        """Reads a request; its bytes."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        missing = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        while missing > 0:
            missing -= len(connection.recv(65536))
        return len(data)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("size_bytes", [2, 4 * LARGE_BODY_BYTES])
def test_a_connection_that_was_closed_before_the_request_is_replaced_without_a_word(
    size_bytes: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def ask_twice() -> None:
        with KeptConnections() as server:
            async with target_at(server.base_url) as target:
                first = asyncio.create_task(collect(target))
                kept = await asyncio.to_thread(server.answer)
                assert await first == [Accepted(), Finished()]
                second = asyncio.create_task(collect(target, prompt("x" * size_bytes)))
                kept.close()  # the event loop does not see it before the request is written
                (await asyncio.to_thread(server.answer)).close()
                assert await second == [Accepted(), Finished()]
        assert server.answered == 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("size_bytes", [2, 4 * LARGE_BODY_BYTES])
@pytest.mark.parametrize("end", [KeptConnections.break_off, KeptConnections.reset])
def test_a_request_that_may_have_been_read_is_not_sent_again(
    end: Callable[[KeptConnections, socket.socket], None],
    size_bytes: int,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask_twice() -> None:
        with KeptConnections() as server:
            async with target_at(server.base_url) as target:
                first = asyncio.create_task(collect(target))
                kept = await asyncio.to_thread(server.answer)
                assert await first == [Accepted(), Finished()]
                second = asyncio.create_task(collect(target, prompt("x" * size_bytes)))
                await asyncio.to_thread(end, server, kept)
                events = await second
        assert len(events) == 1
        assert error_in(events).code == "upstream_unavailable"
        assert "closed the connection before it answered" in error_in(events).message
        assert (server.answered, server.read_bytes > 0) == (1, True)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


async def test_a_new_connection_that_closes_is_not_tried_again() -> None:
    connections = 0

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, target_at(f"http://127.0.0.1:{port}/v1") as target:
        events = await collect(target)
    assert len(events) == 1
    assert error_in(events).code == "upstream_unavailable"
    assert connections == 1
