"""Answers of servers that speak Responses, fed in every split: relayed as the bytes that they are."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from landline.dialects.dialect import Prompt
from landline.dialects.responses import EventReader, Responses
from landline.dialects.responses.events import HELD_EVENTS
from landline.wire.errors import ApiError
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, Relayed
from landline.wire.requests import CreateRequest
from support.conversations.transcripts import assert_events, case_names, play, read_case, splits

DIALECT = "responses"
CASES = case_names(DIALECT)
CREATED = b'{"type":"response.created","response":{"id":"resp_up"}}'
ERROR = b'{"type":"error","status":400,"error":{"code":"previous_response_not_found","message":"gone"}}'


def assert_told(events: list[ModelEvent], expected: list[Raw]) -> None:
    """Relayed events are expected by their type, the others whole."""
    kinds = [msgspec.json.decode(each) if each[:1] == b'"' else "" for each in map(bytes, expected)]
    assert [event.kind if isinstance(event, Relayed) else "" for event in events] == kinds
    others = [event for event in events if not isinstance(event, Relayed)]
    assert_events(others, [each for each in expected if bytes(each)[:1] != b'"'])


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_told(play(Responses(), case, [body]), case.events)


MENDED = ("gateway-empty-arguments",)
"""Cases whose members clients could not read as they came."""


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert play(Responses(), case, data.draw(splits(body))) == play(Responses(), case, [body])


@pytest.mark.parametrize("name", CASES)
def test_every_answer_has_exactly_one_ending_and_it_is_last(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(Responses(), case, [body])
    assert [event for event in events if isinstance(event, Finished | Failed)] == events[-1:]


@pytest.mark.parametrize("name", [name for name in CASES if name not in MENDED])
def test_every_member_keeps_its_bytes(name: str) -> None:
    case, body = read_case(DIALECT, name)
    relayed = [event for event in play(Responses(), case, [body]) if isinstance(event, Relayed)]
    for event in relayed if body[:1] != b"{" else relayed[-1:]:
        told = event.members if body[:1] != b"{" else {"response": event.members["response"]}
        assert all(bytes(value) in body for value in told.values())


def test_members_keep_their_order() -> None:
    event = b'{"zeta":1,"type":"vendor.note","alpha":{"b":2,"a":1}}'
    reader = EventReader()
    reader.read(CREATED)
    [relayed] = reader.read(event)
    assert isinstance(relayed, Relayed)
    assert msgspec.json.encode(relayed.members) == event


def test_bytes_that_are_no_utf8_are_not_passed_on() -> None:
    """A client could not read the frame."""
    reader = EventReader()
    reader.read(CREATED)
    [relayed] = reader.read(b'{"type":"response.output_text.delta","delta":"gr\xfcn"}')
    assert isinstance(relayed, Relayed)
    assert bytes(relayed.members["delta"]).decode() == '"gr\ufffdn"'
    [failed] = reader.read(b'{"type":"error","error":{"message":"ung\xfcltig","headers":{"a":"\xfc"}}}')
    assert isinstance(failed, Failed)
    assert "ung\ufffdltig" in failed.error.message


@pytest.mark.parametrize(
    "event",
    [b"[" * 100_000, b'{"type":"response.note","more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    ids=["open", "closed"],
)
def test_an_event_that_no_json_reader_takes_ends_the_answer(event: bytes) -> None:
    decoder = Responses().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    events = decoder.feed(b"data: " + CREATED + b"\n\ndata: " + event + b"\n\n")
    assert [type(each) for each in events] == [Relayed, Failed]


def test_a_body_that_no_json_reader_takes_is_an_error() -> None:
    decoder = Responses().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    assert decoder.feed(b'{"output":' + b"[" * 100_000 + b"]" * 100_000 + b"}") == []
    assert [type(each) for each in decoder.end()] == [Failed]


def test_event_on_several_lines_is_told_on_one() -> None:
    body = b'data: {\ndata:  "type": "response.created",\r\ndata:  "response": {"a":  2.50e0,\ndata: "b":[1, 2]}}\n\n'
    decoder = Responses().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    [relayed] = decoder.feed(body)
    assert isinstance(relayed, Relayed)
    assert msgspec.json.encode(relayed.members) == b'{"type":"response.created","response":{"a":2.50e0,"b":[1,2]}}'


def test_nothing_comes_after_the_end() -> None:
    _, body = read_case(DIALECT, "openai-text-and-call")
    decoder = Responses().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    assert isinstance(decoder.feed(body)[-1], Finished)
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_refusal_behind_early_events_is_a_refusal() -> None:
    reader = EventReader()
    assert reader.read(b'{"type":"keepalive"}') == []
    [failed] = reader.read(ERROR)
    assert isinstance(failed, Failed)
    assert (reader.is_over, reader.is_announced, failed.error.code) == (True, False, "previous_response_not_found")
    assert reader.failure is not None
    assert (reader.failure.code, reader.failure.status) == ("previous_response_not_found", 400)


def test_early_events_are_not_held_for_ever() -> None:
    reader = EventReader()
    batches = [reader.read(b'{"type":"keepalive"}') for _ in range(HELD_EVENTS + 1)]
    assert batches[:-1] == [[]] * HELD_EVENTS
    assert batches[-1][0] == Accepted()
    assert len(batches[-1]) == HELD_EVENTS + 2
    assert len(reader.read(b'{"type":"keepalive"}')) == 1


def test_error_on_a_socket_ends_the_response_at_once() -> None:
    reader = EventReader()
    reader.read(CREATED)
    [failed] = reader.read(ERROR)
    assert isinstance(failed, Failed)
    assert reader.read(CREATED) == []


def error_of(event: object) -> ApiError:
    [failed] = EventReader().read(json.dumps(event).encode())
    assert isinstance(failed, Failed)
    return failed.error


@pytest.mark.parametrize(
    "place",
    [
        {"headers": {"retry-after": "2.5"}, "error": {"code": "rate_limit_exceeded", "message": "slow"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow", "headers": {"Retry-After": 2.5}}},
        {"error": {"code": "rate_limit_exceeded", "message": "Please try again in 2.5s."}},
        {"error": {"code": "slow_down", "message": "Please try again in 2500ms."}, "status": 429},
        {"error": {"code": "x", "message": "", "headers": {"retry-after-ms": "2500"}}, "status_code": 503},
        {"code": "rate_limit_exceeded", "message": "Please try again in 2.5s."},
    ],
    ids=json.dumps,
)
def test_wait_is_found_wherever_an_error_says_it(place: dict[str, object]) -> None:
    assert error_of({"type": "error", **place}).retry_after_s == 2.5


def test_status_of_an_error_event_counts_where_its_code_says_nothing() -> None:
    unknown = {"code": "never_heard_of", "message": "Something."}
    told = {
        status: error_of({"type": "error", "status": status, "error": unknown}) for status in (400, 401, 404, 429, 503)
    }
    assert {status: error.code for status, error in told.items()} == {
        400: "invalid_value",
        401: "upstream_auth_error",
        404: "upstream_error",
        429: "rate_limit_exceeded",
        503: "server_is_overloaded",
    }
    assert told[400].message == "Something. (`never_heard_of`)"
    assert error_of({"type": "error", "error": unknown}).code == "upstream_error"


@pytest.mark.parametrize("broken", [b"", b"[3]", b"{", b"\xff\xfe"], ids=repr)
def test_event_that_is_none_ends_the_response(broken: bytes) -> None:
    [failed] = EventReader().read(broken)
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"


JSON_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda value: st.lists(value, max_size=4) | st.dictionaries(st.text(max_size=20), value, max_size=4),
    max_leaves=12,
)
"""Small ones: what makes no sense does so without being large, and large ones take a minute to draw."""


@given(st.dictionaries(st.text(max_size=20), JSON_VALUES, max_size=6))
def test_response_that_makes_no_sense_still_ends(value: dict[str, object]) -> None:
    for kind in ("completed", "incomplete", "failed"):
        event = {"type": f"response.{kind}", "response": value | {"output": []}}
        events = EventReader().read(json.dumps(event).encode())
        assert isinstance(events[-1], Failed if kind == "failed" else Finished)


@pytest.mark.parametrize("value", [None, 7, "text", [], [{}], True])
@pytest.mark.parametrize(
    ("kind", "member"),
    [(f"response.{kind}", "response") for kind in ("created", "queued", "in_progress")]
    + [(f"response.{kind}", "response") for kind in ("completed", "incomplete", "failed")]
    + [(f"response.output_item.{kind}", "item") for kind in ("added", "done")],
)
def test_event_about_something_that_is_no_object_is_an_upstream_error(kind: str, member: str, value: object) -> None:
    reader = EventReader()
    [failed] = reader.read(json.dumps({"type": kind, "output_index": 0, member: value}).encode())
    assert isinstance(failed, Failed)
    assert (failed.error.code, member in failed.error.message) == ("upstream_error", True)
    assert reader.is_over


@pytest.mark.parametrize("kind", ["completed", "incomplete", "failed"])
def test_ending_without_a_response_is_an_upstream_error(kind: str) -> None:
    [failed] = EventReader().read(json.dumps({"type": f"response.{kind}"}).encode())
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"


@pytest.mark.parametrize("output", [7, "text", {}, [None], [{"type": "message"}, 3], [[]]])
def test_ending_whose_output_holds_no_items_is_an_upstream_error(output: object) -> None:
    event = {"type": "response.completed", "response": {"status": "completed", "output": output}}
    [failed] = EventReader().read(json.dumps(event).encode())
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"


@pytest.mark.parametrize(
    "value", [b"1e400", b"-1e999", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000, b"[" * 300 + b"]" * 300]
)
@pytest.mark.parametrize(
    "event",
    [
        b'{"type":"response.created","response":{"id":"r","x":%s}}',
        b'{"type":"response.output_item.done","output_index":0,"item":{"type":"acme_note","x":%s}}',
        b'{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"x","y":%s}]}]}}',
    ],
)
def test_event_that_cannot_be_read_again_is_an_upstream_error(event: bytes, value: bytes) -> None:
    failed = EventReader().read(event % value)[-1]
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"
    assert len(failed.error.message) < 300


@pytest.mark.parametrize("kind", [b"response.output_text.delta", b"acme.note"])
@pytest.mark.parametrize("value", [b"9" * 4400, b"[" * 5000 + b"]" * 5000])
def test_event_that_clients_cannot_read_is_not_passed_on(kind: bytes, value: bytes) -> None:
    reader = EventReader()
    reader.read(CREATED)
    failed = reader.read(b'{"type":"%s","delta":"a","x":%s}' % (kind, value))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"


@pytest.mark.parametrize(
    ("index", "told"), [(b'"3"', b"3"), (b'"x"', b"0"), (b'""', b"0"), (b'"-1"', b"0"), (b'"1e9"', b"0")]
)
def test_place_that_is_a_string_is_read_as_a_number(index: bytes, told: bytes) -> None:
    reader = EventReader()
    reader.read(CREATED)
    [event] = reader.read(b'{"type":"response.output_text.delta","output_index":%s,"delta":"a"}' % index)
    assert isinstance(event, Relayed)
    assert bytes(event.members["output_index"]) == told


@given(JSON_VALUES)
def test_error_that_makes_no_sense_is_still_one(value: object) -> None:
    assert error_of({"type": "error", "error": value, "headers": value, "status": value}).message


@pytest.mark.parametrize("odd", [b"null", b"[]", b"3", b'"error"', b'{"type":3}'], ids=repr)
def test_event_that_says_nothing_is_left_out(odd: bytes) -> None:
    reader = EventReader()
    reader.read(CREATED)
    assert reader.read(odd) == []
    assert not reader.is_over


def test_halves_of_a_character_are_joined_across_events_or_replaced() -> None:
    reader = EventReader()
    reader.read(CREATED)
    told = [
        event
        for delta in (rb"a\ud83d", rb"\ude00b\\ud83d", rb"\ud83d", b"c", rb"\ud83d")
        for event in reader.read(b'{"type":"response.output_text.delta","output_index":0,"delta":"' + delta + b'"}')
    ] + reader.read(b'{"type":"response.completed","response":{"id":"resp_up"}}')
    deltas = [
        json.loads(bytes(event.members["delta"]))
        for event in told
        if isinstance(event, Relayed) and "delta" in event.members
    ]
    assert deltas == ["a", "\U0001f600b\\ud83d", "\ufffdc", "\ufffd"]


def test_a_call_without_arguments_has_an_empty_object_everywhere() -> None:
    case, body = read_case(DIALECT, "gateway-empty-arguments")
    events = [event for event in play(Responses(), case, [body]) if isinstance(event, Relayed)]
    told = {event.kind: json.loads(msgspec.json.encode(event.members)) for event in events}
    assert told["response.function_call_arguments.delta"]["delta"] == "{}"
    assert told["response.function_call_arguments.done"]["arguments"] == "{}"
    assert told["response.output_item.done"]["item"]["arguments"] == "{}"
    assert told["response.output_item.done"]["item"]["call_id"] == "12"
    assert told["response.output_item.done"]["output_index"] == 0
    assert told["response.completed"]["response"]["output"][0]["arguments"] == "{}"


def test_an_empty_delta_says_no_arguments() -> None:
    reader = EventReader()
    reader.read(CREATED)
    place = b'"item_id":"fc_1","output_index":0'
    told = reader.read(b'{"type":"response.function_call_arguments.delta",%s,"delta":""}' % place)
    told += reader.read(b'{"type":"response.function_call_arguments.done",%s,"arguments":""}' % place)
    deltas = [event.members.get("delta") for event in told if isinstance(event, Relayed)]
    assert [bytes(delta) for delta in deltas if delta is not None] == [b'""', b'"{}"']
