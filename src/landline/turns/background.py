"""Background responses: turns that belong to the server, not to a connection. They are polled, followed and cancelled by id."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, assert_never

import msgspec
import structlog

from landline.session.turn import TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.events import KEPT_S, EventLog
from landline.stores.store import StoreUnavailableError
from landline.turns.running import RunningTurn
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

    def __init__(self, log: EventLog, settings: BackgroundSettings) -> None:
        self._log = log
        self._settings = settings
        self._turns: dict[str, _BackgroundTurn] = {}
        self._waiting: deque[_BackgroundTurn] = deque()
        self._running_count = 0

    async def start(self, running: RunningTurn, *, on_ended: Callable[[], None] | None = None) -> Response | ApiError:
        """Runs the turn: the response as it is queued, saved and findable by now; or why there is none.

        The turn goes on even if the caller is cancelled. `on_ended` is called once when it is over, however it ends.
        """
        settings = self._settings
        if len(self._turns) >= settings.max_running + settings.max_queued:
            message = f"Too many background responses: {settings.max_running} run and {settings.max_queued} wait."
            error = api_error("rate_limit_exceeded", message)
            running.refuse(error)
            if on_ended is not None:
                on_ended()
            return error
        started = _BackgroundTurn(self, running, on_ended)
        self._turns[running.turn.response_id] = started
        started.task = asyncio.create_task(running.run(started))
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
        found.running.stop()
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
        for each in list(self._turns.values()):
            if each.running.give_up(error):
                self._release(each)
            elif each.task is not None:
                each.task.cancel()

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
        is_there = found is not None and found.response is not None and found.running.turn.tenant == tenant
        return found if is_there else None

    def _release(self, started: "_BackgroundTurn") -> None:
        """A turn that was ended while it waits for a slot needs none."""
        if started in self._waiting:
            self._waiting.remove(started)
            started.may_go_on.set()

    def _end(self, started: "_BackgroundTurn") -> None:
        turn = started.running.turn
        del self._turns[turn.response_id]
        self._free_slot(started)
        self._log.end(turn.tenant, turn.response_id)
        started.answer.cancel()
        if started.on_ended is not None:
            started.on_ended()

    def keep_events(self, started: "_BackgroundTurn", update: TurnProgressed | TurnEnded) -> None:
        """Keeps what is to be streamed, if the response was created with `stream`."""
        turn = started.running.turn
        if turn.request.stream is True:
            if not started.answer.done():
                self._log.open(turn.tenant, turn.response_id)
            error = update.error if isinstance(update, TurnEnded) else None
            self._log.append(turn.tenant, turn.response_id, sse_records(update.events, error))

    async def wait_for_slot(self, started: "_BackgroundTurn") -> None:
        """Returns when one more may run."""
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
    """Listens to one turn: its first update is the answer to who created it, and it then waits for a slot to run in."""

    __slots__ = ("_turns", "answer", "has_slot", "may_go_on", "on_ended", "response", "running", "task")

    def __init__(self, turns: BackgroundTurns, running: RunningTurn, on_ended: Callable[[], None] | None) -> None:
        self._turns = turns
        self.running = running
        self.on_ended = on_ended
        self.task: asyncio.Task[None] | None = None
        self.answer: asyncio.Future[Response | ApiError] = asyncio.get_running_loop().create_future()
        """What the one who created it is told."""
        self.response: Response | None = None
        """As it stands; None until it is announced."""
        self.may_go_on = asyncio.Event()
        """Set when a queued turn may run, or was cancelled."""
        self.has_slot = False

    async def hear(self, update: TurnUpdate) -> None:
        is_first = self.response is None
        self._take(update)
        if is_first and isinstance(update, TurnProgressed):
            await self._turns.wait_for_slot(self)

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        self._take(ended)

    def _take(self, update: TurnUpdate) -> None:
        match update:
            case TurnRefused(error):
                if not self.answer.done():
                    self.answer.set_result(error)
            case TurnProgressed(events) | TurnEnded(events):
                for event in events:
                    if isinstance(event, ResponseCreated | ResponseQueued | ResponseInProgress):
                        self.response = event.response
                self._turns.keep_events(self, update)
                if not self.answer.done() and self.response is not None:
                    self.answer.set_result(self.response)
            case _:
                assert_never(update)
