"""A network line as a model: a relay on loopback that gives each direction a rate and a delay, and counts its bytes.

Of TCP it adds what a loopback has none of: one round trip to open a connection, and slow start. There is no loss, no jitter,
no TLS and no packet header.
"""

import asyncio
import re
import socket
from collections import deque
from types import TracebackType
from typing import Self

import msgspec
from msgspec.structs import replace

SEGMENT_BYTES = 1448
"""What one packet of Ethernet carries: nothing smaller is waited for."""
_SLICE_S = 0.001
"""Bytes pass the bottleneck in slices of about this time: a timer cannot wait for less."""
INITIAL_WINDOW_BYTES = 10 * SEGMENT_BYTES
"""RFC 6928."""
_MIN_TIMEOUT_S = 0.2
"""Linux adds at least so much to the round trip for its retransmission timeout, which also measures idle time."""
_LOOKAHEAD_S = 0.004
"""A slice is taken so long before the one in front of it is through, so that a late timer does not lower the rate."""
_SLICES_IN_FLIGHT = 512
"""Between the bottleneck and the other end; beyond it, the sender waits."""
_SOCKET_BUFFER_BYTES = 65536
"""Of the kernel on the relay's side, so that a sender feels the rate and not the buffer."""

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(kbit|mbit|gbit)(?:/s|ps)?", re.IGNORECASE)
_RATE_UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s)", re.IGNORECASE)
_TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class LinkShape(msgspec.Struct, frozen=True, kw_only=True):
    """What a line is like, seen from the client."""

    uplink_bits_per_s: float
    downlink_bits_per_s: float
    round_trip_s: float
    has_slow_start: bool = True
    """False leaves rate and delay alone, and the round trip to open a connection."""


LINES = {
    "lan": LinkShape(uplink_bits_per_s=1e9, downlink_bits_per_s=1e9, round_trip_s=0.001),
    "home": LinkShape(uplink_bits_per_s=10e6, downlink_bits_per_s=50e6, round_trip_s=0.05),
    "mobile": LinkShape(uplink_bits_per_s=5e6, downlink_bits_per_s=20e6, round_trip_s=0.08),
}
"""Round numbers for three usual lines, to the server and back: no measurement of anybody's network."""


def parse_rate(text: str) -> float:
    """Bits a second of `10mbit`, `1gbit`, `500kbit`. Raises ValueError."""
    found = _RATE.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"expected a rate such as 10mbit, got {text!r}")
    return float(found[1]) * _RATE_UNITS[found[2].lower()]


def parse_duration(text: str) -> float:
    """Seconds of `50ms`, `1s`. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a time such as 50ms, got {text!r}")
    return float(found[1]) * _TIME_UNITS[found[2].lower()]


def shape_of(name: str, uplink: str | None = None, downlink: str | None = None, rtt: str | None = None) -> LinkShape:
    """The named line, with what else is given in its place. Raises ValueError."""
    shape = LINES[name]
    if uplink is not None:
        shape = replace(shape, uplink_bits_per_s=parse_rate(uplink))
    if downlink is not None:
        shape = replace(shape, downlink_bits_per_s=parse_rate(downlink))
    if rtt is not None:
        shape = replace(shape, round_trip_s=parse_duration(rtt))
    return shape


class Passage(msgspec.Struct, frozen=True):
    """When some bytes are through the bottleneck, and when they arrive; in the clock's seconds."""

    through_at: float
    arrives_at: float


class Bottleneck:
    """One direction: its bytes pass one after the other at its rate, then travel for its delay."""

    def __init__(self, bits_per_s: float, delay_s: float) -> None:
        self._bits_per_s = bits_per_s
        self.delay_s = delay_s
        """One way; an acknowledgement takes as long back, and no room on the line."""
        self._free_at = 0.0
        self.passed_bytes = 0
        """Of all connections."""

    @property
    def slice_bytes(self) -> int:
        """What is taken at once."""
        return min(INITIAL_WINDOW_BYTES, max(SEGMENT_BYTES, int(self._bits_per_s * _SLICE_S / 8)))

    def admit(self, size_bytes: int, now: float) -> Passage:
        """Takes bytes in at `now`; they wait for those in front of them."""
        self._free_at = max(now, self._free_at) + size_bytes * 8 / self._bits_per_s
        self.passed_bytes += size_bytes
        return Passage(self._free_at, self._free_at + self.delay_s)


class CongestionWindow:
    """How much one end of a connection may send before it hears from the other: slow start as Linux does it, without loss.

    It begins at ten segments, grows by what is acknowledged as long as it is what limits the sender (doubling each round
    trip), and is halved for each timeout that the connection is idle, down to where it began (RFC 2861; Linux's
    `tcp_slow_start_after_idle`, on by default). An agent's connection is idle while the model thinks, so the window is small
    again when the next request comes. Call `room`, then `send` with no more than that.
    """

    def __init__(self, round_trip_s: float) -> None:
        self._timeout_s = round_trip_s + _MIN_TIMEOUT_S
        self._size_bytes = INITIAL_WINDOW_BYTES
        self._in_flight: deque[tuple[float, int]] = deque()
        """When bytes are acknowledged, and how many; in order."""
        self._in_flight_bytes = 0
        self._peak_bytes = 0
        """The most in flight since the window was halved last."""
        self._sent_at = 0.0

    def room(self, now: float) -> int:
        """Bytes that may be sent at `now`."""
        while self._in_flight and self._in_flight[0][0] <= now:
            size_bytes = self._in_flight.popleft()[1]
            self._in_flight_bytes -= size_bytes
            if self._size_bytes < 2 * self._peak_bytes:
                self._size_bytes += size_bytes
        if not self._in_flight:
            self._shrink(now)
        return self._size_bytes - self._in_flight_bytes

    def room_at(self) -> float:
        """When the next bytes are acknowledged; only while there are some in flight."""
        return self._in_flight[0][0]

    def send(self, size_bytes: int, now: float, acknowledged_at: float) -> None:
        self._in_flight.append((acknowledged_at, size_bytes))
        self._in_flight_bytes += size_bytes
        self._peak_bytes = max(self._peak_bytes, self._in_flight_bytes)
        self._sent_at = now

    def _shrink(self, now: float) -> None:
        timeouts = int((now - self._sent_at) / self._timeout_s)
        if timeouts > 0:
            self._size_bytes = max(INITIAL_WINDOW_BYTES, self._size_bytes >> min(timeouts, 30))
            self._peak_bytes = 0
            self._sent_at = now


class ShapedLink:
    """A port on loopback that leads to a server's over a line of this shape; an async context manager.

    Its connections share both directions. Bytes pass unchanged: headers, frames and compression stay those of its two ends.
    """

    def __init__(self, shape: LinkShape, target_port: int, target_host: str = "127.0.0.1") -> None:
        self._shape = shape
        self._target_port = target_port
        self._target_host = target_host
        self._up = Bottleneck(shape.uplink_bits_per_s, shape.round_trip_s / 2)
        self._down = Bottleneck(shape.downlink_bits_per_s, shape.round_trip_s / 2)
        self._relays: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        """Opened so far."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def sent_bytes(self) -> int:
        """From clients, as it leaves them."""
        return self._up.passed_bytes

    @property
    def received_bytes(self) -> int:
        """To clients, as it leaves the server."""
        return self._down.passed_bytes

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)  # its connections inherit it
        listener.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=INITIAL_WINDOW_BYTES)
        self.port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writers = [client_writer]
        is_whole = False
        try:
            # The handshake of TCP: a client's `connect` returns at once here, so its first bytes wait in its place.
            await asyncio.sleep(self._shape.round_trip_s)
            server_reader, server_writer = await asyncio.open_connection(
                self._target_host, self._target_port, limit=INITIAL_WINDOW_BYTES
            )
            writers.append(server_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_carry(client_reader, server_writer, self._up, self._window()))
                both.create_task(_carry(server_reader, client_writer, self._down, self._window()))
            is_whole = True
        except* OSError:
            pass  # one end is gone: so is the other, below
        finally:
            for writer in writers:
                writer.close() if is_whole else writer.transport.abort()

    def _window(self) -> CongestionWindow | None:
        return CongestionWindow(self._shape.round_trip_s) if self._shape.has_slow_start else None


class _Slice(msgspec.Struct, frozen=True):
    data: bytes
    """Empty at the end of the stream."""
    arrives_at: float


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bottleneck: Bottleneck, window: CongestionWindow | None
) -> None:
    """One direction of a connection, to the end of its stream."""
    in_flight: asyncio.Queue[_Slice] = asyncio.Queue(_SLICES_IN_FLIGHT)
    async with asyncio.TaskGroup() as both:
        both.create_task(_take_in(reader, in_flight, bottleneck, window))
        both.create_task(_deliver(in_flight, writer))


async def _take_in(
    reader: asyncio.StreamReader,
    in_flight: asyncio.Queue[_Slice],
    bottleneck: Bottleneck,
    window: CongestionWindow | None,
) -> None:
    loop = asyncio.get_running_loop()
    is_open = True
    while is_open:
        data = await reader.read(bottleneck.slice_bytes)
        is_open = bool(data)
        while window is not None and window.room(loop.time()) < len(data):
            await _sleep_until(window.room_at())
        now = loop.time()
        passage = bottleneck.admit(len(data), now)
        if window is not None and data:
            window.send(len(data), now, passage.arrives_at + bottleneck.delay_s)
        await in_flight.put(_Slice(data, passage.arrives_at))
        await _sleep_until(passage.through_at - _LOOKAHEAD_S)


async def _deliver(in_flight: asyncio.Queue[_Slice], writer: asyncio.StreamWriter) -> None:
    is_open = True
    while is_open:
        piece = await in_flight.get()
        is_open = bool(piece.data)
        await _sleep_until(piece.arrives_at)
        if is_open:
            writer.write(piece.data)
            await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _sleep_until(at: float) -> None:
    left = at - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)
