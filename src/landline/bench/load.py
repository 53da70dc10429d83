"""The load generator's clients: a socket and an HTTP connection that read as little as they can of what a server says.

`Conversation` asks turn after turn on one of them. A turn's times are those of the network read that brought an event; reading it comes after.
"""

import asyncio
import base64
import os
import time
import zlib
from collections.abc import Mapping
from typing import Protocol, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import msgspec
from websockets.frames import Frame, Opcode

from landline.bench.processes import BenchError
from landline.bench.upstream import STAMP_BYTES
from landline.terminal import one_line

TURN_TIMEOUT_S = 120.0
_CONNECT_TIMEOUT_S = 15.0
_SHOWN = 200
_DEFLATE_TAIL = b"\x00\x00\xff\xff"
"""RFC 7692 leaves it out."""
_COMPRESSED_BIT = 0x40
"""RSV1 of a frame."""
_DELTA = b"response.output_text.delta"
_ENDS = (b"response.completed", b"response.incomplete")
_FAILURES = (b"response.failed", b'"type":"error"', b'"type": "error"')


class Turn:
    """One turn as it is seen from outside: feed it the events, then read its times (seconds of `time.perf_counter`)."""

    def __init__(self, *, is_paced: bool = False) -> None:
        """Of a paced turn each delta's arrival and journey are kept (see `upstream.stamp`)."""
        self._is_paced = is_paced
        self._failure: str | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent_at = 0.0
        self.first_delta_at = 0.0
        self.ended_at = 0.0
        self.events = 0
        self.deltas = 0
        self.arrivals: list[float] = []
        self.journeys_s: list[float] = []
        """From the upstream's write to the arrival here."""
        self.last = b""
        """The terminal event."""

    @property
    def duration_s(self) -> float:
        return self.ended_at - self.sent_at

    @property
    def first_delta_s(self) -> float:
        return self.first_delta_at - self.sent_at

    @property
    def is_over(self) -> bool:
        return self.ended_at > 0 or self._failure is not None

    def feed(self, event: bytes, at: float) -> None:
        self.events += 1
        if _DELTA in event:
            self.deltas += 1
            if not self.first_delta_at:
                self.first_delta_at = at
            if self._is_paced:
                self._take_stamp(event, at)
        elif any(each in event for each in _ENDS):
            self.ended_at = at
            self.last = event
        elif any(each in event for each in _FAILURES):
            self.fail(one_line(event[:_SHOWN].decode("utf-8", "replace")))

    def fail(self, reason: str) -> None:
        """The first reason counts, and none after the end."""
        if not self.is_over:
            self._failure = reason

    def settle(self) -> None:
        """Wakes who waits for the turn; the connection does it once it is free for the next one."""
        if self.done.done():
            return
        if self._failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(BenchError(self._failure))

    def _take_stamp(self, event: bytes, at: float) -> None:
        self.arrivals.append(at)
        start = event.find(b'"', event.find(b":", event.find(b'"delta"'))) + 1
        word = event[start : start + STAMP_BYTES]
        if word.isdigit():
            self.journeys_s.append(at - int(word) / 1e6)


class Connection(Protocol):
    """An open connection that takes one turn after the other."""

    async def ask(self, body: bytes, turn: Turn) -> None:
        """Sends a request and waits for its end. Raises `BenchError`."""
        ...

    def close(self) -> None: ...


async def open_socket(base_url: str, *, deflates: bool = False) -> "SocketConnection":
    """A socket to the server's `/responses`; `deflates` wants permessage-deflate. Raises `BenchError`."""
    return await _connect(base_url, DeflatedSocketConnection if deflates else SocketConnection)


async def open_http(base_url: str) -> "HttpConnection":
    """A connection that is kept from request to request. Raises `BenchError`."""
    return await _connect(base_url, HttpConnection)


class _Client(asyncio.Protocol):
    """What both have: a transport, a turn at a time, and what becomes of the turn when the connection is lost."""

    def __init__(self, host: str, path: str) -> None:
        self._host = host
        self._path = path
        self._turn: Turn | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the server closed the connection")

    def close(self) -> None:
        self._transport.close()

    async def ask(self, body: bytes, turn: Turn) -> None:
        if self._transport.is_closing():
            raise BenchError("the server closed the connection")
        message = self._message(body)
        self._turn = turn
        turn.sent_at = time.perf_counter()
        self._transport.write(message)
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await turn.done
        except TimeoutError:
            self._transport.abort()
            raise BenchError(f"a turn did not end within {TURN_TIMEOUT_S:g} s") from None

    def _message(self, body: bytes) -> bytes:
        raise NotImplementedError

    def _lose(self, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(BenchError(reason))
        if self._turn is not None:
            self._turn.fail(reason)
            self._turn.settle()


ClientT = TypeVar("ClientT", bound=_Client)


async def _connect(base_url: str, kind: type[ClientT]) -> ClientT:
    url = urlsplit(base_url)
    if url.hostname is None or url.scheme not in ("http", "https"):
        raise BenchError(f"expected a URL such as http://127.0.0.1:8080/v1, got {base_url!r}")
    is_tls = url.scheme == "https"
    port = url.port or (443 if is_tls else 80)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, client = await loop.create_connection(
                lambda: kind(url.netloc, f"{url.path.rstrip('/')}/responses"), url.hostname, port, ssl=is_tls or None
            )
            await client.opened
    except TimeoutError:
        raise BenchError(f"{base_url} did not answer within {_CONNECT_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise BenchError(f"cannot reach {base_url}: {error.strerror or error}") from None
    return client


class SocketConnection(_Client):
    """A WebSocket whose frames are taken apart here, which costs a tenth of what a library's reader does."""

    extensions = ""
    """The header that offers some."""
    is_deflated = False
    """Whether the server granted compression."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._rest = b""
        self._fragments: list[bytes] = []
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{self.extensions}Authorization: Bearer {API_KEY}\r\n\r\n"
        )
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        if self._rest:
            data = self._rest + data
        if not self.opened.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            status = one_line(head.split(b"\r\n", 1)[0].decode("latin-1"))
            if b" 101 " not in head[:16]:
                self._lose(f"no socket here: {status}")
                self._transport.close()
                return
            self._accept(head)
            if not self.opened.done():
                self.opened.set_result(None)
        self._rest = self._read_frames(data, at)

    def _message(self, body: bytes) -> bytes:
        return Frame(Opcode.TEXT, body).serialize(mask=True)

    def _accept(self, head: bytes) -> None:
        """Takes the answer to the upgrade."""

    def _inflated(self, payload: bytes) -> bytes:
        return payload

    def _read_frames(self, data: bytes, at: float) -> bytes:
        """Reads the whole frames; what is left."""
        start, size = 0, len(data)
        while size - start >= 2:
            head, length = start + 2, data[start + 1] & 127
            if length == 126:
                head, length = head + 2, int.from_bytes(data[head : head + 2], "big")
            elif length == 127:
                head, length = head + 8, int.from_bytes(data[head : head + 8], "big")
            end = head + length
            if end > size or head > size:
                break
            self._take(data[start], data[head:end], at)
            start = end
        return data[start:]

    def _take(self, first: int, payload: bytes, at: float) -> None:
        opcode, is_last = first & 15, first & 128
        if opcode in (Opcode.TEXT, Opcode.CONT):
            if not is_last or self._fragments:
                self._fragments.append(payload)
                if not is_last:
                    return
                payload = b"".join(self._fragments)
                self._fragments.clear()
            if self._turn is not None:
                self._turn.feed(self._inflated(payload), at)
                if self._turn.is_over:
                    self._turn.settle()
        elif opcode == Opcode.PING:
            self._transport.write(Frame(Opcode.PONG, payload).serialize(mask=True))
        elif opcode == Opcode.CLOSE:
            self._lose(
                f"the server closed the socket: {one_line(payload[2:].decode('utf-8', 'replace')) or 'no reason'}"
            )
            self._transport.close()


class DeflatedSocketConnection(SocketConnection):
    """The same with permessage-deflate, if the server grants it.

    Each message is compressed on its own, so that thousands of lines share no state here; the server cannot tell.
    """

    extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    def _accept(self, head: bytes) -> None:
        self.is_deflated = b"permessage-deflate" in head.lower()
        if self.is_deflated:
            self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    def _message(self, body: bytes) -> bytes:
        if not self.is_deflated:
            return super()._message(body)
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflater.compress(body) + deflater.flush(zlib.Z_SYNC_FLUSH)
        frame = bytearray(Frame(Opcode.TEXT, data.removesuffix(_DEFLATE_TAIL)).serialize(mask=True))
        frame[0] |= _COMPRESSED_BIT
        return bytes(frame)

    def _inflated(self, payload: bytes) -> bytes:
        return payload if not self.is_deflated else self._inflater.decompress(payload + _DEFLATE_TAIL)


class HttpConnection(_Client):
    """HTTP/1.1 with server-sent events."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._at = 0.0
        self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._at = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lose(f"this is no HTTP: {error}")
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        data = self._rest + body if self._rest else body
        if self._parser.get_status_code() >= 400 or self._turn is None:
            self._rest = data
            return
        if b"\r\n" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        for event in events:
            self._turn.feed(event, self._at)

    def on_message_complete(self) -> None:
        rest, self._rest = self._rest, b""
        status = self._parser.get_status_code()
        if self._turn is None:
            return
        if status >= 400:
            self._turn.fail(f"status {status}: {one_line(rest[:_SHOWN].decode('utf-8', 'replace'))}")
        else:
            if rest:
                self._turn.feed(rest, self._at)
            self._turn.fail("the stream ended before the response did")
        self._turn.settle()
        if not self._parser.should_keep_alive():
            self._transport.close()

    def _message(self, body: bytes) -> bytes:
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"Accept: text/event-stream\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


API_KEY = os.environ.get("LANDLINE_BENCH_API_KEY", "none")
"""For servers that want one."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation goes on from turn to turn."""

    name: str
    is_socket: bool
    is_stored: bool
    sends_all: bool
    """Whether each turn sends the whole history; otherwise the id of the response before, and what is new."""


SOCKET = Way(name="socket", is_socket=True, is_stored=False, sends_all=False)
STORED_SOCKET = Way(name="socket, stored", is_socket=True, is_stored=True, sends_all=False)
CHAINED_HTTP = Way(name="HTTP, chained", is_socket=False, is_stored=True, sends_all=False)
FULL_HTTP = Way(name="HTTP, full history", is_socket=False, is_stored=False, sends_all=True)
WAYS = (SOCKET, STORED_SOCKET, CHAINED_HTTP, FULL_HTTP)


class Conversation:
    """A conversation on one connection."""

    def __init__(self, connection: Connection, model: str, way: Way, *, max_output_tokens: int | None = None) -> None:
        self._connection = connection
        self._way = way
        fields: dict[str, object] = {"model": model, "store": way.is_stored}
        fields |= {"type": "response.create"} if way.is_socket else {"stream": True}
        if max_output_tokens is not None:
            fields["max_output_tokens"] = max_output_tokens
        self._fields = fields
        self._said: list[msgspec.Raw] = []
        self._response_id: str | None = None

    async def ask(self, *messages: Mapping[str, str], is_paced: bool = False) -> Turn:
        """The next turn, after these messages. Its body is made before the turn's time begins. Raises `BenchError`."""
        new = [msgspec.Raw(msgspec.json.encode(each)) for each in messages]
        body: dict[str, object] = {**self._fields, "input": [*self._said, *new]}
        if self._response_id is not None:
            body["previous_response_id"] = self._response_id
        turn = Turn(is_paced=is_paced)
        await self._connection.ask(msgspec.json.encode(body), turn)
        ended = _ended(turn)
        if self._way.sends_all:
            answer = {"role": "assistant", "content": ended.text}
            self._said += [*new, msgspec.Raw(msgspec.json.encode(answer))]
        else:
            self._response_id = ended.id
        return turn

    def close(self) -> None:
        self._connection.close()


async def open_conversation(
    base_url: str, model: str, way: Way, *, max_output_tokens: int | None = None
) -> Conversation:
    """One on a connection of its own. Raises `BenchError`."""
    connection = await (open_socket(base_url) if way.is_socket else open_http(base_url))
    return Conversation(connection, model, way, max_output_tokens=max_output_tokens)


def user_message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def history_of(size_bytes: int, name: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn, of about so many bytes of JSON together; the name makes them like no others."""
    messages: list[dict[str, str]] = []
    while size_bytes > 0:
        text = f"{name}, message {len(messages)} ".ljust(min(size_bytes, _MESSAGE_BYTES) - _MESSAGE_FRAME_BYTES, "x")
        messages.append({"role": "assistant" if len(messages) % 2 else "user", "content": text})
        size_bytes -= _MESSAGE_BYTES
    return messages


_MESSAGE_BYTES = 1000
_MESSAGE_FRAME_BYTES = 40
"""Of a message's JSON without its text."""


class _Part(msgspec.Struct):
    text: str = ""


class _Item(msgspec.Struct):
    content: list[_Part] = []


class _Response(msgspec.Struct):
    id: str
    output: list[_Item] = []

    @property
    def text(self) -> str:
        return "".join(part.text for item in self.output for part in item.content)


class _Terminal(msgspec.Struct):
    response: _Response


_TERMINALS: msgspec.json.Decoder[_Terminal] = msgspec.json.Decoder(_Terminal)


def _ended(turn: Turn) -> _Response:
    """The response of a turn that ended. Raises `BenchError`."""
    try:
        return _TERMINALS.decode(turn.last[turn.last.index(b"{") :].rstrip()).response
    except (ValueError, msgspec.DecodeError) as error:
        raise BenchError(f"its terminal event cannot be read: {error}") from None
