"""The arithmetic of a line, and a relay that lets bytes through unchanged and counts them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from landline.workload.link import (
    INITIAL_WINDOW_BYTES,
    LINES,
    SEGMENT_BYTES,
    Bottleneck,
    CongestionWindow,
    LinkShape,
    ShapedLink,
    parse_duration,
    parse_rate,
)

FAST = LinkShape(uplink_bits_per_s=1e9, downlink_bits_per_s=1e9, round_trip_s=0.001)


def test_bytes_take_their_size_at_the_rate_and_then_the_delay() -> None:
    passage = Bottleneck(8e6, 0.025).admit(1000, now=5.0)
    assert (passage.through_at, passage.arrives_at) == (pytest.approx(5.001), pytest.approx(5.026))


def test_bytes_wait_for_those_in_front_of_them_and_not_for_those_that_are_through() -> None:
    bottleneck = Bottleneck(8e6, 0.0)
    assert bottleneck.admit(1000, now=0.0).through_at == pytest.approx(0.001)
    assert bottleneck.admit(1000, now=0.0).through_at == pytest.approx(0.002)
    assert bottleneck.admit(1000, now=0.5).through_at == pytest.approx(0.501)
    assert bottleneck.passed_bytes == 3000


def test_rate_is_kept_however_bytes_are_cut_and_however_late_they_are_taken() -> None:
    bottleneck = Bottleneck(8e6, 0.01)
    arrives_at = 0.0
    for number in range(100):
        late_s = 0.003 * (number % 2)  # less than what is taken ahead
        now = 5.0 if number == 0 else 5.0 + number * 0.001 - 0.004 + late_s
        arrives_at = bottleneck.admit(1000, now).arrives_at
    assert arrives_at == pytest.approx(5.0 + 0.1 + 0.01)


def test_slices_are_a_packet_at_least_and_a_first_window_at_most() -> None:
    assert Bottleneck(1e5, 0).slice_bytes == SEGMENT_BYTES
    assert Bottleneck(20e6, 0).slice_bytes == 2500
    assert Bottleneck(1e12, 0).slice_bytes == INITIAL_WINDOW_BYTES


def rounds_for(window: CongestionWindow, size_bytes: int, start: float, round_trip_s: float) -> int:
    """Round trips until so many bytes are acknowledged, where the rate takes no time."""
    now, rounds = start, 0
    while size_bytes > 0:
        size = min(size_bytes, window.room(now))
        window.send(size, now, now + round_trip_s)
        size_bytes -= size
        now += round_trip_s
        rounds += 1
    return rounds


@pytest.mark.parametrize(("segments", "rounds"), [(10, 1), (11, 2), (30, 2), (31, 3), (70, 3), (71, 4)])
def test_window_begins_at_ten_segments_and_doubles_each_round_trip(segments: int, rounds: int) -> None:
    assert rounds_for(CongestionWindow(0.05), segments * SEGMENT_BYTES, 0.0, 0.05) == rounds


def test_window_is_full_until_an_acknowledgement() -> None:
    window = CongestionWindow(0.05)
    window.send(INITIAL_WINDOW_BYTES, 0.0, 0.05)
    assert window.room(0.049) == 0
    assert window.room_at() == 0.05
    assert window.room(0.05) == 2 * INITIAL_WINDOW_BYTES


def test_window_does_not_grow_for_a_sender_that_it_does_not_limit() -> None:
    window = CongestionWindow(0.05)
    for number in range(20):
        window.send(1000, number * 0.1, number * 0.1 + 0.05)
        assert window.room(number * 0.1 + 0.06) == INITIAL_WINDOW_BYTES


@pytest.mark.parametrize(("idle_s", "segments"), [(0.2, 80), (0.26, 40), (0.51, 20), (0.76, 10), (3600.0, 10)])
def test_window_is_halved_for_each_timeout_of_idle_time_down_to_where_it_began(idle_s: float, segments: int) -> None:
    window = CongestionWindow(0.05)
    rounds_for(window, 70 * SEGMENT_BYTES, 0.0, 0.05)
    last_sent_at = 0.1
    assert window.room(last_sent_at + 0.05) == 80 * SEGMENT_BYTES
    assert window.room(last_sent_at + idle_s) == segments * SEGMENT_BYTES


@pytest.mark.parametrize(("text", "rate"), [("10mbit", 1e7), ("1.5 Mbit/s", 1.5e6), ("500kbit", 5e5), ("1gbit", 1e9)])
def test_rates_are_read_with_their_unit(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0mbit", "10mb", "-1mbit", "mbit"])
def test_other_rates_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 10mbit"):
        parse_rate(text)


def test_durations_are_read_with_their_unit() -> None:
    assert [parse_duration(text) for text in ("50ms", "0.2 s", "500us")] == [0.05, 0.2, 0.0005]
    with pytest.raises(ValueError, match="such as 50ms"):
        parse_duration("50")


def test_every_named_line_has_a_shape() -> None:
    assert list(LINES) == ["lan", "home", "mobile"]


async def test_bytes_pass_unchanged_both_ways_and_are_counted() -> None:
    sent = bytes(range(256)) * 4000
    async with doubling_server() as port, ShapedLink(FAST, port) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent * 2
        writer.close()
    assert (link.sent_bytes, link.received_bytes, link.connections) == (len(sent), 2 * len(sent), 1)


async def test_end_that_is_lost_ends_the_other_one() -> None:
    async with doubling_server() as port, ShapedLink(FAST, port) as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"begun")
        await writer.drain()
        writer.transport.abort()
        assert await reader.read(-1) == b""


async def test_server_that_is_not_there_is_a_connection_that_is_cut() -> None:
    async with doubling_server() as port:
        pass
    async with ShapedLink(FAST, port) as link:
        reader, _ = await asyncio.open_connection("127.0.0.1", link.port)
        assert await read_to_end(reader) == b""


async def test_connections_of_a_link_end_with_it() -> None:
    async with doubling_server() as port:
        async with ShapedLink(FAST, port) as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            writer.write(b"begun")
            await writer.drain()
        assert await read_to_end(reader) == b""
        writer.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What came before the connection was closed or cut."""
    try:
        return await reader.read(-1)
    except ConnectionError:
        return b""


@asynccontextmanager
async def doubling_server() -> AsyncGenerator[int]:
    """Answers all that came twice, at its end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await reader.read(-1)
            writer.write(data * 2)
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
