"""The screen of `landline top`: it always fits, and says what the snapshot says."""

from io import StringIO
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from landline.cli.top.navigation import SORTS, Key, Navigation
from landline.cli.top.screen import KEYS_OF_DETAIL, KEYS_OF_LIST, SORT_WORDS, FeedStatus, draw
from landline.ledger import ByteCounts, Times, TokenCost
from landline.monitor.feed import Feed
from landline.monitor.state import Snapshot
from support.ledger.synthetic import MadeUpAgents

URL = "http://127.0.0.1:8080"


def snapshot_of(agents: MadeUpAgents, place: Navigation | None = None) -> Snapshot:
    feed: Feed = agents.feed()
    return feed.snapshot((place or Navigation()).view)


def agents_with(sessions: int, turns: int = 12) -> MadeUpAgents:
    agents = MadeUpAgents()
    agents.run(sessions, turns)
    return agents


def shown(snapshot: Snapshot, place: Navigation, *, width: int = 80, height: int = 24, **status: Any) -> list[str]:
    """The screen's lines, as a terminal of this size has them."""
    console = Console(file=StringIO(), width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(draw(snapshot, place, FeedStatus(url=URL, **status), width=width, height=height))
    return capture.get().removesuffix("\n").split("\n")


def test_the_list_fills_the_screen_and_selects_the_first_session():
    agents = agents_with(30)
    lines = shown(snapshot_of(agents), Navigation())
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("landline top  live  http://127.0.0.1:8080")
    assert sum(line.startswith("▸") for line in lines) == 1
    assert any(line.startswith("30 sessions, last change first") for line in lines)
    assert lines[-1] == KEYS_OF_LIST


def test_targets_with_trouble_come_first():
    lines = shown(snapshot_of(agents_with(3)), Navigation())
    targets = [line for line in lines if line.startswith("target")]
    assert targets[0].startswith("target claude  circuit open, 12 s more")
    assert len(targets) == 3


@pytest.mark.parametrize(
    ("state", "wait_s", "words"),
    [
        ("closed", 0, "healthy  in"),
        ("closed", 200, "rate limited, 3 min 20 s more  in"),
        ("open", 5, "circuit open, 5 s more  in"),
        ("open", 0, "half-open  in"),
        ("half_open", 0, "half-open  in"),
        ("probing", 0, "half-open, probing  in"),
    ],
)
def test_targets_are_told_in_the_pages_words(state: str, wait_s: int, words: str):
    snapshot = snapshot_of(agents_with(1))
    row = structs.replace(snapshot.targets[0], state=state, wait_s=wait_s)
    lines = shown(structs.replace(snapshot, targets=[row]), Navigation())
    assert f"target gpu1  {words}" in "\n".join(lines)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_what_cost_more_than_it_saved_is_said_in_bytes(width: int):
    agents = MadeUpAgents()
    agents.turn("x", bytes=ByteCounts(uploaded=56_300, stateless=49))
    text = "\n".join(shown(snapshot_of(agents), Navigation(), width=width))
    assert "-56.3 kB" in text.split("1 session", 1)[1]
    place = Navigation(opened="x")
    assert "saved -56.3 kB" in "\n".join(shown(snapshot_of(agents, place), place))


@pytest.mark.parametrize(("width", "words"), [(120, "tokens read"), (80, "cached"), (60, "cached"), (40, "saved")])
def test_sums_are_said_in_fewer_words_rather_than_cut(width: int, words: str):
    agents = agents_with(3)
    for _ in range(2_000):
        agents.turn("sess_00001")
    agents.turn("sess_00001", outcome="failed")
    uploads, turns = shown(snapshot_of(agents), Navigation(), width=width)[1:3]
    assert words in uploads + turns
    assert "saved " in uploads
    assert " failed" in turns
    assert "…" not in uploads + turns


@pytest.mark.parametrize("width", [20, 40, 57, 80])
def test_how_to_leave_is_said_at_any_width(width: int):
    agents = agents_with(1)
    assert shown(snapshot_of(agents), Navigation(), width=width)[-1].endswith("q quit")
    place = Navigation(opened="sess_00000")
    assert shown(snapshot_of(agents, place), place, width=width)[-1].endswith("q quit")


@pytest.mark.parametrize(("width", "id_"), [(200, "line_…4c564a6c"), (80, "line_…4c564a6c"), (40, "…4c564a6c")])
def test_ids_are_shortened_as_on_the_page(width: int, id_: str):
    agents = MadeUpAgents()
    agents.open("line_a24af9f34df85ac16668ec47499757da86e971724c564a6c")
    assert f"▸ {id_} " in "\n".join(shown(snapshot_of(agents), Navigation(), width=width))


def test_time_goes_on_where_nothing_happens():
    snapshot = snapshot_of(agents_with(1))
    snapshot = structs.replace(snapshot, at=snapshot.started_at + 10)
    assert shown(snapshot, Navigation(), age_s=50.5)[0].endswith("up 1 min 0 s")


def test_a_narrow_screen_says_of_a_turn_what_it_sent_and_how_long_it_took():
    agents = agents_with(1, turns=1)
    place = Navigation(opened="sess_00000")
    lines = shown(snapshot_of(agents, place), place, width=40)
    titles = next(number for number, line in enumerate(lines) if line.startswith("turn "))
    assert lines[titles].split() == ["turn", "uploaded", "total"]
    assert lines[titles + 1].endswith(" s")
    assert "…" not in lines[titles + 1]
    assert any(line.startswith("saved ") and line.endswith("B") for line in lines[6:titles])


def test_an_empty_ledger_says_what_to_do():
    lines = shown(snapshot_of(MadeUpAgents()), Navigation())
    assert "None yet. Point a client here and its turns appear." in lines
    assert len(lines) == 24


def test_a_wide_screen_says_more_and_a_narrow_one_less():
    snapshot = snapshot_of(agents_with(3))
    wide, usual, narrow = ("\n".join(shown(snapshot, Navigation(), width=width)) for width in (140, 80, 60))
    assert ("compression" in wide, "compression" in usual) == (True, False)
    assert ("model" in usual, "model" in narrow) == (True, False)


def test_the_cursor_walks_the_list_and_the_screen_follows():
    agents = agents_with(30)
    place = Navigation(sort="opened")
    snapshot = snapshot_of(agents, place)
    shown(snapshot, place)
    for _ in range(20):
        place.press(Key.DOWN, snapshot)
    assert place.selected == snapshot.sessions.ids[20]
    assert any(line.startswith("▸") for line in shown(snapshot, place))
    place.press(Key.UP, snapshot)
    assert place.selected == snapshot.sessions.ids[19]
    place.press(Key.LAST, snapshot)
    assert place.selected == snapshot.sessions.ids[-1]
    place.press(Key.PAGE_DOWN, snapshot)
    assert place.selected == snapshot.sessions.ids[-1]
    place.press(Key.FIRST, snapshot)
    assert place.selected == snapshot.sessions.ids[0]


def test_the_cursor_stays_on_its_session_when_the_order_changes():
    agents = agents_with(5)
    place = Navigation()
    snapshot = snapshot_of(agents, place)
    place.press(Key.DOWN, snapshot)
    chosen = place.selected
    agents.turn(snapshot.sessions.ids[-1])
    snapshot = snapshot_of(agents, place)
    [line] = [line for line in shown(snapshot, place) if line.startswith("▸")]
    assert chosen[:10] in line


def test_sorting_goes_through_every_order():
    place = Navigation()
    snapshot = snapshot_of(agents_with(2))
    seen = []
    for _ in SORTS:
        seen.append(place.view.sort)
        place.press(Key.SORT, snapshot)
    assert sorted(seen) == sorted(SORTS) == sorted(SORT_WORDS)
    assert place.view.sort == seen[0]


def test_a_key_shows_only_live_sessions():
    place = Navigation()
    snapshot = snapshot_of(agents_with(2))
    place.press(Key.SHOW, snapshot)
    assert place.view.show == "live"
    place.press(Key.SHOW, snapshot)
    assert place.view.show == "all"


def test_a_session_is_looked_at_turn_by_turn():
    agents = agents_with(2, turns=1)
    for _ in range(30):
        agents.turn("sess_00001")
    agents.turn("sess_00001", outcome="failed", error_code="upstream_error", tries=2, lane="side")
    place = Navigation()
    place.press(Key.ENTER, snapshot_of(agents))
    assert place.view.session == place.opened == "sess_00001"
    lines = shown(snapshot_of(agents, place), place)
    assert len(lines) == 24
    assert any("session sess_00001" in line for line in lines)
    assert "█" in lines[-2]
    assert "lane side, 2 tries, upstream_error" in "\n".join(shown(snapshot_of(agents, place), place, width=160))
    assert lines[-1] == KEYS_OF_DETAIL
    place.press(Key.UP, snapshot_of(agents, place))
    assert shown(snapshot_of(agents, place), place)[-2] == lines[-3]
    place.press(Key.FIRST, snapshot_of(agents, place))
    assert any(line.lstrip().startswith("1 ") for line in shown(snapshot_of(agents, place), place))
    place.press(Key.BACK, snapshot_of(agents, place))
    assert place.opened == ""


def test_a_session_that_is_asked_for_is_not_called_forgotten():
    place = Navigation(opened="sess_00000")
    snapshot = snapshot_of(agents_with(1), Navigation())
    assert any(line.startswith("Loading") for line in shown(snapshot, place, is_loading=True))
    assert any("not known" in line for line in shown(snapshot, place))


def test_a_lost_connection_is_said_first():
    lines = shown(snapshot_of(agents_with(1)), Navigation(), trouble="connection lost, trying again in 2 s", width=60)
    assert lines[0].startswith("landline top  connection lost, trying again in 2 s")


def test_names_cannot_steer_the_terminal_or_the_markup():
    agents = MadeUpAgents()
    agents.open("x")
    agents.turn("x", model="[b]\x1b[2Jx\ny[/b]")
    text = "\n".join(shown(snapshot_of(agents), Navigation(), width=140))
    assert "[b][2Jx y[/b]" in text
    assert "\x1b" not in text
    agents.turn("x", model="\u202elive")
    assert "\ufffdlive" in "\n".join(shown(snapshot_of(agents), Navigation(), width=140))


@given(
    sessions=st.integers(0, 40),
    width=st.integers(20, 200),
    height=st.integers(6, 60),
    keys=st.lists(st.sampled_from([key for key in Key if key is not Key.QUIT]), max_size=12),
)
def test_the_screen_always_fits(sessions: int, width: int, height: int, keys: list[Key]):
    agents = agents_with(sessions, turns=4)
    place = Navigation()
    for key in keys:
        place.press(key, snapshot_of(agents, place))
        lines = shown(snapshot_of(agents, place), place, width=width, height=height)
        assert len(lines) == height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize("sent", [0, 1, 50, 10**9])
def test_bars_are_as_long_as_what_they_stand_for(sent: int):
    agents = MadeUpAgents()
    agents.open("x")
    place = Navigation(opened="x")
    for would in (1000, 500):
        entry = agents.turn("x")
        agents.ledger.session("x").turns.pop()
        counts = type(entry.bytes)(uploaded=sent, stateless=would)
        agents.ledger.session("x").turns.append(msgspec.structs.replace(entry, bytes=counts))
    lines = shown(snapshot_of(agents, place), place)
    full, half = (sum(line.count(each) for each in "█░") for line in lines if line.startswith(("    1 ", "    2 ")))
    assert full == pytest.approx(half if sent > 1000 else 2 * half, abs=1)


@pytest.mark.parametrize(("width", "words"), [(100, "paid $1.50  saved by caching -$0.250"), (30, "paid $1.50")])
def test_money_is_shown_where_a_model_has_a_price(width: int, words: str):
    agents = MadeUpAgents()
    agents.turn("x", cost=TokenCost(), times=Times(total=1.0))
    assert "paid" not in "\n".join(shown(snapshot_of(agents), Navigation(), width=width))
    agents.turn("x", cost=TokenCost(1, 1_500_000_000_000, -250_000_000_000), times=Times(total=1.0))
    assert words in "\n".join(shown(snapshot_of(agents), Navigation(), width=width))
    place = Navigation(opened="x")
    assert "paid $1.50" in "\n".join(shown(snapshot_of(agents, place), place))


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (100, "time saved 2.50 s  paid $1.50  saved by caching $0.250"),
        (40, "time saved 2.50 s  paid $1.50"),
        (20, "time saved 2.50 s"),
    ],
)
def test_time_saved_is_shown_where_a_connection_was_measured(width: int, words: str):
    agents = MadeUpAgents()
    agents.turn("x", cost=TokenCost(), times=Times(total=1.0))
    assert "saved in uploads" not in "\n".join(shown(snapshot_of(agents, place := Navigation(opened="x")), place))
    agents.turn("x", cost=TokenCost(1, 1_500_000_000_000, 250_000_000_000), times=Times(total=1.0, saved=2.5))
    assert words in [line.rstrip() for line in shown(snapshot_of(agents), Navigation(), width=width)]
    assert "2.50 s saved in uploads" in "\n".join(shown(snapshot_of(agents, place), place))
