"""What an error says about its target."""

import pytest

from landline.routing.verdicts import Verdict, most_useful, verdict, wait_of
from landline.wire.errors import ERROR_RULES, ApiError, api_error


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
