"""The error table: complete for what each kind of client needs to react."""

import json

import pytest

from landline.wire.errors import ERROR_RULES, api_error
from landline.wire.events import encode_event, error_frame


@pytest.mark.parametrize("code", sorted(ERROR_RULES))
def test_every_error_frame_has_integer_status_and_string_code(code: str) -> None:
    frame = json.loads(encode_event(error_frame(api_error(code, "why"), stream_id="lane")))
    assert isinstance(frame["status"], int)
    assert not 200 <= frame["status"] < 300
    assert frame["error"]["code"] == code
    assert frame["stream_id"] == "lane"


@pytest.mark.parametrize(
    "code", [code for code, rule in ERROR_RULES.items() if rule.status == 429 and rule.retry == "after"]
)
def test_retryable_429_always_names_its_wait_at_the_top_and_inside(code: str) -> None:
    frame = json.loads(encode_event(error_frame(api_error(code, "slow down", retry_after_s=2))))
    assert frame["headers"] == frame["error"]["headers"] == {"retry-after": "2"}
    assert "retry-after" in api_error(code, "slow down").headers


def test_exhausted_quota_names_no_wait() -> None:
    assert api_error("insufficient_quota", "no credit").headers == {}


def test_unknown_code_is_our_bug() -> None:
    with pytest.raises(KeyError):
        api_error("no_such_code", "x")


def test_wait_is_written_without_trailing_zeros() -> None:
    assert api_error("rate_limit_exceeded", "x", retry_after_s=1.5).headers == {"retry-after": "1.5"}
