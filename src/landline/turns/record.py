"""Saves one turn: its beginning while the model works, its end before anyone hears of it."""

import asyncio
import time
from collections.abc import Callable, Coroutine

import msgspec
import structlog

from landline.session.composer import Composer
from landline.session.turn import Turn, TurnEnded
from landline.stores.store import NewResponse, ParentGoneError, Store, StoreError
from landline.wire.errors import ApiError, api_error
from landline.wire.events import ResponseFailed, event_sequence
from landline.wire.items import Item, with_id
from landline.wire.responses import Response, ResponseError

CANCELLED = "cancelled"
"""`incomplete_details.reason` of a response that was stopped or whose client went away."""

_log = structlog.stdlib.get_logger(__name__)

_ID_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    "compaction": "cmp",
}


class Record:
    """What the store knows of one turn. With `store: false` it knows nothing, and every method does nothing."""

    def __init__(
        self, store: Store, turn: Turn, new_id: Callable[[str], str], *, saves: set[asyncio.Task[None]]
    ) -> None:
        self.turn = turn
        """The turn; its history must be resolved before `begin`."""
        self.is_over = False
        """Whether the turn's end was saved, or the turn was discarded."""
        self._store = store
        self._new_id = new_id
        self._saves = saves
        self._is_stored = turn.request.store is not False
        self._beginning: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def begin(self, response: Response) -> None:
        """Starts saving the turn as it stands; the model does not wait for it."""
        if self._is_stored and self._beginning is None:
            self._beginning = self._start(self._begin(response))

    async def begin_now(self, response: Response) -> ApiError | None:
        """Saves the turn as it stands; why it could not be saved, if so, and then the turn is discarded."""
        self.begin(response)
        try:
            if self._beginning is not None:
                await asyncio.shield(self._beginning)
        except StoreError:
            _log.exception("response_not_saved", response_id=self.turn.response_id)
            await self.discard()
            return api_error("server_error", "The response could not be stored; it was not started.")
        return None

    async def finish(self, ended: TurnEnded) -> TurnEnded:
        """Saves the turn's end. A turn that cannot be saved is not announced as completed: it fails.

        What was begun here is brought to its end even if the caller is cancelled meanwhile.
        """
        self.is_over = True
        if not self._is_stored:
            return ended
        self._ending = self._start(self._finish(ended))
        try:
            await asyncio.shield(self._ending)
        except StoreError:
            _log.exception("response_not_saved", response_id=self.turn.response_id)
            return _failed_to_save(ended)
        return msgspec.structs.replace(ended, is_stored=True)

    async def settle(self, composer: Composer) -> None:
        """Called when the turn is left, however: an announced turn that was aborted is kept as incomplete."""
        if self._ending is not None:
            await asyncio.wait({self._ending})
        elif not self.is_over and composer.is_announced:
            composer.stop(CANCELLED)
            await self.finish(composer.close(time.time()))
        await self.discard()

    async def discard(self) -> None:
        """Forgets a turn that was not announced and frees its conversation; does nothing for any other."""
        if self.is_over:
            return
        self.is_over = True
        if self._beginning is not None or self.turn.conversation_id is not None:
            await asyncio.shield(self._start(self._discard()))

    async def _finish(self, ended: TurnEnded) -> None:
        self.begin(ended.response)
        if self._beginning is not None:
            await self._beginning
        await self._store.finish_response(
            self.turn.tenant,
            self.turn.response_id,
            status=ended.response.status,
            body=ended.body,
            output=ended.output if ended.error is None else (),
        )

    async def _discard(self) -> None:
        try:
            if self._beginning is not None:
                await asyncio.wait({self._beginning})
            await self._store.discard_response(self.turn.tenant, self.turn.response_id)
        except StoreError:
            _log.exception("response_not_discarded", response_id=self.turn.response_id)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Does the work in a task that nobody's cancellation reaches."""
        task = asyncio.create_task(work)
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)
        return task

    async def _begin(self, response: Response) -> None:
        new = self._describe(response, self.turn.stored_parent_id)
        try:
            await self._store.begin_response(new)
        except ParentGoneError:
            # Deleted or expired since the connection remembered it: the turn keeps the history itself.
            await self._store.begin_response(self._describe(response, None))

    def _describe(self, response: Response, parent_id: str | None) -> NewResponse:
        turn = self.turn
        inherited: tuple[Item, ...] = ()
        if parent_id is None and turn.conversation_id is None and turn.history is not None:
            inherited = tuple(turn.history.all_items()[: turn.history.item_count - len(turn.items)])
        return NewResponse(
            response_id=turn.response_id,
            tenant=turn.tenant,
            created_at=turn.created_at,
            parent_id=parent_id,
            inherited=inherited,
            conversation_id=turn.conversation_id,
            is_background=turn.request.background is True,
            status=response.status,
            body=msgspec.json.encode(response),
            items=tuple(identified(item, self._new_id) for item in turn.items),
        )


def identified(item: Item, new_id: Callable[[str], str]) -> Item:
    """The item under the id that it has, or a new one."""
    return item if item.id is not None else with_id(item, new_id(_ID_PREFIXES.get(item.type, "item")))


def _failed_to_save(ended: TurnEnded) -> TurnEnded:
    """The same turn ending in `response.failed`, with the number that its terminal event had."""
    error = api_error("server_error", "The response could not be stored; nothing of it was kept.")
    response = msgspec.structs.replace(
        ended.response,
        status="failed",
        completed_at=None,
        incomplete_details=None,
        error=ResponseError(error.code, error.message),
    )
    number, stream_id = event_sequence(ended.events[-1])
    failed = ResponseFailed(sequence_number=number, stream_id=stream_id, response=response)
    events = [*ended.events[:-1], failed]
    return msgspec.structs.replace(ended, events=events, response=response, error=error, relayed=None)
