"""A response is read from any server's events, and what cannot be read ends it as a cut, never as an exception."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.agent.answer import Answer, AnswerReader
from landline.agent.failures import Cut
from landline.wire.errors import ApiError


def read(*events: dict[str, Any]) -> tuple[AnswerReader, list[str | None]]:
    reader = AnswerReader()
    return reader, [reader.feed(json.dumps(event).encode()) for event in events]


COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


def test_deltas_alone_make_a_text_when_no_item_came() -> None:
    reader, told = read({"type": "response.output_text.delta", "delta": "a"}, {"type": "response.output_text.delta", "delta": "b"}, COMPLETED)  # fmt: skip
    assert told == ["a", "b", None]
    assert isinstance(reader.ending, Answer)
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
    assert isinstance(reader.ending, Answer)
    assert reader.ending.tokens is not None
    assert reader.ending.tokens.cached is None


def test_items_of_unknown_kinds_are_played_back_as_they_came() -> None:
    item = {"type": "acme:thing", "id": "x_1", "status": "completed", "data": [1, 2]}
    reader, _ = read({"type": "response.output_item.done", "item": item}, COMPLETED)
    assert isinstance(reader.ending, Answer)
    assert [json.loads(each) for each in reader.ending.items] == [item]


@given(data=st.binary(max_size=60) | st.sampled_from(["response.output_text.delta", "response.output_item.done", "response.completed", "response.failed", "error"]).flatmap(lambda kind: st.dictionaries(st.sampled_from(["delta", "item", "response", "error"]), st.none() | st.integers() | st.text() | st.lists(st.none())).map(lambda rest: json.dumps({"type": kind, **rest}).encode())))  # fmt: skip
def test_nothing_a_server_sends_raises(data: bytes) -> None:
    reader = AnswerReader()
    reader.feed(data)
    assert reader.ending is None or isinstance(reader.ending, Answer | ApiError | Cut)
