"""When a turn's beginning is saved: not for a turn that ends at once, and sooner if somebody asks for it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from landline.dialects.dialect import Prompt
from landline.session.turn import TurnEnded, TurnProgressed
from landline.stores.memory import MemoryStore
from landline.stores.store import NewResponse, StoreUnavailableError
from landline.turns.runner import TurnRunner
from landline.turns.saves import HEAD_START_S
from landline.wire.items import Item
from landline.wire.model_events import Accepted, Finished, ModelEvent, TextDelta
from support.turns.fake_target import FakeTarget, router_of, runner_of, turn
from support.turns.reply import updates_of

TENANT, RESPONSE_ID = "t", "resp_1"


class WatchedStore(MemoryStore):
    """Notes what it is asked to save."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[str] = []
        self.has_begun = asyncio.Event()

    async def begin_response(self, new: NewResponse) -> None:
        self.saved.append("begun" if new.status == "in_progress" else "whole")
        await super().begin_response(new)
        self.has_begun.set()

    async def save_response(self, new: NewResponse, output: Sequence[Item]) -> None:
        self.saved.append("whole")
        await super().save_response(new, output)


class ForgetfulStore(WatchedStore):
    """Saves what it is given, once, and says that it was away."""

    async def save_response(self, new: NewResponse, output: Sequence[Item]) -> None:
        await super().save_response(new, output)
        raise StoreUnavailableError("the connection broke in the commit", "away")


def _runner(store: MemoryStore) -> TurnRunner:
    return runner_of(router_of(FakeTarget("one")), store=store)


def _slow_runner(store: MemoryStore, may_end: asyncio.Event) -> TurnRunner:
    async def answer(_: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), TextDelta("so ")]
        await may_end.wait()
        yield [TextDelta("far"), Finished()]

    target = FakeTarget("slow")
    target.answer = answer
    return runner_of(router_of(target), store=store)


async def test_a_turn_that_ends_at_once_is_saved_whole() -> None:
    store = WatchedStore()
    *_, end = [update async for update in updates_of(_runner(store), turn())]
    assert isinstance(end, TurnEnded)
    assert end.is_stored
    assert store.saved == ["whole", "begun"], "in memory it is made of both halves"
    stored = await store.load_response(TENANT, RESPONSE_ID)
    assert stored is not None
    assert (stored.status, stored.body) == ("completed", end.body)


async def test_a_turn_that_takes_its_time_is_saved_at_its_beginning() -> None:
    store, may_end = WatchedStore(), asyncio.Event()
    updates = updates_of(_slow_runner(store, may_end), turn())
    assert isinstance(await anext(updates), TurnProgressed)
    assert store.saved == []
    async with asyncio.timeout(100 * HEAD_START_S):
        await store.has_begun.wait()
    assert store.saved == ["begun"]
    may_end.set()
    *_, end = [update async for update in updates]
    stored = await store.load_response(TENANT, RESPONSE_ID)
    assert isinstance(end, TurnEnded)
    assert store.saved == ["begun"]
    assert stored is not None
    assert stored.status == "completed"


async def test_a_turn_that_is_asked_for_is_in_the_store() -> None:
    store = WatchedStore()
    runner = _slow_runner(store, asyncio.Event())
    updates = updates_of(runner, turn())
    await anext(updates)
    assert store.saved == []
    await runner.bring(RESPONSE_ID)
    assert store.saved == ["begun"]
    await runner.bring("resp_of_nobody")
    await updates.aclose()
    stored = await store.load_response(TENANT, RESPONSE_ID)
    assert stored is not None
    assert stored.status == "incomplete"


async def test_a_save_of_which_nobody_knows_whether_it_was_done_is_not_done_twice() -> None:
    store = ForgetfulStore()
    *_, end = [update async for update in updates_of(_runner(store), turn())]
    assert isinstance(end, TurnEnded)
    assert end.error is None
    assert end.is_stored
    assert store.saved.count("whole") == 1
