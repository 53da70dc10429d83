"""What every store does, whatever it is made of."""

import asyncio

import pytest

from landline.stores.store import Page, ParentGoneError, Store, StoredConversation, StoreError
from landline.wire.items import Item, decode_item
from support.stores.items import TENANT, body, ids, message, new_response, save

CONVERSATION = StoredConversation(conversation_id="conv", created_at=5.0, metadata={"topic": "tests"})


async def _chain(store: Store, *names: str) -> None:
    parent: str | None = None
    for name in names:
        await save(store, new_response(name, parent=parent))
        parent = name


async def test_finished_response_is_loaded_as_it_was_saved(store: Store) -> None:
    await store.begin_response(new_response("r", created_at=12.5))
    begun = await store.load_response(TENANT, "r")
    await store.finish_response(TENANT, "r", status="incomplete", body=b'{"status":"incomplete"}', output=[])
    ended = await store.load_response(TENANT, "r")
    assert begun is not None
    assert (begun.status, begun.body, begun.created_at, begun.is_background) == (
        "in_progress",
        body("in_progress"),
        12.5,
        False,
    )
    assert ended is not None
    assert (ended.status, ended.body) == ("incomplete", b'{"status":"incomplete"}')


async def test_history_is_input_and_output_of_the_whole_chain(store: Store) -> None:
    await _chain(store, "a", "b", "c")
    assert ids(await store.load_history(TENANT, "c")) == ["a.in", "a.out", "b.in", "b.out", "c.in", "c.out"]
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in", "b.out"]


async def test_what_may_be_continued_is_what_has_a_history(store: Store) -> None:
    await _chain(store, "a")
    await store.begin_response(new_response("running"))
    for status in ("failed", "incomplete"):
        await save(store, new_response(status), status=status)
    for tenant in (TENANT, "another"):
        for name in ("a", "running", "failed", "incomplete", "nobody's"):
            has_history = await store.load_history(tenant, name) is not None
            assert (
                await store.may_be_continued(tenant, name)
                == has_history
                == (tenant == TENANT and name in ("a", "incomplete"))
            )


async def test_items_come_back_byte_for_byte(store: Store) -> None:
    raws = [
        '{"role":"user","content":"ünïcödé \\u0000 \U0001f600","id":"one", "unknown": [1.0, 2e3]}'.encode(),
        b'{"type":"function_call","id":"two","call_id":"call","name":"f","arguments":"{}"}',
        b'{"type":"never_seen","id":"three","payload":"' + "".join(map(chr, range(128, 256))).encode() + b'"}',
        b'{"type":"message","role":"user","content":"' + b"x" * 300_000 + b'"}',
    ]
    items = [_decoded(raw) for raw in raws]
    await save(store, new_response("r", items=items))
    history = await store.load_history(TENANT, "r")
    assert history is not None
    assert history.link is not None
    assert history.link.all_items()[:-1] == items


def _decoded(raw: bytes) -> Item:
    """Bytes that are not UTF-8 pass the decoder inside items of unknown kinds."""
    return Item(raw, "never_seen", "three") if b"never_seen" in raw else decode_item(raw)


async def test_response_without_items_has_an_empty_history(store: Store) -> None:
    await store.begin_response(new_response("r", items=[]))
    await store.finish_response(TENANT, "r", status="completed", body=body("completed"), output=[])
    assert ids(await store.load_history(TENANT, "r")) == []
    await save(store, new_response("s", parent="r"))
    assert ids(await store.load_history(TENANT, "s")) == ["s.in", "s.out"]


async def test_forks_share_what_comes_before_and_nothing_else(store: Store) -> None:
    await _chain(store, "a", "b", "c")
    await save(store, new_response("d", parent="a"))
    await save(store, new_response("e", parent="d"))
    await save(store, new_response("f", parent="d"))
    start = ["a.in", "a.out"]
    assert ids(await store.load_history(TENANT, "c")) == [*start, "b.in", "b.out", "c.in", "c.out"]
    assert ids(await store.load_history(TENANT, "e")) == [*start, "d.in", "d.out", "e.in", "e.out"]
    assert ids(await store.load_history(TENANT, "f")) == [*start, "d.in", "d.out", "f.in", "f.out"]


async def test_racing_continuations_of_one_response_all_become_its_children(store: Store) -> None:
    await _chain(store, "a", "b")
    names = [f"child{number}" for number in range(12)]
    await asyncio.gather(*(save(store, new_response(name, parent="b")) for name in names))
    for name in names:
        assert ids(await store.load_history(TENANT, name)) == [
            "a.in",
            "a.out",
            "b.in",
            "b.out",
            f"{name}.in",
            f"{name}.out",
        ]


async def test_inherited_items_are_history_but_not_input(store: Store) -> None:
    inherited = [message("old1"), message("old2", role="assistant")]
    await save(store, new_response("r", inherited=inherited))
    await save(store, new_response("s", parent="r"))
    assert ids(await store.load_history(TENANT, "s")) == ["old1", "old2", "r.in", "r.out", "s.in", "s.out"]
    page = await store.list_input(TENANT, "r", Page())
    assert page is not None
    assert [item.id for item in page.items] == ["r.in"]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_failed_response_has_input_but_no_history(store: Store, status: str) -> None:
    await _chain(store, "a")
    await save(store, new_response("b", parent="a"), "failed" if status == "failed" else "cancelled")
    assert await store.load_history(TENANT, "b") is None
    assert await store.list_input(TENANT, "b", Page()) is not None
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("c", parent="b"))
    await save(store, new_response("d", parent="a"))
    assert ids(await store.load_history(TENANT, "d")) == ["a.in", "a.out", "d.in", "d.out"]


async def test_running_response_cannot_be_continued(store: Store) -> None:
    await store.begin_response(new_response("a"))
    assert await store.load_history(TENANT, "a") is None
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("b", parent="a"))


async def test_deleted_response_is_gone_but_its_descendants_keep_their_history(store: Store) -> None:
    await _chain(store, "a", "b", "c")
    assert await store.delete_response(TENANT, "b") is True
    assert await store.delete_response(TENANT, "b") is False
    assert await store.load_response(TENANT, "b") is None
    assert await store.load_history(TENANT, "b") is None
    assert await store.list_input(TENANT, "b", Page()) is None
    assert await store.find_items(TENANT, ["b.in", "b.out", "a.in"]) == {"a.in": message("a.in")}
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("d", parent="b"))
    await save(store, new_response("d", parent="c"))
    assert ids(await store.load_history(TENANT, "d")) == [f"{name}.{end}" for name in "abcd" for end in ("in", "out")]


async def test_fork_keeps_its_history_when_the_other_branch_and_the_fork_point_go(store: Store) -> None:
    await _chain(store, "a", "b", "c")
    await save(store, new_response("d", parent="b"))
    for name in ("c", "b", "a"):
        await store.delete_response(TENANT, name)
    assert ids(await store.load_history(TENANT, "d")) == ["a.in", "a.out", "b.in", "b.out", "d.in", "d.out"]


async def test_response_deleted_while_it_runs_stays_deleted(store: Store) -> None:
    await store.begin_response(new_response("a"))
    await store.delete_response(TENANT, "a")
    await store.finish_response(TENANT, "a", status="completed", body=body("completed"), output=[message("x")])
    assert await store.load_response(TENANT, "a") is None
    assert await store.find_items(TENANT, ["a.in", "x"]) == {}


async def test_discarded_response_leaves_no_trace(store: Store) -> None:
    await _chain(store, "a")
    await store.begin_response(new_response("b", parent="a"))
    await store.discard_response(TENANT, "b")
    await store.discard_response(TENANT, "never begun")
    assert await store.load_response(TENANT, "b") is None
    assert await store.find_items(TENANT, ["b.in"]) == {}


async def test_response_cannot_begin_twice(store: Store) -> None:
    await store.begin_response(new_response("a"))
    with pytest.raises(StoreError):
        await store.begin_response(new_response("a"))
    await store.finish_response(TENANT, "a", status="completed", body=body("completed"), output=[])
    assert ids(await store.load_history(TENANT, "a")) == ["a.in"]


async def test_sweep_deletes_the_expired_and_keeps_what_descendants_need(store: Store) -> None:
    await save(store, new_response("a", created_at=0.0))
    await save(store, new_response("b", parent="a", created_at=50.0))
    await store.begin_response(new_response("running", created_at=0.0))
    assert await store.sweep(99.0) == 0
    assert await store.sweep(100.0) == 1
    assert await store.load_response(TENANT, "a") is None
    assert await store.load_response(TENANT, "running") is not None
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "a.out", "b.in", "b.out"]
    assert await store.sweep(150.0) == 1


async def test_nothing_of_a_tenant_exists_for_another(store: Store) -> None:
    await _chain(store, "a")
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    other = "other"
    assert await store.load_response(other, "a") is None
    assert await store.load_history(other, "a") is None
    assert await store.list_input(other, "a", Page()) is None
    assert await store.find_items(other, ["a.in", "a.out", "k"]) == {}
    assert await store.delete_response(other, "a") is False
    assert await store.load_conversation(other, "conv") is None
    assert await store.update_conversation(other, "conv", {}) is None
    assert await store.load_conversation_history(other, "conv") is None
    assert await store.list_conversation_items(other, "conv", Page()) is None
    assert await store.load_conversation_item(other, "conv", "k") is None
    assert await store.delete_conversation_item(other, "conv", "k") is False
    assert await store.lock_conversation(other, "conv", "r") == "missing"
    assert await store.add_conversation_items(other, "conv", [message("x")]) == "missing"
    assert await store.delete_conversation(other, "conv") is False
    with pytest.raises(ParentGoneError):
        await store.begin_response(new_response("b", tenant=other, parent="a"))
    await store.discard_response(other, "a")
    await save(store, new_response("a", tenant=other, items=[message("theirs")]))
    assert ids(await store.load_history(TENANT, "a")) == ["a.in", "a.out"]
    assert ids(await store.load_history(other, "a")) == ["theirs", "a.out"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_of_input_follow_one_another(store: Store, order: str) -> None:
    items = [message(f"i{number}") for number in range(7)]
    await save(store, new_response("r", items=items))
    expected = [item.id for item in (items if order == "asc" else reversed(items))]
    seen: list[str | None] = []
    after: str | None = None
    sizes: list[tuple[int, bool]] = []
    while True:
        page = await store.list_input(
            TENANT, "r", Page(limit=3, order="asc" if order == "asc" else "desc", after=after)
        )
        assert page is not None
        seen += [item.id for item in page.items]
        sizes.append((len(page.items), page.has_more))
        if not page.has_more:
            break
        after = page.items[-1].id
    assert seen == expected
    assert sizes == [(3, True), (3, True), (1, False)]


async def test_page_behind_an_unknown_item_is_empty(store: Store) -> None:
    await save(store, new_response("r"))
    page = await store.list_input(TENANT, "r", Page(after="unknown"))
    assert page is not None
    assert (page.items, page.has_more) == ((), False)


async def test_items_are_found_by_id_in_responses_and_conversations(store: Store) -> None:
    await _chain(store, "a")
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    found = await store.find_items(TENANT, ["a.in", "a.out", "k", "unknown"])
    assert found == {"a.in": message("a.in"), "a.out": message("a.out", role="assistant"), "k": message("k")}
    assert await store.find_items(TENANT, []) == {}


async def test_id_with_a_nul_is_an_id_like_any_other(store: Store) -> None:
    odd = "r\0"
    await store.begin_response(new_response("r", items=[message(odd)]))
    assert await store.load_response(TENANT, odd) is None
    assert not await store.delete_response(TENANT, odd)
    assert await store.load_history(TENANT, odd) is None
    assert await store.load_conversation(TENANT, odd) is None
    assert await store.lock_conversation(TENANT, odd, "r") == "missing"
    assert list(await store.find_items(TENANT, [odd, "r"])) == [odd]


async def test_any_number_of_items_is_looked_up_at_once(store: Store) -> None:
    kept = [message(f"kept{number}") for number in range(300)]
    await save(store, new_response("r", items=kept))
    await save(store, new_response("s"))
    wanted = [f"unknown{number}" for number in range(300_000)]
    wanted[1000:1000] = [item.id or "" for item in kept]
    found = await store.find_items(TENANT, [*wanted, "s.out", "s.out"])
    assert found == {item.id: item for item in kept} | {"s.out": message("s.out", role="assistant")}


async def test_newest_of_several_items_with_one_id_is_found(store: Store) -> None:
    for name in "abc":
        await save(store, new_response(name, items=[message("same", name)]))
    assert await store.find_items(TENANT, ["same"]) == {"same": message("same", "c")}


async def _listed(store: Store, response_id: str) -> list[str | None] | None:
    page = await store.list_input(TENANT, response_id, Page(limit=100, order="asc"))
    return [item.id for item in page.items] if page is not None else None


async def test_response_that_lists_its_history_shows_all_of_it_as_input(store: Store) -> None:
    await _chain(store, "a", "b")
    await store.begin_response(new_response("c", parent="b", lists_history=True))
    whole = ["a.in", "a.out", "b.in", "b.out", "c.in"]
    assert await _listed(store, "c") == whole
    await store.finish_response(TENANT, "c", status="completed", body=body("completed"), output=[message("c.out")])
    assert await _listed(store, "c") == whole
    assert ids(await store.load_history(TENANT, "c")) == [*whole, "c.out"]
    await save(store, new_response("d", parent="c"))
    assert await _listed(store, "d") == ["d.in"]
    page = await store.list_input(TENANT, "c", Page(limit=2, order="desc", after="c.in"))
    assert page is not None
    assert ([item.id for item in page.items], page.has_more) == (["b.out", "b.in"], True)


async def test_failed_response_lists_its_history_too(store: Store) -> None:
    await _chain(store, "a")
    await save(store, new_response("b", parent="a", lists_history=True), "failed")
    assert await _listed(store, "b") == ["a.in", "a.out", "b.in"]


async def test_response_without_input_of_its_own_lists_its_history(store: Store) -> None:
    await _chain(store, "a")
    await save(store, new_response("b", parent="a", items=[], lists_history=True))
    await save(store, new_response("c", parent="a", items=[], follows_input=True, lists_history=True))
    assert await _listed(store, "b") == ["a.in", "a.out"]
    assert await _listed(store, "c") == ["a.in"]
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "a.out", "b.out"]
    assert ids(await store.load_history(TENANT, "c")) == ["a.in", "c.out"]


async def test_history_can_pass_over_the_output_of_its_parents(store: Store) -> None:
    await _chain(store, "a")
    await save(store, new_response("b", parent="a", follows_input=True))
    await save(store, new_response("c", parent="b", follows_input=True, lists_history=True))
    await save(store, new_response("d", parent="c"))
    await save(store, new_response("e", parent="a", follows_input=True))
    assert ids(await store.load_history(TENANT, "a")) == ["a.in", "a.out"]
    assert ids(await store.load_history(TENANT, "d")) == ["a.in", "b.in", "c.in", "c.out", "d.in", "d.out"]
    assert ids(await store.load_history(TENANT, "e")) == ["a.in", "e.in", "e.out"]
    assert await _listed(store, "c") == ["a.in", "b.in", "c.in"]


async def test_response_goes_wherever_else_lineages_fork(store: Store) -> None:
    """What decides on its output is its own forks, and not those of others in the store."""
    await _chain(store, "a")
    await save(store, new_response("b", parent="a", follows_input=True))
    await save(store, new_response("c", parent="a"))
    for name in "def":
        await save(store, new_response(name, parent="c"))
    await store.delete_response(TENANT, "a")
    for name in "def":
        history = ["a.in", "a.out", "c.in", "c.out", f"{name}.in", f"{name}.out"]
        assert ids(await store.load_history(TENANT, name)) == history
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "b.in", "b.out"]


async def test_inherited_items_may_come_behind_a_parent(store: Store) -> None:
    await _chain(store, "a")
    old = [message("old")]
    await save(store, new_response("b", parent="a", inherited=old))
    await save(store, new_response("c", parent="a", inherited=old, follows_input=True))
    assert ids(await store.load_history(TENANT, "b")) == ["a.in", "a.out", "old", "b.in", "b.out"]
    assert ids(await store.load_history(TENANT, "c")) == ["a.in", "old", "c.in", "c.out"]
    assert await _listed(store, "b") == ["b.in"]


async def test_what_is_listed_can_be_found_when_its_own_response_is_gone(store: Store) -> None:
    await _chain(store, "a", "b")
    await save(store, new_response("c", parent="b", lists_history=True))
    await save(store, new_response("d", parent="b", follows_input=True))
    everything = [f"{name}.{end}" for name in "abc" for end in ("in", "out")]
    await store.delete_response(TENANT, "a")
    await store.delete_response(TENANT, "b")
    assert set(await store.find_items(TENANT, everything)) == set(everything)
    assert await _listed(store, "c") == ["a.in", "a.out", "b.in", "b.out", "c.in"]
    await store.delete_response(TENANT, "c")
    assert await store.find_items(TENANT, everything) == {}
    assert ids(await store.load_history(TENANT, "d")) == ["a.in", "a.out", "b.in", "d.in", "d.out"]


async def test_whole_history_goes_on_from_a_response_in_a_conversation(store: Store) -> None:
    await store.create_conversation(TENANT, CONVERSATION, [message("k")])
    await store.lock_conversation(TENANT, "conv", "a")
    await save(store, new_response("a", conversation="conv"))
    await save(store, new_response("b", parent="a", lists_history=True))
    await save(store, new_response("c", parent="a", follows_input=True, lists_history=True))
    await store.delete_conversation(TENANT, "conv")
    await store.delete_response(TENANT, "a")
    assert await _listed(store, "b") == ["k", "a.in", "a.out", "b.in"]
    assert await _listed(store, "c") == ["k", "a.in", "c.in"]
    assert set(await store.find_items(TENANT, ["k", "a.in", "a.out"])) == {"k", "a.in", "a.out"}
