"""The store on SQLite or PostgreSQL: each method is one transaction or one read."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection, select

from landline.stores.sql import conversations, responses
from landline.stores.sql.database import Database, DatabaseHealth, Ownership, parse_url
from landline.stores.sql.lineages import load_history, load_items
from landline.stores.sql.sqlite import FileOwnership, SqliteDatabase
from landline.stores.sql.tables import migrate
from landline.stores.store import (
    DEFAULT_RETENTION_S,
    DEFAULT_SYNCHRONOUS,
    DEFAULT_TIMEOUT_S,
    ItemPage,
    LockResult,
    NewResponse,
    Page,
    StoredConversation,
    StoredHistory,
    StoredResponse,
    StoreError,
    Synchronous,
)
from landline.stores.stored_items import cut_page
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus

_Result = TypeVar("_Result")


class SqlStore:
    """Implements `Store` for `sqlite:///PATH` and `postgresql://…`; raises ValueError for other URLs."""

    def __init__(
        self,
        url: str,
        retention_s: float = DEFAULT_RETENTION_S,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        synchronous: Synchronous = DEFAULT_SYNCHRONOUS,
    ) -> None:
        parsed = parse_url(url)
        self._retention_s = retention_s
        self._database: Database
        self._ownership: Ownership
        if parsed.database is not None and parsed.drivername == "sqlite":
            self._database = database = SqliteDatabase(parsed, timeout_s, synchronous)
            self._ownership = FileOwnership(database, parsed.database)
        else:
            from landline.stores.sql.postgresql import (  # noqa: PLC0415 - its driver takes 0.2 s to import
                PostgresqlDatabase,
                SharedOwnership,
            )

            self._database = database = PostgresqlDatabase(parsed, timeout_s)
            self._ownership = SharedOwnership(database)
        self._health = DatabaseHealth(self._probe, self._put_in_order)
        self._is_running: Callable[[str], bool] = lambda _: True
        self._catch_up: Callable[[], Awaitable[None]] | None = None

    async def open(self) -> None:
        await self._ownership.claim()
        try:
            await self._database.write(migrate)
            await self._ownership.begin()
        except StoreError:
            await self.close()
            raise

    async def close(self) -> None:
        await self._health.close()
        await self._database.close()
        await self._ownership.release()

    def watch_turns(self, is_running: Callable[[str], bool], catch_up: Callable[[], Awaitable[None]]) -> None:
        self._is_running = is_running
        self._catch_up = catch_up

    @property
    def trouble(self) -> str | None:
        return self._health.trouble

    async def check(self) -> str | None:
        return await self._health.check()

    async def begin_response(self, new: NewResponse) -> None:
        await self._keep_claim()
        await self._write(lambda connection: responses.begin(connection, new, self._ownership.number))

    async def save_response(self, new: NewResponse, output: Sequence[Item]) -> None:
        await self._keep_claim()
        await self._write(lambda connection: responses.save_whole(connection, new, output))

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        await self._write(
            lambda connection: responses.finish(
                connection, tenant, response_id, status=status, body=body, output=output
            )
        )

    async def discard_response(self, tenant: str, response_id: str) -> None:
        await self._write(lambda connection: responses.discard(connection, tenant, response_id))

    async def load_response(self, tenant: str, response_id: str) -> StoredResponse | None:
        stored = await self._read(lambda connection: responses.load(connection, tenant, response_id))
        if stored is None or stored.status not in responses.RUNNING or self._is_running(response_id):
            return stored
        if await self._end_abandoned():
            return await self._read(lambda connection: responses.load(connection, tenant, response_id))
        return stored

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        return await self._read(
            lambda connection: load_history(connection, responses.LINEAGE, responses.identify(tenant, response_id))
        )

    async def may_be_continued(self, tenant: str, response_id: str) -> bool:
        return await self._read(lambda connection: responses.may_be_continued(connection, tenant, response_id))

    async def delete_response(self, tenant: str, response_id: str) -> bool:
        return await self._write(lambda connection: responses.remove(connection, tenant, response_id))

    async def list_input(self, tenant: str, response_id: str, page: Page) -> ItemPage | None:
        return await self._read(lambda connection: responses.list_input(connection, tenant, response_id, page))

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        return await self._read(lambda connection: responses.find_items(connection, tenant, item_ids))

    async def create_conversation(self, tenant: str, conversation: StoredConversation, items: Sequence[Item]) -> None:
        await self._write(lambda connection: conversations.create(connection, tenant, conversation, items))

    async def load_conversation(self, tenant: str, conversation_id: str) -> StoredConversation | None:
        return await self._read(lambda connection: conversations.load(connection, tenant, conversation_id))

    async def update_conversation(
        self, tenant: str, conversation_id: str, metadata: Mapping[str, str]
    ) -> StoredConversation | None:
        return await self._write(
            lambda connection: conversations.set_metadata(connection, tenant, conversation_id, metadata)
        )

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        return await self._write(lambda connection: conversations.remove(connection, tenant, conversation_id))

    async def load_conversation_history(self, tenant: str, conversation_id: str) -> StoredHistory | None:
        return await self._read(
            lambda connection: load_history(
                connection, conversations.LINEAGE, conversations.identify(tenant, conversation_id)
            )
        )

    async def lock_conversation(self, tenant: str, conversation_id: str, response_id: str) -> LockResult:
        await self._keep_claim()
        owner = self._ownership.number
        return await self._write_unless_busy(
            lambda connection: conversations.lock(connection, tenant, conversation_id, response_id, owner)
        )

    async def add_conversation_items(self, tenant: str, conversation_id: str, items: Sequence[Item]) -> LockResult:
        return await self._write_unless_busy(
            lambda connection: conversations.add(connection, tenant, conversation_id, items)
        )

    async def list_conversation_items(self, tenant: str, conversation_id: str, page: Page) -> ItemPage | None:
        items = await self._conversation_items(tenant, conversation_id)
        return None if items is None else cut_page(items, page)

    async def load_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> Item | None:
        items = await self._conversation_items(tenant, conversation_id)
        return next((item for item in items or () if item.id == item_id), None)

    async def delete_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        return await self._write(
            lambda connection: conversations.remove_item(connection, tenant, conversation_id, item_id)
        )

    async def sweep(self, now: float) -> int:
        await self._keep_claim()
        await self._health.watch("written", self._ownership.interrupt_dead())
        await self._end_abandoned()
        before = now - self._retention_s
        total = 0
        while gone := await self._write(lambda connection: responses.remove_expired(connection, before)):
            total += gone
        return total

    async def _probe(self) -> None:
        """Reads and writes, to no effect."""
        await self._read(lambda connection: connection.execute(select(1)))
        await self._keep_claim()
        await self._write(self._ownership.touch)

    async def _put_in_order(self) -> None:
        """Saves and ends what an outage kept from it."""
        if self._catch_up is not None:
            await self._catch_up()
        await self._end_abandoned()

    async def _keep_claim(self) -> None:
        await self._health.watch("written", self._ownership.keep())

    async def _write_unless_busy(self, work: Callable[[Connection], LockResult]) -> LockResult:
        """The result of `work`. If a lock was in the way whose turn is over, the lock is freed and `work` runs once more."""
        result = await self._write(work)
        return await self._write(work) if result == "busy" and await self._end_abandoned() else result

    async def _end_abandoned(self) -> bool:
        """Ends responses of this process that still count as running although their turn is over; whether there were any."""
        owner = self._ownership.number
        left = await self._read(lambda connection: responses.find_running(connection, owner))
        if all(map(self._is_running, left)):
            return False
        await self._write(lambda connection: responses.interrupt_abandoned(connection, owner, self._is_running))
        return True

    async def _read(self, work: Callable[[Connection], _Result]) -> _Result:
        return await self._health.watch("read", self._database.read(work))

    async def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        return await self._health.watch("written", self._database.write(work))

    async def _conversation_items(self, tenant: str, conversation_id: str) -> list[Item] | None:
        return await self._read(
            lambda connection: load_items(
                connection, conversations.LINEAGE, conversations.identify(tenant, conversation_id)
            )
        )
