"""Writes of one event-loop step leave together.

uvloop 0.23 sends each `write` with a system call of its own (6 to 15 µs on loopback); the frames of a batch, or an HTTP
answer's head and body, are written in one step, so they can share one. What is written and read is counted here.
"""

import asyncio
from typing import Any

from landline.server.wire_count import WireCount

MAX_HELD_BYTES = 64 * 1024
"""More than this is written at once, so that a full socket is noticed in the middle of a long step."""


class BatchedTransport(asyncio.Transport):
    """A transport that holds what is written until the running step is over. Order and whole writes are kept."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.wire = WireCount()
        """Its bytes, and what of them is known."""
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
