"""The port of a store: responses as links to their parents, and conversations. Every row belongs to a tenant.

Nothing of one tenant can be read, named or counted by another: what is not yours does not exist. A turn with
`store: false` never comes here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from landline.session.lineage import Link
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus

DEFAULT_RETENTION_S = 30 * 24 * 3600.0
"""How long responses are kept: OpenAI's published 30 days."""
CONTINUABLE: frozenset[ResponseStatus] = frozenset(("completed", "incomplete"))
"""How a response ended that may be continued."""

DEFAULT_TIMEOUT_S = 5.0
"""How long a database may take to answer, or another program may hold its lock, before it counts as away."""

Synchronous = Literal["full", "normal"]
DEFAULT_SYNCHRONOUS: Synchronous = "full"
"""Whether SQLite waits for the disk before a response counts as saved."""


class StoreError(Exception):
    """The store could not do its work (disk full, database away); the message is for the log, not for clients."""


class StoreUnavailableError(StoreError):
    """The store cannot be used now: it is away, full, locked by another program, or gave no answer in time.

    What was to be written may have been written all the same. The same work may succeed later.
    """

    def __init__(self, message: str, reason: str = "it cannot be reached") -> None:
        """`reason` is shown by the readiness check, so it names no address and no content."""
        super().__init__(message)
        self.reason = reason


class ResponseEndedError(StoreError):
    """The response has ended otherwise already: after an outage, another process took this one for dead."""


class ParentGoneError(StoreError):
    """What a response was to continue is not there any more: its parent was deleted, or it lost its conversation."""


class NewResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response whose turn has started."""

    response_id: str
    tenant: str
    created_at: float
    """Unix seconds."""
    parent_id: str | None
    """The stored response that it continues."""
    follows_input: bool = False
    """Whether it goes on from the parent's input, and passes over its output: a client that sends its history itself may
    leave that out, or tell it otherwise."""
    inherited: tuple[Item, ...] = ()
    """Items of a history that is in no stored response (a connection's memory); they come before `items`, behind the
    parent. Only without a conversation."""
    lists_history: bool = False
    """Whether the client sent its whole history: what comes before `items` is listed as input too."""
    conversation_id: str | None = None
    is_background: bool = False
    status: ResponseStatus = "in_progress"
    body: bytes
    """The response object as it stands, JSON."""
    items: tuple[Item, ...] = ()
    """The turn's own new input; every one has an id."""


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it was last saved."""

    response_id: str
    status: ResponseStatus
    is_background: bool
    created_at: float
    body: bytes
    """The response object, JSON; its `status` is the one above."""


class StoredHistory(msgspec.Struct, frozen=True):
    """The lineage up to and with a response or a conversation; None when it holds no item."""

    link: Link | None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is asked for."""

    limit: int = 20
    """1 to 100."""
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    """The id of the item that the page starts behind; an unknown one gives an empty page."""


class ItemPage(msgspec.Struct, frozen=True):
    """Items in the order asked for, and whether more follow."""

    items: tuple[Item, ...]
    has_more: bool


class StoredConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its items."""

    conversation_id: str
    created_at: float
    metadata: dict[str, str]


LockResult = Literal["locked", "busy", "missing"]


class Store(Protocol):
    """Durable (or, for the memory store, process-long) state. Every method may raise `StoreError`, and
    `StoreUnavailableError` where the same may succeed later.

    An item's id, where it has one, stands in its JSON too. Ids should differ within one response and within one
    conversation; where they do not, nothing is lost, but paging and deletion by id treat items of one id as one.
    """

    async def open(self) -> None:
        """Connects, migrates, and marks responses that a crash interrupted as `incomplete`."""
        ...

    async def close(self) -> None: ...

    def watch_turns(self, is_running: Callable[[str], bool], catch_up: Callable[[], Awaitable[None]]) -> None:
        """Names who knows whether a response of this process still runs or is still to be saved; without it, all do.

        What is left of others, because their end could not be saved, is dead: locks are freed and responses become
        `incomplete` after an outage, and whenever somebody comes upon them. `is_running` is called in any thread. Before,
        `catch_up` is awaited: it saves what the outage put off, and may raise `StoreError`.
        """
        ...

    @property
    def trouble(self) -> str | None:
        """Why the store cannot be used, as far as recent work tells; None when it can."""
        ...

    async def check(self) -> str | None:
        """The same, asking the database if it was not used for a while; waits a second or so at most."""
        ...

    async def begin_response(self, new: NewResponse) -> None:
        """Saves a turn at its start, so that a crash leaves a trace of it. A response with a conversation must hold its
        lock; its history is the conversation as it stands now, whatever becomes of that later.

        Raises `ParentGoneError`.
        """
        ...

    async def save_response(self, new: NewResponse, output: Sequence[Item]) -> None:
        """Saves a turn that has ended and of which nothing was saved before: `begin_response` and `finish_response` in one,
        with the `status` and `body` of its end.

        Raises `ParentGoneError`. May not be repeated when it is not known whether it was done.
        """
        ...

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        """Saves a turn's end, whole or not at all: body, output, and both halves' items into its conversation, which is
        unlocked. Failed and cancelled turns add nothing to a conversation. A response deleted meanwhile stays deleted.

        May be repeated with the same values when it is not known whether it was done. Raises `ResponseEndedError`.
        """
        ...

    async def discard_response(self, tenant: str, response_id: str) -> None:
        """Forgets a begun response that was never announced, if it was begun, and unlocks its conversation."""
        ...

    async def load_response(self, tenant: str, response_id: str) -> StoredResponse | None: ...

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        """The lineage that a continuation of a completed or incomplete response follows; one query at any depth.
        None for any other response."""
        ...

    async def may_be_continued(self, tenant: str, response_id: str) -> bool:
        """Whether `load_history` would find it: for somebody who has that history."""
        ...

    async def delete_response(self, tenant: str, response_id: str) -> bool:
        """Whether there was one. Its descendants keep their whole history; what a descendant lists can be found still."""
        ...

    async def list_input(self, tenant: str, response_id: str, page: Page) -> ItemPage | None:
        """What the client sent with the turn: its own input items, or with them all that comes before."""
        ...

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        """Items of stored responses (input and output) and conversations by id; unknown ids are absent."""
        ...

    async def create_conversation(
        self, tenant: str, conversation: StoredConversation, items: Sequence[Item]
    ) -> None: ...

    async def load_conversation(self, tenant: str, conversation_id: str) -> StoredConversation | None: ...

    async def update_conversation(
        self, tenant: str, conversation_id: str, metadata: Mapping[str, str]
    ) -> StoredConversation | None: ...

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        """Whether there was one; responses made in it stay."""
        ...

    async def load_conversation_history(self, tenant: str, conversation_id: str) -> StoredHistory | None: ...

    async def lock_conversation(self, tenant: str, conversation_id: str, response_id: str) -> LockResult:
        """Makes the response the conversation's only writer, until it is finished or discarded or its process dies."""
        ...

    async def add_conversation_items(self, tenant: str, conversation_id: str, items: Sequence[Item]) -> LockResult:
        """Appends items; `busy` while a response is writing (nothing is added), else `locked` for done."""
        ...

    async def list_conversation_items(self, tenant: str, conversation_id: str, page: Page) -> ItemPage | None: ...

    async def load_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> Item | None: ...

    async def delete_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool: ...

    async def sweep(self, now: float) -> int:
        """Deletes responses older than the retention time (Unix seconds), running ones excepted, and the content that
        no living response or conversation needs; how many responses went. Conversations do not expire."""
        ...
