"""The steering events, checked against the types of the openai package, and the input that a steer may have."""

import json
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from openai.types.responses import (
    ResponsesServerEvent,
    ResponseSteerAcceptedEvent,
    ResponseSteerFailedEvent,
    ResponseSteerPendingEvent,
)
from openai.types.responses.response_steer_error_code import ResponseSteerErrorCode
from pydantic import TypeAdapter

from landline.wire.errors import ApiError
from landline.wire.events import (
    AcceptedSteer,
    FailedSteer,
    RequiredInput,
    ServerEvent,
    SteerAccepted,
    SteerErrorCode,
    SteerFailed,
    SteerFailure,
    SteerPending,
    encode_event,
)
from landline.wire.requests import decode_steer_input

STEER = AcceptedSteer("steer_1", "resp_1")
_SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)


def read(event: ServerEvent) -> Any:
    return _SERVER_EVENT.validate_json(encode_event(event))


@pytest.mark.parametrize("lane", [{}, {"stream_id": "a"}])
def test_clients_read_accepted_steers(lane: dict[str, Any]) -> None:
    event = read(SteerAccepted(sequence_number=3, steer=STEER, **lane))
    assert isinstance(event, ResponseSteerAcceptedEvent)
    assert (event.steer.id, event.steer.previous_response_id, event.sequence_number) == ("steer_1", "resp_1", 3)
    assert event.stream_id == lane.get("stream_id")


def test_clients_read_pending_steers() -> None:
    stubs = [RequiredInput(type="function_call_output", call_id="c1", name="look")]
    event = read(SteerPending(sequence_number=3, steer=STEER, required_input=stubs))
    assert isinstance(event, ResponseSteerPendingEvent)
    assert event.reason == "waiting_for_required_input"
    assert (event.steer.id, event.stream_id) == ("steer_1", None)
    assert [stub.to_dict() for stub in event.required_input] == [
        {"type": "function_call_output", "call_id": "c1", "name": "look"}
    ]


@pytest.mark.parametrize("code", typing.get_args(SteerErrorCode))
def test_clients_read_failed_steers_with_their_input(code: SteerErrorCode) -> None:
    steer = FailedSteer("resp_1", Raw(b'[{"type":"message","role":"user","content":"x"}]'), "steer_1")
    event = read(SteerFailed(sequence_number=0, error=SteerFailure(code, "why"), steer=steer))
    assert isinstance(event, ResponseSteerFailedEvent)
    assert (event.error.type, event.error.code, event.error.message) == ("invalid_request_error", code, "why")
    assert event.steer.id == "steer_1"
    assert not isinstance(event.steer.input, str)
    assert event.steer.input[0].type == "message"


def test_error_codes_are_those_of_the_clients_types() -> None:
    assert typing.get_args(SteerErrorCode) == typing.get_args(typing.get_args(ResponseSteerErrorCode)[0])


def test_every_error_code_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "steering.md").read_text(encoding="utf-8")
    assert [code for code in typing.get_args(SteerErrorCode) if f"| `{code}` |" not in page] == []


def test_id_is_absent_from_a_steer_that_was_never_accepted() -> None:
    steer = FailedSteer("resp_1", Raw(b'"x"'))
    event = SteerFailed(sequence_number=0, error=SteerFailure("invalid_input", "why"), steer=steer)
    assert json.loads(encode_event(event))["steer"] == {"previous_response_id": "resp_1", "input": "x"}


_PARTS = st.lists(st.fixed_dictionaries({"type": st.just("input_text"), "text": st.text()}), min_size=1, max_size=3)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.just("user"), "content": st.text() | _PARTS}, optional={"type": st.just("message")}
    ),
    min_size=1,
    max_size=3,
)


@given(_MESSAGES, st.data())
def test_one_wrong_key_or_role_spoils_the_whole_input(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    items = decode_steer_input(Raw(json.dumps(messages).encode()))
    assert not isinstance(items, ApiError)
    assert [json.loads(item.raw) for item in items] == messages
    spoiled = data.draw(st.sampled_from(messages))
    key, value = data.draw(
        st.sampled_from([("id", "msg_1"), ("role", "developer"), ("type", "reasoning"), ("agent", {})])
    )
    spoiled[key] = value
    assert isinstance(decode_steer_input(Raw(json.dumps(messages).encode())), ApiError)
