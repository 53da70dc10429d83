"""Finds what a turn needs before a model can be asked: its parent's history, its conversation, the items it refers to."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from landline.session.admission import previous_response_not_found, resolve
from landline.session.lineage import Link
from landline.session.turn import Turn
from landline.stores.store import LockResult, Store, StoredHistory, StoreError, StoreUnavailableError
from landline.turns.opening import Opener
from landline.turns.prefixes import PrefixIndex
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item
from landline.wire.readable import UNREADABLE, is_readable_object

_log = structlog.stdlib.get_logger(__name__)


class Preparer:
    """Resolves turns against the store, and opens what is sealed."""

    def __init__(self, store: Store, opener: Opener, prefixes: PrefixIndex) -> None:
        self._store = store
        self._opener = opener
        self._prefixes = prefixes

    async def prepare(self, turn: Turn, *, is_writing: bool = True) -> Turn | ApiError:
        """The resolved turn, or why it cannot run. A turn of a conversation may hold its lock afterwards, either way,
        unless it is not going to write.

        Raises `StoreError`.
        """
        if turn.is_resolved:
            return turn
        items = await look_up(self._store, turn.tenant, turn.items)
        if isinstance(items, ApiError):
            return items
        items = self._opener.open_input(turn.tenant, items)
        if turn.conversation_id is not None:
            if is_writing:
                refused = await self._lock_conversation(turn, turn.conversation_id)
                if refused is not None:
                    return refused
            found = await self._store.load_conversation_history(turn.tenant, turn.conversation_id)
            if found is None:
                return conversation_not_found(turn.conversation_id, param="conversation")
            return resolve(turn, self._opener.open_history(turn.tenant, found.link), items)
        parent_id = turn.request.previous_response_id
        if parent_id is None or turn.is_parent_found:
            return resolve(turn, turn.history, items)
        found = await self._find_parent(turn.tenant, parent_id)
        if found is None:
            return previous_response_not_found(parent_id)
        await self._note_tokens(turn, parent_id, found.link)
        return resolve(msgspec.structs.replace(turn, stored_parent_id=parent_id), found.link, items)

    async def _find_parent(self, tenant: str, response_id: str) -> StoredHistory | None:
        """A stored response's history, opened: what this process remembers is not read back, but whether it is still there is
        the store's to say, because others may have deleted it."""
        history = self._prefixes.find_response(tenant, response_id)
        if history is None:
            found = await self._store.load_history(tenant, response_id)
            return found and StoredHistory(self._opener.open_history(tenant, found.link))
        return StoredHistory(history) if await self._store.may_be_continued(tenant, response_id) else None

    async def _note_tokens(self, turn: Turn, parent_id: str, history: Link | None) -> None:
        """What the model reported for the parent, where the turn may be compacted for its length.

        A parent that compacted has the usage of two passes, which says nothing about its context.
        """
        if turn.request.compact_threshold is None or history is None or history.context_tokens is not None:
            return
        stored = await self._store.load_response(turn.tenant, parent_id)
        try:
            told = msgspec.json.decode(stored.body, type=_StoredUsage) if stored is not None else _StoredUsage()
        except UNREADABLE:
            return  # then its tokens are counted
        if told.usage is not None and all(item.type != "compaction" for item in told.output):
            history.context_tokens = told.usage.total_tokens or None

    async def _lock_conversation(self, turn: Turn, conversation_id: str) -> ApiError | None:
        locking = asyncio.create_task(self._lock(turn, conversation_id))
        try:
            result = await asyncio.shield(locking)
        except asyncio.CancelledError:
            await asyncio.wait({locking})  # else the lock might be taken after whoever gave up has freed it
            raise
        if result == "missing":
            return conversation_not_found(conversation_id, param="conversation")
        return conversation_locked(conversation_id) if result == "busy" else None

    async def _lock(self, turn: Turn, conversation_id: str) -> LockResult:
        return await self._store.lock_conversation(turn.tenant, conversation_id, turn.response_id)


async def prepare_turn(preparer: Preparer, turn: Turn, *, is_writing: bool = True) -> Turn | ApiError:
    """The turn with its history, or why that cannot be found. It may hold its conversation's lock afterwards, either way,
    unless it is not going to write."""
    try:
        return await preparer.prepare(turn, is_writing=is_writing)
    except StoreUnavailableError:
        return api_error("store_unavailable", "The stored history cannot be loaded now; nothing was started.")
    except StoreError:
        _log.exception("history_not_loaded", response_id=turn.response_id)
        return api_error("server_error", "The stored history could not be loaded.")


class _Usage(msgspec.Struct):
    total_tokens: int


class _OutputHead(msgspec.Struct):
    type: str


class _StoredUsage(msgspec.Struct):
    """What is read of a stored response."""

    usage: _Usage | None = None
    output: list[_OutputHead] = []


def conversation_not_found(conversation_id: str, *, param: str) -> ApiError:
    """The answer for a conversation that is not there, or is another tenant's."""
    return api_error("not_found", f"Conversation with id '{conversation_id}' not found.", param=param)


def conversation_locked(conversation_id: str) -> ApiError:
    """The answer to a second writer."""
    message = f"Conversation {conversation_id!r} is being written by another response; try again when it ended."
    return api_error("conversation_locked", message, param="conversation")


async def look_up(
    store: Store, tenant: str, items: tuple[Item, ...], *, name: str = "input"
) -> tuple[Item, ...] | ApiError:
    """The items with references replaced by the stored items that they name. Raises `StoreError`."""
    wanted = [item.id for item in items if item.type == "item_reference" and item.id is not None]
    if not wanted:
        return items
    return _replace_references(items, await store.find_items(tenant, wanted), name)


def _replace_references(items: Sequence[Item], found: dict[str, Item], name: str) -> tuple[Item, ...] | ApiError:
    replaced: list[Item] = []
    for index, item in enumerate(items):
        if item.type != "item_reference":
            replaced.append(item)
        elif item.id in found and is_readable_object(found[item.id].raw):
            replaced.append(found[item.id])
        else:
            message = f"Item with id {item.id!r} not found. Items are stored only with `store: true`."
            return api_error("not_found", message, param=f"{name}[{index}].id")
    return tuple(replaced)
