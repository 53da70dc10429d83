"""Errors are understood in every shape servers send them, and each leads to one step."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.agent.failures import decode_failure, next_step, wait_s
from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ERROR_RULES, api_error

NESTED = {"type": "error", "status": 429, "error": {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "m"}}  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "code", "status"),
    [
        (NESTED, "rate_limit_exceeded", 429),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None}, "rate_limit_exceeded", 429),
        ({"error": {"code": "previous_response_not_found", "message": "m"}}, "previous_response_not_found", 400),
        ({"type": "error", "status_code": 503, "error": {"message": "m"}}, "server_error", 503),
        ({"error": {"code": 404, "message": "m"}}, "invalid_value", 404),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}, "invalid_value", 400),
        ({"error": "m"}, "server_error", 500),
        ({"detail": "m"}, "server_error", 500),
        ({"type": "error", "status": "429", "error": {"message": "m"}}, "rate_limit_exceeded", 429),
        ({"type": "error", "error": {"code": "made_up", "message": "m", "param": {"odd": 1}}}, "made_up", 500),
    ],
)
def test_every_shape_gives_code_status_and_message(frame: dict[str, Any], code: str, status: int) -> None:
    failure = decode_failure(json.dumps(frame).encode())
    assert (failure.code, failure.status, failure.message) == (code, status, "m")


def test_body_that_is_no_json_is_its_own_message() -> None:
    failure = decode_failure(b"<html>Bad gateway</html>", status=502)
    assert (failure.status, failure.message) == (502, "<html>Bad gateway</html>")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, DEFAULT_RETRY_AFTER_S),
        ({"retry-after": "-1"}, DEFAULT_RETRY_AFTER_S),
        ({"retry-after": "nan"}, DEFAULT_RETRY_AFTER_S),
        ({}, DEFAULT_RETRY_AFTER_S),
    ],
)
def test_wait_is_read_from_headers_wherever_they_are(headers: dict[str, str], seconds: float) -> None:
    on_top = {**NESTED, "headers": headers}
    within = {**NESTED, "error": {**NESTED["error"], "headers": headers}}  # type: ignore[dict-item]
    assert wait_s(decode_failure(json.dumps(on_top).encode())) == seconds
    assert wait_s(decode_failure(json.dumps(within).encode())) == seconds
    assert wait_s(decode_failure(b"{}", status=429, headers=headers)) == seconds


@given(data=st.binary(max_size=80) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "status", "message", "headers"]), inner), max_leaves=8).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_a_server_sends_raises(data: bytes) -> None:
    assert decode_failure(data).message


@pytest.mark.parametrize(
    ("code", "delta_step", "full_step"),
    [
        ("previous_response_not_found", "resend", "give_up"),
        ("websocket_connection_limit_reached", "reconnect", "reconnect"),
        ("unsupported_parameter", "resend", "give_up"),
        ("rate_limit_exceeded", "wait", "wait"),
        ("server_is_overloaded", "wait", "wait"),
        ("server_error", "wait", "wait"),
        ("insufficient_quota", "give_up", "give_up"),
        ("invalid_api_key", "give_up", "give_up"),
        ("context_length_exceeded", "give_up", "give_up"),
    ],
)
def test_step_that_follows_an_error(code: str, delta_step: str, full_step: str) -> None:
    failure = api_error(code, "m")
    assert next_step(failure, is_delta=True) == delta_step
    assert next_step(failure, is_delta=False) == full_step


@pytest.mark.parametrize("code", list(ERROR_RULES))
def test_full_request_is_never_simply_resent(code: str) -> None:
    assert next_step(api_error(code, "m"), is_delta=False) != "resend"
