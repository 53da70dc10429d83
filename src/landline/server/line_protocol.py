"""uvicorn's WebSocket protocol with what a line needs: wide deflate windows, honest close codes, answers before closing."""

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, cast

from starlette.types import Message
from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.exceptions import PayloadTooBig
from websockets.frames import CTRL_OPCODES, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from landline.compression_budget import CompressionBudget
from landline.server.compression import LineDeflateFactory
from landline.server.connection import WIRE, BatchedTransport, WireCount
from landline.server.outbox import TEXT_FRAMES
from landline.wire.errors import CLOSE_ABNORMAL, api_error
from landline.wire.events import encode_event, error_frame

SWITCHING_PROTOCOLS = 101
LINGER_S = 10.0
"""How long a closed connection may take to read what was sent and to end its side."""
_FIN, _RSV1 = 0x80, 0x40
_SHORT_MAX, _MEDIUM_MAX = 125, 0xFFFF
"""RFC 6455 §5.2: payloads whose length stands in the second byte, and in the two bytes behind it."""
_MEDIUM, _LONG = struct.Struct("!BBH"), struct.Struct("!BBQ")


class LineProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection of the ASGI server.

    Differences from uvicorn 0.54: client and server windows of 15 bits instead of 12; a lost connection is reported as
    1006, not as the 1005 that an empty close frame means; an oversize message is answered by an error frame before the
    close frame; a peer that stays silent after the close is cut off; `shutdown` leaves open sockets to the app's drain;
    what every message costs on the wire is counted, and the memory that compression takes; `TEXT_FRAMES` sends many
    messages in one write.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        budget: CompressionBudget,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._is_failed = False
        self._is_upgraded = False
        self._max_bytes = config.ws_max_size
        self.wire = WireCount()
        self._deflate = LineDeflateFactory(budget)
        self.conn: CountingProtocol = CountingProtocol(
            extensions=[self._deflate] if config.ws_per_message_deflate else [],
            max_size=config.ws_max_size,
            logger=logging.getLogger("uvicorn.error"),
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if isinstance(transport, BatchedTransport):
            self.wire = transport.wire

    def data_received(self, data: bytes) -> None:
        """Reads bytes; what still arrives of a message that was refused is thrown away.

        First comes the upgrade, written anew by the HTTP protocol, which has counted the real one.
        """
        if self._is_upgraded:
            self.wire.received_bytes += len(data)
        self._is_upgraded = True
        if self._is_failed:
            return
        self.conn.receive_data(data)
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
            return
        self.handle_events()
        upload, is_partial = self.wire.upload, self.conn.is_in_frame
        if is_partial or upload.is_timing:
            upload.note_read(len(data), is_partial=is_partial)

    def handle_connect(self, event: Request) -> None:
        """The upgrade: the application's scope tells the connection's count."""
        self.conn.begin_frames()
        super().handle_connect(event)
        self.wire.compression = self._deflate.words
        if self.response.status_code == SWITCHING_PROTOCOLS:
            self.scope[WIRE] = self.wire  # type: ignore[typeddict-unknown-key]
            self.scope["extensions"][TEXT_FRAMES] = {}  # type: ignore[typeddict-unknown-key,index]

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """ASGI's `send`. Raises ClientDisconnected, an OSError, once nothing can be sent any more."""
        if message["type"] == "websocket.close":
            self.writable.set()  # a close frame fits behind whatever waits; those who wait find the connection closed
        if message["type"] != TEXT_FRAMES:
            await super().send(cast(Any, message))
            if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
                self.handshake_complete = True  # by a refusal; uvicorn would log an error for each
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not OPEN:
            raise ClientDisconnected
        self.transport.write(self.conn.serialize_texts(message["frames"]))

    def send_receive_event_to_app(self) -> None:
        """A whole message has come. One that comes after the application's close is thrown away."""
        size_bytes = self.conn.message_sizes.popleft()
        if not self.close_sent:
            self.wire.add_message(size_bytes)
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Ends the connection after bytes that break the protocol or the size limit."""
        self._is_failed = True
        refusal = self._oversize_error() if isinstance(self.conn.parser_exc, PayloadTooBig) else b""
        farewell = b"".join(self.conn.data_to_send())
        self.handle_events()
        closed = self.conn.close_sent
        code, reason = (closed.code, closed.reason) if closed is not None else (CLOSE_ABNORMAL, "")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(refusal + farewell)
        self._stop_sending()
        self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports a cut. If a close frame came first, its code is already queued before this one."""
        # Before uvicorn queues its own 1005: the application reads the first one only.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CLOSE_ABNORMAL})
        super().connection_lost(exc)
        self.wire.end()
        self._deflate.close()

    def keepalive_timeout(self) -> None:
        """Gives up on a peer that answers no ping: the app hears of it now, not when the full buffer is thrown away."""
        super().keepalive_timeout()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CLOSE_ABNORMAL})
        self._stop_sending()
        self.loop.call_later(LINGER_S, self.transport.abort)

    async def run_asgi(self) -> None:
        """Runs the app, then closes; a peer that does not read its last frames cannot keep the socket."""
        await super().run_asgi()
        if self in self.connections:
            self.loop.call_later(LINGER_S, self.transport.abort)

    def shutdown(self) -> None:
        """Called by uvicorn when the server stops: a handshake under way is refused, open sockets are drained by the app."""
        if not self.handshake_complete:
            super().shutdown()

    def _oversize_error(self) -> bytes:
        message = f"Expected messages of at most {self._max_bytes} bytes; this one is larger."
        payload = encode_event(error_frame(api_error("payload_too_large", message)))
        return Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=self.conn.extensions)

    def _stop_sending(self) -> None:
        self.close_sent = True
        self.disconnected = True
        self.writable.set()
        self.stop_keepalive()

    def _linger(self) -> None:
        """Ends our side only: closing while the peer still sends would reset the line and lose the error frame."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.close_timer = self.loop.call_later(LINGER_S, self.transport.abort)
        else:
            self.transport.close()


class CountingProtocol(ServerProtocol):
    """The WebSocket protocol, and how many bytes each message has on the wire: headers, fragments, as compressed."""

    def __init__(self, *, extensions: list[LineDeflateFactory], max_size: int | None, logger: logging.Logger) -> None:
        super().__init__(extensions=extensions, max_size=max_size, logger=logger)
        self.message_sizes: deque[int] = deque()
        """Of whole messages that came and were not handed on yet."""
        self._fed_bytes = 0
        self._read_to = 0
        self._message_bytes = 0

    def accept(self, request: Request) -> Response:
        """The answer to an upgrade. A refusal quotes its headers, so bytes in them that are no text become U+FFFD."""
        return super().accept(
            Request(request.path, Headers((name, _readable(value)) for name, value in request.headers.raw_items()))
        )

    def receive_data(self, data: bytes) -> None:
        self._fed_bytes += len(data)
        super().receive_data(data)

    def begin_frames(self) -> None:
        """What was read until now was the upgrade."""
        self._read_to = self._fed_bytes - len(self.reader.buffer)

    @property
    def is_in_frame(self) -> bool:
        """Whether a frame has begun and is incomplete. Clients send a frame in one go."""
        return self._fed_bytes > self._read_to

    def serialize_texts(self, texts: Iterable[bytes]) -> bytes:
        """The wire bytes of text messages (UTF-8), one frame each. The caller sends them."""
        extensions = self.extensions
        pieces: list[bytes] = []
        for text in texts:
            head = _FIN | Opcode.TEXT
            if extensions:
                frame = Frame(Opcode.TEXT, text)
                for extension in extensions:
                    frame = extension.encode(frame)
                text, head = bytes(frame.data), head | (_RSV1 if frame.rsv1 else 0)
            pieces.append(_head(head, len(text)))
            pieces.append(text)
        return b"".join(pieces)

    def recv_frame(self, frame: Frame) -> None:
        """A frame was read: its bytes are those between the end of the one before it and what is still unread."""
        read_to = self._fed_bytes - len(self.reader.buffer)
        if frame.opcode not in CTRL_OPCODES:
            self._message_bytes += read_to - self._read_to
            if frame.fin:
                self.message_sizes.append(self._message_bytes)
                self._message_bytes = 0
        self._read_to = read_to
        super().recv_frame(frame)


def _head(first: int, size_bytes: int) -> bytes:
    """A frame's header without a mask."""
    if size_bytes <= _SHORT_MAX:
        return bytes((first, size_bytes))
    if size_bytes <= _MEDIUM_MAX:
        return _MEDIUM.pack(first, _SHORT_MAX + 1, size_bytes)
    return _LONG.pack(first, _SHORT_MAX + 2, size_bytes)


def _readable(value: str) -> str:
    """A header's value without lone surrogates, which stand for bytes outside ASCII."""
    return value.encode(errors="surrogateescape").decode(errors="replace")
