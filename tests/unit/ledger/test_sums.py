"""Entries added up field by field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from landline.ledger import ByteCounts, Entry, Split, Sums, TokenCost, Tokens
from landline.ledger.sums import tally_of
from support.ledger.entries import ENTRY, changed, entries


@given(turns=st.lists(entries(st.just("demo"), st.just("one"))))
def test_sums_are_those_of_every_field(turns: list[Entry]) -> None:
    sums = Sums()
    for turn in turns:
        sums.add(turn)
    for ours, kind, name in (
        (sums.bytes, ByteCounts, "bytes"),
        (sums.split, Split, "split"),
        (sums.tokens, Tokens, "tokens"),
        (sums.cost, TokenCost, "cost"),
    ):
        theirs = [astuple(getattr(turn, name)) for turn in turns]
        wanted = [sum(column) for column in zip(*theirs, strict=True)] or [0] * len(kind.__struct_fields__)
        assert list(astuple(ours)) == wanted
    assert sums.turns == len(turns)
    assert sums.warm_turns == len([turn for turn in turns if turn.tokens.cached])
    assert sums.failed_turns == len([turn for turn in turns if turn.outcome in ("failed", "refused", "aborted")])
    assert sums.total_s == pytest.approx(sum(turn.times.total for turn in turns))
    timed = [turn.times.saved for turn in turns if turn.times.saved is not None]
    assert sums.timed_turns == len(timed)
    assert sums.saved_s == pytest.approx(sum(timed))


def test_turns_are_told_apart_by_their_affinity() -> None:
    sums = Sums()
    for affinity, count in (("soft", 3), ("hard", 2), ("none", 1)):
        for _ in range(count):
            sums.add_tally(tally_of(changed(affinity=affinity)))
    assert (sums.turns, sums.soft_turns, sums.hard_turns, sums.resends) == (6, 3, 2, 6)


def test_sums_that_are_read_do_not_change() -> None:
    sums = Sums()
    sums.add(ENTRY)
    before = sums.bytes
    sums.add(ENTRY)
    assert before == ENTRY.bytes
    assert sums.bytes.wire_in == 2 * ENTRY.bytes.wire_in
