"""The agent's connection to one server: picks the transport, retries, and measures each turn. `loop` asks through it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, assert_never

import aiohttp
import msgspec

from landline.agent.answer import ConnectionLost, Ending, ModelAnswer, UpgradeRefused, describe, next_step, wait_s
from landline.agent.conversation import ContinuationPoint, ConversationLog, ToolChoiceWord
from landline.agent.transports import HttpTransport, SocketByteCounter, SocketTransport, fetch_first_model
from landline.upstream.line_socket import LineDeflated
from landline.wire.errors import ApiError

Transport = Literal["ws", "http"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one turn and what it cost, all its attempts together."""

    ending: ModelAnswer | ApiError | ConnectionLost
    transport: Transport
    """The transport of the last attempt."""
    is_delta: bool
    """Whether the last request held only new items."""
    payload_bytes: int
    """JSON sent, before compression and framing."""
    stateless_bytes: int
    """The JSON body of the same request over stateless HTTP."""
    wire_sent_bytes: int | None
    """Bytes that left the socket, handshakes and headers included; None where they cannot be counted (see SocketByteCounter)."""
    wire_received_bytes: int | None
    first_event_s: float | None
    first_delta_s: float | None
    """Until the model's first output (text, reasoning or arguments)."""
    total_s: float
    """Connecting, waiting and every attempt included."""
    notes: tuple[str, ...]
    """What failed before the last attempt, and how it was handled."""


class TurnMeter:
    """Counts and times one turn."""

    def __init__(
        self, count: SocketByteCounter, on_text: Callable[[str], None], on_note: Callable[[str], None]
    ) -> None:
        self._count = count
        self._on_text = on_text
        self._on_note = on_note
        self._sent_before = count.sent_bytes
        self._received_before = count.received_bytes
        self._started = time.perf_counter()
        self._first_event_s: float | None = None
        self._first_delta_s: float | None = None
        self._payload_bytes = 0
        self._notes: list[str] = []
        self.is_delta = False

    def sent(self, size_bytes: int, *, is_delta: bool) -> None:
        self._payload_bytes += size_bytes
        self.is_delta = is_delta

    def event(self, text: str | None) -> None:
        """Takes what `AnswerEventReader.feed` made of an event."""
        if self._first_event_s is None:
            self._first_event_s = time.perf_counter() - self._started
        if text is not None and self._first_delta_s is None:
            self._first_delta_s = time.perf_counter() - self._started
        if text:
            self._on_text(text)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._on_note(text)

    def exchange(
        self, ending: ModelAnswer | ApiError | ConnectionLost, transport: Transport, stateless_bytes: int
    ) -> Exchange:
        is_counted = self._count.sent_bytes > 0
        return Exchange(
            ending=ending,
            transport=transport,
            is_delta=self.is_delta,
            payload_bytes=self._payload_bytes,
            stateless_bytes=stateless_bytes,
            wire_sent_bytes=self._count.sent_bytes - self._sent_before if is_counted else None,
            wire_received_bytes=self._count.received_bytes - self._received_before if is_counted else None,
            first_event_s=self._first_event_s,
            first_delta_s=self._first_delta_s,
            total_s=time.perf_counter() - self._started,
            notes=tuple(self._notes),
        )


MAX_WAITS = 5
MAX_WAIT_S = 120.0
"""A server that asks for more has no capacity for this run."""
MAX_REFUSED_DELTAS = 2
"""After so many in a row, the server is taken as one that cannot continue responses."""
DEFAULT_IDLE_TIMEOUT_S = 300.0
"""Without any event; Codex CLI waits as long."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is and how to speak to it."""

    base_url: str
    """With the version: `http://127.0.0.1:8080/v1`."""
    transport: Transport = "ws"
    compresses: bool = True
    """Whether a socket offers permessage-deflate."""
    chains: bool = False
    """Whether HTTP stores responses and continues them by id, instead of sending the full history."""
    api_key: str | None = None
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S


@asynccontextmanager
async def open_connection(
    endpoint: Endpoint, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncGenerator["ServerConnection"]:
    """A line for one conversation; the socket itself opens with the first turn."""
    count = SocketByteCounter()
    headers = {"authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else None
    connector = aiohttp.TCPConnector(socket_factory=count.socket_factory)
    async with aiohttp.ClientSession(connector=connector, headers=headers, ws_response_class=LineDeflated) as http:
        connection = ServerConnection(endpoint, http, count, sleep)
        try:
            yield connection
        finally:
            await connection.close()


class ServerConnection:
    """Made by `open_connection`."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: aiohttp.ClientSession,
        count: SocketByteCounter,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._http = http
        self._count = count
        self._sleep = sleep
        self._base_url = endpoint.base_url.rstrip("/")
        socket_url = "ws" + self._base_url.removeprefix("http") + "/responses"
        self._socket = SocketTransport(
            http, socket_url, idle_timeout_s=endpoint.idle_timeout_s, compresses=endpoint.compresses
        )
        self._chains = endpoint.chains
        self._posts = HttpTransport(http, self._base_url + "/responses", idle_timeout_s=endpoint.idle_timeout_s)
        self._transport: Transport = endpoint.transport
        self._anchor: ContinuationPoint | None = None
        self._refused_deltas = 0

    async def close(self) -> None:
        await self._socket.close()

    async def fetch_first_model(self) -> str | ApiError | ConnectionLost:
        return await fetch_first_model(self._http, self._base_url)

    async def ask(
        self,
        conversation: ConversationLog,
        tool_choice: ToolChoiceWord,
        *,
        on_text: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Exchange:
        """Gets the response to the conversation as it stands and appends its items to it."""
        meter = TurnMeter(self._count, on_text, on_note)
        stateless_bytes = conversation.stateless_bytes(tool_choice)
        ending = await self._ask_until_settled(conversation, tool_choice, meter)
        if isinstance(ending, ModelAnswer):
            conversation.append(ending.items)
            self._anchor = None
            if ending.response_id is not None and self._refused_deltas < MAX_REFUSED_DELTAS:
                self._anchor = ContinuationPoint(ending.response_id, conversation.item_count)
        return meter.exchange(ending, self._transport, stateless_bytes)

    async def _ask_until_settled(
        self, conversation: ConversationLog, tool_choice: ToolChoiceWord, meter: TurnMeter
    ) -> ModelAnswer | ApiError | ConnectionLost:
        waits, resends = MAX_WAITS, 1
        while True:
            ending = await self._attempt(conversation, tool_choice, meter)
            match ending:
                case ModelAnswer():
                    self._refused_deltas = 0 if meter.is_delta else self._refused_deltas
                    return ending
                case UpgradeRefused(status):
                    meter.note(f"no WebSocket here (status {status}): continuing over HTTP")
                    self._transport = "http"
                    continue
                case ConnectionLost():
                    step = "reconnect" if ending.is_worth_retrying else "give_up"
                case ApiError():
                    step = next_step(ending, is_delta=meter.is_delta)
                case _:
                    assert_never(ending)
            self._anchor = None
            match step:
                case "give_up":
                    return ending
                case "wait":
                    if waits == 0 or not await self._wait(ending, meter):
                        return ending
                    waits -= 1
                case "resend" | "reconnect":
                    if resends == 0:
                        return ending
                    resends -= 1
                    await self._prepare_resend(step, ending, meter)
                case _:
                    assert_never(step)

    async def _attempt(
        self, conversation: ConversationLog, tool_choice: ToolChoiceWord, meter: TurnMeter
    ) -> Ending | UpgradeRefused:
        if self._transport == "http":
            if self._chains:
                body = conversation.stored_http_body(tool_choice, self._anchor)
            else:
                body = conversation.http_body(tool_choice)
            meter.sent(len(body), is_delta=self._chains and self._anchor is not None)
            return await self._posts.exchange(body, meter.event)
        if not self._socket.is_open:
            self._anchor = None
            refused = await self._socket.open()
            if refused is not None:
                return refused
        frame = conversation.frame(tool_choice, self._anchor)
        meter.sent(len(frame), is_delta=self._anchor is not None)
        return await self._socket.exchange(frame, meter.event)

    async def _wait(self, failure: Ending | UpgradeRefused, meter: TurnMeter) -> bool:
        assert isinstance(failure, ApiError)
        seconds = wait_s(failure)
        if seconds > MAX_WAIT_S:
            return False
        meter.note(f"{describe(failure)}; waiting {seconds:g} s")
        await self._sleep(seconds)
        return True

    async def _prepare_resend(
        self, step: Literal["resend", "reconnect"], why: ApiError | ConnectionLost, meter: TurnMeter
    ) -> None:
        meter.note(
            f"{describe(why)}; sending the full history" + (" on a new connection" if step == "reconnect" else "")
        )
        if step == "reconnect":
            await self._socket.close()
        elif meter.is_delta:
            self._refused_deltas += 1
