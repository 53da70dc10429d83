"""One turn of a conversation: what is sent for it, on which socket, and what is done when that fails."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiperf_responses_websocket.exchange import Exchange, Json, OnFirstToken, RequestFailedError
from aiperf_responses_websocket.history import create_frame, full_input, hash_items, new_items, remember, warm_up_frame
from aiperf_responses_websocket.line import Lane, Sent
from aiperf_responses_websocket.lines import Lines, Seat
from aiperf_responses_websocket.settings import TransportSettings

_SOCKET_IS_USELESS = frozenset(("connection_lost", "connection_failed", "websocket_connection_limit_reached"))


@dataclass(frozen=True, kw_only=True)
class TurnRequest:
    """What AIPerf asks for. `payload` is a create body with the full history."""

    url: str
    headers: Mapping[str, str]
    payload: Mapping[str, object]
    conversation_id: str
    parent_id: str | None = None
    root_id: str | None = None
    is_first: bool = False
    is_warm_up: bool = False
    """AIPerf's warm-up phase."""


@dataclass(slots=True)
class TurnTimes:
    """In ns of the performance counter; None for what did not happen."""

    started_ns: int = field(default_factory=time.perf_counter_ns)
    started_at_ns: int = field(default_factory=time.time_ns)
    """The same moment by the wall clock, since the epoch."""
    connect_started_ns: int | None = None
    connected_ns: int | None = None
    reused_ns: int | None = None
    sent: Sent | None = None


class GivenUpError(Exception):
    """The client was to give up on the answer after a time, and did."""


class Turn:
    """Asks once, and once more in full where the API's guide says so: a lost socket, a forgotten response, an age limit."""

    def __init__(
        self, lines: Lines, settings: TransportSettings, request: TurnRequest, on_first_token: OnFirstToken | None
    ) -> None:
        self._lines = lines
        self._settings = settings
        self._request = request
        self._on_first_token = on_first_token
        self._items = full_input(request.payload)
        self._hashes = hash_items(self._items)
        self.times = TurnTimes()
        self.seat: Seat | None = None
        self.exchange: Exchange | None = None
        """The last one; its messages are the answer."""

    async def run(self, *, give_up_s: float | None = None) -> Json:
        """The final response object. Raises `RequestFailedError`; `GivenUpError` if none came within `give_up_s` after the
        request was sent."""
        seat = self._sit_down()
        could_be_stale = seat.line.is_open or seat.lane.served is not None
        try:
            await self._open(seat)
            if self._settings.prewarm and self._request.is_first:
                await self._prewarm(seat)
            return await self._ask(seat, give_up_s)
        except RequestFailedError as error:
            self._forget(seat, error)
            if not (could_be_stale and error.is_repeatable):
                raise
        seat = self._sit_down()
        try:
            await self._open(seat)
            return await self._ask(seat, give_up_s)
        except RequestFailedError as error:
            self._forget(seat, error)
            raise

    def _sit_down(self) -> Seat:
        request = self._request
        self.seat = self._lines.seat(
            request.url, request.conversation_id, parent_id=request.parent_id, root_id=request.root_id
        )
        return self.seat

    async def _open(self, seat: Seat) -> None:
        if seat.line.is_open:
            self.times.reused_ns = time.perf_counter_ns()
            return
        self.times.connect_started_ns = time.perf_counter_ns()
        await seat.line.open(self._request.headers)
        self.times.connected_ns = time.perf_counter_ns()

    async def _prewarm(self, seat: Seat) -> None:
        """The first request without an answer, before the measured time: what follows continues it with nothing new."""
        await self._exchange(seat, warm_up_frame(self._frame(seat.lane)), None)
        self.times = TurnTimes(reused_ns=time.perf_counter_ns())

    async def _ask(self, seat: Seat, give_up_s: float | None) -> Json:
        frame = self._frame(seat.lane)
        if self._request.is_warm_up and self._settings.warmup_phase == "prefill":
            frame = warm_up_frame(frame)
        return await self._exchange(seat, frame, give_up_s, on_first_token=self._on_first_token)

    def _frame(self, lane: Lane) -> Json:
        payload, items, response_id = self._request.payload, self._items, None
        if lane.served is not None and self._settings.history == "delta" and "previous_response_id" not in payload:
            unsent = new_items(items, self._hashes, lane.served)
            if unsent is not None:
                items, response_id = unsent, lane.served.response_id
        return create_frame(payload, items, previous_response_id=response_id, stream_id=lane.stream_id)

    async def _exchange(
        self, seat: Seat, frame: Json, give_up_s: float | None, *, on_first_token: OnFirstToken | None = None
    ) -> Json:
        lane = seat.lane
        exchange = Exchange(started_ns=self.times.started_ns, on_first_token=on_first_token)
        lane.exchange = self.exchange = exchange
        try:
            self.times.sent = await seat.line.send(frame)
            async with asyncio.timeout(give_up_s):
                response = await exchange.response()
        except TimeoutError as error:
            raise GivenUpError from error
        finally:
            lane.exchange = None
        lane.served = remember(response, self._hashes, exchange.output)
        lane.served_to = self._request.conversation_id
        return response

    def _forget(self, seat: Seat, error: RequestFailedError) -> None:
        """A server drops what a failed request continued, so the next one has to bring everything."""
        seat.lane.served = None
        if error.code in _SOCKET_IS_USELESS:
            self._lines.drop(seat.line)
