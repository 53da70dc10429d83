"""One turn tried at one target after another until one takes it: only before the first event, so nothing is said twice."""

import time
from collections.abc import Callable
from contextlib import aclosing

import msgspec
import structlog

from landline.routing.choice import Choice, Wanted
from landline.routing.health import Ticket, most_useful, verdict, wait_of
from landline.routing.router import Router
from landline.routing.warmth import conversation_key
from landline.sealing import Sealer
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.turns.asking import Batches, ask, prompt_of
from landline.turns.opening import unreadable
from landline.upstream.target import Target
from landline.wire.errors import ApiError
from landline.wire.model_events import Failed, Finished, ModelEvent
from landline.wire.responses import AS_THE_API_SAYS

_log = structlog.stdlib.get_logger(__name__)


class Attempts:
    """The tries of one turn, whose history is resolved."""

    def __init__(
        self, router: Router[Target], turn: Turn, sealer: Sealer, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        key = turn.affinity_key or conversation_key(turn.tenant, turn.history)
        self._turn = msgspec.structs.replace(turn, affinity_key=key)
        self._wanted = Wanted(
            model=turn.request.model,
            tenant=turn.tenant,
            history=turn.history,
            affinity_key=key,
            unreadable=unreadable(turn),
        )
        self._router = router
        self._sealer = sealer
        self._clock = clock
        self.sampling = AS_THE_API_SAYS
        """What the target that is tried takes where the request says nothing."""
        self._taker: Choice[Target] | None = None
        """The target whose answer the client gets."""

    def check(self) -> ApiError | None:
        """Why no target can be asked as things stand, for a turn that is announced before it is tried."""
        plan = self._router.plan(self._wanted, self._clock())
        if isinstance(plan, ApiError):
            return plan
        self.sampling = plan[0].sampling
        return None

    async def stream(self) -> Batches:
        """What the model says at the first target that takes the turn; a lone `Failed` when none does.

        Closing the generator aborts the try that runs, which says nothing of its target.
        """
        plan = self._router.plan(self._wanted, self._clock())
        if isinstance(plan, ApiError):
            yield [Failed(plan)]
            return
        errors: list[ApiError] = []
        for choice in plan:
            ticket = self._router.begin(choice, self._clock())
            if ticket is None:
                continue
            self.sampling = choice.sampling
            self._note_try()
            error: ApiError | None = None
            async with aclosing(self._try(choice, ticket)) as batches:
                async for batch in batches:
                    if self._taker is None:
                        error = _passed_on(batch)
                        if error is not None:
                            break
                        self._take(choice)
                    yield batch
            if error is None:
                return
            errors.append(error)
            _log.warning(
                "target_failed",
                response_id=self._turn.response_id,
                target=choice.target.name,
                code=error.code,
                status=error.status,
            )
        yield [Failed(most_useful(errors))]

    def remember(self, history: Link | None) -> None:
        """The turn ended in this lineage, what the model wrote included: it is warm where the turn was served.

        A warm-up is found again by its key: its bare input may be the beginning of other conversations too.
        """
        if self._taker is not None and history is not None and not self._turn.request.is_warm_up:
            self._router.remember(self._turn.tenant, history, self._taker)

    async def count_tokens(self) -> int | ApiError:
        """How many tokens the turn's model would read, as the first target says that can."""
        plan = self._router.plan(self._wanted, self._clock())
        if isinstance(plan, ApiError):
            return plan
        errors: list[ApiError] = []
        for choice in plan:
            counted = await choice.target.count_tokens(prompt_of(self._turn, choice))
            if not isinstance(counted, ApiError) or verdict(counted) == "final":
                return counted
            errors.append(counted)
        return most_useful(errors)

    async def _try(self, choice: Choice[Target], ticket: Ticket) -> Batches:
        """One try; what comes of it is reported to the target's health."""
        is_first = True
        try:
            async with aclosing(ask(self._turn, choice, self._sealer)) as batches:
                async for batch in batches:
                    self._report(choice, ticket, batch, is_first=is_first)
                    is_first = False
                    yield batch
        finally:
            ticket.end()

    def _report(self, choice: Choice[Target], ticket: Ticket, batch: list[ModelEvent], *, is_first: bool) -> None:
        """A warm-up that was answered says nothing: some targets answer it without asking anybody."""
        last = batch[-1]
        if isinstance(last, Failed):
            self._router.note_failed(choice, last.error)
            match verdict(last.error):
                case "fault":
                    ticket.fail(self._clock())
                case "busy":
                    ticket.rest(self._clock(), wait_of(last.error))
                case "elsewhere" | "final":
                    pass
        elif not self._turn.request.is_warm_up:
            if isinstance(last, Finished):
                ticket.succeed()
            elif is_first:
                ticket.prove()

    def _note_try(self) -> None:
        meter = self._turn.meter
        meter.tries += 1
        meter.asked_at = meter.asked_at or self._clock()

    def _take(self, choice: Choice[Target]) -> None:
        """The turn's meter is told by whom it was taken and why; its line in the log says so when it is over."""
        self._taker = choice
        self._router.note_served(self._wanted, choice)
        meter = self._turn.meter
        meter.target, meter.upstream_model = choice.target.name, choice.model
        meter.reason, meter.affinity, meter.prefix_items = choice.reason, choice.affinity, choice.prefix_items


def _passed_on(batch: list[ModelEvent]) -> ApiError | None:
    """The error of a target that took nothing, where another one may do better."""
    first = batch[0]
    return first.error if isinstance(first, Failed) and verdict(first.error) != "final" else None
