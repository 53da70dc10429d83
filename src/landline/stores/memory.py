"""A store that lives and dies with the process: for tests, demos and servers that must write nothing to disk.

Lineages share their links, as everywhere; Python's reference counts are the garbage collector. Only expiry bounds it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec

from landline.session.lineage import Link, extend
from landline.stores.paging import cut_page
from landline.stores.readable_items import readable_items
from landline.stores.store import (
    DEFAULT_RETENTION_S,
    Conversation,
    ItemPage,
    LockResult,
    NewResponse,
    Page,
    ParentGoneError,
    StoredHistory,
    StoredResponse,
    StoreError,
)
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus

_CONTINUABLE: frozenset[ResponseStatus] = frozenset(("completed", "incomplete"))
_RUNNING: frozenset[ResponseStatus] = frozenset(("queued", "in_progress"))


class _Response:
    """One saved response; `history` is None until it may be continued, and when its lineage holds nothing."""

    __slots__ = ("before", "history", "new", "output", "stored")

    def __init__(self, new: NewResponse, before: Link | None) -> None:
        self.new = new
        self.before = before
        self.output: tuple[Item, ...] = ()
        self.history: Link | None = None
        self.stored = StoredResponse(
            response_id=new.response_id,
            status=new.status,
            is_background=new.is_background,
            created_at=new.created_at,
            body=new.body,
        )

    def all_items(self) -> Iterator[Item]:
        yield from self.new.items
        yield from self.output


class _Conversation:
    __slots__ = ("conversation", "items", "link", "writer")

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.items: list[Item] = []
        self.link: Link | None = None
        self.writer: str | None = None
        """The response that holds the lock."""

    def append(self, items: Sequence[Item]) -> None:
        self.items.extend(items)
        self.link = extend(self.link, readable_items(items))


class MemoryStore:
    """Implements `Store` in dictionaries. Methods never wait, so each is atomic."""

    def __init__(self, retention_s: float = DEFAULT_RETENTION_S) -> None:
        self._retention_s = retention_s
        self._responses: dict[tuple[str, str], _Response] = {}
        self._conversations: dict[tuple[str, str], _Conversation] = {}
        self._written: dict[tuple[str, str], _Conversation] = {}
        """Locked conversations by tenant and the response that writes."""
        self._found: dict[tuple[str, str], list[Item]] = {}
        """Items by tenant and id, one entry for each response or conversation that holds it."""

    async def open(self) -> None:
        """Nothing to do: nothing survived."""

    async def close(self) -> None:
        """Nothing to do: the process keeps what it has."""

    def watch_turns(self, is_running: Callable[[str], bool], catch_up: Callable[[], Awaitable[None]]) -> None:
        """Nothing to do: every turn's end is saved."""

    @property
    def trouble(self) -> str | None:
        return None

    async def check(self) -> str | None:
        return None

    async def begin_response(self, new: NewResponse) -> None:
        key = (new.tenant, new.response_id)
        if key in self._responses:
            raise StoreError(f"Response {new.response_id!r} exists already.")
        self._responses[key] = _Response(new, extend(self._parent_history(new), new.inherited))
        self._index(new.tenant, new.items)

    def _parent_history(self, new: NewResponse) -> Link | None:
        if new.conversation_id is not None:
            conversation = self._conversations.get((new.tenant, new.conversation_id))
            if conversation is None or conversation.writer != new.response_id:
                raise ParentGoneError(f"{new.response_id!r} does not hold the lock of {new.conversation_id!r}.")
            return conversation.link
        if new.parent_id is None:
            return None
        parent = self._responses.get((new.tenant, new.parent_id))
        if parent is None or parent.stored.status not in _CONTINUABLE:
            raise ParentGoneError(f"Response {new.parent_id!r} cannot be continued: it is gone, or has not ended.")
        return parent.history

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        conversation = self._unlock(tenant, response_id)
        response = self._responses.get((tenant, response_id))
        if response is None:
            return
        response.output = tuple(output)
        response.stored = msgspec.structs.replace(response.stored, status=status, body=body)
        self._index(tenant, response.output)
        if status in _CONTINUABLE:
            response.history = extend(
                extend(response.before, readable_items(response.new.items)), readable_items(response.output)
            )
            if conversation is not None:
                own = list(response.all_items())
                conversation.append(own)
                self._index(tenant, own)

    async def discard_response(self, tenant: str, response_id: str) -> None:
        self._unlock(tenant, response_id)
        await self.delete_response(tenant, response_id)

    async def load_response(self, tenant: str, response_id: str) -> StoredResponse | None:
        response = self._responses.get((tenant, response_id))
        return response.stored if response is not None else None

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        response = self._responses.get((tenant, response_id))
        if response is None or response.stored.status not in _CONTINUABLE:
            return None
        return StoredHistory(response.history)

    async def delete_response(self, tenant: str, response_id: str) -> bool:
        response = self._responses.pop((tenant, response_id), None)
        if response is None:
            return False
        self._unindex(tenant, response.all_items())
        return True

    async def list_input(self, tenant: str, response_id: str, page: Page) -> ItemPage | None:
        response = self._responses.get((tenant, response_id))
        return cut_page(response.new.items, page) if response is not None else None

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        found = {item_id: self._found.get((tenant, item_id)) for item_id in item_ids}
        return {item_id: items[-1] for item_id, items in found.items() if items}

    async def create_conversation(self, tenant: str, conversation: Conversation, items: Sequence[Item]) -> None:
        key = (tenant, conversation.conversation_id)
        if key in self._conversations:
            raise StoreError(f"Conversation {conversation.conversation_id!r} exists already.")
        created = self._conversations[key] = _Conversation(conversation)
        created.append(items)
        self._index(tenant, items)

    async def load_conversation(self, tenant: str, conversation_id: str) -> Conversation | None:
        found = self._conversations.get((tenant, conversation_id))
        return found.conversation if found is not None else None

    async def update_conversation(
        self, tenant: str, conversation_id: str, metadata: Mapping[str, str]
    ) -> Conversation | None:
        found = self._conversations.get((tenant, conversation_id))
        if found is None:
            return None
        found.conversation = msgspec.structs.replace(found.conversation, metadata=dict(metadata))
        return found.conversation

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        found = self._conversations.pop((tenant, conversation_id), None)
        if found is None:
            return False
        if found.writer is not None:
            del self._written[tenant, found.writer]
        self._unindex(tenant, found.items)
        return True

    async def load_conversation_history(self, tenant: str, conversation_id: str) -> StoredHistory | None:
        found = self._conversations.get((tenant, conversation_id))
        return StoredHistory(found.link) if found is not None else None

    async def lock_conversation(self, tenant: str, conversation_id: str, response_id: str) -> LockResult:
        found = self._conversations.get((tenant, conversation_id))
        if found is None:
            return "missing"
        if found.writer not in (None, response_id):
            return "busy"
        found.writer = response_id
        self._written[tenant, response_id] = found
        return "locked"

    async def add_conversation_items(self, tenant: str, conversation_id: str, items: Sequence[Item]) -> LockResult:
        found = self._conversations.get((tenant, conversation_id))
        if found is None:
            return "missing"
        if found.writer is not None:
            return "busy"
        found.append(items)
        self._index(tenant, items)
        return "locked"

    async def list_conversation_items(self, tenant: str, conversation_id: str, page: Page) -> ItemPage | None:
        found = self._conversations.get((tenant, conversation_id))
        return cut_page(found.items, page) if found is not None else None

    async def load_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> Item | None:
        found = self._conversations.get((tenant, conversation_id))
        items = found.items if found is not None else ()
        return next((item for item in items if item.id == item_id), None)

    async def delete_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        found = self._conversations.get((tenant, conversation_id))
        gone = [item for item in found.items if item.id == item_id] if found is not None else []
        if found is None or not gone:
            return False
        found.items = [item for item in found.items if item.id != item_id]
        found.link = extend(None, readable_items(found.items))
        self._unindex(tenant, gone)
        return True

    async def sweep(self, now: float) -> int:
        expired = [
            key
            for key, response in self._responses.items()
            if response.stored.created_at <= now - self._retention_s and response.stored.status not in _RUNNING
        ]
        for tenant, response_id in expired:
            await self.delete_response(tenant, response_id)
        return len(expired)

    def _unlock(self, tenant: str, response_id: str) -> _Conversation | None:
        """The conversation that the response was writing, if it still exists."""
        conversation = self._written.pop((tenant, response_id), None)
        if conversation is not None:
            conversation.writer = None
        return conversation

    def _index(self, tenant: str, items: Sequence[Item]) -> None:
        for item in items:
            if item.id is not None:
                self._found.setdefault((tenant, item.id), []).append(item)

    def _unindex(self, tenant: str, items: Iterator[Item] | Sequence[Item]) -> None:
        for item in items:
            if item.id is not None:
                held = self._found[(tenant, item.id)]
                held.remove(item)
                if not held:
                    del self._found[(tenant, item.id)]
