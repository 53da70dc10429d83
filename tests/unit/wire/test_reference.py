"""The rows that the API's description is made of name every part of the wire, and say of each what is done."""

import json
from typing import Any, get_args

import msgspec
import pytest

from landline.session.admission import admit
from landline.session.limits import Limits
from landline.session.session import Session
from landline.session.turn import SendFrames, Turn
from landline.wire.errors import ApiError
from landline.wire.events import AuthoredEvent, ErrorFrame
from landline.wire.items import KnownItem, KnownTool
from landline.wire.reference import CLIENT_EVENTS, CREATE_FIELDS, ITEM_TYPES, SERVER_EVENTS, TOOL_KINDS, Treatment
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import new_response

ECHOED: dict[str, Any] = {
    "max_tool_calls": 3,
    "metadata": {"a": "b"},
    "prompt_cache_retention": "24h",
    "safety_identifier": "s",
    "service_tier": "flex",
    "user": "u",
}


def tags(union: Any) -> set[str]:
    return {each.__struct_config__.tag for each in get_args(union)}


def rows(treatment: Treatment) -> list[str]:
    return [row.name for row in CREATE_FIELDS if row.treatment == treatment]


def decide(**fields: object) -> Turn | ApiError:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    return admit(request, response_id="resp_1", now=1.0)


def response(**fields: object) -> dict[str, Any]:
    turn = decide(**fields)
    assert isinstance(turn, Turn)
    return json.loads(msgspec.json.encode(new_response(turn.request, id="resp_1", created_at=1, model="m")))


def test_every_field_of_create_has_one_row() -> None:
    names = [row.name for row in CREATE_FIELDS]
    assert len(names) == len(set(names))
    known = set(CreateRequest.__struct_encode_fields__)
    assert known <= set(names)
    assert set(names) - known <= set(rows("ignored"))


def test_every_item_tool_and_event_has_one_row() -> None:
    for table, union in ((ITEM_TYPES, KnownItem), (TOOL_KINDS, KnownTool), (SERVER_EVENTS, AuthoredEvent)):
        types = [row.type for row in table]
        assert len(types) == len(set(types))
        assert set(types) == tags(union)


@pytest.mark.parametrize("name", rows("refused"))
def test_a_field_that_is_refused_is_refused(name: str) -> None:
    error = decide(**{name: {"id": "p"}})
    assert isinstance(error, ApiError)
    assert (error.code, error.param) == ("unsupported_parameter", name)


@pytest.mark.parametrize("name", rows("echoed"))
def test_a_field_that_is_echoed_stands_in_the_response(name: str) -> None:
    assert response(**{name: ECHOED[name]})[name] == ECHOED[name]


@pytest.mark.parametrize("name", rows("ignored"))
def test_a_field_that_is_ignored_changes_nothing(name: str) -> None:
    assert response(**{name: {"some": "thing"}}) == response()


@pytest.mark.parametrize("kind", [row.type for row in CLIENT_EVENTS])
def test_every_frame_is_known_to_the_session(kind: str) -> None:
    assert "invalid_event_type" not in answered(kind)


def test_a_frame_without_a_row_is_refused() -> None:
    assert answered("response.append") == ["invalid_event_type"]


def answered(kind: str) -> list[str]:
    """The codes of the error frames that a frame of this type is answered with."""
    session = Session(Limits(), opened_at=0.0, new_id=lambda prefix: f"{prefix}_1")
    commands = session.receive_frame(json.dumps({"type": kind, "model": "m", "input": "hi"}), 1.0)
    frames = [frame for each in commands if isinstance(each, SendFrames) for frame in each.frames]
    return [frame.error.code for frame in frames if isinstance(frame, ErrorFrame)]
