"""The story of one turn, top to bottom: choose a target, ask it, compose what it says, announce, end."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec
import structlog

from landline.dialects.dialect import Prompt
from landline.routing.router import Choice, Router
from landline.session.composer import Composer, EventNames
from landline.session.turn import Turn, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.store import Store, StoreError
from landline.turns.prepare import Preparer
from landline.turns.pump import Pump
from landline.turns.record import CANCELLED, Record
from landline.upstream.target import Target
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ServerEvent
from landline.wire.model_events import Failed, ModelEvent

_log = structlog.stdlib.get_logger(__name__)


class RunnerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How turns are announced and kept alive."""

    announce_after_s: float = 2.0
    """A response is created when its upstream accepts it, or after this wait: until then a refusal is still an error
    frame or an HTTP status, which clients can act on."""
    keepalive_s: float = 25.0
    """Silence after which a text keepalive is sent: Codex CLI's idle timer counts text frames only."""
    event_names: EventNames = "openai"


class TurnRunner:
    """Runs turns; holds nothing but the turns in flight."""

    def __init__(
        self, router: Router[Target], store: Store, *, new_id: Callable[[str], str], settings: RunnerSettings
    ) -> None:
        self._router = router
        self._store = store
        self._preparer = Preparer(store)
        self._new_id = new_id
        self._settings = settings
        self._running: dict[str, _RunningTurn] = {}

    def stop(self, response_id: str) -> None:
        """Ends a running turn early as incomplete; ignored when it is not running any more."""
        running = self._running.get(response_id)
        if running is not None:
            running.is_stopped = True
            running.pump.interrupt()

    async def run(self, turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
        """The turn's updates. Closing the generator aborts the upstream request."""
        choice = self._router.choose(turn.request.model)
        if isinstance(choice, ApiError):
            yield TurnRefused(choice)
            return
        prepared = await self._prepare(turn)
        if isinstance(prepared, ApiError):
            yield TurnRefused(prepared)
            return
        turn = prepared
        record = Record(self._store, turn, self._new_id)
        composer = Composer(
            turn, model=turn.request.model or choice.model, new_id=self._new_id, event_names=self._settings.event_names
        )
        running = _RunningTurn(Pump(choice.target.stream(_prompt(turn, choice))))
        self._running[turn.response_id] = running
        try:
            async with aclosing(self._follow(composer, running, record)) as updates:
                async for update in updates:
                    yield update
        finally:
            del self._running[turn.response_id]
            await running.pump.close()
            await record.settle(composer)

    async def _prepare(self, turn: Turn) -> Turn | ApiError:
        try:
            return await self._preparer.prepare(turn)
        except StoreError:
            _log.exception("history_not_loaded", response_id=turn.response_id)
            return api_error("server_error", "The stored history could not be loaded.")

    async def _follow(
        self, composer: Composer, running: "_RunningTurn", record: Record
    ) -> AsyncGenerator[TurnUpdate, None]:
        """Reads the model to its end and says what comes of it."""
        while not composer.is_over:
            batch = await self._next_batch(composer, running)
            events: list[ServerEvent] = []
            if not composer.is_announced:
                refusal = _refusal(batch)
                if refusal is not None:
                    yield TurnRefused(refusal)
                    return
                events = composer.open()
                record.begin(composer.response)
            elif not batch and not composer.is_over:
                events = [composer.keepalive()]
            events += composer.feed(batch)
            if composer.is_over:
                ended = composer.close(time.time())
                yield await record.finish(msgspec.structs.replace(ended, events=events + ended.events))
            elif events:
                yield TurnProgressed(events)

    async def _next_batch(self, composer: Composer, running: "_RunningTurn") -> list[ModelEvent]:
        """The next model events; [] after a silence or a stop. A stream that just ends fails the turn."""
        settings = self._settings
        timeout_s = settings.keepalive_s if composer.is_announced else settings.announce_after_s
        try:
            batch = await running.pump.next_batch(timeout_s)
        except Exception:  # noqa: BLE001 - the turn's root: a target's bug must end this turn, not the connection
            _log.exception("target_crashed", response_id=composer.response.id)
            return [Failed(api_error("server_error", "The target failed unexpectedly; see the server's log."))]
        if batch is not None:
            return batch
        if running.is_stopped:
            composer.stop(CANCELLED)
            return []
        return [Failed(api_error("upstream_error", "The target's answer ended without a closing event."))]


class _RunningTurn:
    """What `stop` needs to reach a turn in flight."""

    __slots__ = ("is_stopped", "pump")

    def __init__(self, pump: Pump) -> None:
        self.pump = pump
        self.is_stopped = False


def _prompt(turn: Turn, choice: Choice[Target]) -> Prompt:
    return Prompt(
        history=turn.history,
        request=turn.request,
        model=choice.model,
        response_id=turn.response_id,
        affinity_key=turn.affinity_key,
    )


def _refusal(batch: list[ModelEvent]) -> ApiError | None:
    """The error of a turn whose upstream took nothing: a lone `Failed`."""
    first = batch[0] if batch else None
    return first.error if isinstance(first, Failed) else None
