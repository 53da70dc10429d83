"""Any walk over a store's operations leaves exactly what plain lists would hold, and no content that nobody needs."""

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from landline.stores import make_store
from landline.stores.sql.database import parse_url
from landline.stores.sql.postgresql import PostgresqlDatabase
from landline.stores.sql.sqlite import SqliteDatabase
from landline.stores.sql.tables import items as item_rows
from landline.stores.sql.tables import links, trunks
from landline.stores.sql.tables import paths as path_rows
from landline.stores.store import Page, Store, StoredConversation
from support.stores.items import body, ids, message, new_response
from support.stores.reference import Reference, ReferenceConversation, item_ids

RETENTION_S = 10.0

Kind = Literal[
    "begin", "finish", "delete", "discard", "sweep", "create", "add", "remove_item", "delete_conversation", "crash"
]
WEIGHTS: dict[Kind, int] = {
    "begin": 6,
    "finish": 6,
    "delete": 2,
    "discard": 1,
    "sweep": 1,
    "create": 2,
    "add": 2,
    "remove_item": 2,
    "delete_conversation": 1,
    "crash": 1,
}
WEIGHTED = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
STEPS = st.lists(
    st.tuples(st.sampled_from(WEIGHTED), st.integers(0, 1000), st.integers(0, 1000)), min_size=5, max_size=40
)
ENDS = ("completed", "completed", "incomplete", "failed", "cancelled")


class Walk:
    """One tenant's operations on a store and on the reference."""

    def __init__(self, store: Store, tenant: str, reopen: Callable[[], Store] | None) -> None:
        self.store = store
        self.reference = Reference()
        self._tenant = tenant
        self._reopen = reopen
        self._now = 0.0
        self._names = 0

    async def step(self, kind: Kind, one: int, two: int) -> None:
        self._now += 1
        match kind:
            case "begin":
                await self._begin(one, two)
            case "finish":
                await self._finish(one, two)
            case "delete":
                await self._delete(one)
            case "discard":
                await self._discard(one)
            case "sweep":
                assert await self.store.sweep(self._now) == self.reference.expire(self._now - RETENTION_S)
            case "create":
                await self._create(one % 3)
            case "add":
                await self._add(one)
            case "remove_item":
                await self._remove_item(one, two)
            case "delete_conversation":
                await self._delete_conversation(one)
            case "crash":
                await self._crash()

    async def check(self) -> None:
        """Everything that can be asked for is as the reference has it."""
        for name, response in self.reference.responses.items():
            assert ids(await self.store.load_history(self._tenant, name)) == response.lineage
            stored = await self.store.load_response(self._tenant, name)
            assert stored is not None
            assert stored.status == response.status
            page = await self.store.list_input(self._tenant, name, Page(limit=100, order="asc"))
            assert page is not None
            assert item_ids(page.items) == response.listed_input[:100]
        for name, conversation in self.reference.conversations.items():
            assert ids(await self.store.load_conversation_history(self._tenant, name)) == conversation.items
            page = await self.store.list_conversation_items(self._tenant, name, Page(limit=100, order="asc"))
            assert page is not None
            assert item_ids(page.items) == conversation.items[:100]
        everything = [f"r{number}.{end}" for number in range(self._names) for end in ("in", "out", "more")]
        everything += [f"c{number}.{place}" for number in range(self._names) for place in range(3)]
        found, shown = set(await self.store.find_items(self._tenant, everything)), self.reference.findable()
        assert found >= shown
        if not any(each.lists_history for each in self.reference.responses.values()):
            assert found == shown
        assert {item for item in found - shown if not item.endswith(".out")} == set()

    async def delete_everything(self) -> None:
        for name in list(self.reference.conversations):
            assert await self.store.delete_conversation(self._tenant, name) is True
        for name in list(self.reference.responses):
            assert await self.store.delete_response(self._tenant, name) is True

    def _name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names - 1}"

    async def _begin(self, one: int, two: int) -> None:
        name = self._name("r")
        parents = [each for each, response in self.reference.responses.items() if response.lineage is not None]
        open_conversations = [each for each, found in self.reference.conversations.items() if found.writer is None]
        parent: str | None = None
        conversation: str | None = None
        inherited: list[str] = []
        if two % 3 == 0 and open_conversations:
            conversation = open_conversations[one % len(open_conversations)]
            assert await self.store.lock_conversation(self._tenant, conversation, name) == "locked"
            self.reference.conversations[conversation].writer = name
        elif two % 10 and parents:
            parent = parents[-1 - min(one % 4, len(parents) - 1)]
            inherited = [f"{name}.old"] if one % 7 == 0 else []
        elif two % 2:
            inherited = [f"{name}.old"]
        follows_input, lists_history = parent is not None and one % 3 == 0, parent is not None and two % 4 == 0
        self.reference.begin(
            name,
            parent,
            conversation,
            inherited,
            self._now,
            follows_input=follows_input,
            lists_history=lists_history,
        )
        new = new_response(
            name,
            tenant=self._tenant,
            parent=parent,
            conversation=conversation,
            created_at=self._now,
            follows_input=follows_input,
            inherited=[message(item) for item in inherited],
            lists_history=lists_history,
        )
        if (one + two) % 5:
            await self.store.begin_response(new)
        else:
            status = ENDS[two % len(ENDS)]
            self.reference.finish(name, status)
            whole = msgspec.structs.replace(new, status=status, body=body(status))
            await self.store.save_response(whole, [message(f"{name}.out")])

    async def _finish(self, one: int, two: int) -> None:
        running = [name for name, each in self.reference.responses.items() if each.status == "in_progress"]
        gone = [each.writer for each in self.reference.conversations.values() if each.writer is not None]
        candidates = running + [name for name in gone if name not in self.reference.responses]
        if candidates:
            name, status = candidates[one % len(candidates)], ENDS[two % len(ENDS)]
            self.reference.finish(name, status)
            output = [message(f"{name}.out")]
            await self.store.finish_response(self._tenant, name, status=status, body=body(status), output=output)

    async def _delete(self, one: int) -> None:
        names = list(self.reference.responses)
        if names:
            name = names[one % len(names)]
            del self.reference.responses[name]
            assert await self.store.delete_response(self._tenant, name) is True

    async def _discard(self, one: int) -> None:
        running = [name for name, each in self.reference.responses.items() if each.status == "in_progress"]
        if running:
            name = running[one % len(running)]
            del self.reference.responses[name]
            for conversation in self.reference.conversations.values():
                if conversation.writer == name:
                    conversation.writer = None
            await self.store.discard_response(self._tenant, name)

    async def _create(self, count: int) -> None:
        name = self._name("c")
        items = [f"{name}.{place}" for place in range(count)]
        self.reference.conversations[name] = ReferenceConversation(list(items))
        conversation = StoredConversation(conversation_id=name, created_at=self._now, metadata={})
        await self.store.create_conversation(self._tenant, conversation, [message(item) for item in items])

    async def _add(self, one: int) -> None:
        names = list(self.reference.conversations)
        if names:
            conversation = self.reference.conversations[names[one % len(names)]]
            item = f"{self._name('r')}.more"
            result = await self.store.add_conversation_items(self._tenant, names[one % len(names)], [message(item)])
            assert result == ("locked" if conversation.writer is None else "busy")
            if result == "locked":
                conversation.items.append(item)

    async def _remove_item(self, one: int, two: int) -> None:
        names = [name for name, each in self.reference.conversations.items() if each.items]
        if names:
            name = names[one % len(names)]
            items = self.reference.conversations[name].items
            item = items[two % len(items)]
            items.remove(item)
            assert await self.store.delete_conversation_item(self._tenant, name, item) is True

    async def _delete_conversation(self, one: int) -> None:
        names = list(self.reference.conversations)
        if names:
            name = names[one % len(names)]
            del self.reference.conversations[name]
            assert await self.store.delete_conversation(self._tenant, name) is True

    async def _crash(self) -> None:
        if self._reopen is not None:
            await self.store.close()
            self.store = self._reopen()
            await self.store.open()
            self.reference.crash()


async def _walk(url: str, tenant: str, steps: list[tuple[Kind, int, int]]) -> None:
    store = make_store(url, retention_s=RETENTION_S)
    await store.open()
    reopen = None if url == "memory" else lambda: make_store(url, retention_s=RETENTION_S)
    walk = Walk(store, tenant, reopen)
    try:
        for kind, one, two in steps:
            await walk.step(kind, one, two)
        await walk.check()
        await walk.delete_everything()
        assert url == "memory" or await _count_content(url) == 0
    finally:
        await walk.store.close()


async def _count_content(url: str) -> int:
    """Rows of content that the database still holds."""
    parsed = parse_url(url)
    database = SqliteDatabase(parsed) if parsed.drivername == "sqlite" else PostgresqlDatabase(parsed)
    counts = [
        await database.read(lambda connection, table=table: len(connection.execute(select(table)).all()))
        for table in (links, trunks, item_rows, path_rows)
    ]
    await database.close()
    return sum(counts)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
def test_any_walk_gives_what_plain_lists_give(kind: str, new_url: Callable[[str], str]) -> None:
    url = new_url(kind)
    tenants = iter(range(10**9))

    @settings(
        max_examples=60 if kind == "memory" else 25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def walk(steps: list[tuple[Kind, int, int]]) -> None:
        asyncio.run(_walk(url, f"tenant {next(tenants)}", steps))

    walk()
