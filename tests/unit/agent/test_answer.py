"""What one response becomes, whatever server sends it; and errors in every shape, with what the client does about each."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.agent.answer import AnswerEventReader, ConnectionLost, ModelAnswer, decode_failure, next_step, wait_s
from landline.wire.errors import DEFAULT_RETRY_AFTER_S, ERROR_RULES, ApiError, api_error


def read(*events: dict[str, Any]) -> tuple[AnswerEventReader, list[str | None]]:
    reader = AnswerEventReader()
    return reader, [reader.feed(json.dumps(event).encode()) for event in events]


COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


def test_deltas_alone_make_a_text_when_no_item_came() -> None:
    reader, told = read({"type": "response.output_text.delta", "delta": "a"}, {"type": "response.output_text.delta", "delta": "b"}, COMPLETED)  # fmt: skip
    assert told == ["a", "b", None]
    assert isinstance(reader.ending, ModelAnswer)
    assert reader.ending.text == "ab"
    assert reader.ending.tokens is None


def test_other_model_output_counts_as_output_without_text() -> None:
    _, told = read(
        {"type": "response.reasoning_text.delta", "delta": "hm"},
        {"type": "response.function_call_arguments.delta", "delta": "{"},
        {"type": "response.audio.delta", "delta": {"odd": 1}},
    )
    assert told == ["", "", ""]


def test_unknown_and_setup_events_are_passed_over() -> None:
    reader, told = read({"type": "keepalive"}, {"type": "codex.rate_limits", "x": []}, {"no": "type"})
    assert told == [None] * 3
    assert reader.ending is None


@pytest.mark.parametrize(
    "event",
    [
        {
            "type": "response.failed",
            "response": {"status": "failed", "error": {"code": "server_error", "message": "m"}},
        },
        {"type": "error", "error": {"code": "server_error", "message": "m"}},
        {"type": "error", "code": "server_error", "message": "m"},
        {"error": {"code": "server_error", "message": "m"}, "status": 500},
    ],
)
def test_failure_in_any_shape_ends_the_response(event: dict[str, Any]) -> None:
    reader, _ = read(event)
    assert isinstance(reader.ending, ApiError)
    assert (reader.ending.code, reader.ending.message) == ("server_error", "m")


def test_failed_response_without_a_reason_is_still_a_failure() -> None:
    reader, _ = read({"type": "response.failed", "response": {"status": "failed"}})
    assert isinstance(reader.ending, ApiError)


def test_cached_tokens_that_were_not_told_are_unknown_not_zero() -> None:
    usage = {"input_tokens": 7, "output_tokens": 3}
    reader, _ = read({"type": "response.completed", "response": {"id": "r", "usage": usage}})
    assert isinstance(reader.ending, ModelAnswer)
    assert reader.ending.tokens is not None
    assert reader.ending.tokens.cached is None


def test_items_of_unknown_kinds_are_played_back_as_they_came() -> None:
    item = {"type": "acme:thing", "id": "x_1", "status": "completed", "data": [1, 2]}
    reader, _ = read({"type": "response.output_item.done", "item": item}, COMPLETED)
    assert isinstance(reader.ending, ModelAnswer)
    assert [json.loads(each) for each in reader.ending.items] == [item]


@given(data=st.binary(max_size=60) | st.sampled_from(["response.output_text.delta", "response.output_item.done", "response.completed", "response.failed", "error"]).flatmap(lambda kind: st.dictionaries(st.sampled_from(["delta", "item", "response", "error"]), st.none() | st.integers() | st.text() | st.lists(st.none())).map(lambda rest: json.dumps({"type": kind, **rest}).encode())))  # fmt: skip
def test_nothing_a_server_sends_raises(data: bytes) -> None:
    reader = AnswerEventReader()
    reader.feed(data)
    assert reader.ending is None or isinstance(reader.ending, ModelAnswer | ApiError | ConnectionLost)


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
def test_nothing_in_an_error_raises(data: bytes) -> None:
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
