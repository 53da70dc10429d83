"""What is stored and cannot be read takes nothing down with it: not the list, not the conversation, not its turns."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from landline.stores.sql import SqlStore
from landline.stores.store import Page, Store, StoredConversation
from landline.wire.items import Item
from landline.wire.resources import list_items
from support.stores.items import ids, message

BROKEN = [b'{"x":1e400}', b'{"x":"\xff"}', b"{", b"7", b"", b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"]


@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: repr(raw[:12]))
async def test_unreadable_item_is_shown_kept_from_models_and_deleted(store: Store, raw: bytes) -> None:
    broken = Item(raw=raw, type="function_call", id="fc_broken", call_id="c")
    output = Item(
        raw=b'{"id":"fco","type":"function_call_output","call_id":"c","output":"x"}',
        type="function_call_output",
        id="fco",
        call_id="c",
    )
    await store.create_conversation(
        "t",
        StoredConversation(conversation_id="conv", created_at=1.0, metadata={}),
        [message("msg_a"), broken, output, message("msg_b")],
    )
    found = await store.list_conversation_items("t", "conv", Page(order="asc"))
    assert found is not None
    shown = [msgspec.json.decode(each) for each in list_items(found.items, has_more=False).data]
    assert [each["id"] for each in shown] == ["msg_a", "fc_broken", "fco", "msg_b"]
    assert (shown[1]["type"], "cannot be read" in shown[1]["content"][0]["text"]) == ("message", True)
    history = await store.load_conversation_history("t", "conv")
    assert history is not None
    assert history.link is not None
    assert [item.id for item in history.link.all_items()] == ["msg_a", "msg_b"]
    assert await store.delete_conversation_item("t", "conv", "fc_broken")
    history = await store.load_conversation_history("t", "conv")
    assert history is not None
    assert history.link is not None
    assert [item.id for item in history.link.all_items()] == ["msg_a", "fco", "msg_b"]


async def test_row_of_a_database_that_is_garbled_loses_only_its_own_items(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqlStore(f"sqlite:///{path}")
    await store.open()
    conversation = StoredConversation(conversation_id="conv", created_at=1.0, metadata={})
    await store.create_conversation("t", conversation, [message("msg_a")])
    for item_id in ("msg_b", "msg_c"):
        await store.add_conversation_items("t", "conv", [message(item_id)])
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE links SET content = x'c1ff00' WHERE key = (SELECT key FROM items WHERE item_id = 'msg_b')"
        )
    found = await store.list_conversation_items("t", "conv", Page(order="asc"))
    assert found is not None
    assert [item.id for item in found.items] == ["msg_a", "msg_c"]
    assert ids(await store.load_conversation_history("t", "conv")) == ["msg_a", "msg_c"]
    assert await store.delete_conversation_item("t", "conv", "msg_b")
    assert not await store.delete_conversation_item("t", "conv", "msg_b")
    assert ids(await store.load_conversation_history("t", "conv")) == ["msg_a", "msg_c"]
    await store.close()
