"""A history that is sent whole is stored as what is new behind a stored response, and reads as if it had been stored whole."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.admission import CreateOrigin, admit
from landline.session.memory import Remembered
from landline.session.turn import Turn, TurnEnded, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.stores.store import NewResponse, Page, StoredConversation
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import PrefixIndex, PrefixSettings
from landline.turns.runner import TurnMemory, TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.canonical import canonical
from landline.wire.errors import api_error
from landline.wire.items import Item, decode_item
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, ReasoningDelta, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import replying, updates_of

JsonItem = dict[str, Any]


class ThinkingTarget:
    """Thinks, answers, and fails when the user asks for it."""

    name = "thinking"
    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int:
        return 1

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        count = prompt.history.item_count if prompt.history is not None else 0
        yield [Accepted(), ReasoningDelta(f"Seen {count}."), TextDelta(f"Answer to {count}.")]
        is_failing = prompt.request.user == "fail"
        yield [Failed(api_error("server_is_overloaded", "busy")) if is_failing else Finished()]


class WatchedStore(MemoryStore):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[NewResponse] = []

    async def begin_response(self, new: NewResponse) -> None:
        await super().begin_response(new)
        self.begun.append(new)


class Process:
    """One server process over a store that may be older."""

    def __init__(self, store: MemoryStore, *, budget_bytes: int = 1_000_000) -> None:
        target: Target = ThinkingTarget()
        self.store = store
        self._ids = _IDS
        self._runner = TurnRunner(
            Router({"m": [Route(target, None)]}),
            store,
            new_id=self._new_id,
            settings=RunnerSettings(),
            memory=TurnMemory(prefixes=PrefixIndex(PrefixSettings(budget_bytes=budget_bytes))),
        )

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids)}"

    async def ask(
        self, history: list[JsonItem], *, tenant: str = "t", parent: Remembered | None = None, **fields: Any
    ) -> TurnEnded:
        request = decode_create(json.dumps({"model": "m", "input": history, **fields}))
        assert isinstance(request, CreateRequest)
        turn = admit(
            request, response_id=self._new_id("resp"), now=1.0, parent=parent, origin=CreateOrigin(tenant=tenant)
        )
        assert isinstance(turn, Turn)
        updates: list[TurnUpdate] = [update async for update in updates_of(self._runner, turn)]
        assert isinstance(updates[-1], TurnEnded)
        return updates[-1]


_IDS = itertools.count()


def user(text: str) -> JsonItem:
    return {"role": "user", "content": text}


def told(ended: TurnEnded) -> list[JsonItem]:
    return [json.loads(item.raw) for item in ended.output]


def without_thoughts(ended: TurnEnded) -> list[JsonItem]:
    return [item for item in told(ended) if item["type"] != "reasoning"]


def spelled_anew(ended: TurnEnded) -> list[JsonItem]:
    """Without ids, as a role and a string."""
    return [{"role": "assistant", "content": item["content"][0]["text"]} for item in without_thoughts(ended)]


async def listed(store: MemoryStore, response_id: str, *, tenant: str = "t") -> list[Item]:
    page = await store.list_input(tenant, response_id, Page(limit=100, order="asc"))
    assert page is not None
    return list(page.items)


async def loaded(store: MemoryStore, response_id: str) -> list[Item]:
    found = await store.load_history("t", response_id)
    assert found is not None
    return found.link.all_items() if found.link is not None else []


def meanings(items: list[JsonItem] | list[Item]) -> list[bytes]:
    """What items say, however they are spelled; of thoughts, whose ids count, what they think."""
    read = [item if isinstance(item, Item) else decode_item(msgspec.json.encode(item)) for item in items]
    return [
        canonical(decode_item(msgspec.json.encode({**json.loads(item.raw), "id": None})))
        if item.id
        else canonical(item)
        for item in read
    ]


async def run(process: Process, turns: int, play_back: Any = told) -> tuple[list[TurnEnded], list[list[JsonItem]]]:
    """A client's run: how each turn ended, and what was sent with each."""
    history: list[JsonItem] = []
    ends: list[TurnEnded] = []
    sent: list[list[JsonItem]] = []
    for number in range(turns):
        history = [*history, user(f"question {number}")]
        sent.append(history)
        ends.append(await process.ask(history))
        history = [*history, *play_back(ends[-1])]
    return ends, sent


@pytest.mark.parametrize("play_back", [told, without_thoughts, spelled_anew])
async def test_only_what_is_new_is_stored_of_a_whole_history(play_back: Any) -> None:
    store = WatchedStore()
    ends, sent = await run(Process(store), 5, play_back)
    assert [new.parent_id for new in store.begun] == [None, *(end.response.id for end in ends[:-1])]
    assert [len(new.items) for new in store.begun] == [1] + [1 if play_back is told else 2] * 4
    for end, items in zip(ends, sent, strict=True):
        assert meanings(await listed(store, end.response.id)) == meanings(items)
        assert meanings(await loaded(store, end.response.id)) == meanings([*items, *told(end)])


async def test_listed_items_have_ids_of_their_own_and_the_response_names_no_parent() -> None:
    store = WatchedStore()
    ends, _ = await run(Process(store), 4, spelled_anew)
    shown = await listed(store, ends[-1].response.id)
    assert len({item.id for item in shown}) == len(shown) == 7
    assert all(item.id is not None and json.loads(item.raw)["id"] == item.id for item in shown)
    assert set(await store.find_items("t", [item.id or "" for item in shown])) == {item.id for item in shown}
    stored = await store.load_response("t", ends[-1].response.id)
    assert stored is not None
    assert json.loads(stored.body)["previous_response_id"] is None


async def test_same_request_again_stores_nothing_again() -> None:
    store = WatchedStore()
    process = Process(store)
    _, sent = await run(process, 3)
    again = await process.ask(sent[-1])
    assert (store.begun[-1].items, store.begun[-1].follows_input) == ((), True)
    assert meanings(await listed(store, again.response.id)) == meanings(sent[-1])


async def test_fork_goes_on_from_where_its_history_leaves_the_other() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, sent = await run(process, 3)
    fork = [*sent[1], *told(ends[1]), user("another question")]
    ended = await process.ask(fork)
    assert store.begun[-1].parent_id == ends[1].response.id
    assert meanings(await loaded(store, ended.response.id)) == meanings([*fork, *told(ended)])
    assert meanings(await loaded(store, ends[2].response.id)) == meanings([*sent[2], *told(ends[2])])


async def test_parent_deleted_meanwhile_leaves_the_whole_history_to_the_turn() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, sent = await run(process, 3)
    await store.delete_response("t", ends[-1].response.id)
    history = [*sent[-1], *told(ends[-1]), user("go on")]
    ended = await process.ask(history)
    assert (store.begun[-1].parent_id, len(store.begun[-1].items)) == (None, len(history))
    assert meanings(await listed(store, ended.response.id)) == meanings(history)
    after = await process.ask([*history, *told(ended), user("and on")])
    assert store.begun[-1].parent_id == ended.response.id
    assert meanings(await loaded(store, after.response.id))[:-2] == meanings([*history, *told(ended), user("and on")])


async def test_history_of_the_process_before_is_stored_once() -> None:
    store = WatchedStore()
    ends, sent = await run(Process(store), 3)
    process = Process(store)
    history = [*sent[-1], *told(ends[-1]), user("go on")]
    first = await process.ask(history)
    await process.ask([*history, *told(first), user("and on")])
    assert [new.parent_id for new in store.begun[-2:]] == [None, first.response.id]


async def test_unstored_turns_before_are_stored_with_the_first_stored_one() -> None:
    store = WatchedStore()
    process = Process(store)
    unstored = await process.ask([user("one")], store=False)
    first = await process.ask([user("one"), *told(unstored), user("two")])
    between = await process.ask([user("one"), *told(unstored), user("two"), *told(first), user("three")], store=False)
    history = [user("one"), *told(unstored), user("two"), *told(first), user("three"), *told(between), user("four")]
    ended = await process.ask(history)
    assert [(new.parent_id, len(new.items)) for new in store.begun] == [(None, 4), (first.response.id, 4)]
    assert meanings(await listed(store, ended.response.id)) == meanings(history)


async def test_chain_on_a_connection_that_is_stored_now_and_then_stores_what_is_new() -> None:
    store = WatchedStore()
    process = Process(store)
    parent: Remembered | None = None
    for number in range(6):
        more = {"previous_response_id": parent.response_id} if parent is not None else {}
        ended = await process.ask([user(f"turn {number}")], parent=parent, store=number % 2 == 1, **more)
        parent = Remembered(ended.response.id, ended.history, None, is_stored=ended.is_stored)
    assert [(len(new.inherited), len(new.items)) for new in store.begun] == [(3, 1)] * 3
    assert parent is not None
    assert parent.history is not None
    assert meanings(await loaded(store, parent.response_id)) == meanings(parent.history.all_items())
    assert meanings(await listed(store, parent.response_id)) == meanings([user("turn 5")])


async def test_failed_turn_is_nobodys_parent() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, sent = await run(process, 2)
    history = [*sent[-1], *told(ends[-1]), user("go on")]
    failed = await process.ask(history, user="fail")
    assert failed.error is not None
    assert meanings(await listed(store, failed.response.id)) == meanings(history)
    await process.ask(history)
    assert store.begun[-1].parent_id == ends[-1].response.id


async def test_tenants_share_nothing() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, sent = await run(process, 2)
    history = [*sent[-1], *told(ends[-1]), user("go on")]
    await process.ask(history, tenant="other")
    assert (store.begun[-1].parent_id, len(store.begun[-1].items)) == (None, len(history))


async def test_whole_history_goes_on_from_a_conversation_and_never_into_one() -> None:
    store = WatchedStore()
    process = Process(store)
    await store.create_conversation("t", StoredConversation(conversation_id="conv", created_at=1.0, metadata={}), [])
    first = await process.ask([user("one")], conversation="conv")
    history = [user("one"), *told(first), user("two")]
    await process.ask(history)
    assert store.begun[-1].parent_id == first.response.id
    await process.ask(history, conversation="conv")
    assert (store.begun[-1].parent_id, len(store.begun[-1].items)) == (None, len(history))


async def test_continuation_by_id_lists_what_it_sent_itself() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, _ = await run(process, 3)
    ended = await process.ask([user("by id")], previous_response_id=ends[-1].response.id)
    assert meanings(await listed(store, ended.response.id)) == meanings([user("by id")])


async def test_background_turn_stores_what_is_new() -> None:
    store = WatchedStore()
    process = Process(store)
    ends, sent = await run(process, 2)
    await process.ask([*sent[-1], *told(ends[-1]), user("go on")], background=True)
    assert (store.begun[-1].parent_id, len(store.begun[-1].items)) == (ends[-1].response.id, 1)


async def test_without_a_prefix_index_histories_are_stored_whole() -> None:
    store = WatchedStore()
    await run(Process(store, budget_bytes=0), 3)
    assert [new.parent_id for new in store.begun] == [None] * 3


STEPS = st.lists(st.tuples(st.sampled_from(["ask"] * 6 + ["delete", "restart"]), st.integers(0, 999)), max_size=25)
PLAY_BACKS = (told, told, without_thoughts, spelled_anew)


@given(STEPS, st.sampled_from([2_000, 20_000, 1_000_000]))
@settings(max_examples=60, deadline=None)
def test_any_run_is_stored_as_it_was_sent(steps: list[tuple[str, int]], budget_bytes: int) -> None:
    asyncio.run(_walk(steps, budget_bytes))


async def _walk(steps: list[tuple[str, int]], budget_bytes: int) -> None:
    """Clients that go on from any of each other's turns, over processes with much or little memory for prefixes."""
    store = MemoryStore()
    process = Process(store, budget_bytes=budget_bytes)
    sent: dict[str, list[JsonItem]] = {}
    ended: dict[str, TurnEnded] = {}
    ids: list[str] = []
    for number, (kind, choice) in enumerate(steps):
        if kind == "restart":
            process = Process(store, budget_bytes=budget_bytes)
        elif kind == "delete" and ids:
            gone = ids[choice % len(ids)]
            if await store.delete_response("t", gone):
                ended[gone] = msgspec.structs.replace(ended[gone], is_stored=False)
        else:
            history: list[JsonItem] = []
            if ids and choice % 9:
                before = ids[-1 - choice % min(3, len(ids))]
                history = [*sent[before], *PLAY_BACKS[choice % 4](ended[before])]
            history.append(user(f"step {number if choice % 5 else 0}"))
            end = await process.ask(history, store=choice % 7 != 0)
            ids.append(end.response.id)
            sent[ids[-1]], ended[ids[-1]] = history, end
    for name, end in ended.items():
        if end.is_stored:
            assert meanings(await listed(store, name)) == meanings(sent[name])
            assert meanings(await loaded(store, name)) == meanings([*sent[name], *told(end)])
