"""Background responses: turns that belong to the server, not to a connection. They are polled, followed and cancelled by id."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, assert_never

import msgspec
import structlog

from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.events import KEPT_S, EventLog
from landline.stores.store import StoreUnavailableError
from landline.turns.faults import broken_end, note_fault
from landline.turns.runner import RunsTurns
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ResponseCreated, ResponseInProgress, ResponseQueued
from landline.wire.responses import Response
from landline.wire.sse import sse_records

_CANCEL_WAIT_S = 10.0
"""How long whoever cancels a response waits for a store that is away."""

_log = structlog.stdlib.get_logger(__name__)


class BackgroundSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many background responses there may be, and how long their events are kept."""

    max_running: Annotated[int, msgspec.Meta(ge=1)] = 16
    """Background responses that run at once; more are queued, first come first served."""
    max_queued: Annotated[int, msgspec.Meta(ge=0)] = 1000
    """Background responses that wait, then 429."""
    events_kept_s: Annotated[float, msgspec.Meta(ge=1)] = KEPT_S
    """How long a streamed background response can be streamed again after its end."""


class BackgroundTurns:
    """The background turns of this process, each in a task of its own."""

    def __init__(self, runner: RunsTurns, log: EventLog, settings: BackgroundSettings) -> None:
        self._runner = runner
        self._log = log
        self._settings = settings
        self._turns: dict[str, _BackgroundTurn] = {}
        self._waiting: deque[_BackgroundTurn] = deque()
        self._running_count = 0

    async def start(self, turn: Turn, *, on_ended: Callable[[], None] | None = None) -> Response | ApiError:
        """The response as it is queued, saved and findable by now; or why there is none.

        The turn goes on even if the caller is cancelled. `on_ended` is called once when it is over, however it ends.
        """
        settings = self._settings
        if len(self._turns) >= settings.max_running + settings.max_queued:
            message = f"Too many background responses: {settings.max_running} run and {settings.max_queued} wait."
            turn.meter.outcome, turn.meter.error_code = "refused", "rate_limit_exceeded"
            if on_ended is not None:
                on_ended()
            return api_error("rate_limit_exceeded", message)
        started = _BackgroundTurn(turn, on_ended)
        self._turns[turn.response_id] = started
        started.task = asyncio.create_task(self._run(started))
        # Not in the task's own `finally`: a task that is cancelled before its first step runs none of its code.
        started.task.add_done_callback(lambda _: self._end(started))
        return await asyncio.shield(started.answer)

    def find(self, tenant: str, response_id: str) -> Response | None:
        """The response as it stands, if it is queued or runs in this process."""
        found = self._find(tenant, response_id)
        return found.response if found is not None else None

    async def cancel(self, tenant: str, response_id: str) -> bool:
        """Ends the response as cancelled, unless it ends otherwise first, and returns when it is saved.

        False when it does not run in this process (any more). Raises `StoreUnavailableError` when it cannot be saved.
        """
        found = self._find(tenant, response_id)
        if found is None or found.task is None:
            return False
        self._runner.stop(response_id)
        self._release(found)
        _, late = await asyncio.wait({found.task}, timeout=_CANCEL_WAIT_S)
        if late:
            raise StoreUnavailableError(f"response {response_id!r} has ended and is not saved yet")
        return True

    def follow(
        self, tenant: str, response_id: str, *, after: int, silence_s: float
    ) -> AsyncGenerator[list[bytes], None] | None:
        """Batches of server-sent records numbered higher than `after`, to the response's end; [] after each silence.

        None when its events are not kept: it was not created with `stream`, or ended too long ago.
        """
        return self._log.follow(tenant, response_id, after=after, silence_s=silence_s)

    def forget_events(self, tenant: str, response_id: str) -> None:
        """Drops what could be streamed again."""
        self._log.forget(tenant, response_id)

    def give_up(self, error: ApiError) -> None:
        """Ends every turn because the server stops: those that were announced are incomplete, and their streams say so."""
        for turn in list(self._turns.values()):
            if self._runner.give_up(turn.turn.response_id, error):
                self._release(turn)
            elif turn.task is not None:
                turn.task.cancel()

    def abort(self) -> None:
        """Ends every turn at once; those that were announced are kept as incomplete."""
        for turn in self._turns.values():
            if turn.task is not None:
                turn.task.cancel()

    async def wait_until_idle(self) -> None:
        """Returns when every turn has ended."""
        while self._turns:
            await asyncio.wait({turn.task for turn in self._turns.values() if turn.task is not None})

    async def close(self) -> None:
        """Ends every turn and waits until it is saved."""
        self.abort()
        await self.wait_until_idle()

    def _find(self, tenant: str, response_id: str) -> "_BackgroundTurn | None":
        found = self._turns.get(response_id)
        is_there = found is not None and found.response is not None and found.turn.tenant == tenant
        return found if is_there else None

    def _release(self, started: "_BackgroundTurn") -> None:
        """A turn that was ended while it waits for a slot needs none."""
        if started in self._waiting:
            self._waiting.remove(started)
            started.may_go_on.set()

    async def _run(self, started: "_BackgroundTurn") -> None:
        """The task of one turn."""
        turn = started.turn
        try:
            async with aclosing(self._runner.run(turn)) as updates:
                self._take(started, await anext(updates))
                if started.response is not None:
                    await self._wait_for_slot(started)
                    async for update in updates:
                        self._take(started, update)
        except Exception:  # noqa: BLE001  # the root of the turn's task
            self._break(started, note_fault(turn))

    def _break(self, started: "_BackgroundTurn", error: ApiError) -> None:
        """The turn's updates could not be taken: whoever follows it hears of its end."""
        turn = started.turn
        if not started.answer.done():
            started.answer.set_result(error)
        elif turn.request.stream is True and started.next_number:
            ended = broken_end(turn, error, next_number=started.next_number)
            if isinstance(ended, TurnEnded):
                self._log.append(turn.tenant, turn.response_id, sse_records(ended.events, error))

    def _end(self, started: "_BackgroundTurn") -> None:
        turn = started.turn
        del self._turns[turn.response_id]
        self._free_slot(started)
        self._log.end(turn.tenant, turn.response_id)
        started.answer.cancel()
        if started.on_ended is not None:
            started.on_ended()

    def _take(self, started: "_BackgroundTurn", update: TurnUpdate) -> None:
        """Keeps what an update says; the first one is the answer to who created the turn."""
        match update:
            case TurnRefused(error):
                started.answer.set_result(error)
            case TurnProgressed(events) | TurnEnded(events):
                for event in events:
                    if isinstance(event, ResponseCreated | ResponseQueued | ResponseInProgress):
                        started.response = event.response
                self._keep_events(started, update)
                if not started.answer.done() and started.response is not None:
                    started.answer.set_result(started.response)
            case _:
                assert_never(update)

    def _keep_events(self, started: "_BackgroundTurn", update: TurnProgressed | TurnEnded) -> None:
        turn = started.turn
        if turn.request.stream is True:
            if not started.answer.done():
                self._log.open(turn.tenant, turn.response_id)
            error = update.error if isinstance(update, TurnEnded) else None
            records = sse_records(update.events, error)
            self._log.append(turn.tenant, turn.response_id, records)
            started.next_number = records[-1][0] + 1 if isinstance(update, TurnProgressed) else 0

    async def _wait_for_slot(self, started: "_BackgroundTurn") -> None:
        if self._running_count < self._settings.max_running:
            self._running_count += 1
            started.has_slot = True
            return
        self._waiting.append(started)
        await started.may_go_on.wait()

    def _free_slot(self, started: "_BackgroundTurn") -> None:
        """Gives the slot to the turn that waits longest."""
        if started in self._waiting:
            self._waiting.remove(started)
        if not started.has_slot:
            return
        if self._waiting:
            follower = self._waiting.popleft()
            follower.has_slot = True
            follower.may_go_on.set()
        else:
            self._running_count -= 1


class _BackgroundTurn:
    __slots__ = ("answer", "has_slot", "may_go_on", "next_number", "on_ended", "response", "task", "turn")

    def __init__(self, turn: Turn, on_ended: Callable[[], None] | None) -> None:
        self.turn = turn
        self.on_ended = on_ended
        self.task: asyncio.Task[None] | None = None
        self.answer: asyncio.Future[Response | ApiError] = asyncio.get_running_loop().create_future()
        """What the one who created it is told."""
        self.response: Response | None = None
        """As it stands; None until it is announced."""
        self.may_go_on = asyncio.Event()
        """Set when a queued turn may run, or was cancelled."""
        self.has_slot = False
        self.next_number = 0
        """Of the next event that is kept for whoever follows; 0 before the first and after the last."""
