"""One try to run a turn on a lane of an upstream socket: a frame out, its events in, and what the upstream keeps of it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import aiohttp
import msgspec

from landline.dialects.dialect import Prompt
from landline.dialects.responses import EventReader, Responses
from landline.upstream.http import HttpDeadlines, broken_off, unreachable
from landline.upstream.kept_response import KeptResponse
from landline.upstream.line import Ask, Seat
from landline.upstream.line_pool import LinePool
from landline.upstream.line_socket import TOO_LARGE_CODE, LaneFrames, LineSocket
from landline.upstream.oddities import OddityLog
from landline.wire.errors import ApiError, api_error
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


class LaneTurn:
    """One try of one turn. When `run` is through, `again` says whether there should be another one."""

    def __init__(
        self,
        target_name: str,
        prompt: Prompt,
        pool: LinePool,
        dialect: Responses,
        *,
        before: Again | None,
        max_frame_bytes: int,
        deadlines: HttpDeadlines,
        oddities: OddityLog,
    ) -> None:
        """`before`: what earlier tries have learned; None for the first."""
        self.again: Again | None = None
        self.is_delta = False
        """Whether only what is new was to be sent."""
        self._target_name = target_name
        self._prompt = prompt
        self._pool = pool
        self._dialect = dialect
        self._before = before
        self._max_frame_bytes = max_frame_bytes
        self._deadlines = deadlines
        self._oddities = oddities
        self._has_spoken = False
        """Whether an event of the response was passed on."""
        self._sent_on: LineSocket | None = None
        self._is_seated = False

    async def run(self) -> AsyncGenerator[list[ModelEvent], None]:
        """The turn's batches; none if it is to be tried again."""
        seat = await self._pool.take(self._ask())
        self._is_seated = True
        self.is_delta = seat.anchor is not None
        try:
            frame = self._build_frame(seat)
            if isinstance(frame, ApiError):
                yield [Failed(frame)]
            elif len(frame) > self._max_frame_bytes:
                self.again = self._learn(f"a frame of {len(frame)} bytes is too large", goes_over_http=True)
            else:
                failed = await self._connect(seat)
                if failed is not None:
                    yield [failed]
                elif self._sent_on is not None:
                    frames = self._sent_on.join(seat.lane.stream_id)
                    async with aclosing(self._exchange(seat, self._sent_on, frames, frame)) as batches:
                        async for batch in batches:
                            yield batch
        finally:
            self._give_up(seat)

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

    def _build_frame(self, seat: Seat) -> bytes | ApiError:
        history, anchor = self._prompt.history, seat.anchor
        items: Sequence[Item] | None = ()
        if history is not None:
            items = history.items_after(anchor.digest) if anchor is not None else history.all_items()
            assert items is not None, "the anchor was found by a digest of this history"
        return self._dialect.build_frame(
            self._prompt,
            items,
            previous_response_id=anchor.response_id if anchor is not None else None,
            stream_id=seat.lane.stream_id,
            omit_reasoning=self._before is not None and self._before.omits_reasoning,
        )

    async def _connect(self, seat: Seat) -> Failed | None:
        """Finds the line's socket, which may have to be opened; else what to say, or `again`."""
        try:
            self._sent_on = await self._pool.socket_of(seat.lane.line, self._dialect.headers(self._prompt))
        except aiohttp.WSServerHandshakeError as error:
            if error.status not in _NOT_SPOKEN_HERE:
                return Failed(self._refused(error))
            reason = f"the upgrade was refused with status {error.status}"
            self.again = self._learn(reason, goes_over_http=True, is_refused=True)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Failed(unreachable(self._target_name, error, self._deadlines))
        return None

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> ApiError:
        if error.status < 400:
            message = f"Target {self._target_name!r} answered an upgrade with status {error.status}: {error.message}."
            return api_error("upstream_error", message)
        return self._dialect.decode_error(error.status, error.headers or {}, b"")

    async def _exchange(
        self, seat: Seat, socket: LineSocket, frames: LaneFrames, frame: bytes
    ) -> AsyncGenerator[list[ModelEvent], None]:
        reader, kept = EventReader(), KeptResponse()
        meter, told_bytes = self._prompt.meter, 0
        silence = _Silence(self._deadlines.read_idle_s)
        try:
            meter.upstream_requests += 1
            meter.upstream_out_bytes += await socket.send(frame)
            while not reader.is_over:
                payloads = await silence.next_of(frames)
                meter.upstream_in_bytes += frames.wire_bytes - told_bytes
                told_bytes = frames.wire_bytes
                if payloads is None:
                    break
                events = _read(reader, payloads)
                silence.note(reader)
                for event in events:
                    if isinstance(event, Relayed):
                        kept.note(event)
                if reader.is_over:
                    self._oddities.tell(self._prompt.response_id, reader.oddities)
                    events = self._end(seat, socket, reader, kept, events)
                if events:
                    self._has_spoken = True
                    yield events
        except TimeoutError as error:
            yield [Failed(broken_off(self._target_name, error, self._deadlines))]
            return
        except (aiohttp.ClientError, OSError):
            pass  # the socket is lost: its end tells why
        if not reader.is_over:
            failed = self._cut(seat, socket)
            if failed is not None:
                yield [failed]

    def _end(
        self, seat: Seat, socket: LineSocket, reader: EventReader, kept: KeptResponse, events: list[ModelEvent]
    ) -> list[ModelEvent]:
        """Gives the seat back before the end is passed on: the next turn may follow at once."""
        last = events[-1]
        if isinstance(last, Finished):
            socket.leave(seat.lane.stream_id)
            self._is_seated = False
            self._pool.settle(seat, kept.anchor(self._prompt.history), self._prompt.request.instructions)
            return events
        assert isinstance(last, Failed)
        code = reader.failure.code if reader.failure is not None else last.error.code
        is_parent_gone = code == "previous_response_not_found"
        if not self._has_spoken:
            self.again = self._next_try(seat, code, last.error)
        # Behind an error in mid-response, something of that response may still come.
        is_unclean = reader.is_announced and not kept.is_ended
        is_line_over = code in _LINE_IS_OVER or is_unclean
        self._fail(seat, socket, is_parent_gone=is_parent_gone, is_line_over=is_line_over)
        if self.again is not None:
            return []
        if code in _ABOUT_THE_LINE:
            events[-1] = Failed(api_error("upstream_error", f"The target refused the turn twice: {last.error.message}"))
        return events

    def _next_try(self, seat: Seat, code: str, error: ApiError) -> Again | None:
        """How the turn may succeed that the upstream refused."""
        known = self._before or Again()
        if code in _LINE_IS_OVER and not known.needs_new_line:
            return self._learn(code, needs_new_line=True)
        if code == "previous_response_not_found" and seat.anchor is not None:
            return self._learn(code)
        if not known.omits_reasoning and self._dialect.retry_request(self._prompt, error) is not None:
            return self._learn(code, omits_reasoning=True)
        return None

    def _learn(self, reason: str, **changes: bool) -> Again:
        return msgspec.structs.replace(self._before or Again(), reason=reason, **changes)

    def _cut(self, seat: Seat, socket: LineSocket) -> Failed | None:
        """The socket was closed or lost in the turn."""
        self._fail(seat, socket, is_line_over=True)
        reason = socket.close_reason or "lost"
        if not self._has_spoken and socket.close_code == TOO_LARGE_CODE:
            self.again = self._learn(reason, goes_over_http=True)
        elif not self._has_spoken and not (self._before is not None and self._before.needs_new_line):
            self.again = self._learn(reason, needs_new_line=True)
        else:
            message = f"Target {self._target_name!r} broke off its answer: its socket was {reason}."
            return Failed(api_error("upstream_error", message))
        return None

    def _fail(
        self, seat: Seat, socket: LineSocket, *, is_parent_gone: bool = False, is_line_over: bool = False
    ) -> None:
        socket.leave(seat.lane.stream_id)
        self._is_seated = False
        if is_line_over:
            self._pool.retire(seat.lane.line)
        self._pool.fail(seat, is_parent_gone=is_parent_gone)

    def _give_up(self, seat: Seat) -> None:
        """Gives back the seat of a turn that nobody waits for any more, or that was never sent."""
        if not self._is_seated:
            return
        self._is_seated = False
        if self._sent_on is None:
            self._pool.leave(seat)
        else:
            self._pool.abandon(seat, self._sent_on)


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
        payloads = await frames.next(self._left_s)
        self._left_s -= self._loop.time() - began_at
        return payloads

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
