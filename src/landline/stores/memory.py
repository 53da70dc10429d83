"""A store that lives and dies with the process: for tests, demos and servers that must write nothing to disk.

Lineages share their links, as everywhere; Python's reference counts are the garbage collector. A byte budget bounds it:
beyond it, what was used least recently is forgotten, responses first, conversations when no ended response is left.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
import structlog

from landline.lru_dict import LruDict
from landline.session.held_links import HeldLinks, own_bytes
from landline.session.lineage import Link, extend
from landline.stores.store import (
    CONTINUABLE,
    DEFAULT_RETENTION_S,
    ItemPage,
    LockResult,
    NewResponse,
    Page,
    ParentGoneError,
    ResponseEndedError,
    StoredConversation,
    StoredHistory,
    StoredResponse,
    StoreError,
)
from landline.stores.stored_items import cut_page, readable_items
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus

_RUNNING: frozenset[ResponseStatus] = frozenset(("queued", "in_progress"))


DEFAULT_MEMORY_BYTES = 256 * 1024 * 1024
RESPONSE_BYTES = 2048
LINK_BYTES = 1024
ITEM_BYTES = 768
"""What a response, a link and an item cost beside their JSON, about (CPython 3.11), an item's place in the index included.
Not counted is what dialects make of items."""

_log = structlog.stdlib.get_logger(__name__)
_Key = tuple[str, str]
"""A tenant and an id."""


class _KeptResponse:
    """One saved response."""

    __slots__ = ("history", "input", "items", "lists_history", "output", "stored")

    def __init__(self, new: NewResponse, before: Link | None) -> None:
        self.items = new.items
        """Its own new input."""
        self.input = extend(before, readable_items(new.items))
        """The lineage up to here."""
        self.output: tuple[Item, ...] = ()
        self.history: Link | None = None
        """The lineage with its output; None until it may be continued, and when the lineage holds nothing."""
        self.lists_history = new.lists_history
        self.stored = StoredResponse(
            response_id=new.response_id,
            status=new.status,
            is_background=new.is_background,
            created_at=new.created_at,
            body=new.body,
        )

    @property
    def size_bytes(self) -> int:
        """What it costs without its lineage."""
        return RESPONSE_BYTES + len(self.stored.body)

    def listed_input(self) -> Sequence[Item]:
        if self.lists_history:
            return self.input.all_items() if self.input is not None else ()
        return self.items

    def own_items(self) -> list[Item]:
        return [*self.items, *self.output]


class _KeptConversation:
    __slots__ = ("conversation", "items", "link", "writer")

    def __init__(self, conversation: StoredConversation) -> None:
        self.conversation = conversation
        self.items: list[Item] = []
        self.link: Link | None = None
        self.writer: str | None = None
        """The response that holds the lock."""


class MemoryStore:
    """Implements `Store` in dictionaries. Methods never wait, so each is atomic."""

    def __init__(self, retention_s: float = DEFAULT_RETENTION_S, *, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        self.evicted_total = 0
        """Responses and conversations that were evicted to stay within the memory budget."""
        self._retention_s = retention_s
        self._memory_bytes = memory_bytes
        self._bodies_bytes = 0
        self._responses: dict[_Key, _KeptResponse] = {}
        self._ended: LruDict[_Key, _KeptResponse] = LruDict()
        """Responses that have ended, those used least recently first."""
        self._conversations: LruDict[_Key, _KeptConversation] = LruDict()
        """Those used least recently first."""
        self._written: dict[_Key, _KeptConversation] = {}
        """Locked conversations by tenant and the response that writes."""
        self._held = HeldLinks(_cost)
        self._listed = HeldLinks()
        """The links that responses list which were sent their whole history."""
        self._found: dict[_Key, list[Item]] = {}
        """Items by tenant and id, one entry for each response, conversation or listed link that holds it."""

    @property
    def size_bytes(self) -> int:
        """What everything kept costs, about."""
        return self._held.size_bytes + self._bodies_bytes

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
        response = _KeptResponse(new, extend(self._parent_history(new), new.inherited))
        self._responses[key] = response
        self._bodies_bytes += response.size_bytes
        self._held.hold(response.input)
        self._index(new.tenant, new.items)
        if response.lists_history:
            listed = self._listed.hold(response.input)
            self._index(new.tenant, _items_of(listed), is_older=True)

    def _parent_history(self, new: NewResponse) -> Link | None:
        if new.conversation_id is not None:
            conversation = self._conversations.peek((new.tenant, new.conversation_id))
            if conversation is None or conversation.writer != new.response_id:
                raise ParentGoneError(f"{new.response_id!r} does not hold the lock of {new.conversation_id!r}.")
            return conversation.link
        if new.parent_id is None:
            return None
        parent = self._use(new.tenant, new.parent_id)
        if parent is None or parent.stored.status not in CONTINUABLE:
            raise ParentGoneError(f"Response {new.parent_id!r} cannot be continued: it is gone, or has not ended.")
        return parent.input if new.follows_input else parent.history

    async def save_response(self, new: NewResponse, output: Sequence[Item]) -> None:
        await self.begin_response(msgspec.structs.replace(new, status="in_progress"))
        await self.finish_response(new.tenant, new.response_id, status=new.status, body=new.body, output=output)

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        conversation = self._unlock(tenant, response_id)
        response = self._responses.get((tenant, response_id))
        if response is None:
            return
        if (tenant, response_id) in self._ended:
            if (response.stored.status, response.stored.body) == (status, body):
                return
            raise ResponseEndedError(f"Response {response_id!r} has ended already.")
        self._bodies_bytes += len(body) - len(response.stored.body)
        response.output = tuple(output)
        response.stored = msgspec.structs.replace(response.stored, status=status, body=body)
        self._index(tenant, response.output)
        if status in CONTINUABLE:
            response.history = extend(response.input, readable_items(response.output))
            self._held.hold(response.history)
            if conversation is not None:
                self._append(tenant, conversation, response.own_items())
        self._ended.put((tenant, response_id), response)
        self._make_room()

    async def discard_response(self, tenant: str, response_id: str) -> None:
        self._unlock(tenant, response_id)
        await self.delete_response(tenant, response_id)

    async def load_response(self, tenant: str, response_id: str) -> StoredResponse | None:
        response = self._use(tenant, response_id)
        return response.stored if response is not None else None

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        response = self._use(tenant, response_id)
        if response is None or response.stored.status not in CONTINUABLE:
            return None
        return StoredHistory(response.history)

    async def may_be_continued(self, tenant: str, response_id: str) -> bool:
        return await self.load_history(tenant, response_id) is not None

    async def delete_response(self, tenant: str, response_id: str) -> bool:
        return self._forget_response((tenant, response_id))

    async def list_input(self, tenant: str, response_id: str, page: Page) -> ItemPage | None:
        response = self._use(tenant, response_id)
        return cut_page(response.listed_input(), page) if response is not None else None

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        found = {item_id: self._found.get((tenant, item_id)) for item_id in item_ids}
        return {item_id: items[-1] for item_id, items in found.items() if items}

    async def create_conversation(self, tenant: str, conversation: StoredConversation, items: Sequence[Item]) -> None:
        key = (tenant, conversation.conversation_id)
        if key in self._conversations:
            raise StoreError(f"Conversation {conversation.conversation_id!r} exists already.")
        created = _KeptConversation(conversation)
        self._conversations.put(key, created)
        self._bodies_bytes += RESPONSE_BYTES
        self._append(tenant, created, items)
        self._make_room()

    async def load_conversation(self, tenant: str, conversation_id: str) -> StoredConversation | None:
        found = self._use_conversation(tenant, conversation_id)
        return found.conversation if found is not None else None

    async def update_conversation(
        self, tenant: str, conversation_id: str, metadata: Mapping[str, str]
    ) -> StoredConversation | None:
        found = self._conversations.peek((tenant, conversation_id))
        if found is None:
            return None
        found.conversation = msgspec.structs.replace(found.conversation, metadata=dict(metadata))
        return found.conversation

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        return self._forget_conversation((tenant, conversation_id))

    async def load_conversation_history(self, tenant: str, conversation_id: str) -> StoredHistory | None:
        found = self._use_conversation(tenant, conversation_id)
        return StoredHistory(found.link) if found is not None else None

    async def lock_conversation(self, tenant: str, conversation_id: str, response_id: str) -> LockResult:
        found = self._use_conversation(tenant, conversation_id)
        if found is None:
            return "missing"
        if found.writer not in (None, response_id):
            return "busy"
        found.writer = response_id
        self._written[tenant, response_id] = found
        return "locked"

    async def add_conversation_items(self, tenant: str, conversation_id: str, items: Sequence[Item]) -> LockResult:
        found = self._use_conversation(tenant, conversation_id)
        if found is None:
            return "missing"
        if found.writer is not None:
            return "busy"
        self._append(tenant, found, items)
        self._make_room()
        return "locked"

    async def list_conversation_items(self, tenant: str, conversation_id: str, page: Page) -> ItemPage | None:
        found = self._use_conversation(tenant, conversation_id)
        return cut_page(found.items, page) if found is not None else None

    async def load_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> Item | None:
        found = self._use_conversation(tenant, conversation_id)
        items = found.items if found is not None else ()
        return next((item for item in items if item.id == item_id), None)

    async def delete_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        found = self._use_conversation(tenant, conversation_id)
        gone = [item for item in found.items if item.id == item_id] if found is not None else []
        if found is None or not gone:
            return False
        found.items = [item for item in found.items if item.id != item_id]
        self._set_link(found, extend(None, readable_items(found.items)))
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

    def _use(self, tenant: str, response_id: str) -> _KeptResponse | None:
        """The response, now the most recently used."""
        self._ended.get((tenant, response_id))
        return self._responses.get((tenant, response_id))

    def _use_conversation(self, tenant: str, conversation_id: str) -> _KeptConversation | None:
        """The conversation, now the most recently used."""
        return self._conversations.get((tenant, conversation_id))

    def _append(self, tenant: str, conversation: _KeptConversation, items: Sequence[Item]) -> None:
        conversation.items.extend(items)
        self._set_link(conversation, extend(conversation.link, readable_items(items)))
        self._index(tenant, items)

    def _set_link(self, conversation: _KeptConversation, link: Link | None) -> None:
        before, conversation.link = conversation.link, link
        self._held.hold(link)
        self._held.release(before)

    def _make_room(self) -> None:
        """Forgets what was used least recently while there is too much; never what is running or locked."""
        while self.size_bytes > self._memory_bytes and self._forget_oldest():
            if not self.evicted_total:
                _log.warning("memory_store_full", memory_bytes=self._memory_bytes, kept="what was used most recently")
            self.evicted_total += 1

    def _forget_oldest(self) -> bool:
        if self._ended:
            return self._forget_response(next(iter(self._ended)))
        unlocked = (key for key, conversation in self._conversations.items() if conversation.writer is None)
        oldest = next(unlocked, None)
        return oldest is not None and self._forget_conversation(oldest)

    def _forget_response(self, key: _Key) -> bool:
        response = self._responses.pop(key, None)
        if response is None:
            return False
        self._ended.pop(key)
        self._bodies_bytes -= response.size_bytes
        self._held.release(response.input)
        self._held.release(response.history)
        self._unindex(key[0], response.own_items())
        if response.lists_history:
            self._unindex(key[0], _items_of(self._listed.release(response.input)))
        return True

    def _forget_conversation(self, key: _Key) -> bool:
        found = self._conversations.pop(key)
        if found is None:
            return False
        if found.writer is not None:
            del self._written[key[0], found.writer]
        self._bodies_bytes -= RESPONSE_BYTES
        self._set_link(found, None)
        self._unindex(key[0], found.items)
        return True

    def _unlock(self, tenant: str, response_id: str) -> _KeptConversation | None:
        """The conversation that the response was writing, if it still exists."""
        conversation = self._written.pop((tenant, response_id), None)
        if conversation is not None:
            conversation.writer = None
        return conversation

    def _index(self, tenant: str, items: Iterable[Item], *, is_older: bool = False) -> None:
        """Makes items findable by their ids; of several with one id the last is found."""
        for item in items:
            if item.id is not None:
                held = self._found.setdefault((tenant, item.id), [])
                held.insert(0 if is_older else len(held), item)

    def _unindex(self, tenant: str, items: Iterable[Item]) -> None:
        for item in items:
            if item.id is not None:
                held = self._found[(tenant, item.id)]
                held.remove(item)
                if not held:
                    del self._found[(tenant, item.id)]


def _cost(link: Link) -> int:
    return own_bytes(link) + LINK_BYTES + ITEM_BYTES * len(link.items)


def _items_of(links: Iterable[Link]) -> list[Item]:
    return [item for link in links for item in link.items]
