"""The words of routing: routes, what a turn wants, and the choice that is made."""

from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from landline.routing.warmth import TargetModel
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.responses import AS_THE_API_SAYS, Sampling

Reason = Literal["only", "sealed", "warm", "key", "load", "weight", "fail_over", "last_resort"]
"""`only`: no other target may be asked. `sealed`: it made a compaction in the history that nobody else can read. `warm`: it
served the longest known part of the history. `key`: it was the last to serve the turn's affinity key. `load`: it has the
fewest turns in flight for its weight. `weight`: it is as idle as another, and its share was due. `fail_over`: a target
before it failed. `last_resort`: no target is healthy, so nothing is lost by asking."""
Affinity = Literal["none", "soft", "hard"]
"""Whether state decided: `soft` is a preference, with `hard` no other target could have served the turn."""
_AFFINITIES: dict[Reason, Affinity] = {"sealed": "hard", "warm": "soft", "key": "soft"}


class Routable(Protocol):
    """What a target is to the router."""

    @property
    def name(self) -> str: ...

    @property
    def compacts(self) -> bool:
        """Whether it compacts conversations itself, and reads the compactions that it made."""
        ...


TargetT = TypeVar("TargetT", bound=Routable)


class Route(msgspec.Struct, Generic[TargetT], frozen=True):
    """One way to serve a model."""

    target: TargetT
    upstream_model: str | None
    """The model's name at the target; None passes on the name that the client asked for."""
    weight: float = 1.0
    """Its share of the turns against the other routes of the model; more than 0."""
    sampling: Sampling = AS_THE_API_SAYS
    """The target's sampling parameters for what a request leaves out."""


class Choice(msgspec.Struct, Generic[TargetT], frozen=True):
    """A target that may serve a turn."""

    target: TargetT
    model: str
    """The name to ask the target for."""
    reason: Reason = "only"
    prefix_items: int = 0
    """Items of the history that are known to be warm there; only looked for where it decides."""
    row: str = ""
    """The model's name in the configuration, `*` included."""
    index: int = 0
    """Which route of that row it is."""
    sampling: Sampling = AS_THE_API_SAYS

    @property
    def affinity(self) -> Affinity:
        return affinity_of(self.reason)

    @property
    def place(self) -> TargetModel:
        return TargetModel(self.target.name, self.model)


class Wanted(msgspec.Struct, frozen=True):
    """What a turn wants of its target."""

    model: str | None
    tenant: str = ""
    history: Link | None = None
    affinity_key: str | None = None
    unreadable: ApiError | None = None
    """Why only a target that compacts by itself can read the history; None if any can."""


def affinity_of(reason: Reason) -> Affinity:
    """Whether a choice for this reason was one of state."""
    return _AFFINITIES.get(reason, "none")
