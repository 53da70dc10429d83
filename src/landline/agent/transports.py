"""The two ways to send a request and read its answer: a WebSocket that is kept between turns, and stateless HTTP with
server-sent events. Bytes are counted where they cross the operating system's socket.
"""

import asyncio
import socket
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
from aiohttp import WSMsgType

from landline.agent.answer import AnswerEventReader, ConnectionLost, Ending, UpgradeRefused, decode_failure, unreachable
from landline.upstream.line_socket import LineDeflated
from landline.wire.errors import ApiError
from landline.wire.sse import SseDecoder

MAX_FRAME_BYTES = 512 * 1024 * 1024
"""A full response with images is one frame; the limit is there for a broken server, not for a big answer."""
WINDOW_BITS = 15
"""Context takeover with the largest window saves most: the tools are in every frame (97 % against 86 % at 12 bits)."""

_CLOSE_TIMEOUT_S = 2.0
"""A peer that does not answer a close is not waited for."""
_NOT_SPOKEN_HERE = frozenset((200, 400, 403, 404, 405, 426, 501))
"""How servers without WebSocket mode answer an upgrade (403 is uvicorn's for a path without a socket route)."""


class SocketTransport:
    """The socket of one agent; at most one request is in flight."""

    def __init__(
        self, http: aiohttp.ClientSession, url: str, *, idle_timeout_s: float, compresses: bool = True
    ) -> None:
        self._http = http
        self._url = url
        self._idle_timeout_s = idle_timeout_s
        self._compresses = compresses
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def open(self) -> ApiError | ConnectionLost | UpgradeRefused | None:
        """Opens the socket if it is not open; None when it is."""
        if self._socket is not None and not self._socket.closed:
            return None
        try:
            self._socket = await self._http.ws_connect(
                self._url,
                compress=WINDOW_BITS if self._compresses else 0,
                max_msg_size=MAX_FRAME_BYTES,
                timeout=aiohttp.ClientWSTimeout(  # an attrs class without type information
                    ws_receive=self._idle_timeout_s,  # pyright: ignore[reportCallIssue]
                    ws_close=_CLOSE_TIMEOUT_S,  # pyright: ignore[reportCallIssue]
                ),
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _NOT_SPOKEN_HERE:
                return UpgradeRefused(error.status)
            return decode_failure(b"{}", status=error.status, headers=error.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return unreachable(self._url, error)
        if isinstance(self._socket, LineDeflated) and self._socket.compress:
            self._socket.deflate(WINDOW_BITS, zlib.DEF_MEM_LEVEL)
        return None

    @property
    def is_open(self) -> bool:
        return self._socket is not None and not self._socket.closed

    @property
    def is_compressed(self) -> bool:
        """Whether the server granted permessage-deflate."""
        return self._socket is not None and self._socket.compress > 0

    async def exchange(self, frame: bytes, on_event: Callable[[str | None], None]) -> Ending:
        """Sends one `response.create` on the open socket and reads to the end of its response.

        A response that broke off in the middle closes the socket: what may be left of it (some servers send
        `response.failed` behind an `error`) must not be read as the next one's.
        """
        assert self._socket is not None
        reader = AnswerEventReader()
        event_count = 0
        try:
            await self._socket.send_frame(frame, WSMsgType.TEXT)
            while reader.ending is None:
                message = await self._socket.receive()
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    reader.ending = ConnectionLost(self._reason(message))
                    break
                event_count += 1
                on_event(reader.feed(_bytes_of(message)))
        except TimeoutError:
            reader.ending = ConnectionLost(f"nothing came for {self._idle_timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            reader.ending = ConnectionLost(str(error) or type(error).__name__)
        if isinstance(reader.ending, ConnectionLost) or (isinstance(reader.ending, ApiError) and event_count > 1):
            await self.close()
        return reader.ending

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    def _reason(self, message: aiohttp.WSMessage) -> str:
        if message.type is WSMsgType.ERROR:
            return str(message.data)
        code = self._socket.close_code if self._socket is not None else None
        reason = str(message.extra) if message.extra else ""
        return f"closed with code {code}" + (f" ({reason})" if reason else "")


def _bytes_of(message: aiohttp.WSMessage) -> bytes:
    return message.data.encode() if isinstance(message.data, str) else bytes(message.data)


_HEADERS = {"content-type": "application/json", "accept": "text/event-stream"}
_REST_TIMEOUT_S = 1.0
"""A server that leaves the body open after its terminal event costs the next turn a new connection, not a wait."""


class HttpTransport:
    """POST with `stream: true`; connections are kept by the client session."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, idle_timeout_s: float) -> None:
        self._http = http
        self._url = url
        self._idle_timeout_s = idle_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=idle_timeout_s)

    async def exchange(self, body: bytes, on_event: Callable[[str | None], None]) -> Ending:
        """Sends one request and reads to the end of its response."""
        try:
            async with self._http.post(self._url, data=body, headers=_HEADERS, timeout=self._timeout) as response:
                if response.status >= 400:
                    return decode_failure(await response.read(), status=response.status, headers=response.headers)
                if response.content_type == "application/json":
                    return _whole(await response.read(), on_event)
                return await _read_events(response.content, on_event)
        except aiohttp.ClientConnectorError as error:
            return unreachable(self._url, error)
        except TimeoutError:
            return ConnectionLost(f"nothing came for {self._idle_timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return ConnectionLost(str(error) or type(error).__name__)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_MODELS: msgspec.json.Decoder[_Models] = msgspec.json.Decoder(_Models)


async def fetch_first_model(http: aiohttp.ClientSession, base_url: str) -> str | ApiError | ConnectionLost:
    """The first name the server lists under `/models`: what to ask for when nobody named a model."""
    try:
        async with http.get(f"{base_url}/models", timeout=aiohttp.ClientTimeout(total=30.0)) as response:
            body = await response.read()
            if response.status >= 400:
                return decode_failure(body, status=response.status, headers=response.headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return unreachable(base_url, error)
    try:
        models = _MODELS.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ConnectionLost(f"{base_url}/models is not a list of models; name one with --model")
    return models[0].id if models else ConnectionLost(f"{base_url} lists no model; name one with --model")


async def _read_events(stream: aiohttp.StreamReader, on_event: Callable[[str | None], None]) -> Ending:
    decoder = SseDecoder()
    reader = AnswerEventReader()
    async for chunk in stream.iter_any():
        _feed(reader, decoder.feed(chunk), on_event)
        if reader.ending is not None:
            await _read_rest(stream)
            return reader.ending
    _feed(reader, decoder.end(), on_event)
    return reader.ending or ConnectionLost("the stream ended before the response did")


def _feed(reader: AnswerEventReader, records: Iterable[bytes], on_event: Callable[[str | None], None]) -> None:
    for data in records:
        if data == b"[DONE]" or reader.ending is not None:
            return
        on_event(reader.feed(data))


async def _read_rest(stream: aiohttp.StreamReader) -> None:
    """Reads what follows the terminal event (`[DONE]`, the end of the body): only then can the connection be kept."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_REST_TIMEOUT_S):
            while not stream.at_eof():
                await stream.readany()


def _whole(body: bytes, on_event: Callable[[str | None], None]) -> Ending:
    reader = AnswerEventReader()
    on_event(reader.feed_whole(body))
    return reader.ending or ConnectionLost("the response was empty")


class SocketByteCounter:
    """Bytes handed to and taken from the kernel by all sockets made by `socket_factory`.

    Python's own event loops use the socket object and are counted; uvloop uses its file descriptor and is not: then both
    numbers stay 0. A connection that was used never has 0, so callers can detect that.
    """

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.received_bytes = 0

    def socket_factory(self, address: tuple[Any, ...]) -> socket.socket:
        """Makes a counted socket for an entry of `getaddrinfo` (the shape aiohttp's connector asks for)."""
        family, kind, proto = address[:3]
        return _CountedSocket(self, family, kind, proto)


class _CountedSocket(socket.socket):
    def __init__(self, count: SocketByteCounter, family: int, kind: int, proto: int) -> None:
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
