"""What is remembered of where state is, and for how long."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from landline.routing.warmth import Found, TargetModel, Warmth, conversation_key, sealed_item
from landline.session.lineage import Link
from landline.wire.items import Item, encode_item

HERE, THERE = TargetModel("a", "m"), TargetModel("b", "m")


def message(role: str, text: str) -> Item:
    return encode_item({"type": "message", "role": role, "content": text})


def items(turns: int) -> list[Item]:
    return [each for n in range(turns) for each in (message("user", f"u{n}"), message("assistant", f"a{n}"))]


def cut(all_items: list[Item], at: list[int]) -> Link:
    """The items as a lineage whose links end at these places."""
    history: Link | None = None
    places = [0, *sorted({place % len(all_items) for place in at} - {0}), len(all_items)]
    for start, end in itertools.pairwise(places):
        history = Link(history, all_items[start:end])
    assert history is not None
    return history


@given(st.integers(1, 6), st.integers(0, 6), st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)))
def test_prefix_is_found_however_the_history_is_cut(turns: int, more: int, at: list[int], again: list[int]) -> None:
    warmth = Warmth()
    warmth.remember("t", cut(items(turns), at), HERE)
    longer = cut([*items(turns + more), message("user", "next")], again)
    assert warmth.find("t", longer, {HERE}) == Found(HERE, 2 * turns)
    assert warmth.find("t", longer, {THERE}) is None
    assert warmth.find("other", longer, {HERE}) is None


def test_changed_character_is_another_history() -> None:
    warmth = Warmth()
    warmth.remember("t", Link(None, items(1)), HERE)
    assert warmth.find("t", Link(None, [message("user", "u0"), message("assistant", "a0!")]), {HERE}) is None


def test_shorter_prefix_counts_where_the_longest_is_of_no_use() -> None:
    warmth = Warmth()
    warmth.remember("t", Link(None, items(1)), HERE)
    warmth.remember("t", Link(None, items(2)), THERE)
    assert warmth.find("t", Link(None, items(3)), {HERE}) == Found(HERE, 2)
    assert warmth.find("t", Link(None, items(3)), {HERE, THERE}) == Found(THERE, 4)


def test_least_recently_used_is_forgotten_first() -> None:
    warmth = Warmth(max_anchors=2)
    one, two, three = (Link(None, [message("assistant", text)]) for text in "123")
    warmth.remember("t", one, HERE)
    warmth.remember("t", two, HERE)
    assert warmth.find("t", one, {HERE}) is not None
    warmth.remember("t", three, HERE)
    assert [warmth.find("t", each, {HERE}) is not None for each in (one, two, three)] == [True, False, True]


def test_key_belongs_to_its_tenant_and_moves() -> None:
    warmth = Warmth()
    warmth.remember_key("t", "k", HERE)
    warmth.remember_key("t", "k", THERE)
    assert (warmth.find_key("t", "k"), warmth.find_key("u", "k")) == (THERE, None)


def sealed(token: str) -> Item:
    return encode_item({"type": "compaction", "encrypted_content": token})


def test_maker_is_whoever_was_first_to_serve_what_is_sealed() -> None:
    warmth = Warmth()
    history = Link(None, [message("user", "u"), sealed("x")])
    assert warmth.find_maker("t", history) is None
    warmth.remember_maker("t", history, "a")
    warmth.remember_maker("t", Link(history, items(1)), "b")
    assert warmth.find_maker("t", Link(None, [sealed("x"), *items(2)])) == "a"
    assert warmth.find_maker("t", Link(history, [sealed("y")])) is None
    assert warmth.find_maker("u", history) is None


def test_lineage_without_a_foreign_compaction_has_no_sealed_item() -> None:
    assert sealed_item(Link(None, items(2))) is None
    history = Link(Link(None, [sealed("x"), sealed("y")]), items(1))
    found = sealed_item(history)
    assert found is not None
    assert json.loads(found.raw)["encrypted_content"] == "y"


@given(st.integers(0, 5), st.lists(st.integers(0, 50)))
def test_conversation_keeps_its_key_from_turn_to_turn(turns: int, at: list[int]) -> None:
    opening = [message("developer", "rules"), message("user", "do it")]
    first = conversation_key("t", Link(None, opening))
    assert first is not None
    call = encode_item({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"})
    later = cut([*opening, call, *items(turns)], at)
    assert conversation_key("t", later) == first
    assert conversation_key("u", later) != first
    assert conversation_key("t", cut([message("user", "other"), *opening], at)) != first


def test_key_says_nothing_of_its_conversation() -> None:
    key = conversation_key("tenant", Link(None, [message("user", "secret")]))
    assert key is not None
    assert len(key) == 32
    assert "secret" not in key
    assert conversation_key("tenant", None) is None
