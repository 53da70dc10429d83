"""One try to run a turn on a lane of an upstream socket: a frame out, its events in, and what the upstream keeps of it."""

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from landline.dialects.dialect import Prompt
from landline.dialects.responses import EventReader, Responses
from landline.upstream.http_reply import HttpDeadlines, broken_off, unreachable
from landline.upstream.kept_response import KeptResponse
from landline.upstream.line import Ask, LaneSeat
from landline.upstream.line_pool import LinePool
from landline.upstream.line_socket import LaneFrames, LineSocket
from landline.upstream.oddities import OddityLog
from landline.upstream.target import Traffic
from landline.wire.errors import CLOSE_TOO_LARGE, ApiError, api_error
from landline.wire.items import Item
from landline.wire.model_events import Failed, Finished, ModelEvent, Relayed

_NOT_SPOKEN_HERE = frozenset((404, 405, 426, 501))
"""How servers without WebSocket mode answer an upgrade."""
_LINE_IS_OVER = frozenset(("websocket_connection_limit_reached", "websocket_stream_limit_reached"))
_ABOUT_THE_LINE = _LINE_IS_OVER | {"previous_response_not_found", "invalid_stream_id"}
"""Errors about what is between Landline and its upstream; our client could do nothing about them."""


class Again(msgspec.Struct, frozen=True):
    """Why a turn of which nothing was passed on is to be tried once more, and how: always with its whole history.

    What one try has learned holds for those after it, so that no reason comes twice.
    """

    reason: str = ""
    needs_new_line: bool = False
    omits_reasoning: bool = False
    goes_over_http: bool = False
    is_refused: bool = False
    """Whether the upstream takes no sockets at all."""


class SocketUpstream(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An upstream that takes turns on sockets, and what all of them have in common."""

    name: str
    """The target's, for messages and the log."""
    pool: LinePool
    dialect: Responses
    oddities: OddityLog
    max_frame_bytes: int
    deadlines: HttpDeadlines


class LaneTurn:
    """One try of one turn. When `open` is through, `again` says whether there should be another one."""

    def __init__(self, upstream: SocketUpstream, prompt: Prompt, traffic: Traffic, before: Again | None = None) -> None:
        """`before`: what earlier tries have learned; None for the first."""
        self.again: Again | None = None
        self.is_delta = False
        """Whether only what is new was to be sent."""
        self._upstream = upstream
        self._prompt = prompt
        self._traffic = traffic
        self._before = before
        self._has_spoken = False
        """Whether an event of the response was passed on."""
        self._seat: LaneSeat | None = None
        """Until it is given back."""
        self._sent_on: LineSocket | None = None
        self._frames: LaneFrames | None = None
        """What comes for the turn; None before it was sent and once it is over."""
        self._counted_bytes = 0
        self._reader = EventReader()
        self._kept = KeptResponse()
        self._silence = _Silence(upstream.deadlines.read_idle_s)

    @property
    def has_more(self) -> bool:
        """As `Reply.has_more`."""
        return self._frames is not None and self._frames.has_more

    async def open(self) -> list[ModelEvent]:
        """Sends the turn; its first batch, or nothing if it is to be tried again."""
        seat = self._seat = await self._upstream.pool.take(self._ask())
        self.is_delta = seat.anchor is not None
        frame = self._build_frame(seat)
        if isinstance(frame, ApiError):
            return [Failed(frame)]
        if len(frame) > self._upstream.max_frame_bytes:
            self.again = self._learn(f"a frame of {len(frame)} bytes is too large", goes_over_http=True)
            return []
        failed = await self._connect(seat)
        if failed is not None or self._sent_on is None:
            return [failed] if failed is not None else []
        socket = self._sent_on
        self._frames = socket.join(seat.lane.stream_id)
        self._traffic.requests += 1
        try:
            self._traffic.sent_bytes += await socket.send(frame)
        except TimeoutError as error:
            self._frames = None
            return [self._broken_off(error)]
        except (aiohttp.ClientError, OSError):
            return self._cut()
        return await self.read()

    async def read(self) -> list[ModelEvent]:
        """As `Reply.read`."""
        while self._frames is not None:
            try:
                payloads = await self._silence.next_of(self._frames)
            except TimeoutError as error:
                self._frames = None
                return [self._broken_off(error)]
            self._count(self._frames)
            if payloads is None:
                return self._cut()
            events = _read(self._reader, payloads)
            self._silence.note(self._reader)
            for event in events:
                if isinstance(event, Relayed):
                    self._kept.note(event)
            if self._reader.is_over:
                self._frames = None
                self._upstream.oddities.tell(self._prompt.response_id, self._reader.oddities)
                events = self._end(events)
            if events:
                self._has_spoken = True
                return events
        return []

    def close(self) -> None:
        """Gives back the seat of a turn that nobody waits for any more, or that was never sent."""
        if self._frames is not None:
            self._count(self._frames)
            self._frames = None
        seat, self._seat = self._seat, None
        if seat is None:
            return
        if self._sent_on is None:
            self._upstream.pool.leave(seat)
        else:
            self._upstream.pool.abandon(seat, self._sent_on)

    def _count(self, frames: LaneFrames) -> None:
        self._traffic.received_bytes += frames.wire_bytes - self._counted_bytes
        self._counted_bytes = frames.wire_bytes

    def _broken_off(self, error: Exception) -> Failed:
        return Failed(broken_off(self._upstream.name, error, self._upstream.deadlines))

    def _ask(self) -> Ask:
        prompt, before = self._prompt, self._before
        return Ask(
            tenant=prompt.tenant,
            model=prompt.model,
            history=prompt.history,
            instructions=prompt.request.instructions,
            line_id=prompt.line_id,
            lane_key=prompt.affinity_key,
            is_whole=before is not None,
            needs_new_line=before is not None and before.needs_new_line,
        )

    def _build_frame(self, seat: LaneSeat) -> bytes | ApiError:
        history, anchor = self._prompt.history, seat.anchor
        items: Sequence[Item] | None = ()
        if history is not None:
            items = history.items_after(anchor.digest) if anchor is not None else history.all_items()
            assert items is not None, "the anchor was found by a digest of this history"
        return self._upstream.dialect.build_frame(
            self._prompt,
            items,
            previous_response_id=anchor.response_id if anchor is not None else None,
            stream_id=seat.lane.stream_id,
            omit_reasoning=self._before is not None and self._before.omits_reasoning,
        )

    async def _connect(self, seat: LaneSeat) -> Failed | None:
        """Finds the line's socket, which may have to be opened; else what to say, or `again`."""
        try:
            self._sent_on = await self._upstream.pool.socket_of(
                seat.lane.line, self._upstream.dialect.headers(self._prompt)
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status not in _NOT_SPOKEN_HERE:
                return Failed(self._refused(error))
            reason = f"the upgrade was refused with status {error.status}"
            self.again = self._learn(reason, goes_over_http=True, is_refused=True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failed(unreachable(self._upstream.name, error, self._upstream.deadlines))
        return None

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> ApiError:
        if error.status < 400:
            message = f"Target {self._upstream.name!r} answered an upgrade with status {error.status}: {error.message}."
            return api_error("upstream_error", message)
        return self._upstream.dialect.decode_error(error.status, error.headers or {}, b"")

    def _end(self, events: list[ModelEvent]) -> list[ModelEvent]:
        """Gives the seat back before the end is passed on: the next turn may follow at once."""
        last, seat, socket = events[-1], self._seat, self._sent_on
        assert seat is not None
        assert socket is not None
        if isinstance(last, Finished):
            socket.leave(seat.lane.stream_id)
            self._seat = None
            anchor = self._kept.anchor(self._prompt.history)
            self._upstream.pool.settle(seat, anchor, self._prompt.request.instructions)
            return events
        assert isinstance(last, Failed)
        failure = self._reader.failure
        code = failure.code if failure is not None else last.error.code
        if not self._has_spoken:
            self.again = self._next_try(seat, code, last.error)
        # Behind an error in mid-response, something of that response may still come.
        is_unclean = self._reader.is_announced and not self._kept.is_ended
        self._fail(
            is_parent_gone=code == "previous_response_not_found", is_line_over=code in _LINE_IS_OVER or is_unclean
        )
        if self.again is not None:
            return []
        if code in _ABOUT_THE_LINE:
            events[-1] = Failed(api_error("upstream_error", f"The target refused the turn twice: {last.error.message}"))
        return events

    def _next_try(self, seat: LaneSeat, code: str, error: ApiError) -> Again | None:
        """How the turn may succeed that the upstream refused."""
        known = self._before or Again()
        if code in _LINE_IS_OVER and not known.needs_new_line:
            return self._learn(code, needs_new_line=True)
        if code == "previous_response_not_found" and seat.anchor is not None:
            return self._learn(code)
        if not known.omits_reasoning and self._upstream.dialect.retry_request(self._prompt, error) is not None:
            return self._learn(code, omits_reasoning=True)
        return None

    def _learn(self, reason: str, **changes: bool) -> Again:
        return msgspec.structs.replace(self._before or Again(), reason=reason, **changes)

    def _cut(self) -> list[ModelEvent]:
        """The socket was closed or lost in the turn."""
        socket = self._sent_on
        assert socket is not None
        self._frames = None
        self._fail(is_line_over=True)
        reason = socket.close_reason or "lost"
        if not self._has_spoken and socket.close_code == CLOSE_TOO_LARGE:
            self.again = self._learn(reason, goes_over_http=True)
        elif not self._has_spoken and not (self._before is not None and self._before.needs_new_line):
            self.again = self._learn(reason, needs_new_line=True)
        else:
            message = f"Target {self._upstream.name!r} broke off its answer: its socket was {reason}."
            return [Failed(api_error("upstream_error", message))]
        return []

    def _fail(self, *, is_parent_gone: bool = False, is_line_over: bool = False) -> None:
        seat, self._seat = self._seat, None
        assert seat is not None
        assert self._sent_on is not None
        self._sent_on.leave(seat.lane.stream_id)
        if is_line_over:
            self._upstream.pool.retire(seat.lane.line)
        self._upstream.pool.fail(seat, is_parent_gone=is_parent_gone)


class _Silence:
    """How long nothing of the response has come: keepalive events do not end a silence."""

    __slots__ = ("_left_s", "_limit_s", "_loop", "_signs")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = self._left_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._signs = 0

    async def next_of(self, frames: LaneFrames) -> list[bytes] | None:
        """The turn's next frames. Raises TimeoutError when the silence lasts too long; a slow client's time is not counted."""
        began_at = self._loop.time()
        try:
            return await frames.next(self._left_s)
        finally:
            self._left_s -= self._loop.time() - began_at

    def note(self, reader: EventReader) -> None:
        """The reader was given what came."""
        if reader.signs > self._signs:
            self._signs, self._left_s = reader.signs, self._limit_s


def _read(reader: EventReader, payloads: list[bytes]) -> list[ModelEvent]:
    """The events of the frames up to the end of the response; what comes behind it means nothing."""
    events: list[ModelEvent] = []
    for payload in payloads:
        events += reader.read(payload)
    return events
