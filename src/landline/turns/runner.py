"""Starts turns, with all that those of one process share."""

import secrets
import time
from collections.abc import Callable

import msgspec

from landline.ledger.http_sessions import HttpSessions
from landline.routing.health import most_useful, verdict
from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.turn import Turn
from landline.stores.store import Store
from landline.turns.fair_share import FairShare
from landline.turns.lineages import Lineages
from landline.turns.opening import Opener, wanted_by
from landline.turns.parts import RunnerSettings, TurnParts
from landline.turns.passes import plain_prompt
from landline.turns.prefixes import PrefixIndex
from landline.turns.prepare import Preparer, prepare_turn
from landline.turns.running import RunningTurn
from landline.turns.saves import Saves
from landline.upstream.target import Target, Traffic
from landline.wire.errors import ApiError


def _new_sealer() -> Sealer:
    return Sealer([secrets.token_bytes(32)])


class TurnMemory(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What turns leave behind in this process. Without a `sealer`, what is sealed opens for as long as this one lives."""

    sealer: Sealer = msgspec.field(default_factory=_new_sealer)
    prefixes: PrefixIndex = msgspec.field(default_factory=PrefixIndex)
    saves: Saves = msgspec.field(default_factory=Saves)


class TurnRunner:
    """Holds nothing but what turns share: each one is a `RunningTurn`, held by whoever runs it."""

    def __init__(
        self,
        router: Router[Target],
        store: Store,
        *,
        new_id: Callable[[str], str],
        settings: RunnerSettings,
        memory: TurnMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        memory = memory or TurnMemory()
        http_sessions = HttpSessions(new_id, knows_lineages=memory.prefixes.is_on)
        self._parts = TurnParts(
            router=router,
            store=store,
            preparer=Preparer(store, Opener(memory.sealer), memory.prefixes),
            sealer=memory.sealer,
            lineages=Lineages(router, memory.prefixes, http_sessions),
            saves=memory.saves,
            fair_share=FairShare(),
            new_id=new_id,
            settings=settings,
            clock=clock,
        )
        store.watch_turns(memory.saves.is_running, memory.saves.catch_up)

    def hurry(self) -> None:
        """The process is about to end: turns that wait for a store that is away give up soon."""
        self._parts.saves.hurry()

    async def close(self) -> None:
        """Waits for what is still being saved, a bounded time; call it before the store is closed."""
        await self._parts.saves.close()

    async def bring(self, response_id: str) -> None:
        """What is held back of a response that has just begun is in the store, for somebody who looks it up there."""
        await self._parts.saves.bring(response_id)

    def start(self, turn: Turn) -> RunningTurn:
        """The turn, about to run: nothing happens before its `run` is called."""
        return RunningTurn(turn, self._parts)

    async def count_tokens(self, turn: Turn) -> int | ApiError:
        """How many tokens the turn's model would read, as the first target says that can."""
        router = self._parts.router
        prepared = router.refuse(turn.request.model) or await prepare_turn(self._parts.preparer, turn, is_writing=False)
        if isinstance(prepared, ApiError):
            return prepared
        turn, _ = self._parts.lineages.resolve(prepared)
        plan = router.plan(wanted_by(turn), self._parts.clock())
        if isinstance(plan, ApiError):
            return plan
        errors: list[ApiError] = []
        for choice in plan:
            counted = await choice.target.count_tokens(plain_prompt(turn, choice.model), Traffic())
            if not isinstance(counted, ApiError) or verdict(counted) == "final":
                return counted
            errors.append(counted)
        return most_useful(errors)
