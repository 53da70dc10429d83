"""Lanes: per-lane FIFO with one turn in flight, and a fair start order under the connection's in-flight cap."""

from collections import deque

import msgspec

from landline.session.memory import Remembered
from landline.session.turn import Arrival
from landline.wire.errors import ApiError
from landline.wire.requests import CreateRequest


class WaitingCreate(msgspec.Struct, frozen=True, eq=False):
    """A create that was read and not yet started; an unreadable one waits too, so that its error comes in order."""

    request: CreateRequest | ApiError
    parent_id: str | None
    """`previous_response_id`, also of a create that is otherwise unreadable."""
    parent: Remembered | None = None
    """The parent as found on arrival; held here, so that it cannot be forgotten while the create waits."""
    body: bytes | str = b""
    """The frame."""
    arrival: Arrival = Arrival()

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    @property
    def may_take_steers(self) -> bool:
        """Whether it takes steers along that wait for its parent: a warm-up leaves them for what follows."""
        return isinstance(self.request, CreateRequest) and not self.request.is_warm_up


class Lane:
    """One `stream_id` (None: the default lane)."""

    __slots__ = ("lane_id", "running", "waiting")

    def __init__(self, lane_id: str | None) -> None:
        self.lane_id = lane_id
        self.running: str | None = None
        """The id of the response in flight."""
        self.waiting: deque[WaitingCreate] = deque()


class LaneBook:
    """All lanes of one connection."""

    def __init__(self, *, max_in_flight: int, max_named: int) -> None:
        self.running_count = 0
        self.waiting_count = 0
        self.waiting_bytes = 0
        self._max_in_flight = max_in_flight
        self._max_named = max_named
        self._lanes: dict[str | None, Lane] = {}
        self._ready: deque[Lane] = deque()
        """Idle lanes with a create waiting, the one that waits longest first."""
        self._running: dict[str, Lane] = {}

    def open(self, lane_id: str | None) -> Lane | None:
        """The lane of that id, made if new; None when the connection has named all the lanes it may.

        An id counts for the connection's life (Responses guide, WebSocket mode: 32 distinct stream ids).
        """
        lane = self._lanes.get(lane_id)
        if lane is None:
            if lane_id is not None and len(self._lanes) - (None in self._lanes) >= self._max_named:
                return None
            lane = self._lanes[lane_id] = Lane(lane_id)
        return lane

    def enqueue(self, lane: Lane, create: WaitingCreate) -> None:
        """Adds a create behind the others of its lane."""
        if lane.running is None and not lane.waiting:
            self._ready.append(lane)
        lane.waiting.append(create)
        self.waiting_count += 1
        self.waiting_bytes += create.size_bytes

    def take_ready(self) -> tuple[Lane, WaitingCreate] | None:
        """The next create that may start now. The caller either calls `start` or `skip` for its lane."""
        if not self._ready or self.running_count >= self._max_in_flight:
            return None
        lane = self._ready.popleft()
        create = lane.waiting.popleft()
        self.waiting_count -= 1
        self.waiting_bytes -= create.size_bytes
        return lane, create

    def start(self, lane: Lane, response_id: str) -> None:
        """The taken create became a turn."""
        lane.running = response_id
        self._running[response_id] = lane
        self.running_count += 1

    def skip(self, lane: Lane) -> None:
        """The taken create came to nothing; the lane's next one may start."""
        if lane.waiting:
            self._ready.append(lane)

    def finish(self, response_id: str) -> Lane | None:
        """The turn is over; None if it is not running here."""
        lane = self._running.pop(response_id, None)
        if lane is None:
            return None
        lane.running = None
        self.running_count -= 1
        self.skip(lane)
        return lane

    def hand_over(self, response_id: str, successor_id: str) -> None:
        """The turn is over and its successor runs in its place, before anything that waits."""
        lane = self._running.pop(response_id)
        lane.running = successor_id
        self._running[successor_id] = lane

    def lane_of(self, response_id: str) -> Lane | None:
        """The lane on which that response is running."""
        return self._running.get(response_id)

    def running_ids(self) -> list[str]:
        """The responses in flight, oldest first."""
        return list(self._running)

    def is_idle(self) -> bool:
        return not self._running and not self.waiting_count
