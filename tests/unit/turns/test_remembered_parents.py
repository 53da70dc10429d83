"""A stored parent whose history this process remembers is continued without reading it back, as long as the store has it."""

import json
from typing import Any

from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn, TurnEnded, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.stores.store import StoredHistory
from landline.turns.prefixes import PrefixIndex, PrefixSettings
from landline.turns.runner import TurnRunner
from landline.wire.requests import CreateRequest, decode_create
from support.turns.fake_target import FakeTarget, router_of, runner_of
from support.turns.reply import updates_of


class ReadStore(MemoryStore):
    """Notes the histories that are read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def load_history(self, tenant: str, response_id: str) -> StoredHistory | None:
        self.read.append(response_id)
        return await super().load_history(tenant, response_id)

    async def may_be_continued(self, tenant: str, response_id: str) -> bool:
        return await super().load_history(tenant, response_id) is not None


class Chain:
    """Turns that continue each other over HTTP, of one process."""

    def __init__(self, store: MemoryStore, **prefixes: Any) -> None:
        self.target = FakeTarget("one")
        index = PrefixIndex(PrefixSettings(**prefixes))
        self._runner: TurnRunner = runner_of(router_of(self.target), store=store, prefixes=index)

    async def take(self, response_id: str, parent_id: str | None = None, *, tenant: str = "t") -> TurnUpdate:
        """Runs a turn to its end, and gives its last update."""
        request = decode_create(
            json.dumps({"model": "m", "input": f"about {response_id}", "previous_response_id": parent_id})
        )
        assert isinstance(request, CreateRequest)
        made = admit(request, response_id=response_id, now=1.0, origin=CreateOrigin(tenant=tenant))
        assert isinstance(made, Turn)
        return [update async for update in updates_of(self._runner, made)][-1]

    def seen_items(self) -> list[int]:
        """How many items the model was shown in each turn."""
        return [prompt.history.item_count if prompt.history is not None else 0 for prompt in self.target.prompts]


async def test_a_chain_is_not_read_back() -> None:
    store = ReadStore()
    chain = Chain(store)
    for number in range(4):
        assert isinstance(await chain.take(f"resp_{number}", f"resp_{number - 1}" if number else None), TurnEnded)
    assert store.read == []
    assert chain.seen_items() == [1, 3, 5, 7]


async def test_another_process_and_one_that_forgot_read_it() -> None:
    store = ReadStore()
    first, second, forgetful = Chain(store), Chain(store), Chain(store, budget_bytes=0)
    await first.take("resp_0")
    await second.take("resp_1", "resp_0")
    await first.take("resp_2", "resp_1")
    await forgetful.take("resp_3", "resp_2")
    await forgetful.take("resp_4", "resp_3")
    assert store.read == ["resp_0", "resp_1", "resp_2", "resp_3"]
    assert [chain.seen_items() for chain in (first, second, forgetful)] == [[1, 5], [3], [7, 9]]


async def test_a_deleted_parent_is_not_continued_though_it_is_remembered() -> None:
    store = ReadStore()
    chain = Chain(store)
    await chain.take("resp_0")
    assert await store.delete_response("t", "resp_0")
    refused = await chain.take("resp_1", "resp_0")
    assert isinstance(refused, TurnRefused)
    assert refused.error.code == "previous_response_not_found"


async def test_another_tenant_does_not_find_it() -> None:
    chain = Chain(ReadStore())
    await chain.take("resp_0")
    refused = await chain.take("resp_1", "resp_0", tenant="another")
    assert isinstance(refused, TurnRefused)
    assert refused.error.code == "previous_response_not_found"


async def test_what_is_remembered_of_responses_is_forgotten_with_their_histories() -> None:
    store = ReadStore()
    chain = Chain(store, budget_bytes=8000)
    for number in range(40):
        await chain.take(f"resp_{number}")
    last, first = await chain.take("resp_a", "resp_39"), await chain.take("resp_b", "resp_0")
    assert isinstance(last, TurnEnded)
    assert isinstance(first, TurnEnded)
    assert store.read == ["resp_0"]
