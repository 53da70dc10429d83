"""Bytes of one client connection, counted where they meet the transport, and how many of them turns account for.

Behind TLS they are counted inside of it. The ASGI scope carries the count, so an application sees what its connection
costs; under another ASGI server than Landline's there is none, and everything stays 0.
"""

from collections import deque
from collections.abc import Callable

from starlette.types import Scope

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
        "written_bytes",
    )

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        self.late_bytes = 0
        """Of those received: pieces of a body that came when its request was answered and over, as of a refused one."""
        self.requests = 0
        """HTTP requests, and upgrades, that the application works on."""
        self.turns_in_bytes = 0
        """Of those received: what belongs to turns, and to HTTP requests that are over."""
        self.turns_out_bytes = 0
        self.written_bytes = 0
        """By the last write. A WebSocket's messages of one turn that leave together are one: their frames, with their
        headers, as compressed."""
        self.compression = ""
        """Of a WebSocket: what it has, in words; "" over HTTP."""
        self.is_line = False
        """Whether it has become a socket that counts for itself."""
        self.is_lost = False
        self._messages: deque[int] = deque()
        self._lost_callback: Callable[[], None] | None = None

    @property
    def overhead_in_bytes(self) -> int:
        """Of a socket: received and no turn's. Upgrades, pings, closes, requests that were refused before they were turns.

        Until the connection is lost it also holds what is still to become a turn.
        """
        return self.received_bytes - self.turns_in_bytes

    @property
    def overhead_out_bytes(self) -> int:
        """Of a socket: sent and no turn's; and what was sent for turns that still run."""
        return self.sent_bytes - self.turns_out_bytes

    def add_message(self, size_bytes: int) -> None:
        """A whole WebSocket message is on its way to the application; its frames had so many bytes, with their headers."""
        self._messages.append(size_bytes)

    def take_message(self) -> int:
        """The bytes of the next message that the application takes."""
        return self._messages.popleft() if self._messages else 0

    def begin_request(self) -> int:
        """The application begins to work on a request. The bytes before it that are no request's any more."""
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
