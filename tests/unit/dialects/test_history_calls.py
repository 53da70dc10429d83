"""Ids of calls: taken as they are where that is possible, and each one once."""

import re
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects import history_calls
from landline.dialects.history_calls import CallIdFormat, CallIds, CallIdWriter

FORM = CallIdFormat(re.compile(r"[a-z]{1,8}"), "call_", 24)
NARROW = CallIdFormat(re.compile(r"[a-f0-9]"), "", 1)


def used(call_ids: list[str], form: CallIdFormat = FORM, *, cuts: Collection[int] = ()) -> list[str]:
    """The ids that a conversation with these calls has, which goes on anew at these places."""
    writer, made = CallIdWriter(CallIds(), form), list[str]()
    for place, call_id in enumerate(call_ids):
        if place in cuts:
            writer = CallIdWriter(writer.call_ids(), form)
        made.append(writer.add(call_id))
    return made


def test_an_id_that_the_vendor_takes_is_taken_as_it_is() -> None:
    assert used(["a", "b"]) == ["a", "b"]


def test_an_id_that_the_vendor_refuses_gets_another_one_that_stays_the_same() -> None:
    (made,) = used(["a:0"])
    assert re.fullmatch(r"call_[0-9a-f]{24}", made)
    assert used(["b", "a:0"]) == ["b", made]


@given(st.lists(st.sampled_from(["a", "b", "c:0", ""]), max_size=12), st.sets(st.integers(1, 11)))
def test_no_id_is_used_twice_and_more_calls_change_none_before_them(call_ids: list[str], cuts: set[int]) -> None:
    made = used(call_ids)
    assert used(call_ids, cuts=cuts) == made
    assert len(set(made)) == len(made)
    assert used(call_ids[:-1]) == made[:-1]


def test_ids_are_told_apart_where_few_are_left() -> None:
    assert len(set(used(["a"] * 16, NARROW))) == 16


def test_an_id_that_always_comes_again_costs_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    hash_of = history_calls._hashed  # pyright: ignore[reportPrivateUsage]

    def counting(text: str, form: CallIdFormat) -> str:
        hashed.append(text)
        return hash_of(text, form)

    monkeypatch.setattr(history_calls, "_hashed", counting)
    used(["a"] * 100)
    assert len(hashed) == 99


@given(st.lists(st.sets(st.integers(0, 30), max_size=4)))
def test_ids_that_were_used_are_known(batches: list[set[int]]) -> None:
    ids, known = CallIds(), set[str]()
    for batch in batches:
        added = {str(each) for each in batch} - known
        assert not any(each in ids for each in added)
        ids, known = ids.with_ids(added), known | added
        assert all(each in ids for each in known)
        assert ids.count == len(known)


def test_ids_of_a_long_conversation_are_in_few_sets() -> None:
    ids = CallIds()
    for number in range(1000):
        ids = ids.with_ids([str(number)])
    sets = 0
    older: CallIds | None = ids
    while older is not None:
        sets, older = sets + 1, older.older
    assert sets <= 10
