"""Finds what a turn needs before a model can be asked: its parent's history, its conversation, the items it refers to."""

from collections.abc import Sequence

import msgspec

from landline.session.admission import previous_response_not_found, resolve
from landline.session.turn import Turn
from landline.stores.store import Store
from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item


class Preparer:
    """Resolves turns against the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def prepare(self, turn: Turn) -> Turn | ApiError:
        """The resolved turn, or why it cannot run. A turn of a conversation holds its lock afterwards.

        Raises `StoreError`.
        """
        if turn.is_resolved:
            return turn
        items = await self._look_up(turn)
        if isinstance(items, ApiError):
            return items
        if turn.conversation_id is not None:
            return await self._join_conversation(turn, turn.conversation_id, items)
        parent_id = turn.request.previous_response_id
        if parent_id is None:
            return resolve(turn, None, items)
        found = await self._store.load_history(turn.tenant, parent_id)
        if found is None:
            return previous_response_not_found(parent_id)
        return resolve(msgspec.structs.replace(turn, stored_parent_id=parent_id), found.link, items)

    async def _join_conversation(self, turn: Turn, conversation_id: str, items: tuple[Item, ...]) -> Turn | ApiError:
        result = await self._store.lock_conversation(turn.tenant, conversation_id, turn.response_id)
        if result == "missing":
            return api_error("not_found", f"Conversation {conversation_id!r} not found.", param="conversation")
        if result == "busy":
            message = f"Conversation {conversation_id!r} is being written by another response; try again when it ended."
            return api_error("conversation_locked", message, param="conversation")
        found = await self._store.load_conversation_history(turn.tenant, conversation_id)
        resolved = resolve(turn, found.link if found is not None else None, items)
        if isinstance(resolved, ApiError):
            await self._store.discard_response(turn.tenant, turn.response_id)
        return resolved

    async def _look_up(self, turn: Turn) -> tuple[Item, ...] | ApiError:
        """The turn's items with references replaced by the stored items that they name."""
        wanted = [item.id for item in turn.items if item.type == "item_reference" and item.id is not None]
        if not wanted:
            return turn.items
        found = await self._store.find_items(turn.tenant, wanted)
        return _replace_references(turn.items, found)


def _replace_references(items: Sequence[Item], found: dict[str, Item]) -> tuple[Item, ...] | ApiError:
    replaced: list[Item] = []
    for index, item in enumerate(items):
        if item.type != "item_reference":
            replaced.append(item)
        elif item.id in found:
            replaced.append(found[item.id])
        else:
            message = f"Item with id {item.id!r} not found. Items are stored only with `store: true`."
            return api_error("not_found", message, param=f"input[{index}].id")
    return tuple(replaced)
