"""Uploads are timed as they arrive, and claims rest on what was measured on the connection."""

import asyncio
import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from landline.ledger import Entry
from landline.server import upload_meter
from landline.server.upload_meter import RTT_KEPT_S, UploadMeter, read_round_trip
from landline.session.create_bytes import TurnBytes
from landline.session.turn import CreateBytes
from support.servers.state import DEADLINE_S, StateServer, state_server

RTT_S = 0.05
BODY = 100_000
"""Of the throttled sender."""
STEP_BYTES, STEP_S = 4_000, 0.004


class FakeClock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class FakeTransport(asyncio.Transport):
    """A TCP connection of this round trip, as the kernel tells it."""

    def __init__(self, rtt_s: float = RTT_S) -> None:
        super().__init__()
        self.rtt_s = rtt_s
        self.asked = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        self.asked += 1
        info = bytearray(size)
        struct.pack_into("=I", info, 84, 1460)
        struct.pack_into("=I", info, 148, round(self.rtt_s * 1e6))
        return bytes(info)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(upload_meter, "time", fake)
    return fake


def turn(stateless: int, payload: int = 30_000) -> TurnBytes:
    return TurnBytes(CreateBytes(payload=payload), stateless=stateless)


def receive(meter: UploadMeter, clock: FakeClock, size_bytes: int, rate: float, *, step_bytes: int = 1_460) -> None:
    """A body at this rate, as a link delivers it."""
    left = size_bytes
    while left:
        step = min(step_bytes, left)
        left -= step
        meter.note_read(step, is_partial=left > 0)
        clock.now += step / rate


def test_a_body_at_the_rate_of_a_link_measures_it(clock: FakeClock) -> None:
    meter = UploadMeter(FakeTransport(0.001))
    receive(meter, clock, 300_000, 125_000)
    assert meter.claim_s(turn(1_000_000), 30_000, 30_000) == pytest.approx((1_000_000 - 30_000) / 125_000, rel=0.02)


def test_round_trips_count_before_any_body_was_timed() -> None:
    meter = UploadMeter(FakeTransport())
    assert meter.claim_s(turn(100_000), 30_000, 30_000) == pytest.approx(RTT_S)


def test_a_small_body_is_no_sample(clock: FakeClock) -> None:
    meter = UploadMeter(FakeTransport())
    receive(meter, clock, 15_000, 1_000)
    assert meter.claim_s(turn(100_000), 30_000, 30_000) == pytest.approx(RTT_S)


def test_a_smaller_body_is_believed_only_where_it_contradicts(clock: FakeClock) -> None:
    """A small one that round trips alone explain says nothing of the rate; one that came faster shows a better path."""
    meter = UploadMeter(FakeTransport(0.05))
    receive(meter, clock, 300_000, 125_000)
    before = meter.claim_s(turn(1_000_000), 30_000, 30_000)
    receive(meter, clock, 50_000, 125_000)
    assert meter.claim_s(turn(1_000_000), 30_000, 30_000) == before
    receive(meter, clock, 200_000, 1_250_000)
    after = meter.claim_s(turn(1_000_000), 30_000, 30_000)
    assert before is not None
    assert after is not None
    assert after < before / 5


def test_nothing_is_said_of_a_connection_that_the_kernel_does_not_know(clock: FakeClock) -> None:
    assert UploadMeter().claim_s(turn(100_000), 30_000, 30_000) is None
    unknown = UploadMeter(FakeTransport(rtt_s=0))
    receive(unknown, clock, 300_000, 125_000)
    assert unknown.claim_s(turn(100_000), 30_000, 30_000) is None


def test_what_was_uploaded_too_much_is_taken_off_the_next_claims(clock: FakeClock) -> None:
    """A warm-up sends what a client without a session does not send."""
    meter, other = UploadMeter(FakeTransport(0.001)), UploadMeter(FakeTransport(0.001))
    for each in (meter, other):
        receive(each, clock, 300_000, 125_000)
    assert meter.claim_s(turn(0), 30_000, 30_000) == 0.0
    assert meter.claim_s(turn(40_000, payload=25_000), 25_000, 25_000) == 0.0
    claimed_s, undiminished_s = (each.claim_s(turn(200_000, payload=1_000), 1_000, 1_000) for each in (meter, other))
    assert claimed_s is not None
    assert undiminished_s is not None
    assert undiminished_s - claimed_s == pytest.approx(15_000 / 125_000, rel=0.02)


def test_a_client_that_compresses_is_compared_with_one_that_compresses_bodies(clock: FakeClock) -> None:
    compressing, plain = UploadMeter(FakeTransport(0.001)), UploadMeter(FakeTransport(0.001))
    for each in (compressing, plain):
        receive(each, clock, 300_000, 125_000)
    assert compressing.claim_s(turn(1_000_000, payload=2_000), 400, 400) is None, (
        "too small to show how a body compresses"
    )
    assert compressing.claim_s(turn(30_000), 9_000, 9_000) == 0.0
    assert compressing.claim_s(turn(1_000_000), 1_000, 1_000) == pytest.approx(
        plain.claim_s(turn(300_000), 30_000, 1_000)
    )


def test_the_kernel_is_asked_now_and_then(clock: FakeClock) -> None:
    transport = FakeTransport()
    meter = UploadMeter(transport)
    for _ in range(5):
        meter.claim_s(turn(100_000), 30_000, 30_000)
    assert transport.asked == 1
    clock.now += RTT_KEPT_S + 1
    meter.claim_s(turn(100_000), 30_000, 30_000)
    assert transport.asked == 2
    meter.close()
    clock.now += RTT_KEPT_S + 1
    assert meter.claim_s(turn(100_000), 30_000, 30_000) == pytest.approx(RTT_S)
    assert transport.asked == 2


@given(turns=st.lists(st.tuples(st.integers(0, 10**6), st.integers(16_384, 10**6), st.integers(1, 10**6)), max_size=8))
def test_claims_together_are_never_more_than_for_all_bytes_at_once(turns: list[tuple[int, int, int]]) -> None:
    """Whatever the order of turns that save and of those that cost. Round trips of 1 µs do not count."""
    with pytest.MonkeyPatch.context() as patching:
        clock = FakeClock()
        patching.setattr(upload_meter, "time", clock)
        meter = UploadMeter(FakeTransport(1e-6))
        receive(meter, clock, 300_000, 125_000)
        sizes = [(stateless, payload, max(payload, uploaded)) for stateless, payload, uploaded in turns]
        claims = [meter.claim_s(turn(stateless, payload), payload, uploaded) for stateless, payload, uploaded in sizes]
    claimed_s = sum(claim or 0.0 for claim in claims)
    assert all(claim is not None and claim >= 0.0 for claim in claims)
    running = itertools.accumulate((stateless - uploaded for stateless, _, uploaded in sizes), initial=0)
    assert claimed_s <= max(running) / 125_000 + 1e-3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the round trip")
async def test_the_kernel_tells_the_round_trip_of_a_connection() -> None:
    opened = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: opened.set_result(writer.transport), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        known = read_round_trip(await opened)
        writer.close()
    assert known is not None
    rtt_s, first_window = known
    assert 0 < rtt_s < 5
    assert first_window >= 14_600


def test_a_connection_that_is_no_tcp_has_no_round_trip() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:

        class Local(asyncio.Transport):
            def get_extra_info(self, name: str, default: Any = None) -> Any:
                return ours

        assert read_round_trip(Local()) is None


@asynccontextmanager
async def entries_of(server: StateServer) -> AsyncGenerator[Callable[[], Awaitable[Entry]]]:
    """The next entry of the server's ledger, as they come."""
    entries: asyncio.Queue[Entry] = asyncio.Queue()
    stop = server.edge.ledger.watch(entries.put_nowait)
    yield lambda: asyncio.wait_for(entries.get(), DEADLINE_S)
    stop()


def port_of(server: StateServer) -> int:
    port = urlsplit(server.url).port
    assert port is not None
    return port


async def send_slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(0, len(data), STEP_BYTES):
        writer.write(data[at : at + STEP_BYTES])
        await writer.drain()
        await asyncio.sleep(STEP_S)


class SlowSocket:
    """A WebSocket client that sends no faster than `STEP_BYTES` every `STEP_S`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._client = ClientProtocol(parse_uri(f"ws://127.0.0.1:{port}/v1/responses"))

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._client.send_request(self._client.connect())
        self._writer.write(b"".join(self._client.data_to_send()))
        while self._client.state is not OPEN:
            self._client.receive_data(await self._reader.read(65_536))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        self._writer.close()

    async def send(self, **members: Any) -> None:
        frame = {"type": "response.create", "model": "m"} | members
        self._client.send_text(json.dumps(frame).encode())
        await send_slowly(self._writer, b"".join(self._client.data_to_send()))

    async def _read(self) -> None:
        while await self._reader.read(65_536):
            pass


def assert_claimed(saved_s: float | None, took_s: float) -> None:
    """Of the right order: `BODY` was not sent again, and took so long before. The sender's pauses bound its rate, and the first
    upload's own time bounds the claim, however busy the machine is."""
    assert saved_s is not None
    assert 0.3 * BODY * STEP_S / STEP_BYTES <= saved_s <= took_s * 1.1


async def test_a_slow_client_on_a_socket_saves_the_time_of_what_it_does_not_send_again() -> None:
    async with state_server() as server, entries_of(server) as next_entry, SlowSocket(port_of(server)) as client:
        began_at = time.monotonic()
        await client.send(input="x" * BODY)
        first = await next_entry()
        took_s = time.monotonic() - began_at
        await client.send(input="more", previous_response_id=first.response_id)
        second = await next_entry()
    assert first.times.saved is not None
    assert first.times.saved < 0.1 * took_s
    assert_claimed(second.times.saved, took_s)


async def test_a_slow_client_over_http_saves_the_time_of_what_it_does_not_send_again() -> None:
    async with state_server() as server, entries_of(server) as next_entry:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))

        async def post(**members: Any) -> Entry:
            body = json.dumps({"model": "m"} | members).encode()
            head = f"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
            await send_slowly(writer, head.encode() + body)
            return await next_entry()

        began_at = time.monotonic()
        first = await post(input="x" * BODY)
        took_s = time.monotonic() - began_at
        second = await post(input="more", previous_response_id=first.response_id)
        writer.close()
    assert_claimed(second.times.saved, took_s)


async def test_a_body_that_its_client_made_while_it_sent_is_no_sample() -> None:
    """Chunks come as fast as they are made, which says nothing of the connection."""
    async with state_server() as server, entries_of(server) as next_entry:
        _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        body = json.dumps({"model": "m", "input": "x" * BODY}).encode()
        writer.write(b"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n")
        await send_slowly(writer, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        first = await next_entry()
        small = json.dumps({"model": "m", "input": "more", "previous_response_id": first.response_id}).encode()
        writer.write(
            b"POST /v1/responses HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n%s" % (len(small), small)
        )
        second = await next_entry()
        writer.close()
    assert second.bytes.stateless > BODY
    assert second.times.saved is not None
    assert second.times.saved < 0.1 * BODY * STEP_S / STEP_BYTES
