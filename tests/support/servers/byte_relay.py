"""A TCP relay that counts and keeps every byte between a client and a server: what the line really costs."""

import asyncio
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h11
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

_START_TIMEOUT_S = 10.0


@dataclass
class RelayedConnection:
    """The bytes of one TCP connection, both ways, in order."""

    sent: bytearray = field(default_factory=bytearray)
    """Client to server."""
    received: bytearray = field(default_factory=bytearray)
    """Server to client."""

    @property
    def is_websocket(self) -> bool:
        return b"upgrade: websocket" in bytes(self.sent[: self.sent.find(b"\r\n\r\n")]).lower()

    @property
    def response_head(self) -> bytes:
        """Status line and headers of the first answer."""
        return bytes(self.received[: self.received.find(b"\r\n\r\n")])


class ByteRelay:
    """Relays a loopback port to `target_port` in a thread of its own; a context manager.

    Bytes pass unchanged, so compression and framing stay the client's and the server's.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.connections: list[RelayedConnection] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: Future[int] = Future()
        self._stopped = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def sent_bytes(self) -> int:
        return sum(len(each.sent) for each in self.connections)

    @property
    def received_bytes(self) -> int:
        return sum(len(each.received) for each in self.connections)

    def cut(self) -> None:
        """Drops every open connection without a close frame, as a lost network does."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._ready.result(_START_TIMEOUT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(_START_TIMEOUT_S)

    def _run(self) -> None:
        self._writers: set[asyncio.StreamWriter] = set()
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self._ready.set_result(server.sockets[0].getsockname()[1])
        await self._stopped.wait()
        server.close()
        self._abort_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _relay(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        connection = RelayedConnection()
        self.connections.append(connection)
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        self._writers |= {client_writer, server_writer}
        await asyncio.gather(
            _pump(client_reader, server_writer, connection.sent),
            _pump(server_reader, client_writer, connection.received),
        )
        self._writers -= {client_writer, server_writer}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while chunk := await reader.read(65536):
            kept += chunk
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (ConnectionError, OSError):
        writer.transport.abort()


def client_messages(connection: RelayedConnection) -> list[bytes]:
    """The payloads of the data messages that a client sent over a relayed WebSocket, inflated and put together.

    Read by a second WebSocket server that is fed the same bytes: the state of a 15-bit window with context takeover
    decodes whatever parameters were agreed.
    """
    reader = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()], max_size=None)
    end_of_head = connection.sent.find(b"\r\n\r\n") + 4
    reader.receive_data(bytes(connection.sent[:end_of_head]))
    (upgrade,) = reader.events_received()
    assert isinstance(upgrade, Request)
    # This answer goes nowhere: the real server gave its own. It only settles the extension.
    reader.send_response(reader.accept(upgrade))
    reader.receive_data(bytes(connection.sent[end_of_head:]))
    messages: list[bytearray] = []
    for event in reader.events_received():
        if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
            messages.append(bytearray(event.data))
        elif isinstance(event, Frame) and event.opcode is Opcode.CONT:
            messages[-1] += event.data
    return [bytes(each) for each in messages]


def client_requests(connection: RelayedConnection) -> list[tuple[h11.Request, bytes]]:
    """The HTTP requests that a client sent over one relayed connection, with their bodies as they were on the wire."""
    requests: list[tuple[h11.Request, bytes]] = []
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(bytes(connection.sent))
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            requests.append((event, b""))
        elif isinstance(event, h11.Data):
            request, body = requests[-1]
            requests[-1] = (request, body + event.data)
        elif isinstance(event, h11.EndOfMessage):
            reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            reader.send(h11.EndOfMessage())
            if reader.our_state is h11.MUST_CLOSE:
                return requests
            reader.start_next_cycle()
        else:
            return requests
