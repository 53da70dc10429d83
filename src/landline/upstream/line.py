"""What the book of lines holds: upstream sockets, their lanes, and what the upstream remembers on each."""

import msgspec

from landline.session.lineage import Link


class Line:
    """One upstream socket, or a place for one that is not open yet. Its tenant never changes."""

    __slots__ = ("is_retired", "lanes", "model", "opened_at", "owner", "tenant", "used_at")

    def __init__(self, tenant: str, owner: str | None, model: str, now: float) -> None:
        self.tenant = tenant
        self.owner = owner
        """The client's connection that uses it, if that one stays."""
        self.model = model
        """Of its first response."""
        self.lanes: list[UpstreamLane] = []
        self.is_retired = False
        """Whether it takes no more turns."""
        self.opened_at = self.used_at = now

    @property
    def in_flight(self) -> int:
        return sum(lane.is_busy for lane in self.lanes)


class UpstreamLane:
    """One FIFO of a line; one turn at most is in flight on it."""

    __slots__ = ("anchor", "is_busy", "line", "owner", "stream_id", "used_at")

    def __init__(self, line: Line, stream_id: str | None) -> None:
        self.line = line
        self.stream_id = stream_id
        """Its name upstream; None on the only lane of a line."""
        self.owner: str | None = None
        """The client's lane that used it last."""
        self.anchor: Anchor | None = None
        self.is_busy = False
        self.used_at = 0.0


class Anchor(msgspec.Struct, frozen=True, eq=False):
    """The latest response of a lane: a history that the upstream holds."""

    lane: UpstreamLane
    digest: bytes
    response_id: str
    """The upstream's."""
    instructions: str | None
    """Those that the chain of responses began with."""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn wants."""

    tenant: str
    model: str
    history: Link | None
    instructions: str | None = None
    line_id: str | None = None
    """The client's connection, if it is one that stays."""
    lane_key: str | None = None
    """The client's lane."""
    is_whole: bool = False
    """Whether the history is to be sent whole, whatever is warm."""
    needs_new_line: bool = False
    """Whether no line that was used before will do."""


class LaneSeat(msgspec.Struct, frozen=True, eq=False):
    """A turn's place; its lane is busy until the seat is given back."""

    lane: UpstreamLane
    anchor: Anchor | None = None
    """What the turn continues; None sends the whole history."""
