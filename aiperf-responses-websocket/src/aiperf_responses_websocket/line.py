"""One socket: its lanes, the bytes that it carries, and its frames, handed to the exchange that each belongs to."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import orjson
from aiperf.transports.http_defaults import AioHttpDefaults
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.protocol import State

from aiperf_responses_websocket.exchange import Exchange, Json, RequestFailedError, error_of, read_event
from aiperf_responses_websocket.history import ServedHistory
from aiperf_responses_websocket.settings import TransportSettings

_PING_INTERVAL_S = 20.0
_CLOSE_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Lane:
    """One `stream_id` of a socket: at most one request in flight."""

    stream_id: str | None
    """None is the default lane, whose events carry no `stream_id`."""
    conversation_id: str | None = None
    """Who has the lane; None if it is free."""
    served: ServedHistory | None = None
    """What the server holds for the conversation that had it last."""
    served_to: str | None = None
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """When a frame was written, in ns of the performance counter, and its bytes on the wire."""

    started_ns: int
    ended_ns: int
    size_bytes: int


class Line:
    """A socket with a number of lanes. Opened by the first who calls `open`; when it has fallen, a new one takes its place."""

    def __init__(self, url: str, settings: TransportSettings) -> None:
        self._url = url
        self._settings = settings
        self._connection: _CountingConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        names = [None] if settings.lanes == 1 else [f"lane-{number}" for number in range(1, settings.lanes + 1)]
        self.lanes = [Lane(name) for name in names]

    @property
    def url(self) -> str:
        return self._url

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._connection.state is State.OPEN

    @property
    def has_fallen(self) -> bool:
        return self._connection is not None and self._connection.state is not State.OPEN

    async def open(self, headers: Mapping[str, str]) -> None:
        """Opens the socket unless it is open. Raises `RequestFailedError`."""
        async with self._writing:
            if self._connection is not None:
                return
            try:
                self._connection = await self._connect(headers)
            except InvalidStatus as error:
                status = error.response.status_code
                raise RequestFailedError("upgrade_refused", str(error), status=status) from error
            except (OSError, TimeoutError, WebSocketException) as error:
                raise RequestFailedError("connection_failed", f"{type(error).__name__}: {error}") from error
            self._reading = asyncio.create_task(self._read(self._connection))

    async def send(self, frame: Json) -> Sent:
        """Writes one event. Raises `RequestFailedError` if the socket has fallen."""
        data = orjson.dumps(frame)
        async with self._writing:
            connection = self._connection
            if connection is None:
                raise RequestFailedError("connection_lost", "The socket is not open.")
            before, started_ns = connection.sent_bytes, time.perf_counter_ns()
            try:
                await connection.send(data, text=True)
            except ConnectionClosed as error:
                raise RequestFailedError("connection_lost", str(error)) from error
            return Sent(started_ns, time.perf_counter_ns(), connection.sent_bytes - before)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        if self._reading is not None:
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _connect(self, headers: Mapping[str, str]) -> "_CountingConnection":
        extensions = [ClientPerMessageDeflateFactory(client_max_window_bits=15)] if self._settings.deflate else None
        connection = await connect(
            self._url,
            extensions=extensions,
            compression=None,
            additional_headers=dict(headers),
            user_agent_header=None,
            proxy=True if AioHttpDefaults.TRUST_ENV else None,
            open_timeout=self._settings.open_timeout_s,
            ping_interval=_PING_INTERVAL_S,
            ping_timeout=None,  # a busy server is slow, not gone; AIPerf's request timeout decides
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=None,
            ssl=_tls_context() if self._url.startswith("wss:") else None,
            create_connection=_CountingConnection,
        )
        assert isinstance(connection, _CountingConnection)
        return connection

    async def _read(self, connection: "_CountingConnection") -> None:
        seen_bytes = connection.received_bytes
        reason = "The socket was closed."
        try:
            async for text in connection:
                arrived_ns, size_bytes = time.perf_counter_ns(), connection.received_bytes - seen_bytes
                seen_bytes += size_bytes
                if isinstance(text, str):
                    await self._hand_over(text, arrived_ns, size_bytes)
        except ConnectionClosed as error:
            reason = str(error)
        finally:
            self._fail_all(RequestFailedError("connection_lost", connection.close_reason or reason))

    async def _hand_over(self, text: str, arrived_ns: int, size_bytes: int) -> None:
        event = read_event(text)
        stream_id = event.get("stream_id")
        for lane in self.lanes:
            if lane.stream_id == stream_id:
                if lane.exchange is not None:
                    await lane.exchange.take(event, text, perf_ns=arrived_ns, size_bytes=size_bytes)
                return
        if stream_id is None and event.get("type") == "error":  # of the connection, as its age limit is
            self._fail_all(error_of(event))

    def _fail_all(self, error: RequestFailedError) -> None:
        for lane in self.lanes:
            if lane.exchange is not None:
                lane.exchange.fail(RequestFailedError(error.code, str(error), status=error.status))


class _CountingConnection(ClientConnection):
    """Counts bytes as they are on the wire: after compression, before TLS, with the handshake."""

    received_bytes = 0
    sent_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.received_bytes += len(data)
        super().data_received(data)

    def send_data(self) -> None:
        self.sent_bytes += sum(map(len, self.protocol.writes))
        super().send_data()


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not AioHttpDefaults.SSL_VERIFY:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
