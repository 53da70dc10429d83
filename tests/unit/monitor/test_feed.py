"""What watchers get: a snapshot, then changes that add up to the next one; sessions stay in order as they change."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import Ledger, LiveSession, Split
from landline.ledger.ledger import SESSIONS_KEPT, TURNS_KEPT
from landline.monitor.feed import FeedWatch, SessionOrder
from landline.monitor.state import PAGE_MAX, Change, SessionRow, Snapshot, Sort, View
from support.ledger.synthetic import MadeUpAgents

SORTS: list[Sort] = ["opened", "changed", "uploaded", "stateless", "saved", "turns", "failed"]


def agents_with(sessions: int, turns: int = 3) -> MadeUpAgents:
    agents = MadeUpAgents()
    agents.run(sessions, turns)
    return agents


def total_of(split: Split) -> int:
    return sum(msgspec.structs.astuple(split))


def test_totals_are_the_sums_of_the_sessions() -> None:
    snapshot = agents_with(7).feed().snapshot(View())
    rows, totals = snapshot.sessions.rows, snapshot.totals
    assert totals.uploaded_bytes == sum(row.uploaded_bytes for row in rows) > 0
    assert totals.stateless_bytes == sum(row.stateless_bytes for row in rows)
    assert totals.saved_bytes == totals.stateless_bytes - totals.uploaded_bytes
    assert totals.turns == sum(row.turns for row in rows)
    assert totals.open_lines == 7


def test_parts_add_up_to_what_was_sent_and_to_what_would_have_been() -> None:
    totals = agents_with(3).feed().snapshot(View()).totals
    assert total_of(totals.sent) == totals.payload_bytes
    assert total_of(totals.unsaved) == totals.stateless_bytes
    assert totals.unsaved.history > totals.sent.history == 0


def test_bytes_beside_all_turns_are_those_of_now_and_no_news() -> None:
    agents = agents_with(1)
    watch = agents.feed().watch(View())
    feed = agents.feed()
    before = feed.totals()
    agents.ledger.add_overhead(100, 2000)
    now = feed.totals()
    assert now.overhead_in_bytes == before.overhead_in_bytes + 100
    assert now.overhead_out_bytes == before.overhead_out_bytes + 2000
    assert watch.change() is None, "the page's own requests would be news to the page for ever"


@pytest.mark.parametrize("sort", SORTS)
def test_pages_together_are_all_sessions_in_order_once(sort: Sort) -> None:
    feed = agents_with(23).feed()
    pages = [feed.page(View(sessions=10, offset=offset, sort=sort)) for offset in (0, 10, 20, 30)]
    ids = [session_id for page in pages for session_id in page.ids]
    assert len(ids) == len(set(ids)) == 23
    assert [len(page.rows) for page in pages] == [10, 10, 3, 0]
    numbers = {"uploaded": "uploaded_bytes", "stateless": "stateless_bytes", "saved": "saved_bytes"}
    name = {"opened": "opened_at", "turns": "turns", "failed": "failed_turns", **numbers}.get(sort)
    if name is not None:
        shown = [getattr(row, name) for page in pages for row in page.rows]
        assert shown == sorted(shown, reverse=True)


def test_the_session_that_changed_last_is_first_when_asked_for() -> None:
    agents = agents_with(5)
    feed = agents.feed()
    feed.page(View(sort="changed"))
    agents.turn("sess_00001")
    assert feed.page(View(sort="changed")).ids[0] == "sess_00001"


def test_no_more_than_a_page_is_given() -> None:
    assert len(agents_with(PAGE_MAX + 5, 1).feed().page(View(sessions=10_000)).rows) == PAGE_MAX


def test_sockets_that_ended_come_last_and_can_be_left_out() -> None:
    agents = agents_with(4)
    agents.ledger.close_session("sess_00003")
    feed = agents.feed()
    assert feed.page(View()).ids[-1] == "sess_00003"
    assert feed.page(View()).rows[-1].state == "ended"
    live = feed.page(View(show="live"))
    assert (live.matching, live.known) == (3, 4)
    assert "sess_00003" not in live.ids
    assert "sess_00003" not in feed.page(View(show="live", find="sess")).ids


@pytest.mark.parametrize(("find", "found"), [("SESS_0002", 10), ("odd MODEL", 1), ("nothing", 0), ("socket", 30)])
def test_sessions_are_found_by_what_is_seen_of_them(find: str, found: int) -> None:
    agents = agents_with(30, 1)
    agents.turn("sess_00003", model="an odd model")
    page = agents.feed().page(View(find=find, sessions=5))
    assert page.matching == found
    assert len(page.ids) == min(found, 5)


def test_another_tenants_sessions_are_not_seen() -> None:
    agents = agents_with(2)
    agents.ledger.open_session("theirs", "socket", "them", agents.now)
    feed = agents.feed()
    assert feed.page(View(), "them").ids == ["theirs"]
    assert feed.detail("sess_00000", "them") is None
    assert feed.detail("theirs", "them") is not None


def test_a_session_says_whether_it_works() -> None:
    ledger = Ledger()
    agents = MadeUpAgents(ledger)
    agents.open("socket")
    socket = ledger.session("socket")
    ledger.open_session("conversation", "http", "", 1.0)
    feed = agents.feed()

    def states() -> dict[str, str]:
        return {row.id: row.state for row in feed.page(View()).rows}

    assert states() == {"socket": "open", "conversation": "idle"}
    ledger.begin_turn(socket)
    assert states()["socket"] == "running"
    assert feed.totals().running_turns == 1
    ledger.end_turn(socket)
    ledger.close_session("socket")
    assert states()["socket"] == "ended"
    assert feed.totals().open_lines == 0


def test_detail_has_the_newest_turns_numbered() -> None:
    agents = MadeUpAgents()
    agents.open("long")
    for _ in range(TURNS_KEPT + 7):
        agents.turn("long", lane="side")
    detail = agents.feed().detail("long")
    assert detail is not None
    assert [turn.number for turn in detail.turns] == list(range(8, TURNS_KEPT + 8))
    assert [lane.name for lane in detail.lanes] == ["side"]
    assert total_of(detail.unsaved) == detail.row.stateless_bytes
    assert detail.newest_items == []


def test_nothing_new_is_no_change() -> None:
    agents = agents_with(3)
    watch = agents.feed().watch(View(session="sess_00000"))
    assert watch.change() is None
    agents.turn("sess_00001")
    change = watch.change()
    assert change is not None
    assert change.sessions is not None
    assert [row.id for row in change.sessions.rows] == ["sess_00001"]
    assert change.session is None
    assert change.targets is not None
    assert watch.change() is None


def test_a_watched_session_is_told_its_new_turns_only() -> None:
    agents = agents_with(2)
    watch = agents.feed().watch(View(session="sess_00000"))
    assert watch.first.session is not None
    told = watch.first.session.row.turns
    agents.turn("sess_00000")
    agents.turn("sess_00000")
    change = watch.change()
    assert change is not None
    assert change.session is not None
    assert [turn.number for turn in change.session.turns] == [told + 1, told + 2]


def test_a_session_that_opens_is_told_to_who_waits_for_it() -> None:
    agents = MadeUpAgents()
    watch = agents.feed().watch(View(session="later"))
    assert watch.first.session is None
    agents.open("later")
    change = watch.change()
    assert change is not None
    assert change.session is not None
    assert change.session.row.id == "later"


def test_a_forgotten_session_is_in_no_order_and_no_page() -> None:
    agents = agents_with(2, 1)
    feed = agents.feed()
    feed.page(View())
    agents.ledger.close_session("sess_00000")
    for number in range(SESSIONS_KEPT - 1):
        agents.ledger.open_session(f"more_{number}", "socket", "", 0.0)
    page = feed.page(View(sort="opened"))
    assert page.known == page.matching == SESSIONS_KEPT
    assert feed.detail("sess_00000") is None


class Follower:
    """Puts a snapshot and changes together, as the page does."""

    def __init__(self, watch: FeedWatch) -> None:
        self.seen: Snapshot = watch.first
        self.rows: dict[str, SessionRow] = {row.id: row for row in self.seen.sessions.rows}

    def take(self, change: Change) -> None:
        told = {name: getattr(change, name) for name in ("totals", "sessions", "targets", "choices", "models")}
        self.seen = msgspec.structs.replace(
            self.seen, **{name: each for name, each in told.items() if each is not None}
        )
        self.rows |= {row.id: row for row in self.seen.sessions.rows}


@given(st.lists(st.sampled_from(["open", "turn", "close", "look"]), max_size=40), st.sampled_from(SORTS))
def test_a_snapshot_and_its_changes_are_the_snapshot_of_the_end(steps: list[str], sort: Sort) -> None:
    agents = MadeUpAgents()
    view = View(sessions=3, sort=sort)
    watch = agents.feed().watch(view)
    follower = Follower(watch)
    for number, step in enumerate([*steps, "look"]):
        match step:
            case "open":
                agents.open(f"s{number}")
            case "turn":
                agents.turn(f"s{number % 5}")
            case "close":
                agents.ledger.close_session(f"s{number // 2}")
            case _:
                change = watch.change()
                if change is not None:
                    follower.take(change)
    end = agents.feed().snapshot(view)
    assert follower.seen.totals == end.totals
    assert follower.seen.sessions.ids == end.sessions.ids
    assert [follower.rows[each] for each in end.sessions.ids] == end.sessions.rows
    assert (follower.seen.targets, follower.seen.choices, follower.seen.models) == (
        end.targets,
        end.choices,
        end.models,
    )


NAMES = st.sampled_from([f"s{number}" for number in range(8)])
STEPS = st.lists(st.tuples(NAMES, st.integers(0, 5), st.booleans()), max_size=60)


def last_at(session: LiveSession) -> float:
    return session.last_at


@given(STEPS, st.integers(0, 9), st.integers(0, 9))
def test_order_is_what_sorting_anew_would_make(steps: list[tuple[str, int, bool]], offset: int, count: int) -> None:
    order, sessions = SessionOrder(last_at), dict[str, LiveSession]()
    for name, number, is_open in steps:
        session = sessions.setdefault(name, LiveSession(name, "socket", "", 0.0))
        session.last_at, session.is_open = float(number), is_open
        order.place(session)
    expected = sorted(sessions.values(), key=lambda each: (each.is_ended, -each.last_at, each.session_id))
    assert list(order) == [each.session_id for each in expected]
    assert order.ids(offset, count) == list(order)[offset : offset + count]
    assert order.live_count == sum(not each.is_ended for each in expected)


def test_what_is_not_known_any_more_is_dropped_and_can_come_again() -> None:
    order = SessionOrder(last_at)
    kept, gone = LiveSession("kept", "socket", "", 1.0), LiveSession("gone", "socket", "", 2.0)
    for session in (kept, gone):
        order.place(session)
    order.keep(lambda session_id: session_id == "kept")
    assert list(order) == ["kept"]
    order.place(gone)
    assert list(order) == ["gone", "kept"]


def test_a_conversation_over_http_never_counts_as_ended() -> None:
    order = SessionOrder(last_at)
    order.place(LiveSession("conversation", "http", "", 1.0))
    assert order.live_count == 1
