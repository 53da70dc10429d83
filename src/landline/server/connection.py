"""A client connection at its transport: its bytes are counted, and the writes of one event-loop step leave together.

uvloop 0.23 sends each `write` with a system call of its own (6 to 15 µs on loopback); the frames of a batch, or an HTTP
answer's head and body, are written in one step, so they can share one.

Behind TLS bytes are counted inside of it. The ASGI scope carries the count, so an application sees what its connection
costs; under another ASGI server than Landline's there is none, and everything stays 0.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from starlette.types import Scope

from landline.server.upload_meter import UploadMeter

WIRE = "landline.wire"
"""The scope's key for the connection's count."""


class WireCount:
    """One connection, from its first byte to its loss, whatever is spoken on it."""

    __slots__ = (
        "_lost_callback",
        "_messages",
        "compression",
        "is_line",
        "is_lost",
        "late_bytes",
        "received_bytes",
        "requests",
        "sent_bytes",
        "turns_in_bytes",
        "turns_out_bytes",
        "upload",
        "written_bytes",
    )

    def __init__(self, upload: UploadMeter | None = None) -> None:
        self.upload = upload or UploadMeter()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.late_bytes = 0
        """Received bytes of a body whose request was answered before all of it had come, as of a refused one."""
        self.requests = 0
        """HTTP requests, and upgrades, that the application works on."""
        self.turns_in_bytes = 0
        """Received bytes that belong to turns, and to HTTP requests that are over."""
        self.turns_out_bytes = 0
        self.written_bytes = 0
        """Size of the last write. A WebSocket's messages of one turn that leave together are one write: their frames, with
        headers, as compressed."""
        self.compression = ""
        """The agreed compression of a WebSocket, for people; "" over HTTP."""
        self.is_line = False
        """Whether it was upgraded to a socket, which settles its own overhead."""
        self.is_lost = False
        self._messages: deque[int] = deque()
        self._lost_callback: Callable[[], None] | None = None

    @property
    def overhead_in_bytes(self) -> int:
        """Bytes that a socket received outside of turns: upgrade, pings, close, requests refused before they were turns.

        Until the connection is lost it includes requests whose turn has not begun yet.
        """
        return self.received_bytes - self.turns_in_bytes

    @property
    def overhead_out_bytes(self) -> int:
        """Bytes that a socket sent outside of turns, and for turns that still run."""
        return self.sent_bytes - self.turns_out_bytes

    def add_message(self, size_bytes: int) -> None:
        """A whole WebSocket message is on its way to the application; its frames had so many bytes, with their headers."""
        self._messages.append(size_bytes)

    def take_message(self) -> int:
        """The bytes of the next message that the application takes."""
        return self._messages.popleft() if self._messages else 0

    def begin_request(self) -> int:
        """The application begins to work on a request. Returns the bytes before it that belong to no request any more."""
        late_bytes, self.late_bytes = self.late_bytes, 0
        self.turns_in_bytes += late_bytes
        self.requests += 1
        return late_bytes

    def take_received(self) -> int:
        """Of HTTP: the bytes since the last call, which are the request's once its body is complete.

        Of requests that are sent ahead of their answers, the first may be given bytes of those behind it.
        """
        before, self.turns_in_bytes = self.turns_in_bytes, self.received_bytes
        self.late_bytes = 0
        return self.received_bytes - before

    def take_sent(self) -> int:
        """Of HTTP: the bytes since the last call, which are the answer's once it is over."""
        before, self.turns_out_bytes = self.turns_out_bytes, self.sent_bytes
        return self.sent_bytes - before

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Calls back once nothing is counted any more; at once if that is so already."""
        if self.is_lost:
            callback()
        else:
            self._lost_callback = callback

    def end(self) -> None:
        """The connection is lost."""
        self.is_lost = True
        self.upload.close()
        callback, self._lost_callback = self._lost_callback, None
        if callback is not None:
            callback()


def wire_of(scope: Scope) -> WireCount:
    """The count of the scope's connection; under another ASGI server one that nobody counts on."""
    wire = scope.get(WIRE)
    if isinstance(wire, WireCount):
        return wire
    uncounted = WireCount()
    uncounted.is_lost = True
    return uncounted


MAX_HELD_BYTES = 64 * 1024
"""More than this is written at once, so that a full socket is noticed in the middle of a long step."""


class BatchedTransport(asyncio.Transport):
    """A transport that holds what is written until the running step is over. Order and whole writes are kept."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.wire = WireCount(UploadMeter(transport))
        """The bytes of the connection."""
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._ahead_bytes = 0

    @property
    def ahead_bytes(self) -> int:
        """How much of the next `write` was written already."""
        return self._ahead_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ahead_bytes:
            data, self._ahead_bytes = data[self._ahead_bytes :], 0
        self._hold(data)

    def write_ahead(self, data: bytes) -> None:
        """Writes the next bytes that the next `write` is known to begin with; that one leaves them out."""
        self._hold(data)
        self._ahead_bytes += len(data)

    def flush(self) -> None:
        """Hands everything held to the socket."""
        if not self._held:
            return
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held = []
        self._held_bytes = 0
        if not self._transport.is_closing():
            self._transport.write(data)

    def write_eof(self) -> None:
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._held_bytes + self._transport.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def _hold(self, data: bytes | bytearray | memoryview) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        self.wire.written_bytes = len(data)
        self.wire.sent_bytes += len(data)
        if self._held_bytes > MAX_HELD_BYTES:
            self.flush()
