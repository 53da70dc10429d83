"""Bytes to and from upstreams, counted where aiohttp meets the transport: heads, bodies, chunk framing, frames as they are
compressed. Behind TLS they are counted inside of it.
"""

import asyncio
import functools
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from landline.upstream.target import Traffic

Buffer = bytes | bytearray | memoryview

_Answer = TypeVar("_Answer")

_UNKNOWN = -1
_BYTES_ACKED = struct.Struct("=Q")
_BYTES_ACKED_AT = 120
"""In `struct tcp_info` of linux/tcp.h, which only ever grows at its end."""
_TCP_INFO_BYTES = _BYTES_ACKED_AT + _BYTES_ACKED.size

ASKING: ContextVar[Traffic | None] = ContextVar("ASKING", default=None)
"""The traffic of the reply that waits for an answer's head; what was sent is counted there even if that never comes."""


class StaleConnectionError(aiohttp.ClientConnectionError):
    """A connection that had served another request was closed before it answered this one."""

    def __init__(self, *, is_unread: bool = False) -> None:
        super().__init__("closed before it answered")
        self.is_unread = is_unread
        """Whether the server cannot have read anything of the request."""


async def on_live_connection(send: Callable[[], Awaitable[_Answer]], *, is_repeatable: bool) -> _Answer:
    """What sending gives. A kept connection that its server closed before it answered may have been stale: sends again on
    another if nothing of the request can have been read, or if it `is_repeatable`, so that reading it twice does no harm.

    RFC 9110 §9.2.2: a client must not repeat a POST by itself unless it knows that to be harmless, or that the first one
    was never applied. A turn costs money, and may have been under way for minutes when its server broke down.
    """
    while True:
        try:
            return await send()
        except StaleConnectionError as error:
            if not (is_repeatable or error.is_unread):
                raise


class CountedConnection(ResponseHandler):
    """One connection to an upstream; one request at a time uses it, or a socket with its lanes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._transport_count = _CountedTransport()
        self._received_bytes = 0
        self._told_in_bytes = 0
        self._told_out_bytes = 0
        self._has_served = False
        self._before_request = (0, _UNKNOWN)
        """Bytes written and bytes acknowledged before the request."""
        self._at_the_end = (0, _UNKNOWN)
        """The same when the peer had closed the connection."""
        self._is_held = False
        """Whether reading was paused."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport_count.wrap(transport)
        super().connection_made(self._transport_count)  # type: ignore[arg-type]

    def set_response_params(self, **options: Any) -> None:
        """aiohttp calls it with every request, right before it writes it."""
        if self._has_served:
            self._before_request = self._note_taken()
        super().set_response_params(**options)

    def eof_received(self) -> None:
        self._at_the_end = self._note_taken()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(exc, BrokenPipeError):  # the peer's end had come, and was found by writing instead of reading
            self._at_the_end = self._note_taken()
        super().connection_lost(exc)

    def is_unread(self) -> bool:
        """Whether the peer closed the connection without having taken a byte of the latest request.

        A close says in its own segment what the peer's system had taken by then, whether or not its program read it. A
        reset says nothing: what came last may have been read and not acknowledged yet. So after a reset, and where the
        system does not tell, only what was never written is unread.
        """
        written, acknowledged = self._at_the_end
        written_before, acknowledged_before = self._before_request
        return written == written_before or (acknowledged == acknowledged_before != _UNKNOWN)

    def _note_taken(self) -> tuple[int, int]:
        return self._transport_count.sent_bytes, _acknowledged_bytes(self._transport_count)

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        super().data_received(data)

    def pause_reading(self) -> None:
        self._is_held = True
        super().pause_reading()

    def resume_reading(self, *args: Any, **options: Any) -> None:
        """aiohttp asks for it with every chunk that is taken out of its buffer, and 3.14 then parses nothing each time."""
        if self._is_held:
            self._is_held = False
            super().resume_reading(*args, **options)

    def begin_answer(self) -> bool:
        """The next answer is awaited; whether it is not the first one."""
        has_served, self._has_served = self._has_served, True
        return has_served

    def take_received(self) -> int:
        """The bytes since the last call."""
        before, self._told_in_bytes = self._told_in_bytes, self._received_bytes
        return self._received_bytes - before

    def take_sent(self) -> int:
        """The bytes since the last call."""
        sent_bytes = self._transport_count.sent_bytes
        before, self._told_out_bytes = self._told_out_bytes, sent_bytes
        return sent_bytes - before


class CountedResponse(aiohttp.ClientResponse):
    """An answer that knows its connection's count."""

    _counted: CountedConnection | None = None

    async def start(self, connection: Connection) -> "CountedResponse":
        """Waits for the answer's head. Raises `StaleConnectionError` besides what aiohttp raises."""
        protocol = connection.protocol
        is_reused = False
        if isinstance(protocol, CountedConnection):
            self._counted = protocol
            is_reused = protocol.begin_answer()
            protocol.take_received()  # what came behind the last event of the answer before
        is_answered = False
        try:
            await super().start(connection)
            is_answered = True
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if is_reused and self._counted is not None:
                raise StaleConnectionError(is_unread=self._counted.is_unread()) from error
            raise
        finally:
            if not is_answered and (traffic := ASKING.get()) is not None:
                self.tell(traffic)
        return self

    def drop_read_timeout(self) -> None:
        """From the next read on, the caller watches over silences of the body, and aiohttp sets no timer a read."""
        if self._counted is not None:
            self._counted.read_timeout = None

    def tell(self, traffic: Traffic) -> None:
        """Adds what was sent and received since the last call."""
        if self._counted is not None:
            traffic.received_bytes += self._counted.take_received()
            traffic.sent_bytes += self._counted.take_sent()

    def tell_received(self, traffic: Traffic) -> None:
        """Adds what was received since the last call: for every read, when all is sent."""
        if self._counted is not None:
            traffic.received_bytes += self._counted.take_received()


class CountingConnector(aiohttp.TCPConnector):
    """Connections without a limit to their number, each counted."""

    def __init__(self, *, keepalive_timeout: float = 15.0) -> None:
        super().__init__(limit=0, keepalive_timeout=keepalive_timeout)  # pyright: ignore[reportUnknownMemberType]
        self._factory = functools.partial(CountedConnection, loop=self._loop)


def _acknowledged_bytes(transport: "_CountedTransport") -> int:
    """The bytes that the peer's system has acknowledged, as Linux counts them (`tcpi_bytes_acked`, since 4.1)."""
    sock = transport.get_extra_info("socket")
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        [acknowledged] = _BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)
    except (AttributeError, OSError, struct.error):
        return _UNKNOWN  # another system, another kind of socket, or one that is closed already
    return acknowledged


class _CountedTransport:
    """Stands for the transport that it wraps. What aiohttp asks for with every read is at hand."""

    __slots__ = ("_transport", "is_closing", "pause_reading", "resume_reading", "sent_bytes")

    def __init__(self) -> None:
        self.sent_bytes = 0
        self._transport: Any = None

    def wrap(self, transport: Any) -> None:
        """`transport` is an asyncio.Transport in all but name: uvloop's are."""
        self._transport = transport
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: Buffer) -> None:
        self.sent_bytes += len(data)
        self._transport.write(data)

    def writelines(self, chunks: Iterable[Buffer]) -> None:
        pieces = list(chunks)
        self.sent_bytes += sum(map(len, pieces))
        self._transport.writelines(pieces)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
