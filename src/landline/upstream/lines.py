"""Which upstream socket, and which lane of it, takes a turn; and what the upstream remembers on each. No I/O, no clock.

A *line* is an upstream socket. Its upstream keeps the latest response of each lane and nothing older, so a lane has one
anchor at most: the history up to its latest response. A turn whose history begins with an anchor's is warm there.
"""

from collections.abc import Iterable, Sequence

from landline.upstream.line import Anchor, Ask, LaneSeat, Line, UpstreamLane
from landline.upstream.socket_settings import SocketSettings


class Lines:
    """The book of all lines of a target.

    Every seat that `choose` gives is given back by one of `settle`, `fail`, `leave` and `abandon`, or lost by `drop`.
    The caller closes what is in `leaving`.
    """

    def __init__(
        self, settings: SocketSettings, *, sends_deltas: bool = True, keeps_instructions: bool = False
    ) -> None:
        """`keeps_instructions`: a continuation has the instructions that its chain began with, and cannot have others."""
        self._settings = settings
        self._sends_deltas = sends_deltas
        self._keeps_instructions = keeps_instructions
        self._lines: dict[Line, None] = {}
        self._anchors: dict[str, dict[bytes, list[Anchor]]] = {}
        self.leaving: list[Line] = []
        """Lines that are out of the book and whose sockets are still to be closed."""

    @property
    def all(self) -> Sequence[Line]:
        return tuple(self._lines)

    def choose(self, ask: Ask, now: float) -> LaneSeat | None:
        """A place for the turn, warm if there is one; None when every line is busy and no more may be opened."""
        self.expire(now)
        if not self._has_room():
            return None
        seat = None if ask.is_whole or ask.needs_new_line else self._find_warm(ask, now)
        if seat is None:
            lane = self._find_lane(ask, now)
            seat = LaneSeat(lane) if lane is not None else None
        if seat is not None:
            lane = seat.lane
            lane.is_busy = True
            lane.owner = ask.lane_key
            lane.line.owner = ask.line_id
        return seat

    def settle(self, seat: LaneSeat, anchor: tuple[bytes, str] | None, instructions: str | None, now: float) -> None:
        """The turn ended well. `anchor` is the digest of the history with its output, and the response's id upstream."""
        self._forget(seat.lane)
        if anchor is not None and self._sends_deltas and not seat.lane.line.is_retired:
            digest, response_id = anchor
            seat.lane.anchor = made = Anchor(seat.lane, digest, response_id, instructions)
            self._anchors.setdefault(seat.lane.line.tenant, {}).setdefault(digest, []).append(made)
        self.free(seat.lane, now)

    def fail(self, seat: LaneSeat, now: float, *, is_parent_gone: bool = False) -> None:
        """The turn failed: nothing of it is remembered upstream, nor what came before it on its lane.

        The parent of a fork stays, unless the upstream said that it is gone.
        """
        self._forget(seat.lane)
        if is_parent_gone and seat.anchor is not None and seat.anchor.lane.anchor is seat.anchor:
            self._forget(seat.anchor.lane)
        self.free(seat.lane, now)

    def leave(self, seat: LaneSeat, now: float) -> None:
        """Nothing was sent for the turn."""
        self.free(seat.lane, now)

    def abandon(self, seat: LaneSeat) -> bool:
        """Nobody waits for the turn any more, which still runs upstream.

        Returns whether its lane goes on until the upstream ends it (then `free` it), for the sake of other turns on the
        line; else the line leaves.
        """
        line = seat.lane.line
        self._forget(seat.lane)
        if line.in_flight > 1:
            return True
        self._remove(line)
        return False

    def free(self, lane: UpstreamLane, now: float) -> None:
        """The upstream has nothing more to say on the lane."""
        lane.is_busy = False
        lane.used_at = lane.line.used_at = now
        if self._is_over(lane.line, now):
            self._remove(lane.line)

    def retire(self, line: Line) -> None:
        """No more turns on this line; those in flight go on."""
        line.is_retired = True
        for lane in line.lanes:
            self._forget(lane)
        if not line.in_flight:
            self._remove(line)

    def drop(self, line: Line) -> None:
        """The socket is closed or was lost, with all that the upstream remembered on it."""
        for lane in line.lanes:
            self._forget(lane)
        line.is_retired = True
        self._lines.pop(line, None)

    def expire(self, now: float) -> None:
        """Lets go of the lines that are too old, or idle for too long."""
        for line in [each for each in self._lines if self._is_over(each, now)]:
            self._remove(line)

    def _find_warm(self, ask: Ask, now: float) -> LaneSeat | None:
        """The place of the longest prefix that an upstream lane holds."""
        anchors = self._anchors.get(ask.tenant)
        if not anchors or ask.history is None:
            return None
        for digest in ask.history.digests_newest_first():
            for anchor in anchors.get(digest, ()):
                lane = self._continue(anchor, ask, now)
                if lane is not None:
                    return LaneSeat(lane, anchor)
        return None

    def _continue(self, anchor: Anchor, ask: Ask, now: float) -> UpstreamLane | None:
        """The lane that goes on from the anchor: its own, or a fork beside it if that one is another client lane's."""
        lane, line = anchor.lane, anchor.lane.line
        if not self._can_take(line, ask, now):
            return None
        if self._keeps_instructions and anchor.instructions != ask.instructions:
            return None
        is_anothers = lane.owner != ask.lane_key and line.owner == ask.line_id and ask.line_id is not None
        if lane.is_busy or (is_anothers and self._has_lanes):
            return self._lane_beside(line, ask, lane)
        return lane

    def _lane_beside(self, line: Line, ask: Ask, source: UpstreamLane) -> UpstreamLane | None:
        """A lane for a fork: never one whose anchor is what is forked, unless there is no other."""
        if not self._has_lanes:
            return None
        return self._lane_of(line, ask, but=source) or (None if source.is_busy else source)

    def _find_lane(self, ask: Ask, now: float) -> UpstreamLane | None:
        """A lane to start afresh on, taking as little warmth from others as possible."""
        usable = [] if ask.needs_new_line else [line for line in self._lines if self._can_take(line, ask, now)]
        lane = self._own_lane(usable, ask) or self._blank_lane(usable, ask)
        if lane is not None:
            return lane
        if len(self._lines) < self._settings.max_sockets:
            return self._new_lane(ask, now)
        if self._has_lanes:
            for line in sorted(usable, key=lambda each: each.in_flight):
                lane = self._lane_of(line, ask)
                if lane is not None:
                    return lane
        idle = [line for line in self._lines if not line.in_flight]
        if not idle:
            return None
        oldest = min(idle, key=lambda each: each.used_at)
        if oldest in usable:
            return self._lane_of(oldest, ask)
        self._remove(oldest)
        return self._new_lane(ask, now)

    def _own_lane(self, usable: Iterable[Line], ask: Ask) -> UpstreamLane | None:
        """A lane of the line that the client's connection has already; without lanes, the line of the client's lane."""
        if ask.line_id is None:
            return None
        for line in usable:
            if line.owner != ask.line_id:
                continue
            if self._has_lanes or (line.lanes and line.lanes[0].owner == ask.lane_key):
                return self._lane_of(line, ask)
        return None

    def _blank_lane(self, usable: Iterable[Line], ask: Ask) -> UpstreamLane | None:
        """A lane of a line on which nothing runs and nothing is remembered."""
        for line in usable:
            if not line.in_flight and all(lane.anchor is None for lane in line.lanes):
                return self._lane_of(line, ask)
        return None

    def _lane_of(self, line: Line, ask: Ask, *, but: UpstreamLane | None = None) -> UpstreamLane | None:
        """A free lane of the line: the client's own, else a new one, else the one that is missed least."""
        free = [lane for lane in line.lanes if not lane.is_busy and lane is not but]
        if ask.line_id is not None:
            own = next((lane for lane in free if lane.owner == ask.lane_key), None)
            if own is not None:
                return own
        if len(line.lanes) < (self._settings.named_lanes if self._has_lanes else 1):
            lane = UpstreamLane(line, f"lane_{len(line.lanes) + 1}" if self._has_lanes else None)
            line.lanes.append(lane)
            return lane
        return min(free, key=lambda lane: (lane.anchor is not None, lane.used_at), default=None)

    def _new_lane(self, ask: Ask, now: float) -> UpstreamLane | None:
        line = Line(ask.tenant, ask.line_id, ask.model, now)
        self._lines[line] = None
        return self._lane_of(line, ask)

    @property
    def _has_lanes(self) -> bool:
        return self._settings.lanes > 1

    def _has_room(self) -> bool:
        """Whether any turn can be taken; those who wait ask often."""
        if len(self._lines) < self._settings.max_sockets:
            return True
        return any(line.in_flight < self._settings.lanes for line in self._lines)

    def _can_take(self, line: Line, ask: Ask, now: float) -> bool:
        if line.tenant != ask.tenant or line.is_retired or self._is_old(line, now):
            return False
        if self._settings.has_one_model and line.model != ask.model:
            return False
        return line.in_flight < self._settings.lanes

    def _is_old(self, line: Line, now: float) -> bool:
        return now - line.opened_at >= self._settings.max_age_s

    def _is_over(self, line: Line, now: float) -> bool:
        if line.in_flight:
            return False
        return line.is_retired or self._is_old(line, now) or now - line.used_at >= self._settings.idle_close_s

    def _remove(self, line: Line) -> None:
        if line in self._lines:
            self.drop(line)
            self.leaving.append(line)

    def _forget(self, lane: UpstreamLane) -> None:
        anchor, lane.anchor = lane.anchor, None
        if anchor is None:
            return
        of_tenant = self._anchors[lane.line.tenant]
        at_digest = of_tenant[anchor.digest]
        at_digest.remove(anchor)
        if not at_digest:
            del of_tenant[anchor.digest]
            if not of_tenant:
                del self._anchors[lane.line.tenant]
