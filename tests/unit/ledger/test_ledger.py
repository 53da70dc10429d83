"""The ledger keeps what is newest, forgets the rest, and adds up everything."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import Entry, Ledger, Sums
from landline.ledger import ledger as ledger_module
from support.ledger.entries import ENTRY, changed, entries

IDS = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(entries(IDS, IDS | st.just("")), IDS | st.just(""), IDS, IDS), max_size=12))
def test_every_sum_is_that_of_its_entries(turns: list[tuple[Entry, str, str, str]]) -> None:
    ledger = Ledger()
    added: list[Entry] = []
    for entry, session, lane, tenant in turns:
        added.append(changed_in(entry, session_id=session, lane=lane, tenant=tenant))
        ledger.add(added[-1], 1.0)
    assert same(ledger.process, added)
    for name, sums in ledger.by("model").items():
        assert same(sums, [entry for entry in added if entry.model == name])
    for name, sums in ledger.by("target").items():
        assert same(sums, [entry for entry in added if entry.target == name])
    for name, sums in ledger.by("key").items():
        assert same(sums, [entry for entry in added if entry.tenant == name])
    for session in ledger.sessions():
        own = [entry for entry in added if entry.session_id == session.session_id]
        assert list(session.turns) == own
        assert same(session.sums, own)
        for lane, sums in session.lanes.items():
            assert same(sums, [entry for entry in own if entry.lane == lane])


def test_names_beyond_the_limit_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "NAMES_KEPT", 2)
    ledger = Ledger()
    for number in range(5):
        ledger.add(changed(model=f"m{number}"), 0.0)
    assert {name: sums.turns for name, sums in ledger.by("model").items()} == {"m0": 1, "m1": 1, "other": 3}


def test_rows_beyond_the_limit_are_of_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ROWS_KEPT", 3)
    ledger = Ledger()
    for tenant in ("k1", "k2"):
        for model in ("m1", "m2", "m3"):
            ledger.add(changed(tenant=tenant, model=model), 0.0)
    assert {name: sums.turns for name, sums in ledger.by("key").items()} == {"k1": 3, "k2": 3}
    assert {name: sums.turns for name, sums in ledger.by("model").items()} == {"m1": 1, "m2": 1, "m3": 1, "other": 3}


def test_the_oldest_turns_of_all_sessions_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ALL_TURNS_KEPT", 3)
    ledger = Ledger()
    for number, session in enumerate("aabbb"):
        ledger.add(changed(session_id=session, response_id=f"resp_{number}"), 0.0)
    kept = {session.session_id: [turn.response_id for turn in session.turns] for session in ledger.sessions()}
    assert kept == {"a": [], "b": ["resp_2", "resp_3", "resp_4"]}
    assert ledger.process.turns == 5


def test_sessions_that_are_open_or_busy_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "SESSIONS_KEPT", 2)
    ledger = Ledger()
    for session in ("open", "open too"):
        ledger.open_session(session, "socket", "", 0.0)
    busy = ledger.open_session("busy", "http", "", 0.0)
    ledger.begin_turn(busy)
    for number in range(3):
        ledger.add(changed(session_id=f"over {number}", transport="http"), 0.0)
    assert [session.session_id for session in ledger.sessions()] == ["open", "open too", "busy", "over 2"]
    ledger.close_session("open")
    ledger.end_turn(busy)
    ledger.add(changed(session_id="newest", transport="http"), 0.0)
    assert {session.session_id for session in ledger.sessions()} == {"open too", "busy", "open", "newest"}
    assert ledger.forgotten_sessions == 3


def test_open_lines_and_running_turns_are_counted() -> None:
    ledger = Ledger()
    line = ledger.open_session("line_1", "socket", "", 0.0)
    assert ledger.open_session("line_1", "socket", "", 0.0) is line
    ledger.open_session("sess_1", "http", "", 0.0)
    ledger.begin_turn(line)
    ledger.begin_turn(None)
    assert (ledger.open_lines, ledger.running_turns) == (1, 2)
    ledger.end_turn(line)
    ledger.end_turn(None)
    ledger.close_session("line_1")
    ledger.close_session("line_1")
    assert (ledger.open_lines, ledger.running_turns) == (0, 0)


def test_a_watcher_is_told_until_it_goes() -> None:
    ledger = Ledger()
    told: list[Entry] = []
    stop = ledger.watch(told.append)
    ledger.add(ENTRY, 0.0)
    stop()
    ledger.add(ENTRY, 0.0)
    assert told == [ENTRY]


def changed_in(entry: Entry, **changes: str) -> Entry:
    return msgspec.structs.replace(entry, **changes)


def same(sums: Sums, added: list[Entry]) -> bool:
    expected = Sums()
    for entry in added:
        expected.add(entry)
    return (sums.turns, sums.bytes, sums.split, sums.tokens) == (
        expected.turns,
        expected.bytes,
        expected.split,
        expected.tokens,
    )
