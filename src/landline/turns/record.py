"""Saves one turn: its beginning while the model works, its end before anyone hears of it.

A beginning is held back for a moment. A turn that has ended by then is saved in one transaction instead of two.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
import structlog

from landline.session.composer import Composer
from landline.session.turn import StoredPrefix, Turn, TurnEnded
from landline.stores.store import (
    NewResponse,
    ParentGoneError,
    ResponseEndedError,
    Store,
    StoreError,
    StoreUnavailableError,
)
from landline.turns.saves import Saves
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

    def __init__(self, store: Store, turn: Turn, new_id: Callable[[str], str], *, saves: Saves) -> None:
        self.turn = turn
        """The turn; its history must be resolved before `begin`."""
        self.is_over = False
        """Whether the turn's end was saved, or the turn was discarded."""
        self._store = store
        self._new_id = new_id
        self._saves = saves
        self._is_stored = turn.request.store is not False
        self._is_begin_uncertain = False
        """Whether a begin was tried of which it is not known whether it was done."""
        self._begun_as: Response | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._unsaved: TurnEnded | None = None
        """The end that is being saved."""

    def begin(self, response: Response) -> None:
        """Saves the turn as it stands, a moment later; the model does not wait for it."""
        if self._is_stored and self._begun_as is None:
            self._begun_as = response
            self._saves.hold_back(self.turn.response_id, partial(self._start_beginning, response))

    def _start_beginning(self, response: Response) -> asyncio.Task[None]:
        """Starts saving the turn's beginning, unless that was done; again if the store was away before."""
        if self._beginning is None or _found_store_away(self._beginning):
            self._begun_as = self._begun_as or response
            self._beginning = self._saves.start(self._begin(self._begun_as))
        return self._beginning

    async def begin_now(self, response: Response) -> ApiError | None:
        """Saves the turn as it stands; why it could not be saved, if so, and then the turn is discarded."""
        if not self._is_stored:
            return None
        try:
            await asyncio.shield(self._start_beginning(response))
        except StoreError as error:
            self._note(error)
            await self.discard(is_store_away=isinstance(error, StoreUnavailableError))
            return _error(error, "The response could not be stored; it was not started.")
        return None

    async def finish(self, ended: TurnEnded) -> TurnEnded:
        """Saves the turn's end, waiting a while for a store that is away; a turn that nobody waits for, in the background,
        waits as long as the process lives. A turn that cannot be saved is not announced as completed: it fails.

        What was begun here is brought to its end even if the caller is cancelled meanwhile.
        """
        self.is_over = True
        if not self._is_stored:
            return ended
        is_patient = self.turn.request.background is True
        self._unsaved = ended
        self._ending = self._saves.start(self._saves.insist(partial(self._finish, ended), is_patient=is_patient))
        try:
            await asyncio.shield(self._ending)
        except StoreError as error:
            self._note(error)
            self._unsaved = None
            failed = _failed_to_save(ended, error)
            if isinstance(error, StoreUnavailableError):
                self._put_off(failed)
            return failed
        return msgspec.structs.replace(ended, is_stored=True)

    async def settle(self, composer: Composer) -> None:
        """Called when the turn is left, however: an announced turn that was aborted is kept as incomplete."""
        if self._ending is not None:
            await asyncio.wait({self._ending})
            if self._unsaved is not None and _found_store_away(self._ending):
                self._put_off(self._unsaved)  # nobody was told of it
        elif not self.is_over and composer.is_announced:
            composer.stop(CANCELLED)
            await self._keep(composer.close(time.time()))
        await self.discard()

    async def discard(self, *, is_store_away: bool = False) -> None:
        """Forgets a turn that was not announced and frees its conversation; does nothing for any other."""
        if self.is_over:
            return
        self.is_over = True
        self._saves.withdraw(self.turn.response_id)
        if self._beginning is None and self.turn.conversation_id is None:
            return
        if is_store_away:
            self._saves.put_off(self.turn.response_id, self._discard)
        else:
            await asyncio.shield(self._saves.start(self._try_now(self._discard)))

    async def _keep(self, ended: TurnEnded) -> None:
        """Saves an end that nobody waits for."""
        self.is_over = True
        if self._is_stored:
            await asyncio.shield(self._saves.start(self._try_now(partial(self._finish, ended), _size(ended))))

    def _put_off(self, ended: TurnEnded) -> None:
        self._saves.put_off(self.turn.response_id, partial(self._finish, ended), size_bytes=_size(ended))

    async def _try_now(self, save: Callable[[], Awaitable[None]], size_bytes: int = 0) -> None:
        try:
            await save()
        except StoreUnavailableError:
            self._saves.put_off(self.turn.response_id, save, size_bytes=size_bytes)
        except StoreError as error:
            self._note(error)

    async def _finish(self, ended: TurnEnded) -> None:
        if self._saves.withdraw(self.turn.response_id):
            await self._save_whole(ended)
            return
        await asyncio.shield(self._start_beginning(ended.response))
        await self._store.finish_response(
            self.turn.tenant,
            self.turn.response_id,
            status=ended.response.status,
            body=ended.body,
            output=_kept_output(ended),
        )

    async def _save_whole(self, ended: TurnEnded) -> None:
        """Saves a turn of which nothing is in the store. Where that is not known any more, it is not done this way again."""
        try:
            await self._put(ended.response, partial(self._put_whole, ended))
        except StoreUnavailableError:
            self._is_begin_uncertain = True
            raise

    async def _put_whole(self, ended: TurnEnded, new: NewResponse) -> None:
        whole = msgspec.structs.replace(new, body=ended.body)
        await self._store.save_response(whole, _kept_output(ended))

    async def _discard(self) -> None:
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
        await self._store.discard_response(self.turn.tenant, self.turn.response_id)

    def _note(self, error: StoreError) -> None:
        """An outage is the store's to log, once."""
        if not isinstance(error, StoreUnavailableError):
            _log.error("response_not_saved", response_id=self.turn.response_id, exc_info=error)

    async def _begin(self, response: Response) -> None:
        turn = self.turn
        if self._is_begin_uncertain and await self._store.load_response(turn.tenant, turn.response_id) is not None:
            return
        try:
            await self._put(response, self._store.begin_response)
        except StoreUnavailableError:
            self._is_begin_uncertain = True
            raise

    async def _put(self, response: Response, put: Callable[[NewResponse], Awaitable[None]]) -> None:
        """Puts the response behind what it continues."""
        try:
            await put(self._describe(response, self.turn.stored_parent_id, self.turn.stored_prefix))
        except ParentGoneError:
            # Deleted or expired since it was remembered here: the turn keeps the history itself.
            await put(self._describe(response, None, None))

    def _describe(self, response: Response, parent_id: str | None, prefix: StoredPrefix | None) -> NewResponse:
        """The turn as the store keeps it: what is new behind its parent or the stored part of its history.

        A client's own copies of items that were known are not kept, but those that the model was sent.
        """
        turn = self.turn
        inherited, items = (), turn.items
        is_whole = False
        if parent_id is None and turn.conversation_id is None and turn.history is not None:
            is_whole = len(turn.items) == turn.history.item_count
            behind = tuple(turn.history.items_behind(prefix.item_count if prefix is not None else 0))
            own = 0 if is_whole else len(behind) - len(turn.items)
            inherited, items = behind[:own], behind[own:]
        return NewResponse(
            response_id=turn.response_id,
            tenant=turn.tenant,
            created_at=turn.created_at,
            parent_id=parent_id if prefix is None else prefix.response_id,
            follows_input=prefix is not None and prefix.is_input,
            inherited=self._identified(inherited),
            lists_history=prefix is not None and is_whole,
            conversation_id=turn.conversation_id,
            is_background=turn.request.background is True,
            status=response.status,
            body=msgspec.json.encode(response),
            items=self._identified(items),
        )

    def _identified(self, items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(identified(item, self._new_id) for item in items)


def identified(item: Item, new_id: Callable[[str], str]) -> Item:
    """The item under the id that it has, or a new one."""
    return item if item.id is not None else with_id(item, new_id(_ID_PREFIXES.get(item.type, "item")))


def _found_store_away(save: asyncio.Task[None]) -> bool:
    return save.done() and not save.cancelled() and isinstance(save.exception(), StoreUnavailableError)


def _kept_output(ended: TurnEnded) -> Sequence[Item]:
    return ended.output if ended.error is None else ()


def _size(ended: TurnEnded) -> int:
    """Bytes that are kept until the end is saved."""
    return len(ended.body) + sum(len(item.raw) for item in ended.output)


def store_unavailable(message: str) -> ApiError:
    """The answer while the store is away."""
    return api_error("store_unavailable", message)


def _error(error: StoreError, message: str) -> ApiError:
    """An outage may pass; anything else is a fault of this server."""
    is_outage = isinstance(error, StoreUnavailableError | ResponseEndedError)
    return store_unavailable(message) if is_outage else api_error("server_error", message)


def _failed_to_save(ended: TurnEnded, cause: StoreError) -> TurnEnded:
    """The same turn ending in `response.failed`, with the number that its terminal event had."""
    error = _error(cause, "The response could not be stored, so it failed; nothing of its output was kept.")
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
