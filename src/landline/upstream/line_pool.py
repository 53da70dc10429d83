"""The open sockets of a target: opened for turns, waited for in order, closed when they are old, idle or in the way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from landline.upstream.line import Ask, LaneSeat, Line
from landline.upstream.line_socket import LineSocket
from landline.upstream.lines import Lines

OpenSocket = Callable[[Mapping[str, str], Callable[[], None]], Awaitable[LineSocket]]
"""Opens a socket with these headers; the function is called when it is closed or lost."""


class LinePool:
    """The book of lines with the sockets behind it. Seats are given back as `Lines` says, through here."""

    def __init__(self, lines: Lines, open_socket: OpenSocket, clock: Callable[[], float]) -> None:
        self._lines = lines
        self._open_socket = open_socket
        self._clock = clock
        self._sockets: dict[Line, asyncio.Task[LineSocket]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[Ask, asyncio.Future[LaneSeat]]] = deque()

    @property
    def open_count(self) -> int:
        """Sockets that are open or being opened."""
        return len(self._sockets)

    async def take(self, ask: Ask) -> LaneSeat:
        """A place for the turn; waits in order while every line is busy."""
        seat: asyncio.Future[LaneSeat] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, seat))
        self._tidy()
        try:
            return await seat
        except asyncio.CancelledError:
            if seat.done() and not seat.cancelled():
                self.leave(seat.result())
            raise

    async def socket_of(self, line: Line, headers: Mapping[str, str]) -> LineSocket:
        """The line's socket, opened if it is not. Raises what opening raises, for every turn that waits for it."""
        opening = self._sockets.get(line)
        if opening is None:
            opening = self._sockets[line] = asyncio.create_task(self._open(line, headers))
            opening.add_done_callback(_take_note)
        return await asyncio.shield(opening)

    def settle(self, seat: LaneSeat, anchor: tuple[bytes, str] | None, instructions: str | None) -> None:
        """The turn ended well."""
        self._lines.settle(seat, anchor, instructions, self._clock())
        self._tidy()

    def fail(self, seat: LaneSeat, *, is_parent_gone: bool = False) -> None:
        """The turn failed."""
        self._lines.fail(seat, self._clock(), is_parent_gone=is_parent_gone)
        self._tidy()

    def leave(self, seat: LaneSeat) -> None:
        """Nothing was sent for the turn."""
        self._lines.leave(seat, self._clock())
        self._tidy()

    def abandon(self, seat: LaneSeat, socket: LineSocket) -> None:
        """Nobody waits for the turn, which was sent and is not over."""
        lane = seat.lane
        if self._lines.abandon(seat):
            socket.drain(lane.stream_id, lambda: self._free(seat))
        self._tidy()

    def retire(self, line: Line) -> None:
        """No more turns on this line."""
        self._lines.retire(line)
        self._tidy()

    def close_idle(self) -> None:
        """Closes the lines that are too old, or idle for too long."""
        self._lines.expire(self._clock())
        self._tidy()

    async def close(self) -> None:
        """Closes every socket."""
        for line in self._lines.all:
            self._lines.drop(line)
        for line in tuple(self._sockets):
            self._close(line)
        while self._closing:
            await asyncio.wait(self._closing)

    async def _open(self, line: Line, headers: Mapping[str, str]) -> LineSocket:
        try:
            return await self._open_socket(headers, lambda: self._lost(line))
        except BaseException:
            self._lost(line)
            raise

    def _lost(self, line: Line) -> None:
        self._sockets.pop(line, None)
        self._lines.drop(line)
        self._tidy()

    def _free(self, seat: LaneSeat) -> None:
        self._lines.free(seat.lane, self._clock())
        self._tidy()

    def _tidy(self) -> None:
        """Seats those who wait, in order, and closes what left the book."""
        now = self._clock()
        still: deque[tuple[Ask, asyncio.Future[LaneSeat]]] = deque()
        while self._waiting:
            ask, waiter = self._waiting.popleft()
            if waiter.done():
                continue
            seat = self._lines.choose(ask, now)
            if seat is None:
                still.append((ask, waiter))
            else:
                waiter.set_result(seat)
        self._waiting = still
        leaving, self._lines.leaving = self._lines.leaving, []
        for line in leaving:
            self._close(line)

    def _close(self, line: Line) -> None:
        opening = self._sockets.pop(line, None)
        if opening is not None:
            task = asyncio.create_task(_close(opening))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _take_note(opening: asyncio.Task[LineSocket]) -> None:
    """What went wrong is told to the turns that wait; if none does any more, it is of no interest."""
    if not opening.cancelled():
        opening.exception()


async def _close(opening: asyncio.Task[LineSocket]) -> None:
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().close()
