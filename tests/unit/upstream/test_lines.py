"""The book of upstream lines: never two turns on a lane, never a parent that the upstream does not hold."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from landline.session.lineage import Link, extend
from landline.upstream.line import Ask, LaneSeat, Line, UpstreamLane
from landline.upstream.lines import Lines
from landline.upstream.socket_settings import SocketSettings
from landline.wire.items import Item, decode_item

NOW = 1000.0


def is_fork(seat: LaneSeat) -> bool:
    """Whether the turn continues another lane's response, which stays that lane's latest."""
    return seat.anchor is not None and seat.anchor.lane is not seat.lane


def items(*texts: str) -> Sequence[Item]:
    return [decode_item(json.dumps({"role": "user", "content": text}).encode()) for text in texts]


def history(*texts: str) -> Link:
    return Link(None, items(*texts))


def ask(
    link: Link | None, *, line_id: str | None = "line", lane: str = "a", tenant: str = "t", model: str = "m"
) -> Ask:
    return Ask(tenant=tenant, model=model, history=link, line_id=line_id, lane_key=f"{line_id}.{lane}")


def taken(lines: Lines, wanted: Ask, now: float = NOW) -> LaneSeat:
    seat = lines.choose(wanted, now)
    assert seat is not None
    return seat


def settled(lines: Lines, wanted: Ask, after: Link, response_id: str = "resp_1", now: float = NOW) -> LaneSeat:
    """A turn that ran to its end."""
    seat = taken(lines, wanted, now)
    lines.settle(seat, (after.digest, response_id), wanted.instructions, now)
    return seat


def test_the_longest_prefix_is_continued() -> None:
    lines = Lines(SocketSettings())
    settled(lines, ask(history("a"), line_id="1"), history("a", "b"), "short")
    settled(lines, ask(history("x"), line_id="2"), history("a", "b", "c"), "long")
    seat = taken(lines, ask(history("a", "b", "c", "d"), line_id="3"))
    assert seat.anchor is not None
    assert seat.anchor.response_id == "long"
    assert not is_fork(seat)


def test_a_shorter_prefix_is_continued_while_the_longest_is_busy() -> None:
    lines = Lines(SocketSettings())
    settled(lines, ask(history("a"), line_id="1"), history("a", "b"), "short")
    settled(lines, ask(history("x"), line_id="2"), history("a", "b", "c"), "long")
    first = taken(lines, ask(history("a", "b", "c", "d"), line_id="3"))
    second = taken(lines, ask(history("a", "b", "c", "e"), line_id="4"))
    assert [seat.anchor.response_id for seat in (first, second) if seat.anchor is not None] == ["long", "short"]


def test_an_empty_history_is_nobodys_continuation() -> None:
    lines = Lines(SocketSettings())
    settled(lines, ask(history("a")), history("a", "b"))
    assert taken(lines, ask(None, line_id="other")).anchor is None


def test_a_client_without_a_history_in_common_keeps_its_line() -> None:
    lines = Lines(SocketSettings())
    first = settled(lines, ask(history("a")), history("a", "b"))
    second = taken(lines, ask(history("x")))
    assert second.anchor is None
    assert second.lane is first.lane


def test_an_http_request_leaves_the_warmth_of_others_alone_while_sockets_are_left() -> None:
    lines = Lines(SocketSettings(max_sockets=2))
    first = settled(lines, ask(history("a"), line_id=None), history("a", "b"))
    second = settled(lines, ask(history("x"), line_id=None), history("x", "y"), now=NOW + 1)
    third = taken(lines, ask(history("z"), line_id=None), NOW + 2)
    assert second.lane.line is not first.lane.line
    assert third.lane is first.lane, "the line that was used longest ago is taken"


def test_a_line_of_which_nothing_is_remembered_is_used_before_a_new_one() -> None:
    lines = Lines(SocketSettings())
    seat = taken(lines, ask(history("a"), line_id="1"))
    lines.fail(seat, NOW)
    assert taken(lines, ask(history("b"), line_id="2")).lane is seat.lane


def test_the_idle_line_of_another_tenant_makes_room() -> None:
    lines = Lines(SocketSettings(max_sockets=1))
    first = settled(lines, ask(history("a"), tenant="a"), history("a", "b"))
    second = taken(lines, ask(history("a", "b", "c"), tenant="b"))
    assert (second.anchor, second.lane.line.tenant) == (None, "b")
    assert lines.leaving == [first.lane.line]


def test_a_lane_of_the_same_client_is_forked_and_not_taken_over() -> None:
    lines = Lines(SocketSettings(lanes=2))
    first = settled(lines, ask(history("a"), lane="a"), history("a", "b"))
    fork = taken(lines, ask(history("a", "b", "c"), lane="b"))
    assert is_fork(fork)
    assert fork.lane.line is first.lane.line
    lines.fail(fork, NOW)
    assert taken(lines, ask(history("a", "b", "d"), lane="a")).lane is first.lane


def test_a_lane_in_flight_is_forked_as_long_as_its_parent_is_the_latest() -> None:
    lines = Lines(SocketSettings(lanes=3))
    settled(lines, ask(history("a")), history("a", "b"))
    first = taken(lines, ask(history("a", "b", "c")))
    second = taken(lines, ask(history("a", "b", "c")))
    assert (is_fork(first), is_fork(second)) == (False, True)
    assert first.lane is not second.lane
    lines.settle(first, (history("a", "b", "c", "d").digest, "resp_2"), None, NOW)
    assert taken(lines, ask(history("a", "b", "x"))).anchor is None


def test_a_line_takes_no_more_turns_than_it_has_room_for() -> None:
    lines = Lines(SocketSettings(lanes=2, max_sockets=1))
    settled(lines, ask(history("a"), lane="a"), history("a", "b"))
    for lane in "bc":
        taken(lines, ask(history("a", "b", lane), lane=lane))
    assert lines.choose(ask(history("a", "b", "c"), lane="a"), NOW) is None


def test_a_reconnected_client_goes_on_in_its_old_lane() -> None:
    lines = Lines(SocketSettings(lanes=2))
    first = settled(lines, ask(history("a"), line_id="old"), history("a", "b"))
    again = taken(lines, ask(history("a", "b", "c"), line_id="new"))
    assert again.lane is first.lane
    assert not is_fork(again)


def test_a_fork_whose_parent_is_gone_takes_it_from_the_book() -> None:
    lines = Lines(SocketSettings(lanes=2))
    settled(lines, ask(history("a"), lane="a"), history("a", "b"))
    fork = taken(lines, ask(history("a", "b", "c"), lane="b"))
    lines.fail(fork, NOW, is_parent_gone=True)
    assert taken(lines, ask(history("a", "b", "c"), lane="c")).anchor is None


def test_instructions_that_a_chain_began_with_must_be_the_same_where_it_keeps_them() -> None:
    lines = Lines(SocketSettings(), keeps_instructions=True)
    asked = Ask(tenant="t", model="m", history=history("a"), instructions="x")
    settled(lines, asked, history("a", "b"))
    other = Ask(tenant="t", model="m", history=history("a", "b", "c"), instructions="y")
    seat = taken(lines, other)
    assert seat.anchor is None
    lines.leave(seat, NOW)
    same = Ask(tenant="t", model="m", history=history("a", "b", "c"), instructions="x")
    assert taken(lines, same).anchor is not None


def test_no_anchors_are_kept_where_no_deltas_are_sent() -> None:
    lines = Lines(SocketSettings(), sends_deltas=False)
    first = settled(lines, ask(history("a")), history("a", "b"))
    seat = taken(lines, ask(history("a", "b", "c")))
    assert seat.anchor is None
    assert seat.lane is first.lane


def test_what_settles_on_a_line_that_was_lost_is_forgotten() -> None:
    lines = Lines(SocketSettings())
    seat = taken(lines, ask(history("a")))
    lines.drop(seat.lane.line)
    lines.settle(seat, (history("a", "b").digest, "resp"), None, NOW)
    assert taken(lines, ask(history("a", "b", "c"))).anchor is None
    assert not lines.leaving


@pytest.mark.parametrize("lanes", [1, 2])
def test_an_abandoned_turn_takes_its_line_along_unless_others_run_there(lanes: int) -> None:
    lines = Lines(SocketSettings(lanes=lanes))
    first = taken(lines, ask(history("a"), lane="a"))
    beside = taken(lines, ask(history("b"), lane="b"))
    assert lines.abandon(first) is (lanes == 2)
    assert lines.leaving == ([] if lanes == 2 else [first.lane.line])
    assert beside.lane.line in lines.all


_CLIENTS = st.builds(
    Ask,
    tenant=st.sampled_from("tttu"),
    model=st.sampled_from("mmmn"),
    history=st.none(),
    line_id=st.sampled_from(["1", "1", "2", None]),
    lane_key=st.sampled_from("abcd"),
    is_whole=st.sampled_from([False] * 7 + [True]),
    needs_new_line=st.sampled_from([False] * 7 + [True]),
)


class Book(RuleBasedStateMachine):
    """Random turns, against what an upstream with lanes remembers."""

    seats: Bundle[LaneSeat] = Bundle("seats")
    histories: Bundle[Link] = Bundle("histories")

    @initialize(lanes=st.sampled_from([1, 3]), sockets=st.integers(1, 3), has_one_model=st.booleans())
    def begin(self, lanes: int, sockets: int, has_one_model: bool) -> None:
        self.settings = SocketSettings(
            max_sockets=sockets,
            lanes=lanes,
            named_lanes=4,
            max_age_s=20,
            idle_close_s=10,
            has_one_model=has_one_model,
        )
        self.lines = Lines(self.settings)
        self.now = NOW
        self.number = 0
        self.running: dict[UpstreamLane, tuple[Ask, LaneSeat]] = {}
        self.latest: dict[tuple[Line, str | None], str] = {}
        """What the upstream remembers: the latest response of each lane."""
        self.held: dict[str, list[bytes]] = {}
        """The history of each response, as the upstream has it."""

    @rule(target=histories, words=st.lists(st.sampled_from("ab"), min_size=1, max_size=2))
    def start_history(self, words: list[str]) -> Link:
        return history(*words)

    @rule(target=histories, before=histories, words=st.lists(st.sampled_from("ab"), min_size=1, max_size=2))
    def extend_history(self, before: Link, words: list[str]) -> Link:
        longer = extend(before, items(*words))
        assert longer is not None
        return longer

    @rule(target=seats, link=histories, client=_CLIENTS)
    def choose(self, link: Link, client: Ask) -> LaneSeat | MultipleResults[LaneSeat]:
        wanted = msgspec.structs.replace(client, history=link)
        seat = self.lines.choose(wanted, self.now)
        if seat is None:
            assert len(self.lines.all) == self.settings.max_sockets
            assert all(each.in_flight for each in self.lines.all)
            return multiple()
        line = seat.lane.line
        assert seat.lane not in self.running
        assert line in self.lines.all
        assert line.tenant == wanted.tenant
        assert self.now - line.opened_at < self.settings.max_age_s
        if self.settings.has_one_model:
            assert line.model == wanted.model
        if seat.anchor is not None:
            assert not wanted.is_whole
            source = seat.anchor.lane
            assert source.line is line
            assert self.latest[(line, source.stream_id)] == seat.anchor.response_id
            digests = list(reversed(list(link.digests_newest_first())))
            held = self.held[seat.anchor.response_id]
            assert digests[: len(held)] == held, "the upstream holds a prefix of the history"
            assert held[-1] == seat.anchor.digest
        self.running[seat.lane] = (wanted, seat)
        return seat

    @rule(target=histories, seat=consumes(seats), words=st.lists(st.sampled_from("ab"), max_size=2))
    def settle(self, seat: LaneSeat, words: list[str]) -> Link | MultipleResults[Link]:
        if self.running.get(seat.lane, (None, None))[1] is not seat:
            return multiple()
        wanted, _ = self.running.pop(seat.lane)
        self.number += 1
        response_id = f"resp_{self.number}"
        after = extend(wanted.history, items(*words))
        assert after is not None
        self.latest[(seat.lane.line, seat.lane.stream_id)] = response_id
        self.held[response_id] = list(reversed(list(after.digests_newest_first())))
        self.lines.settle(seat, (after.digest, response_id), None, self.now)
        return after

    @rule(seat=consumes(seats), how=st.sampled_from(["fail", "leave", "abandon", "drop"]))
    def end(self, seat: LaneSeat, how: str) -> None:
        if self.running.get(seat.lane, (None, None))[1] is not seat:
            return
        line = seat.lane.line
        del self.running[seat.lane]
        match how:
            case "fail":
                self.latest.pop((line, seat.lane.stream_id), None)
                self.lines.fail(seat, self.now)
            case "leave":
                self.lines.leave(seat, self.now)
            case "abandon":
                self.latest.pop((line, seat.lane.stream_id), None)
                if self.lines.abandon(seat):
                    self.lines.free(seat.lane, self.now)
            case _:
                self.lines.drop(line)
                self.lines.fail(seat, self.now)
                for lane in [each for each in self.running if each.line is line]:
                    self.lines.fail(self.running.pop(lane)[1], self.now)

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.lines.expire(self.now)

    @invariant()
    def limits_hold(self) -> None:
        if not hasattr(self, "lines"):
            return
        assert len(self.lines.all) <= self.settings.max_sockets
        for line in self.lines.all:
            assert line.in_flight <= self.settings.lanes
            assert len(line.lanes) <= (self.settings.named_lanes if self.settings.lanes > 1 else 1)
            names = [lane.stream_id for lane in line.lanes]
            assert len(set(names)) == len(names)
            assert {lane for lane in line.lanes if lane.is_busy} == {each for each in self.running if each.line is line}
        assert not set(self.lines.leaving) & set(self.lines.all)


TestBook = Book.TestCase
TestBook.settings = hypothesis_settings(max_examples=60, stateful_step_count=50, deadline=None)
