"""LineSocket: each frame to its turn, silence noticed, a slow turn waited for."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from websockets.http11 import Request
from websockets.server import ServerProtocol

from landline.compression_budget import CompressionBudget, deflater_bytes, inflater_bytes
from landline.upstream import line_socket
from landline.upstream.line_socket import (
    FIRST_FRAMES,
    MOST_FRAMES,
    UPSTREAM_OFFER,
    LineSocket,
    open_line_socket,
    open_socket_session,
)
from support.compression_budgets import short_of_memory

WAIT_S = 10
Handler = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def socket_to(
    handler: Handler,
    *,
    has_lanes: bool = False,
    ping_s: float = 60.0,
    autoping: bool = True,
    compress: bool = True,
    budget: CompressionBudget | None = None,
) -> AsyncGenerator[tuple[LineSocket, asyncio.Event]]:
    """An open socket to a server that runs the handler, and what is set when the socket is closed or lost."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0, autoping=autoping, compress=compress)
        await socket.prepare(request)
        await handler(socket)
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestServer(app, host="127.0.0.1") as server, open_socket_session() as session:
        closed = asyncio.Event()
        socket = await open_line_socket(
            session,
            str(server.make_url("/")),
            {},
            has_lanes=has_lanes,
            connect_s=WAIT_S,
            ping_s=ping_s,
            on_closed=closed.set,
            budget=budget or CompressionBudget(),
        )
        try:
            yield socket, closed
        finally:
            await socket.close()


def saying(*frames: dict[str, Any]) -> Handler:
    """Sends these when the first frame has come, then waits for the close."""

    async def say(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for frame in frames:
            await socket.send_str(json.dumps(frame))
        async for _ in socket:
            pass

    return say


async def texts(frames: line_socket.LaneFrames, count: int) -> list[Any]:
    received: list[bytes] = []
    while len(received) < count:
        received += await frames.next(WAIT_S) or []
    return [json.loads(frame) for frame in received]


async def test_frames_go_to_the_turn_of_their_lane() -> None:
    told = [{"stream_id": name, "n": number} for number, name in enumerate("abba")]
    async with socket_to(saying(*told), has_lanes=True) as (socket, _):
        left, right = socket.join("a"), socket.join("b")
        await socket.send(b"{}")
        assert [each["n"] for each in await texts(left, 2)] == [0, 3]
        assert [each["n"] for each in await texts(right, 2)] == [1, 2]


async def test_frames_of_one_read_come_as_one_batch() -> None:
    frames = [{"n": number} for number in range(50)]

    async def say(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for frame in frames:
            await socket.send_str(json.dumps(frame))
        await socket.send_str("last")
        async for _ in socket:
            pass

    async with socket_to(say) as (socket, _):
        turn = socket.join(None)
        await socket.send(b"{}")
        batches: list[list[bytes]] = []
        while not batches or batches[-1][-1] != b"last":
            batches.append(await turn.next(WAIT_S) or [])
    assert len(batches) < 25


async def test_an_answer_that_came_whole_is_taken_in_pieces_the_first_a_small_one() -> None:
    count = 2 * MOST_FRAMES
    async with socket_to(saying(*[{"n": number} for number in range(count)])) as (socket, _):
        turn = socket.join(None)
        await socket.send(b"{}")
        size_bytes = sum(len(json.dumps({"n": number})) for number in range(count))
        while turn.size_bytes < size_bytes:  # noqa: ASYNC110 - it tells nobody that all have come
            await asyncio.sleep(0.001)
        sizes: list[int] = []
        while turn.has_more:
            sizes.append(len(await turn.next(WAIT_S) or []))
    assert sizes == [FIRST_FRAMES, MOST_FRAMES, MOST_FRAMES - FIRST_FRAMES]
    assert turn.size_bytes == 0


async def test_an_error_without_a_lane_is_for_the_turn_that_waits_longest() -> None:
    told = [{"stream_id": "a", "n": 0}, {"type": "error"}, {"type": "error"}]
    async with socket_to(saying(*told), has_lanes=True) as (socket, _):
        first, second, third = (socket.join(name) for name in "abc")
        await socket.send(b"{}")
        assert [each.get("n") for each in await texts(first, 1)] == [0]
        assert [each["type"] for each in await texts(second, 1)] == ["error"]
        assert [each["type"] for each in await texts(third, 1)] == ["error"]


async def test_a_drained_lane_is_free_after_its_terminal_event() -> None:
    told = [
        {"stream_id": "a", "type": "response.output_text.delta"},
        {"stream_id": "a", "type": "response.completed"},
        {"stream_id": "a", "type": "response.created"},
    ]
    async with socket_to(saying(*told), has_lanes=True) as (socket, _):
        socket.join("a")
        drained = asyncio.Event()
        joined: list[line_socket.LaneFrames] = []

        def on_drained() -> None:
            joined.append(socket.join("a"))
            drained.set()

        socket.drain("a", on_drained)
        await socket.send(b"{}")
        await asyncio.wait_for(drained.wait(), WAIT_S)
        assert [each["type"] for each in await texts(joined[0], 1)] == ["response.created"]


async def test_what_nobody_waits_for_is_thrown_away() -> None:
    told = [{"stream_id": "x", "n": 1}, {"n": 2}, {"stream_id": "b", "n": 3}, {"n": 4}, {"stream_id": "b", "n": 5}]
    async with socket_to(saying(*told), has_lanes=True) as (socket, _):
        turn = socket.join("b")
        await socket.send(b"{}")
        assert [each["n"] for each in await texts(turn, 3)] == [2, 3, 5]


async def test_a_close_is_told_with_its_code_and_reason() -> None:
    async def leave(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=1009, message=b"too large")

    async with socket_to(leave) as (socket, closed):
        turn = socket.join(None)
        await socket.send(b"{}")
        assert await turn.next(WAIT_S) is None
        await asyncio.wait_for(closed.wait(), WAIT_S)
        assert socket.close_code == 1009
        assert socket.close_reason == "closed with code 1009 (too large)"
        with pytest.raises((aiohttp.ClientError, OSError)):
            await socket.send(b"{}")


async def test_a_turn_that_is_sent_nothing_times_out() -> None:
    async with socket_to(saying()) as (socket, _):
        with pytest.raises(TimeoutError):
            await socket.join(None).next(0.01)


async def test_a_slow_turn_stops_the_reading_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_socket, "MAX_BUFFERED_BYTES", 10_000)
    told = [{"n": number, "pad": "x" * 1000} for number in range(300)]
    async with socket_to(saying(*told)) as (socket, _):
        turn = socket.join(None)
        await socket.send(b"{}")
        received: list[Any] = []
        largest = 0
        while len(received) < len(told):
            await asyncio.sleep(0)
            largest = max(largest, turn.size_bytes)
            received += [json.loads(frame) for frame in await turn.next(WAIT_S) or []]
    assert [each["n"] for each in received] == list(range(300))
    assert largest < 12_000


async def test_a_socket_that_waits_for_a_slow_turn_is_not_taken_for_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_socket, "MAX_BUFFERED_BYTES", 0)
    async with socket_to(saying({"n": 1}, {"n": 2}), ping_s=0.01) as (socket, closed):
        turn = socket.join(None)
        await socket.send(b"{}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(closed.wait(), 0.1)
        assert [each["n"] for each in await texts(turn, 2)] == [1, 2]


async def test_a_turn_that_is_left_while_it_is_waited_for_lets_the_reading_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_socket, "MAX_BUFFERED_BYTES", 0)
    async with socket_to(saying({"stream_id": "a"}, {"stream_id": "b"}), has_lanes=True) as (socket, _):
        slow, other = socket.join("a"), socket.join("b")
        await socket.send(b"{}")
        waiting = asyncio.create_task(texts(other, 1))
        assert not (await asyncio.wait({waiting}, timeout=0.05))[0], "the slow turn's frame is in the way"
        assert slow.has_begun
        socket.leave("a")
        assert await waiting == [{"stream_id": "b"}]


class MuteServer(asyncio.Protocol):
    """Takes the upgrade and answers nothing after it, not even a ping."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.protocol = ServerProtocol()

    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.protocol.send_response(self.protocol.accept(event))
                for each in self.protocol.data_to_send():
                    self.transport.write(each)


async def test_a_socket_that_answers_no_ping_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_socket, "CLOSE_TIMEOUT_S", 0.05)
    server = await asyncio.get_running_loop().create_server(MuteServer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    closed = asyncio.Event()
    async with server, open_socket_session() as session:
        socket = await open_line_socket(
            session,
            url,
            {},
            has_lanes=False,
            connect_s=WAIT_S,
            ping_s=0.02,
            on_closed=closed.set,
            budget=CompressionBudget(),
        )
        turn = socket.join(None)
        assert await turn.next(WAIT_S) is None
        await asyncio.wait_for(closed.wait(), WAIT_S)
        await socket.close()
    assert socket.close_reason is not None
    assert "ping" in socket.close_reason


async def test_a_silent_socket_that_answers_pings_is_kept() -> None:
    pings = asyncio.Semaphore(0)

    async def answer(socket: web.WebSocketResponse) -> None:
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
                pings.release()

    async with socket_to(answer, ping_s=0.02, autoping=False) as (socket, closed):
        for _ in range(4):
            await asyncio.wait_for(pings.acquire(), WAIT_S)
        assert socket.close_reason is None
        assert not closed.is_set()


async def test_a_server_that_never_answers_the_upgrade_is_given_up() -> None:
    budget = CompressionBudget()
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, open_socket_session() as session:
        with pytest.raises(TimeoutError):
            await open_line_socket(
                session,
                url,
                {},
                has_lanes=False,
                connect_s=0.05,
                ping_s=60,
                on_closed=lambda: None,
                budget=budget,
            )
    assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        await socket.send_str(message.data)


async def echoed(socket: LineSocket, count: int, frame_bytes: int = 10_000) -> int:
    """Sends frames that repeat each other and reads them back; the bytes on the wire from the second one on."""
    digits = random.Random(1).randbytes(frame_bytes // 2).hex()
    frames = socket.join(None)
    sizes: list[int] = []
    for number in range(count):
        sent = {"number": number, "tools": digits}
        sizes.append(await socket.send(json.dumps(sent).encode()))
        (heard,) = await texts(frames, 1)
        assert heard == sent
    socket.leave(None)
    return sum(sizes[1:])


async def test_the_memory_of_compression_is_counted_until_the_socket_is_closed() -> None:
    budget = CompressionBudget()
    async with socket_to(echo, budget=budget) as (socket, _):
        assert budget.used_bytes == inflater_bytes(15) + deflater_bytes(15, 5)
        assert budget.sockets["upstream", "15_bits"] == 1
        await echoed(socket, 3)
    assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)


async def test_the_memory_of_a_socket_that_its_upstream_closes_is_given_back() -> None:
    async def hang_up(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    budget = CompressionBudget()
    async with socket_to(hang_up, budget=budget) as (socket, closed):
        await socket.send(b"{}")
        await asyncio.wait_for(closed.wait(), WAIT_S)
        assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)
    assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)


async def test_nothing_is_counted_where_the_upstream_does_not_compress() -> None:
    budget = CompressionBudget()
    async with socket_to(echo, compress=False, budget=budget) as (socket, _):
        assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)
        await echoed(socket, 2)
    assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)


@pytest.mark.parametrize(
    ("frame_bytes", "finds_the_frame_before"), [(10_000, ["15_bits"]), (3_000, ["15_bits", "12_bits"])]
)
async def test_sockets_beyond_the_budget_get_narrower_windows_and_in_the_end_none(
    frame_bytes: int, finds_the_frame_before: list[str]
) -> None:
    sizes: dict[str, int] = {}
    for step in ("15_bits", "12_bits", "10_bits", "none"):
        budget = short_of_memory(step, UPSTREAM_OFFER)
        before = budget.sockets["upstream", step]
        async with socket_to(echo, budget=budget) as (socket, _):
            assert budget.sockets["upstream", step] == before + 1
            sizes[step] = await echoed(socket, 4, frame_bytes)
        assert budget.sockets["upstream", step] == before
    assert [step for step, size in sizes.items() if size < 0.2 * sizes["none"]] == finds_the_frame_before
    assert all(size < 0.8 * sizes["none"] for step, size in sizes.items() if step != "none")
