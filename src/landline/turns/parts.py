"""What turns are given: what those of one process share, and who listens to one."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.composer import EventNames
from landline.session.turn import TurnEnded, TurnRefused, TurnUpdate
from landline.stores.store import Store
from landline.turns.fair_share import FairShare
from landline.turns.lineages import Lineages
from landline.turns.prepare import Preparer
from landline.turns.saves import Saves
from landline.upstream.target import Target


class RunnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How turns are announced and kept alive."""

    announce_after_s: float = 2.0
    """A response is created when its upstream accepts it, or after this wait: until then a refusal is still an error
    frame or an HTTP status, which clients can act on."""
    keepalive_s: float = 25.0
    """Silence after which a text keepalive is sent: Codex CLI's idle timer counts text frames only. 0: never."""
    event_names: EventNames = "openai"


class TurnParts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What all turns of a process share."""

    router: Router[Target]
    store: Store
    preparer: Preparer
    sealer: Sealer
    lineages: Lineages
    saves: Saves
    fair_share: FairShare
    new_id: Callable[[str], str]
    settings: RunnerSettings
    clock: Callable[[], float]
    """Seconds that only go forward."""


class ListenerGoneError(Exception):
    """Nobody listens to the turn any more: it is aborted."""


class TurnListener(Protocol):
    """Whoever a turn is run for."""

    async def hear(self, update: TurnUpdate) -> None:
        """Takes the next update, and waits as long as its client reads too slowly. Raises `ListenerGoneError`."""
        ...

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        """Takes the last update of a turn in which something failed, which may be `hear`: by the shortest way."""
        ...
