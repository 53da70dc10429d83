"""Which socket and lane a conversation has."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiperf_responses_websocket.history import ServedHistory
from aiperf_responses_websocket.line import Lane, Line
from aiperf_responses_websocket.settings import TransportSettings


@dataclass(frozen=True, slots=True)
class Seat:
    """A conversation's place: it has the lane until it is released."""

    line: Line
    lane: Lane


class Lines:
    """All sockets of one worker. A conversation keeps its seat from its first turn to its last, unless the socket falls."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._lines: list[Line] = []
        self._seats: dict[str, Seat] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def open_count(self) -> int:
        return sum(line.is_open for line in self._lines)

    def seat(self, url: str, conversation_id: str, *, parent_id: str | None = None, root_id: str | None = None) -> Seat:
        """The conversation's seat; a new one is near its parent, where the server holds the history of a fork."""
        seat = self._seats.get(conversation_id)
        if seat is not None and not seat.line.has_fallen:
            return seat
        if seat is not None:
            self.drop(seat.line)
        line, lane = self._free_lane(url, [parent_id, root_id]) or self._new_line(url)
        lane.conversation_id = conversation_id
        lane.served = self._served_to(line, parent_id)
        taken = self._seats[conversation_id] = Seat(line, lane)
        return taken

    def release(self, conversation_id: str) -> None:
        """The conversation is over. Its socket is closed if it was its own; else the lane is for the next one."""
        seat = self._seats.pop(conversation_id, None)
        if seat is None:
            return
        seat.lane.conversation_id = None
        if self._settings.lanes == 1:
            self.drop(seat.line)

    def abandon(self, seat: Seat) -> None:
        """Leaves a lane on which events of a given up request may still come: nobody may read them as another's."""
        if self._settings.lanes == 1:
            self.drop(seat.line)
        elif seat.lane.conversation_id is not None:
            self._seats.pop(seat.lane.conversation_id, None)
            seat.line.lanes.remove(seat.lane)

    def drop(self, line: Line) -> None:
        """Closes a socket; conversations that still have it get another one at their next turn."""
        if line not in self._lines:
            return
        self._lines.remove(line)
        for conversation_id in [key for key, seat in self._seats.items() if seat.line is line]:
            del self._seats[conversation_id]
        closing = asyncio.create_task(line.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        for line in list(self._lines):
            self.drop(line)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _free_lane(self, url: str, relatives: list[str | None]) -> tuple[Line, Lane] | None:
        for line in self._nearest_first(relatives):
            if line.url == url and not line.has_fallen:
                for lane in line.lanes:
                    if lane.conversation_id is None:
                        return line, lane
        return None

    def _nearest_first(self, relatives: list[str | None]) -> Iterator[Line]:
        for relative in relatives:
            seat = self._seats.get(relative or "")
            if seat is not None:
                yield seat.line
        yield from self._lines

    def _new_line(self, url: str) -> tuple[Line, Lane]:
        line = Line(url, self._settings)
        self._lines.append(line)
        return line, line.lanes[0]

    @staticmethod
    def _served_to(line: Line, conversation_id: str | None) -> ServedHistory | None:
        if conversation_id is None:
            return None
        return next((lane.served for lane in line.lanes if lane.served_to == conversation_id), None)
