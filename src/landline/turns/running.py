"""The story of one turn, top to bottom: prepare, ask, read, compose, save, say.

A turn runs in its caller's task. One more task is made for each question, until its target has begun to answer: a request
that is under way cannot be left and taken up again, and a client must hear that it is still waited for. From then on the
reply is read here, with a deadline.

A fault of this server's own code ends its own turn, in `RunningTurn.run` and nowhere else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from landline.ledger.report import Milestones, Outcome, Service, TurnReport
from landline.routing.choice import Choice, Wanted
from landline.routing.health import Ticket, most_useful, verdict, wait_of
from landline.routing.warmth import conversation_key
from landline.session.compaction import BYTES_PER_TOKEN, Plan
from landline.session.composer import Composer
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.store import CONTINUABLE
from landline.turns.lineages import EndedTurn
from landline.turns.opening import wanted_by
from landline.turns.parts import ListenerGoneError, TurnListener, TurnParts
from landline.turns.passes import Passes, context_size, passed_on, plain_prompt, plan_of, prompt_of
from landline.turns.prepare import prepare_turn
from landline.turns.record import CANCELLED, Record
from landline.turns.waiting import InterruptibleWait
from landline.upstream.target import Reply, Target, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ResponseFailed, ServerEvent, SteerAnswer, event_sequence
from landline.wire.model_events import Failed, Finished, ModelEvent, says_something
from landline.wire.responses import Response, ResponseError, new_response

_T = TypeVar("_T")

_log = structlog.stdlib.get_logger(__name__)


class RunningTurn:
    """One turn in flight. `run` it once; meanwhile others may stop it, steer it and ask what it took."""

    def __init__(self, turn: Turn, parts: TurnParts) -> None:
        self.turn = turn
        """As it was admitted."""
        self.session_id = turn.arrival.session_id
        """The socket; over HTTP the conversation that it is recognised as, once its history is found."""
        self._parts = parts
        self._record = Record(parts.store, turn, parts.new_id, saves=parts.saves)
        self._wanted = Wanted(turn.request.model)
        """What it wants of its target."""
        self._resolved: Turn | None = None
        self._known_items = 0
        self._composer: Composer | None = None
        """None before the turn is prepared, and once it is over."""
        self._listener: TurnListener | None = None
        self._next_number = 0
        """Of the event behind the last one that was said."""
        self._ended: TurnRefused | TurnEnded | None = None
        """The last update, once it is being said."""
        self._is_told = False
        """Whether the listener has taken it."""
        self._closing_events: list[ServerEvent] = []
        """What the last batch gave; said together with the end."""
        self._fault: ApiError | None = None
        """Why this server ends the turn, if it does."""
        self._broken_by: Exception | None = None
        self._is_stopped = False
        self._answers: list[SteerAnswer] = []
        """Answers to steers that are still to be said."""
        self._waits = InterruptibleWait()
        self._served: Choice[Target] | None = None
        """The target whose answer the client gets."""
        self._tries = 0
        self._traffic = Traffic()
        self._asked_at = self._first_event_at = self._ended_at = 0.0

    # What others ask of it.

    def stop(self) -> None:
        """Ends it early, as cancelled if it runs in the background, else as incomplete."""
        self._is_stopped = True
        self._waits.interrupt()

    def give_up(self, error: ApiError) -> bool:
        """Ends it because the server cannot go on with it: it fails with this error, or is incomplete if it runs in the
        background. False if it is not under way (yet, or any more)."""
        if self._composer is None:
            return False
        self._fault = error
        self.stop()
        return True

    def answer_steer(self, answer: SteerAnswer) -> None:
        """Says the answer among its events; an accepted steer ends it at its next safe boundary."""
        self._answers.append(answer)
        self._waits.interrupt()

    def refuse(self, error: ApiError) -> None:
        """It is not going to run."""
        self._ended, self._ended_at = TurnRefused(error), self._parts.clock()

    def break_with(self, fault: Exception) -> None:
        """What its caller needs for it failed: `run` ends it of that."""
        self._broken_by = fault

    def report(self) -> TurnReport:
        """What became of it, and what it took; complete when `run` has returned."""
        outcome: Outcome = "aborted"
        error: ApiError | None = None
        ended = self._ended
        match ended:
            case TurnRefused(error):
                outcome = "refused"
            case TurnEnded(response=response, error=error):
                outcome = response.status
            case None:
                pass
        served = self._served
        return TurnReport(
            turn=self.turn,
            resolved=self._resolved,
            known_items=self._known_items,
            session_id=self.session_id,
            service=_service_of(served) if served is not None else None,
            tries=self._tries,
            traffic=self._traffic,
            milestones=Milestones(self._asked_at, self._first_event_at, self._ended_at),
            outcome=outcome,
            error=error,
            response=ended.response if isinstance(ended, TurnEnded) else None,
            output=ended.output if isinstance(ended, TurnEnded) else (),
        )

    # The story.

    async def run(self, listener: TurnListener) -> None:
        """Runs it to its end: any number of `TurnProgressed`, then exactly one `TurnRefused` or `TurnEnded`.

        Cancelling it aborts the turn; one that was announced is kept as incomplete.
        """
        self._listener = listener
        self._parts.saves.enter(self.turn.response_id)
        try:
            if self._broken_by is not None:
                raise self._broken_by
            await self._conduct()
        except ListenerGoneError:
            pass
        except Exception:  # noqa: BLE001 - the turn's root: a fault of ours ends this turn and nothing else
            await self._break(listener)
        finally:
            self._waits.close()
            await self._record.discard()
            self._parts.saves.leave(self.turn.response_id)

    async def _conduct(self) -> None:
        turn = self._parts.router.refuse(self.turn.request.model) or await self._prepare()
        if isinstance(turn, ApiError):
            await self._record.discard(is_store_away=turn.code == "store_unavailable")
            await self._say(TurnRefused(turn))
            return
        self._record.turn, self._wanted = turn, wanted_by(turn)
        composer = self._composer = Composer(
            turn,
            model=turn.request.model or "",
            new_id=self._parts.new_id,
            event_names=self._parts.settings.event_names,
            seal_reasoning=partial(self._parts.sealer.seal, turn.tenant, "reasoning"),
        )
        is_broken = False
        try:
            if turn.request.background is True:
                await self._queue(turn, composer)
            if self._ended is None and not composer.is_over:
                await self._ask(turn, composer)
            if self._ended is None:
                await self._end(turn, composer)
        except Exception:
            is_broken = True  # the composer may be what failed: the turn is ended without it
            raise
        finally:
            self._composer = None
            if not is_broken:
                await self._record.settle(composer)

    async def _prepare(self) -> Turn | ApiError:
        """The turn with its history, or why it cannot run."""
        resolved = await prepare_turn(self._parts.preparer, self.turn)
        if isinstance(resolved, ApiError):
            return resolved
        self._resolved = resolved
        turn, self._known_items = self._parts.lineages.resolve(resolved)
        self.session_id = self._parts.lineages.name_session(turn)
        key = turn.affinity_key or conversation_key(turn.tenant, turn.history)
        return msgspec.structs.replace(turn, affinity_key=key)

    async def _queue(self, turn: Turn, composer: Composer) -> None:
        """Announces a background turn, which is saved by then; returns when its model may be asked, or it is over."""
        plan = self._parts.router.plan(self._wanted, self._parts.clock())
        if isinstance(plan, ApiError):
            await self._refuse(plan)
            return
        composer.assume(plan[0].sampling)
        queued = composer.open_queued()
        refused = await self._record.begin_now(composer.response)
        if refused is not None:
            await self._refuse(refused)
            return
        await self._say(TurnProgressed(queued))
        if self._is_stopped:
            self._stop_composing(composer)
            return
        begun = composer.begin()
        if begun:
            await self._say(TurnProgressed(begun))

    async def _ask(self, turn: Turn, composer: Composer) -> None:
        """Asks one target after another until one takes the turn: only before the first event, so nothing is said twice."""
        router = self._parts.router
        plan = router.plan(self._wanted, self._parts.clock())
        if isinstance(plan, ApiError):
            await self._hear([Failed(plan)])
            return
        errors: list[ApiError] = []
        for choice in plan:
            ticket = router.begin(choice, self._parts.clock())
            if ticket is None:
                continue
            composer.assume(choice.sampling)
            try:
                error = await self._try(turn, choice, ticket)
            finally:
                ticket.end()
            if error is None:
                return
            errors.append(error)
            name, code = choice.target.name, error.code
            _log.warning("target_failed", response_id=turn.response_id, target=name, code=code, status=error.status)
        await self._hear([Failed(most_useful(errors))])

    async def _try(self, turn: Turn, choice: Choice[Target], ticket: Ticket) -> ApiError | None:
        """Asks one target all that it is to be asked; why it took nothing, where another one may do better."""
        self._tries += 1
        self._asked_at = self._asked_at or self._parts.clock()
        passes = Passes(
            turn, await self._plan_compaction(turn, choice), partial(self._parts.sealer.seal, turn.tenant, "compaction")
        )
        while (question := passes.question) is not None and not self._is_over:
            if question.dropped_items:
                _log.info("truncated", response_id=turn.response_id, items=question.dropped_items)
            reply = choice.target.ask(prompt_of(turn, choice.model, question))
            try:
                error = await self._read(reply, passes, choice, ticket)
            finally:
                await reply.close()
                self._traffic.add(reply.traffic)
            if error is not None:
                return error
        return None

    async def _read(self, reply: Reply, passes: Passes, choice: Choice[Target], ticket: Ticket) -> ApiError | None:
        """Reads one reply to its end."""
        question = passes.question
        batch = await self._patiently(reply.open())
        while batch:
            events = passes.hear(batch)
            if events:
                self._judge(choice, ticket, events)
                if self._served is None:
                    error = passed_on(events)
                    if error is not None:
                        return error
                    self._served = choice
                    self._parts.router.note_served(self._wanted, choice)
                await self._hear(events)
            if self._is_over or passes.question is not question:
                return None
            batch = await self._next_batch(reply)
        if not self._is_over:
            await self._hear(
                [Failed(api_error("upstream_error", "The target's answer ended without a closing event."))]
            )
        return None

    async def _hear(self, batch: list[ModelEvent]) -> None:
        """Composes what the model said, or nothing after a silence, and says what comes of it; the end is said by `_end`."""
        composer = self._composer
        assert composer is not None, "the turn is prepared"
        if not self._first_event_at and says_something(batch):
            self._first_event_at = self._parts.clock()
        if not batch and self._is_stopped:
            batch = self._stop_composing(composer)
        events: list[ServerEvent] = []
        if not composer.is_announced:
            if batch and isinstance(first := batch[0], Failed):
                await self._refuse(first.error)
                return
            events = composer.open(batch)
            self._record.begin(composer.response)
        elif not batch and not composer.is_over and not self._answers:
            events = [composer.keepalive()]
        events += composer.feed(batch)
        events += composer.answer_steers(self._take_answers())
        if composer.is_over:
            self._closing_events = events
        elif events:
            await self._say(TurnProgressed(events))

    async def _end(self, turn: Turn, composer: Composer) -> None:
        """Saves the turn as it ended, and says that. The upstream has let go of it by now: a successor finds its state."""
        closed = composer.close(time.time())
        ended = await self._record.finish(msgspec.structs.replace(closed, events=self._closing_events + closed.events))
        late = composer.answer_steers(self._take_answers())
        if closed.error is None:
            may_continue = ended.is_stored and ended.response.status in CONTINUABLE
            stored_id = turn.response_id if may_continue else None
            ended_turn = EndedTurn(turn, closed.history, self.session_id, self._served, stored_id)
            self._parts.lineages.note_ended(ended_turn)
        await self._say(msgspec.structs.replace(ended, events=ended.events + late))

    async def _refuse(self, error: ApiError) -> None:
        await self._record.discard()
        await self._say(TurnRefused(error))

    async def _say(self, update: TurnUpdate) -> None:
        assert self._listener is not None, "somebody runs the turn"
        if isinstance(update, TurnProgressed):
            await self._listener.hear(update)
            self._next_number = event_sequence(update.events[-1])[0] + 1
        else:
            self._ended, self._ended_at = update, self._parts.clock()
            await self._listener.hear(update)
            self._is_told = True

    async def _break(self, listener: TurnListener) -> None:
        """Called in the handler of what failed: one entry in the log, and an ending that the client knows. It needs nothing
        of what may have failed: no composer, no output."""
        request_id = self.turn.arrival.request_id or self.turn.response_id
        _log.exception("turn_broke", request_id=request_id, response_id=self.turn.response_id)
        if self._is_told:
            return
        error = server_fault(request_id)
        ended = _broken_end(self._record.turn, error, next_number=self._next_number)
        try:
            if isinstance(ended, TurnRefused):
                await self._record.discard()
            elif not self._record.is_over:
                ended = await self._record.finish(ended)
        except Exception as fault:  # noqa: BLE001 - saving may be what failed: the client is to hear of it all the same
            _log.warning("response_not_saved", response_id=self.turn.response_id, error=repr(fault))
        self._ended, self._ended_at = ended, self._parts.clock()
        try:
            await listener.hear_fault(ended)
        except Exception as fault:  # noqa: BLE001 - then there is nobody left to tell
            _log.warning("fault_not_told", response_id=self.turn.response_id, error=repr(fault))

    # Waiting for the upstream.

    @property
    def _is_over(self) -> bool:
        return self._ended is not None or self._composer is None or self._composer.is_over

    async def _next_batch(self, reply: Reply) -> list[ModelEvent]:
        """The reply's next batch, and what is to be said until it comes; [] when the reply or the turn is over."""
        if reply.has_more:
            await self._wait(self._parts.fair_share.wait)
        while (batch := await self._wait(reply.read)) is None:
            await self._hear([])
            if self._is_over:
                return []
        return batch

    async def _patiently(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """What some work gives that must not be interrupted, saying meanwhile what is to be said; None if the turn is over
        before, which cancels the work."""
        task = asyncio.create_task(work)
        try:
            while await self._wait(lambda: asyncio.wait({task})) is None:
                await self._hear([])
                if self._is_over:
                    return None
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _wait(self, work: Callable[[], Awaitable[_T]]) -> _T | None:
        """What some work gives; None, and the work is cancelled, after a silence or if somebody wants something of the
        turn."""
        if self._is_stopped or self._answers:
            return None
        settings, composer = self._parts.settings, self._composer
        is_announced = composer is not None and composer.is_announced
        patience_s = (settings.keepalive_s or None) if is_announced else settings.announce_after_s
        return await self._waits.wait(work(), patience_s)

    # Smaller steps.

    async def _plan_compaction(self, turn: Turn, choice: Choice[Target]) -> Plan | None:
        """The compaction that comes before the answer, if there is one to be made."""
        plan = plan_of(turn, compacts_itself=choice.target.compacts)
        threshold = turn.request.compact_threshold
        if plan is None or turn.is_compaction or threshold is None:
            return plan
        size = context_size(turn)
        is_over = size.is_over(threshold)
        if is_over is None:
            counted = await self._patiently(choice.target.count_tokens(plain_prompt(turn, choice.model), self._traffic))
            if isinstance(counted, ApiError):
                _log.info("context_not_counted", response_id=turn.response_id, code=counted.code)
                counted = size.known_tokens + size.new_bytes // BYTES_PER_TOKEN
            is_over = counted is not None and counted > threshold
        return plan if is_over else None

    def _judge(self, choice: Choice[Target], ticket: Ticket, events: list[ModelEvent]) -> None:
        """What the reply says of its target's health. A warm-up that was answered says nothing: some targets answer it
        without asking anybody."""
        last = events[-1]
        if isinstance(last, Failed):
            self._parts.router.note_failed(choice, last.error)
            match verdict(last.error):
                case "fault":
                    ticket.fail(self._parts.clock())
                case "busy":
                    ticket.rest(self._parts.clock(), wait_of(last.error))
                case "elsewhere" | "final":
                    pass
        elif not self.turn.request.is_warm_up:
            if isinstance(last, Finished):
                ticket.succeed()
            elif self._served is None:
                ticket.prove()

    def _stop_composing(self, composer: Composer) -> list[ModelEvent]:
        """Ends the response early; the batch that fails it instead, if that is how this server ends it."""
        is_background = composer.response.background
        if self._fault is not None and not is_background:
            return [Failed(self._fault)]
        if is_background and self._fault is None:
            composer.cancel()
        else:
            composer.stop(CANCELLED)
        return []

    def _take_answers(self) -> list[SteerAnswer]:
        answers, self._answers = self._answers, []
        return answers


def server_fault(request_id: str) -> ApiError:
    """What a client is told of a fault of ours: nothing but where its reason stands."""
    return api_error("server_error", f"The server failed; its log says why at request {request_id!r}.")


def _broken_end(turn: Turn, error: ApiError, *, next_number: int) -> TurnEnded | TurnRefused:
    """How the turn ends of which events up to `next_number` were said."""
    if not next_number:
        return TurnRefused(error)
    response: Response = new_response(
        turn.request,
        id=turn.response_id,
        created_at=int(turn.created_at),
        model=turn.request.model or "",
        conversation_id=turn.conversation_id,
    )
    failed_with = ResponseError(error.code, error.message)
    response = msgspec.structs.replace(response, status="failed", error=failed_with)
    failed = ResponseFailed(sequence_number=next_number, stream_id=turn.stream_id, response=response)
    return TurnEnded([failed], response, None, error=error)


def _service_of(served: Choice[Target]) -> Service:
    return Service(served.target.name, served.model, served.reason, served.affinity, served.prefix_items)
