"""A target that fails is left alone, and one turn at a time finds out whether it is back."""

from pathlib import Path

import pytest
from breaker_diagram import breaker_diagram
from hypothesis import given
from hypothesis import strategies as st

from landline.routing.health import (
    BACKOFF_MAX_S,
    FAILURES_IN_A_ROW,
    TRANSITIONS,
    WATCHED_MIN,
    Health,
    Ticket,
    Verdict,
    most_useful,
    verdict,
    wait_of,
)
from landline.wire.errors import ERROR_RULES, ApiError, api_error


def health(jitter: float = 0.0) -> Health:
    return Health(lambda: jitter)


def fail(target: Health, now: float = 0.0, times: int = 1) -> None:
    for _ in range(times):
        ticket = target.begin(now)
        ticket.fail(now)
        ticket.end()


def succeed(target: Health, now: float = 0.0) -> None:
    ticket = target.begin(now)
    ticket.succeed()
    ticket.end()


def broken() -> Health:
    """Opened at 0, to be tried at 1."""
    target = health()
    fail(target, times=FAILURES_IN_A_ROW)
    assert target.state == "open"
    return target


def test_failures_in_a_row_open_it_and_fewer_do_not() -> None:
    target = health()
    fail(target, times=FAILURES_IN_A_ROW - 1)
    succeed(target)
    fail(target, times=FAILURES_IN_A_ROW - 1)
    assert target.state == "closed"
    fail(target)
    assert target.state == "open"
    assert not target.is_usable(0.0)
    assert target.is_broken(0.0)


def test_target_that_fails_every_second_turn_opens_too() -> None:
    target = health()
    for _ in range(WATCHED_MIN // 2):
        assert target.state == "closed"
        succeed(target)
        fail(target)
    assert target.state == "open"


def test_turn_that_says_nothing_leaves_a_working_target_as_it_is() -> None:
    target = health()
    fail(target, times=FAILURES_IN_A_ROW - 1)
    target.begin(0.0).end()
    assert (target.state, target.in_flight) == ("closed", 0)
    fail(target)
    assert target.state == "open"


def test_after_its_wait_one_turn_probes() -> None:
    target = broken()
    assert not target.is_usable(0.99)
    assert target.wait_s(0.25) == 0.75
    assert target.is_usable(1.0)
    target.begin(1.0)
    assert target.state == "probing"
    assert not target.is_usable(1.0)
    assert target.is_broken(1.0)


def test_probe_that_is_taken_closes_it_at_once() -> None:
    target = broken()
    probe = target.begin(1.0)
    probe.prove()
    assert target.state == "closed"
    probe.end()
    assert target.state == "closed"


def test_probe_that_fails_doubles_the_wait_up_to_a_limit() -> None:
    target = broken()
    now, waits = 1.0, list[float]()
    for _ in range(7):
        fail(target, now)
        waits.append(target.wait_s(now))
        now += target.wait_s(now)
    assert waits == [2.0, 4.0, 8.0, 16.0, BACKOFF_MAX_S, BACKOFF_MAX_S, BACKOFF_MAX_S]


def test_wait_is_short_again_after_a_turn_that_ended_well() -> None:
    target = broken()
    fail(target, 1.0)
    succeed(target, 3.0)
    fail(target, 3.0, times=FAILURES_IN_A_ROW)
    assert target.wait_s(3.0) == 1.0


def test_target_that_takes_turns_and_breaks_them_waits_longer_each_time() -> None:
    target = broken()
    probe = target.begin(1.0)
    probe.prove()
    probe.fail(1.0)
    probe.end()
    fail(target, 1.0, times=FAILURES_IN_A_ROW - 1)
    assert (target.state, target.wait_s(1.0)) == ("open", 2.0)


def test_probe_that_is_given_up_leaves_its_place_to_another() -> None:
    target = broken()
    target.begin(1.0).end()
    assert target.state == "half_open"
    assert target.is_usable(1.0)
    target.begin(1.0).prove()
    assert target.state == "closed"


def test_part_of_the_wait_is_left_to_chance() -> None:
    target = health(jitter=1.0)
    fail(target, times=FAILURES_IN_A_ROW)
    assert target.wait_s(0.0) == 0.8


def test_rest_is_no_failure_and_ends_by_itself() -> None:
    target = broken()
    probe = target.begin(1.0)
    probe.rest(1.0, 5.0)
    probe.end()
    assert (target.state, target.is_usable(5.9), target.is_usable(6.0)) == ("closed", False, True)
    assert not target.is_broken(2.0)
    assert target.wait_s(2.0) == 4.0


def test_failures_of_turns_begun_before_it_opened_change_nothing() -> None:
    target = health()
    late = [target.begin(0.0) for _ in range(5)]
    fail(target, times=FAILURES_IN_A_ROW)
    until = target.open_until
    for ticket in late:
        ticket.fail(0.5)
        ticket.end()
    assert (target.state, target.open_until, target.in_flight) == ("open", until, 0)


def test_turn_begun_before_it_opened_proves_that_it_works() -> None:
    target = health()
    early = target.begin(0.0)
    fail(target, times=FAILURES_IN_A_ROW)
    early.prove()
    assert target.state == "closed"


def test_ending_twice_counts_once() -> None:
    target = health()
    ticket = target.begin(0.0)
    ticket.end()
    ticket.end()
    assert target.in_flight == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "prove", "succeed", "fail", "rest", "end", "wait"]), st.integers(0, 9))
    )
)
def test_one_turn_probes_whatever_happens(steps: list[tuple[str, int]]) -> None:
    target = health(jitter=0.5)
    running: list[Ticket] = []
    now = 0.0
    for step, pick in steps:
        before = target.state
        ticket = running[pick % len(running)] if running else None
        match step:
            case "wait":
                now += pick
            case "begin":
                was_usable = target.is_usable(now)
                running.append(target.begin(now))
                if was_usable and before in ("open", "half_open"):
                    assert target.state == "probing"
            case "fail" if ticket is not None:
                ticket.fail(now)
            case "rest" if ticket is not None:
                ticket.rest(now, 2.0)
            case "end" if ticket is not None:
                running.remove(ticket)
                ticket.end()
            case "prove" | "succeed" if ticket is not None:
                ticket.prove() if step == "prove" else ticket.succeed()
            case _:
                pass
        if target.state == "probing":
            assert not target.is_usable(now), "a second turn could probe"
        reachable = {after for (state, _), after in TRANSITIONS.items() if state == before}
        if before == "open":
            reachable.add("probing")  # `waited` and `probe_begun` in one step
        assert target.state == before or target.state in reachable
        assert target.in_flight == len(running)


def test_documented_diagram_is_that_of_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "routing.md"
    assert f"```mermaid\n{breaker_diagram()}\n```" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("upstream_unavailable", "fault"),
        ("upstream_error", "fault"),
        ("upstream_auth_error", "fault"),
        ("server_is_overloaded", "fault"),
        ("insufficient_quota", "fault"),
        ("rate_limit_exceeded", "busy"),
        ("model_not_found", "elsewhere"),
        ("context_length_exceeded", "final"),
        ("invalid_prompt", "final"),
        ("model_error", "final"),
    ],
)
def test_verdict_is_about_the_target_and_not_about_its_client(code: str, expected: Verdict) -> None:
    assert verdict(api_error(code, "why")) == expected


def test_no_mistake_of_a_client_is_a_targets_fault() -> None:
    mistakes = [rule.code for rule in ERROR_RULES.values() if rule.status < 500 and rule.code != "insufficient_quota"]
    assert [code for code in mistakes if verdict(api_error(code, "why")) == "fault"] == []


def test_wait_without_a_number_is_a_short_one() -> None:
    assert wait_of(ApiError("rate_limit_exceeded", "slow", status=429)) == 1.0
    assert wait_of(api_error("rate_limit_exceeded", "slow", retry_after_s=7)) == 7


def test_most_useful_error_is_the_shortest_wait_of_rate_limits() -> None:
    down = api_error("upstream_unavailable", "down")
    long, short = (api_error("rate_limit_exceeded", "slow", retry_after_s=wait) for wait in (20, 3))
    unpaid = api_error("insufficient_quota", "no credit")
    assert most_useful([down, long, short, unpaid]) == short
    assert most_useful([unpaid, down]) == down
    assert most_useful([unpaid]) == unpaid
