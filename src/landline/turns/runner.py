"""The story of one turn, top to bottom: find its history, ask a target, compose what it says, announce, end."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Protocol

import msgspec
import structlog

from landline.ledger.http_sessions import HttpSessions
from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.composer import Composer, EventNames
from landline.session.lineage import Link
from landline.session.meter import Meter
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.store import CONTINUABLE, Store, StoreError, StoreUnavailableError
from landline.turns.attempts import Attempts
from landline.turns.faults import broken_end, note_fault
from landline.turns.opening import Opener
from landline.turns.prefixes import PrefixIndex
from landline.turns.prepare import Preparer
from landline.turns.pump import Pump
from landline.turns.record import CANCELLED, Record, store_unavailable
from landline.turns.saves import Saves
from landline.upstream.target import Target
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ServerEvent, SteerAnswer, event_sequence
from landline.wire.model_events import Failed, ModelEvent, says_something
from landline.wire.responses import AS_THE_API_SAYS

_log = structlog.stdlib.get_logger(__name__)


class RunnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How turns are announced and kept alive."""

    announce_after_s: float = 2.0
    """A response is created when its upstream accepts it, or after this wait: until then a refusal is still an error
    frame or an HTTP status, which clients can act on."""
    keepalive_s: float = 25.0
    """Silence after which a text keepalive is sent: Codex CLI's idle timer counts text frames only. 0: never."""
    event_names: EventNames = "openai"


class RunsTurns(Protocol):
    """The conductor of turns; closing the generator aborts the turn and its upstream request."""

    def run(self, turn: Turn) -> AsyncGenerator[TurnUpdate, None]: ...

    async def count_tokens(self, turn: Turn) -> int | ApiError:
        """How many tokens the turn's model would read. Nothing is generated, stored or locked."""
        ...

    def stop(self, response_id: str) -> None:
        """Ends a running turn early: its last update says incomplete. An unknown id is ignored."""
        ...

    def give_up(self, response_id: str, error: ApiError) -> bool:
        """Ends a running turn that the server cannot go on with: it fails with this error, or is incomplete if it runs in
        the background. False if it is not conducted (yet, or any more)."""
        ...

    def answer_steer(self, response_id: str, answer: SteerAnswer) -> None:
        """Says the answer among the events of a running turn; an accepted steer ends it at its next safe boundary."""
        ...


class TurnRunner:
    """Runs turns; holds nothing but the turns in flight and the lineages of those before them."""

    def __init__(
        self,
        router: Router[Target],
        store: Store,
        *,
        new_id: Callable[[str], str],
        settings: RunnerSettings,
        sealer: Sealer | None = None,
        prefixes: PrefixIndex | None = None,
        saves: Saves | None = None,
    ) -> None:
        """Without a `sealer`, what is sealed opens for as long as this runner lives."""
        self._router = router
        self._store = store
        self._sealer = sealer or Sealer([secrets.token_bytes(32)])
        self._preparer = Preparer(store, Opener(self._sealer))
        self._prefixes = prefixes or PrefixIndex()
        self._http_sessions = HttpSessions(new_id, knows_lineages=self._prefixes.is_on)
        self._new_id = new_id
        self._settings = settings
        self._running: dict[str, _RunningTurn] = {}
        self._saves = saves or Saves()
        store.watch_turns(self._saves.is_running, self._saves.catch_up)
        self._ended: list[tuple[Turn, Attempts, Link | None, str | None]] = []
        """Turns whose lineage is still to be remembered, and their responses where they can be continued in the store."""

    def hurry(self) -> None:
        """The process is about to end: turns that wait for a store that is away give up soon."""
        self._saves.hurry()

    async def close(self) -> None:
        """Waits for what is still being saved, a bounded time; call it before the store is closed."""
        await self._saves.close()

    def stop(self, response_id: str) -> None:
        """Ends a running turn early, as cancelled if it runs in the background, else as incomplete; ignored when it is
        not running any more."""
        running = self._running.get(response_id)
        if running is not None:
            running.stop()

    def give_up(self, response_id: str, error: ApiError) -> bool:
        """Ends a running turn that the server cannot go on with: it fails with this error, or is incomplete if it runs in
        the background. False if it is not conducted (yet, or any more)."""
        running = self._running.get(response_id)
        if running is None:
            return False
        running.fault = error
        running.stop()
        return True

    def answer_steer(self, response_id: str, answer: SteerAnswer) -> None:
        """Says the answer among the events of a running turn; an accepted steer ends it at its next safe boundary."""
        running = self._running.get(response_id)
        if running is not None:
            running.answers.append(answer)
            if running.pump is not None:
                running.pump.wake()

    async def run(self, turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
        """The turn's updates. Closing the generator aborts the upstream request.

        A background turn's first update announces it as queued; the model is asked when the next update is. Its meter is
        complete when the generator is closed.
        """
        record = Record(self._store, turn, self._new_id, saves=self._saves)
        next_number, is_over = 0, False
        self._saves.enter(turn.response_id)
        try:
            prepared = self._router.refuse(turn.request.model) or await self._prepare(turn)
            if isinstance(prepared, ApiError):
                await record.discard(is_store_away=prepared.code == "store_unavailable")
                is_over = True
                yield _note_end(turn.meter, TurnRefused(prepared))
                return
            record.turn = prepared
            async with aclosing(self._conduct(prepared, record)) as updates:
                async for update in updates:
                    if isinstance(update, TurnProgressed):
                        next_number = event_sequence(update.events[-1])[0] + 1
                        yield update
                    else:
                        is_over = True
                        yield _note_end(turn.meter, update)
        except Exception:  # noqa: BLE001 - the turn's root: a fault of ours ends this turn and nothing else
            error = note_fault(turn)
            if not is_over:
                ended = await _save_broken(record, broken_end(turn, error, next_number=next_number))
                yield _note_end(turn.meter, ended)
        finally:
            await record.discard()
            self._saves.leave(turn.response_id)

    async def count_tokens(self, turn: Turn) -> int | ApiError:
        """How many tokens the turn's model would read. Nothing is generated, stored or locked."""
        refused = self._router.refuse(turn.request.model)
        if refused is not None:
            return refused
        prepared = await self._prepare(turn, is_writing=False)
        if isinstance(prepared, ApiError):
            return prepared
        return await Attempts(self._router, prepared, self._sealer).count_tokens()

    async def _conduct(self, turn: Turn, record: Record) -> AsyncGenerator[TurnUpdate, None]:
        """A turn with its history, from its announcement to its end."""
        composer = Composer(
            turn,
            model=turn.request.model or "",
            new_id=self._new_id,
            event_names=self._settings.event_names,
            seal_reasoning=partial(self._sealer.seal, turn.tenant, "reasoning"),
        )
        attempts = Attempts(self._router, turn, self._sealer)
        running = self._running[turn.response_id] = _RunningTurn()
        is_broken = False
        try:
            if turn.request.background is True:
                refused = attempts.check()
                if refused is not None:
                    yield TurnRefused(refused)
                    return
                composer.assume(attempts.sampling)
                async with aclosing(_queue(composer, running, record)) as updates:
                    async for update in updates:
                        yield update
            if not record.is_over:
                running.pump = Pump(attempts.stream())
                if running.is_stopped:
                    running.pump.interrupt()
                async with aclosing(self._follow(composer, running, running.pump, attempts, record)) as updates:
                    async for update in updates:
                        yield update
        except Exception:
            is_broken = True  # the composer may be what failed: `run` ends the turn without it
            raise
        finally:
            del self._running[turn.response_id]
            if running.pump is not None:
                await running.pump.close()
            if not is_broken:
                await record.settle(composer)

    async def _prepare(self, turn: Turn, *, is_writing: bool = True) -> Turn | ApiError:
        try:
            prepared = await self._preparer.prepare(turn, is_writing=is_writing)
        except StoreUnavailableError:
            return store_unavailable("The stored history cannot be loaded now; nothing was started.")
        except StoreError:
            _log.exception("history_not_loaded", response_id=turn.response_id)
            return api_error("server_error", "The stored history could not be loaded.")
        if isinstance(prepared, ApiError):
            return prepared
        meter = prepared.meter
        meter.history, meter.own_items = prepared.history, len(prepared.items)
        self._remember_ended()
        prepared = self._prefixes.find_stored(self._prefixes.adopt(prepared))
        meter.session_id = meter.session_id or self._http_sessions.name(prepared)
        return prepared

    async def _follow(
        self, composer: Composer, running: "_RunningTurn", pump: Pump, attempts: Attempts, record: Record
    ) -> AsyncGenerator[TurnUpdate, None]:
        """Reads the model to its end and says what comes of it."""
        turn, meter = record.turn, record.turn.meter
        sampling = AS_THE_API_SAYS
        while not composer.is_over:
            batch = await self._next_batch(turn, composer, running, pump)
            if not meter.first_event_at and says_something(batch):
                meter.first_event_at = time.monotonic()
            events: list[ServerEvent] = []
            if attempts.sampling is not sampling:
                sampling = attempts.sampling
                composer.assume(sampling)
            if not composer.is_announced:
                refusal = _refusal(batch)
                if refusal is not None:
                    await record.discard()
                    yield TurnRefused(refusal)
                    return
                events = composer.open(batch)
                record.begin(composer.response)
            elif not batch and not composer.is_over and not running.answers:
                events = [composer.keepalive()]
            events += composer.feed(batch)
            events += composer.answer_steers(running.take_answers())
            if composer.is_over:
                if composer.made_way:
                    await pump.close()  # the successor finds the model's state free
                closed = composer.close(time.time())
                ended = await record.finish(msgspec.structs.replace(closed, events=events + closed.events))
                late = composer.answer_steers(running.take_answers())
                if closed.error is None:
                    may_continue = ended.is_stored and ended.response.status in CONTINUABLE
                    stored_id = turn.response_id if may_continue else None
                    self._ended.append((turn, attempts, closed.history, stored_id))
                try:
                    yield msgspec.structs.replace(ended, events=ended.events + late)
                finally:
                    asyncio.get_running_loop().call_soon(self._remember_ended)
            elif events:
                yield TurnProgressed(events)

    def _remember_ended(self) -> None:
        """Remembers in which lineages turns ended, what the model wrote included.

        The client need not wait for it: what was said of the end leaves when that step of the event loop is over. A turn
        that starts in the same step does it first, because it may continue one of them.
        """
        ended, self._ended = self._ended, []
        for turn, attempts, history, stored_id in ended:
            try:
                attempts.remember(history)
                self._prefixes.remember(turn.tenant, history, asked=turn.history, stored_id=stored_id)
                if turn.meter.transport != "socket":
                    self._http_sessions.remember(turn.tenant, history, turn.meter.session_id)
            except Exception:  # noqa: BLE001 - it may be called in another turn, which has nothing to do with it
                _log.exception("lineage_not_remembered", response_id=turn.response_id)

    async def _next_batch(
        self, turn: Turn, composer: Composer, running: "_RunningTurn", pump: Pump
    ) -> list[ModelEvent]:
        """The next model events; [] after a silence or a stop, and when a steer wants an answer.

        A stream that just ends fails the turn.
        """
        settings = self._settings
        timeout_s = (settings.keepalive_s or None) if composer.is_announced else settings.announce_after_s
        try:
            batch = await pump.next_batch(0.0 if running.answers else timeout_s)
        except Exception:  # noqa: BLE001 - the turn's root: a target's bug must end this turn, not the connection
            return [Failed(note_fault(turn))]
        if batch is not None:
            return batch
        if running.is_stopped:
            if running.fault is not None and not composer.response.background:
                return [Failed(running.fault)]
            _stop(composer, running)
            return []
        return [Failed(api_error("upstream_error", "The target's answer ended without a closing event."))]


class _RunningTurn:
    """What reaches a turn in flight."""

    __slots__ = ("answers", "fault", "is_stopped", "pump")

    def __init__(self) -> None:
        self.pump: Pump | None = None
        """None while the turn is queued."""
        self.is_stopped = False
        self.fault: ApiError | None = None
        """Why the server ends it, if it does."""
        self.answers: list[SteerAnswer] = []
        """Answers to steers that are still to be said."""

    def stop(self) -> None:
        self.is_stopped = True
        if self.pump is not None:
            self.pump.interrupt()

    def take_answers(self) -> list[SteerAnswer]:
        answers, self.answers = self.answers, []
        return answers


async def _queue(composer: Composer, running: _RunningTurn, record: Record) -> AsyncGenerator[TurnUpdate, None]:
    """Announces a background turn, which is saved by then; returns when the model may be asked, or the turn is over."""
    queued = composer.open_queued()
    refusal = await record.begin_now(composer.response)
    if refusal is not None:
        yield TurnRefused(refusal)
        return
    yield TurnProgressed(queued)
    if running.is_stopped:
        _stop(composer, running)
        yield await record.finish(composer.close(time.time()))
        return
    begun = composer.begin()
    if begun:
        yield TurnProgressed(begun)


async def _save_broken(record: Record, ended: TurnEnded | TurnRefused) -> TurnEnded | TurnRefused:
    """Saves how a turn ended in which something failed, unless its saving is what failed."""
    try:
        if isinstance(ended, TurnRefused):
            await record.discard()
        elif not record.is_over:
            return await record.finish(ended)
    except Exception as error:  # noqa: BLE001 - the turn's fault is logged; the client is to hear of it all the same
        _log.warning("response_not_saved", response_id=record.turn.response_id, error=repr(error))
    return ended


def _note_end(meter: Meter, update: TurnRefused | TurnEnded) -> TurnRefused | TurnEnded:
    """Writes on the meter how the turn ended."""
    meter.ended_at = time.monotonic()
    if isinstance(update, TurnRefused):
        meter.outcome, meter.error_code, meter.error_status = "refused", update.error.code, update.error.status
        return update
    meter.outcome, meter.usage = update.response.status, update.response.usage
    if update.error is not None:
        meter.error_code, meter.error_status = update.error.code, update.error.status
    meter.output = update.output
    meter.compactions = sum(item.type == "compaction" for item in update.output)
    if update.response.incomplete_details is not None:
        meter.incomplete_reason = update.response.incomplete_details.reason
    return update


def _stop(composer: Composer, running: _RunningTurn) -> None:
    if composer.response.background and running.fault is None:
        composer.cancel()
    else:
        composer.stop(CANCELLED)


def _refusal(batch: list[ModelEvent]) -> ApiError | None:
    """The error of a turn whose upstream took nothing: a lone `Failed`."""
    first = batch[0] if batch else None
    return first.error if isinstance(first, Failed) else None
