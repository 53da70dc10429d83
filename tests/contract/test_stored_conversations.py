"""What every store does with conversations, and with the responses that write into them."""

import asyncio

import pytest

from landline.stores.store import Page, ParentGoneError, Store, StoredConversation, StoreError
from support.stores.items import TENANT, body, ids, message, new_response, save

CONVERSATION = StoredConversation(conversation_id="conv", created_at=5.0, metadata={"topic": "tests"})


async def test_conversation_is_loaded_and_updated(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [])
    assert await store.load_conversation(TENANT, "conv") == CONVERSATION
    updated = await store.update_conversation(TENANT, "conv", {"a": "b"})
    assert updated == StoredConversation(conversation_id="conv", created_at=5.0, metadata={"a": "b"})
    assert await store.load_conversation(TENANT, "conv") == updated
    assert ids(await store.load_conversation_history(TENANT, "conv")) == []
    with pytest.raises(StoreError):
        await store.create_conversation(TENANT, CONVERSATION, [])


async def test_response_in_a_conversation_adds_input_and_output_when_it_ends(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k1"), message("k2")])
    assert await store.lock_conversation(TENANT, "conv", "r") == "locked"
    await store.begin_response(new_response("r", conversation="conv"))
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k1", "k2"]
    output = [message("r.out")]
    await store.finish_response(TENANT, "r", status="completed", body=body("completed"), output=output)
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k1", "k2", "r.in", "r.out"]
    assert ids(await store.load_history(TENANT, "r")) == ["k1", "k2", "r.in", "r.out"]
    assert await store.add_conversation_items(TENANT, "conv", [message("k3")]) == "locked"
    page = await store.list_conversation_items(TENANT, "conv", Page(limit=2, after="k3"))
    assert page is not None
    assert [item.id for item in page.items] == ["r.out", "r.in"]
    assert page.has_more is True


async def test_locked_conversation_has_one_writer(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [])
    assert await store.lock_conversation(TENANT, "conv", "r") == "locked"
    assert await store.lock_conversation(TENANT, "conv", "r") == "locked"
    assert await store.lock_conversation(TENANT, "conv", "s") == "busy"
    assert await store.add_conversation_items(TENANT, "conv", [message("x")]) == "busy"
    assert ids(await store.load_conversation_history(TENANT, "conv")) == []
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("s", conversation="conv"))
    await store.discard_response(TENANT, "r")
    assert await store.lock_conversation(TENANT, "conv", "s") == "locked"


async def test_racing_writers_of_a_conversation_get_one_lock(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [])
    results = await asyncio.gather(*(store.lock_conversation(TENANT, "conv", f"r{number}") for number in range(8)))
    assert sorted(results) == ["busy"] * 7 + ["locked"]


@pytest.mark.parametrize("status", ["failed", "cancelled", "discarded"])
async def test_turn_that_does_not_end_well_adds_nothing_to_its_conversation(store: Store, status: str) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    await store.lock_conversation(TENANT, "conv", "r")
    if status == "discarded":
        await store.begin_response(new_response("r", conversation="conv"))
        await store.discard_response(TENANT, "r")
    else:
        new = new_response("r", conversation="conv")
        await save(store, new, "failed" if status == "failed" else "cancelled")
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k"]
    assert await store.lock_conversation(TENANT, "conv", "s") == "locked"
    await save(store, new_response("s", conversation="conv"))
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k", "s.in", "s.out"]
    assert ids(await store.load_history(TENANT, "s")) == ["k", "s.in", "s.out"]


async def test_response_of_a_conversation_can_be_continued_outside_of_it(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    await store.lock_conversation(TENANT, "conv", "r")
    await save(store, new_response("r", conversation="conv"))
    await save(store, new_response("child", parent="r"))
    await save(store, new_response("grandchild", parent="child"))
    await store.lock_conversation(TENANT, "conv", "s")
    await save(store, new_response("s", conversation="conv"))
    start = ["k", "r.in", "r.out"]
    assert ids(await store.load_conversation_history(TENANT, "conv")) == [*start, "s.in", "s.out"]
    expected = [*start, "child.in", "child.out", "grandchild.in", "grandchild.out"]
    assert ids(await store.load_history(TENANT, "grandchild")) == expected


async def test_item_deleted_from_a_conversation_is_gone_for_later_turns_only(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k1"), message("k2"), message("k3")])
    await store.lock_conversation(TENANT, "conv", "r")
    await save(store, new_response("r", conversation="conv"))
    assert await store.load_conversation_item(TENANT, "conv", "k2") == message("k2")
    assert await store.delete_conversation_item(TENANT, "conv", "k2") is True
    assert await store.delete_conversation_item(TENANT, "conv", "k2") is False
    assert await store.load_conversation_item(TENANT, "conv", "k2") is None
    assert await store.find_items(TENANT, ["k2", "k3"]) == {"k3": message("k3")}
    assert await store.delete_conversation_item(TENANT, "conv", "r.in") is True
    assert set(await store.find_items(TENANT, ["r.in", "r.out"])) == {"r.in", "r.out"}
    await store.lock_conversation(TENANT, "conv", "s")
    await save(store, new_response("s", conversation="conv"))
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k1", "k3", "r.out", "s.in", "s.out"]
    assert ids(await store.load_history(TENANT, "s")) == ["k1", "k3", "r.out", "s.in", "s.out"]
    assert ids(await store.load_history(TENANT, "r")) == ["k1", "k2", "k3", "r.in", "r.out"]


async def test_item_deleted_while_a_response_writes(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k1"), message("k2")])
    await store.lock_conversation(TENANT, "conv", "r")
    await store.begin_response(new_response("r", conversation="conv"))
    assert await store.delete_conversation_item(TENANT, "conv", "k1") is True
    output = [message("r.out")]
    await store.finish_response(TENANT, "r", status="completed", body=body("completed"), output=output)
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["k2", "r.in", "r.out"]
    assert ids(await store.load_history(TENANT, "r")) == ["k1", "k2", "r.in", "r.out"]


async def test_responses_outlive_their_conversation(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    await store.lock_conversation(TENANT, "conv", "r")
    await save(store, new_response("r", conversation="conv"))
    await store.lock_conversation(TENANT, "conv", "s")
    await store.begin_response(new_response("s", conversation="conv"))
    assert await store.delete_conversation(TENANT, "conv") is True
    assert await store.delete_conversation(TENANT, "conv") is False
    await store.finish_response(TENANT, "s", status="completed", body=body("completed"), output=[])
    assert ids(await store.load_history(TENANT, "r")) == ["k", "r.in", "r.out"]
    assert ids(await store.load_history(TENANT, "s")) == ["k", "r.in", "r.out", "s.in"]
    assert set(await store.find_items(TENANT, ["k", "r.in", "s.in"])) == {"r.in", "s.in"}


async def test_conversation_outlives_its_responses(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [])
    await store.lock_conversation(TENANT, "conv", "r")
    await save(store, new_response("r", conversation="conv"))
    await store.delete_response(TENANT, "r")
    assert ids(await store.load_conversation_history(TENANT, "conv")) == ["r.in", "r.out"]
    assert set(await store.find_items(TENANT, ["r.in", "r.out"])) == {"r.in", "r.out"}
