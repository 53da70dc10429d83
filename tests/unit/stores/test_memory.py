"""The bound of the store in memory: what was used least recently goes, and nothing that runs."""

import gc
import tracemalloc

import pytest
from structlog.testing import capture_logs

from landline.stores.memory import RESPONSE_BYTES, MemoryStore
from landline.stores.store import Page, ParentGoneError, ResponseEndedError, StoredConversation
from support.stores.items import TENANT, body, ids, message, new_response, save

TEXT = "a" * 1000
PER_RESPONSE = 7 * 1024
"""A little more than one response with a message of 1 kB and an empty answer costs."""


def store_for(responses: int) -> MemoryStore:
    """A store with room for so many responses of `keep`."""
    return MemoryStore(memory_bytes=responses * PER_RESPONSE)


async def keep(store: MemoryStore, name: str, **more: str | None) -> None:
    parent = more.get("parent")
    await save(store, new_response(name, parent=parent, items=[message(f"{name}.in", TEXT)]))


async def is_kept(store: MemoryStore, name: str) -> bool:
    return await store.load_response(TENANT, name) is not None


async def conversation(store: MemoryStore, name: str, text: str = TEXT) -> None:
    made = StoredConversation(conversation_id=name, created_at=1.0, metadata={})
    await store.create_conversation(TENANT, made, [message(f"{name}.item", text)])


async def test_responses_used_least_recently_are_forgotten() -> None:
    store = store_for(3)
    for name in "abc":
        await keep(store, name)
    assert await is_kept(store, "a")
    await keep(store, "d")
    await keep(store, "e")
    assert [name for name in "abcde" if await is_kept(store, name)] == ["a", "d", "e"]
    assert store.size_bytes <= 3 * PER_RESPONSE
    assert store.evicted_total == 2


async def test_forgotten_response_is_as_if_it_had_expired() -> None:
    store = store_for(1)
    await keep(store, "a")
    await keep(store, "b")
    assert await store.load_history(TENANT, "a") is None
    assert await store.list_input(TENANT, "a", Page()) is None
    assert await store.find_items(TENANT, ["a.in", "a.out"]) == {}
    assert not await store.delete_response(TENANT, "a")
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("c", parent="a"))


async def test_descendants_of_a_forgotten_response_keep_their_history() -> None:
    store = store_for(3)
    await keep(store, "a")
    await keep(store, "b", parent="a")
    for name in "xy":
        await keep(store, name)
        await is_kept(store, "b")
    assert not await is_kept(store, "a")
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in", "b.out"]


async def test_what_runs_is_never_forgotten() -> None:
    store = MemoryStore(memory_bytes=0)
    for name in "abc":
        await store.begin_response(new_response(name))
    assert [await is_kept(store, name) for name in "abc"] == [True] * 3
    await store.finish_response(TENANT, "b", status="completed", body=body("completed"), output=[])
    assert [await is_kept(store, name) for name in "abc"] == [True, False, True]


async def test_conversations_are_forgotten_when_no_ended_response_is_left() -> None:
    store = store_for(2)
    await conversation(store, "old")
    await conversation(store, "new")
    await keep(store, "a")
    assert not await is_kept(store, "a")
    assert await store.load_conversation(TENANT, "old") is not None
    await conversation(store, "newest")
    await conversation(store, "and one more")
    left = [name for name in ("old", "new", "newest", "and one more") if await store.load_conversation(TENANT, name)]
    assert left[-1] == "and one more"
    assert "new" not in left
    assert store.size_bytes <= 2 * PER_RESPONSE


async def test_locked_conversation_is_never_forgotten() -> None:
    store = MemoryStore(memory_bytes=RESPONSE_BYTES * 5)
    await conversation(store, "locked", "short")
    await store.lock_conversation(TENANT, "locked", "r")
    await conversation(store, "other", TEXT * 20)
    assert await store.load_conversation(TENANT, "other") is None
    assert await store.load_conversation(TENANT, "locked") is not None
    await save(store, new_response("r", conversation="locked"))
    assert ids(await store.load_conversation_history(TENANT, "locked")) == ["locked.item", "r.in", "r.out"]


async def test_first_eviction_is_logged_and_no_other() -> None:
    store = store_for(1)
    with capture_logs() as logs:
        for name in "abcd":
            await keep(store, name)
    assert [entry["event"] for entry in logs] == ["memory_store_full"]
    assert store.evicted_total == 3


async def test_nothing_is_counted_of_what_is_gone() -> None:
    store = MemoryStore()
    await keep(store, "a")
    await save(store, new_response("b", parent="a", lists_history=True))
    await save(store, new_response("c", parent="a", follows_input=True), "failed")
    await conversation(store, "conv")
    await store.lock_conversation(TENANT, "conv", "d")
    await save(store, new_response("d", conversation="conv"))
    await store.delete_conversation_item(TENANT, "conv", "conv.item")
    await store.begin_response(new_response("e", parent="b"))
    await store.discard_response(TENANT, "e")
    for name in "abcd":
        await store.delete_response(TENANT, name)
    await store.delete_conversation(TENANT, "conv")
    assert store.size_bytes == 0


async def test_response_ends_once() -> None:
    store = MemoryStore()
    await keep(store, "a")
    size_bytes = store.size_bytes
    await store.finish_response(TENANT, "a", status="completed", body=body("completed"), output=[])
    assert store.size_bytes == size_bytes
    with pytest.raises(ResponseEndedError):
        await store.finish_response(TENANT, "a", status="failed", body=body("failed"), output=[])
    assert ids(await store.load_history(TENANT, "a")) == ["a.in", "a.out"]


async def test_what_is_counted_is_about_what_is_used() -> None:
    store = MemoryStore()
    gc.collect()
    tracemalloc.start()
    parent: str | None = None
    for number in range(300):
        items = [message(f"{number}.{place}", TEXT) for place in range(4)]
        await save(store, new_response(f"r{number}", parent=parent, items=items, lists_history=parent is not None))
        parent = f"r{number}"
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.7 * used < store.size_bytes < 2 * used
