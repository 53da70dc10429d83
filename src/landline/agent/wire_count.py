"""Counts the bytes that really cross a socket: headers, masks, compression and TLS included."""

import socket
from typing import Any


class WireCount:
    """Bytes handed to and taken from the kernel by all sockets made by `socket_factory`.

    Python's own event loops use the socket object and are counted; uvloop uses its file descriptor and is not: then both
    numbers stay 0, which is never true of a line that was used, so it can be told.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0

    def socket_factory(self, address: tuple[Any, ...]) -> socket.socket:
        """Makes a counted socket for an entry of `getaddrinfo` (the shape aiohttp's connector asks for)."""
        family, kind, proto = address[:3]
        return _CountedSocket(self, family, kind, proto)


class _CountedSocket(socket.socket):
    def __init__(self, count: WireCount, family: int, kind: int, proto: int) -> None:
        super().__init__(family, kind, proto)
        self._count = count

    def send(self, *arguments: Any) -> int:
        size = super().send(*arguments)
        self._count.sent_bytes += size
        return size

    def recv(self, *arguments: Any) -> bytes:
        data = super().recv(*arguments)
        self._count.received_bytes += len(data)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = super().recv_into(buffer, nbytes, flags)
        self._count.received_bytes += size
        return size

    if hasattr(socket.socket, "sendmsg"):

        def sendmsg(self, *arguments: Any) -> int:
            size = super().sendmsg(*arguments)
            self._count.sent_bytes += size
            return size
