"""What became of a turn, as whoever ran it knows: the ledger's entry is made of this and of what its connection counted."""

from typing import Literal

import msgspec

from landline.session.turn import Turn
from landline.upstream.target import Traffic
from landline.wire.errors import ApiError
from landline.wire.items import Item
from landline.wire.responses import Response, ResponseStatus

Outcome = ResponseStatus | Literal["refused", "aborted"]
"""How a turn ended: its response's status; `refused` before anything was created, `aborted` when nobody listened any more."""


class Service(msgspec.Struct, frozen=True, gc=False):
    """The target that took a turn, and why it was asked."""

    target: str
    model: str
    """The model's name there."""
    reason: str
    """Why this target (`routing.choice.Reason`)."""
    affinity: str
    prefix_items: int
    """Items of the lineage that were warm at the target."""


class Milestones(msgspec.Struct, frozen=True, gc=False):
    """When a turn came how far, in seconds of a clock that only goes forward. 0 where it did not come so far."""

    asked_at: float = 0.0
    """The first target was asked."""
    first_event_at: float = 0.0
    """The model's first text, thought or call came."""
    ended_at: float = 0.0
    """Its response was whole and saved, before the last of it was written."""


class TurnReport(msgspec.Struct, frozen=True, kw_only=True):
    """One turn that is over, or given up."""

    turn: Turn
    """As it was admitted."""
    resolved: Turn | None = None
    """With its history, as its client brought it; None if it ended before that was found."""
    known_items: int = 0
    """Of a history that the turn brought whole: how many of its first items this server knew already."""
    session_id: str = ""
    """The socket, or of an HTTP request the conversation that it is recognised as; "" if it is none."""
    service: Service | None = None
    """None if no target took it."""
    tries: int = 0
    """Targets that were tried."""
    traffic: Traffic = msgspec.field(default_factory=Traffic)
    """Of all tries and passes together."""
    milestones: Milestones = Milestones()
    outcome: Outcome = "aborted"
    error: ApiError | None = None
    response: Response | None = None
    """As it ended; None if it was refused or given up."""
    output: tuple[Item, ...] = ()
    """What the model wrote."""
