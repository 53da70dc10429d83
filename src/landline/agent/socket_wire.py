"""One request over a WebSocket: opened when needed, kept between turns."""

from collections.abc import Callable

import aiohttp
from aiohttp import WSMsgType

from landline.agent.answer import AnswerReader, Ending
from landline.agent.failures import Cut, UpgradeRefused, decode_failure, unreachable
from landline.wire.errors import ApiError

MAX_FRAME_BYTES = 512 * 1024 * 1024
"""A full response with images is one frame; the limit is there for a broken server, not for a big answer."""
WINDOW_BITS = 15
"""Context takeover with the largest window saves most: the tools are in every frame (97 % against 86 % at 12 bits)."""

_CLOSE_TIMEOUT_S = 2.0
"""A peer that does not answer a close is not waited for."""
_NOT_SPOKEN_HERE = frozenset((200, 400, 403, 404, 405, 426, 501))
"""How servers without WebSocket mode answer an upgrade (403 is uvicorn's for a path without a socket route)."""


class SocketWire:
    """The socket of one agent; at most one request is in flight."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, idle_timeout_s: float) -> None:
        self._http = http
        self._url = url
        self._idle_timeout_s = idle_timeout_s
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def open(self) -> ApiError | Cut | UpgradeRefused | None:
        """Opens the socket if it is not open; None when it is."""
        if self._socket is not None and not self._socket.closed:
            return None
        try:
            self._socket = await self._http.ws_connect(
                self._url,
                compress=WINDOW_BITS,
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
        reader = AnswerReader()
        event_count = 0
        try:
            await self._socket.send_frame(frame, WSMsgType.TEXT)
            while reader.ending is None:
                message = await self._socket.receive()
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    reader.ending = Cut(self._reason(message))
                    break
                event_count += 1
                on_event(reader.feed(_bytes_of(message)))
        except TimeoutError:
            reader.ending = Cut(f"nothing came for {self._idle_timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            reader.ending = Cut(str(error) or type(error).__name__)
        if isinstance(reader.ending, Cut) or (isinstance(reader.ending, ApiError) and event_count > 1):
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
