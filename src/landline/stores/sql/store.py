"""The store on SQLite or PostgreSQL: each method is one transaction or one read."""

from collections.abc import Mapping, Sequence

from landline.stores.paging import cut_page
from landline.stores.sql import conversations, responses
from landline.stores.sql.database import Database, Ownership, parse_url
from landline.stores.sql.lineages import load_history, load_items
from landline.stores.sql.migrate import migrate
from landline.stores.sql.sqlite import FileOwnership, SqliteDatabase
from landline.stores.store import (
    DEFAULT_RETENTION_S,
    Conversation,
    ItemPage,
    LockResult,
    NewResponse,
    Page,
    StoredHistory,
    StoredResponse,
    StoreError,
)
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus


class SqlStore:
    """Implements `Store` for `sqlite:///PATH` and `postgresql://…`; raises ValueError for other URLs."""

    def __init__(self, url: str, retention_s: float = DEFAULT_RETENTION_S) -> None:
        parsed = parse_url(url)
        self._retention_s = retention_s
        self._database: Database
        self._ownership: Ownership
        if parsed.database is not None and parsed.drivername == "sqlite":
            self._database = database = SqliteDatabase(parsed)
            self._ownership = FileOwnership(database, parsed.database)
        else:
            from landline.stores.sql.postgresql import (  # noqa: PLC0415 - its driver takes 0.2 s to import
                PostgresqlDatabase,
                SharedOwnership,
            )

            self._database = database = PostgresqlDatabase(parsed)
            self._ownership = SharedOwnership(database)

    async def open(self) -> None:
        await self._ownership.claim()
        try:
            await self._database.write(migrate)
            await self._ownership.begin()
        except StoreError:
            await self.close()
            raise

    async def close(self) -> None:
        await self._database.close()
        await self._ownership.release()

    async def begin_response(self, new: NewResponse) -> None:
        await self._ownership.keep()
        await self._database.write(lambda connection: responses.begin(connection, new, self._ownership.number))

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        await self._database.write(
            lambda connection: responses.finish(
                connection, tenant, response_id, status=status, body=body, output=output
            )
        )

    async def discard_response(self, tenant: str, response_id: str) -> None:
        await self._database.write(lambda connection: responses.discard(connection, tenant, response_id))

    async def load_response(self, tenant: str, response_id: str) -> StoredResponse | None:
        return await self._database.read(lambda connection: responses.load(connection, tenant, response_id))

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        return await self._database.read(
            lambda connection: load_history(connection, responses.LINEAGE, responses.identify(tenant, response_id))
        )

    async def delete_response(self, tenant: str, response_id: str) -> bool:
        return await self._database.write(lambda connection: responses.remove(connection, tenant, response_id))

    async def list_input(self, tenant: str, response_id: str, page: Page) -> ItemPage | None:
        return await self._database.read(lambda connection: responses.list_input(connection, tenant, response_id, page))

    async def find_items(self, tenant: str, item_ids: Sequence[str]) -> dict[str, Item]:
        return await self._database.read(lambda connection: responses.find_items(connection, tenant, item_ids))

    async def create_conversation(self, tenant: str, conversation: Conversation, items: Sequence[Item]) -> None:
        await self._database.write(lambda connection: conversations.create(connection, tenant, conversation, items))

    async def load_conversation(self, tenant: str, conversation_id: str) -> Conversation | None:
        return await self._database.read(lambda connection: conversations.load(connection, tenant, conversation_id))

    async def update_conversation(
        self, tenant: str, conversation_id: str, metadata: Mapping[str, str]
    ) -> Conversation | None:
        return await self._database.write(
            lambda connection: conversations.set_metadata(connection, tenant, conversation_id, metadata)
        )

    async def delete_conversation(self, tenant: str, conversation_id: str) -> bool:
        return await self._database.write(lambda connection: conversations.remove(connection, tenant, conversation_id))

    async def load_conversation_history(self, tenant: str, conversation_id: str) -> StoredHistory | None:
        return await self._database.read(
            lambda connection: load_history(
                connection, conversations.LINEAGE, conversations.identify(tenant, conversation_id)
            )
        )

    async def lock_conversation(self, tenant: str, conversation_id: str, response_id: str) -> LockResult:
        await self._ownership.keep()
        owner = self._ownership.number
        return await self._database.write(
            lambda connection: conversations.lock(connection, tenant, conversation_id, response_id, owner)
        )

    async def add_conversation_items(self, tenant: str, conversation_id: str, items: Sequence[Item]) -> LockResult:
        return await self._database.write(
            lambda connection: conversations.add(connection, tenant, conversation_id, items)
        )

    async def list_conversation_items(self, tenant: str, conversation_id: str, page: Page) -> ItemPage | None:
        items = await self._conversation_items(tenant, conversation_id)
        return None if items is None else cut_page(items, page)

    async def load_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> Item | None:
        items = await self._conversation_items(tenant, conversation_id)
        return next((item for item in items or () if item.id == item_id), None)

    async def delete_conversation_item(self, tenant: str, conversation_id: str, item_id: str) -> bool:
        return await self._database.write(
            lambda connection: conversations.remove_item(connection, tenant, conversation_id, item_id)
        )

    async def sweep(self, now: float) -> int:
        await self._ownership.keep()
        await self._ownership.interrupt_dead()
        before = now - self._retention_s
        total = 0
        while gone := await self._database.write(lambda connection: responses.remove_expired(connection, before)):
            total += gone
        return total

    async def _conversation_items(self, tenant: str, conversation_id: str) -> list[Item] | None:
        return await self._database.read(
            lambda connection: load_items(
                connection, conversations.LINEAGE, conversations.identify(tenant, conversation_id)
            )
        )
