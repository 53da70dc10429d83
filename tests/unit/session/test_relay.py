"""Events of an upstream that speaks Responses pass through as they are, under our numbers and ids."""

import json
from typing import Any

import pytest
from msgspec import Raw

from landline.session.composer import Composer
from landline.session.lineage import Link
from landline.session.turn import Turn, TurnEnded
from landline.wire.errors import api_error
from landline.wire.events import AcceptedSteer, ServerEvent, SteerAccepted, encode_event
from landline.wire.items import decode_item
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    ModelEvent,
    Relayed,
    UsageReported,
)
from landline.wire.requests import CreateRequest, decode_create

USER = decode_item(b'{"role":"user","content":"hi"}')
CALL = {"type": "function_call", "id": "fc_up", "call_id": "c1", "name": "f", "arguments": "{}", "new_field": [1, 2]}
MESSAGE = {"type": "message", "id": "msg_up", "role": "assistant", "content": [], "phase": "final_answer"}
STRANGE = {"type": "vendor:thing", "id": "th_1", "payload": {"b": 1, "a": 2.50}}


def composer(stream_id: str | None = None, **fields: object) -> Composer:
    request = decode_create(json.dumps({"model": "m", **fields}))
    assert isinstance(request, CreateRequest)
    turn = Turn("resp_ours", request, Link(None, [USER]), 1.0, (USER,))
    if stream_id is not None:
        turn = Turn("resp_ours", request, Link(None, [USER]), 1.0, (USER,), stream_id=stream_id)
    return Composer(turn, model="m", new_id=lambda prefix: f"{prefix}_0")


def relayed(kind: str, **members: object) -> Relayed:
    raw = {name: Raw(json.dumps(value).encode()) for name, value in {"type": kind, **members}.items()}
    return Relayed(kind, raw)


def response(status: str, **members: object) -> dict[str, object]:
    return {
        "id": "resp_up",
        "object": "response",
        "status": status,
        "model": "m-2026",
        "vendor_extra": {"x": 1},
        **members,
    }


CREATED = relayed("response.created", response=response("in_progress"), sequence_number=7)
DONE = [
    relayed(
        "response.completed", response=response("completed", output=[CALL], usage={"novel": 1}), sequence_number=99
    ),
    UsageReported(10, 2, 5),
    Finished(),
]


def compose(made: Composer, *batches: list[ModelEvent]) -> tuple[list[dict[str, Any]], TurnEnded]:
    events: list[ServerEvent] = made.open(batches[0])
    for batch in batches:
        events += made.feed(batch)
    ended = made.close(2.0)
    return [json.loads(encode_event(event)) for event in events + ended.events], ended


def item_events(index: int, item: dict[str, Any]) -> list[ModelEvent]:
    added = relayed("response.output_item.added", output_index=index, item={**item, "status": "in_progress"})
    return [added, relayed("response.output_item.done", output_index=index, item=item)]


def test_events_keep_their_members_under_our_number_and_response_id() -> None:
    novel = relayed("response.vendor.novel", sequence_number=3, stream_id="theirs", data={"k": 1})
    events, ended = compose(composer("main"), [CREATED, novel, *item_events(0, CALL), *DONE])
    assert [event["sequence_number"] for event in events] == [0, 1, 2, 3, 4]
    assert {event["stream_id"] for event in events} == {"main"}
    assert events[1]["type"] == "response.vendor.novel"
    assert events[1]["data"] == {"k": 1}
    assert events[0]["response"] == response("in_progress") | {"id": "resp_ours", "previous_response_id": None}
    assert events[-1]["response"]["usage"] == {"novel": 1}
    assert json.loads(ended.body) == events[-1]["response"]
    assert (ended.response.status, ended.response.model) == ("completed", "m-2026")
    assert ended.response.usage is not None
    assert ended.response.usage.input_tokens_details.cached_tokens == 5


def test_default_lane_has_no_stream_id_though_the_upstream_uses_one() -> None:
    events, _ = compose(composer(), [relayed("response.created", response=response("queued"), stream_id="u"), *DONE])
    assert not any("stream_id" in event for event in events)


def test_items_of_unknown_kinds_stand_in_the_history_byte_for_byte() -> None:
    events, ended = compose(composer(), [CREATED, *item_events(0, STRANGE), *item_events(1, CALL), *DONE])
    assert [item.raw for item in ended.output] == [json.dumps(each).encode() for each in (STRANGE, CALL)]
    assert ended.history is not None
    assert ended.history.all_items() == [USER, *ended.output]
    assert events[2]["item"] == STRANGE


def test_items_are_taken_from_the_end_when_they_were_never_done() -> None:
    _, ended = compose(composer(), [CREATED, *DONE])
    assert [item.id for item in ended.output] == ["fc_up"]


def test_items_are_remembered_as_the_end_tells_them() -> None:
    thought = {"type": "reasoning", "id": "rs_up", "summary": []}
    whole = [{**thought, "encrypted_content": "gAAAA"}, CALL]
    done = [*item_events(0, thought), *item_events(1, CALL)]
    end: list[ModelEvent] = [relayed("response.completed", response=response("completed", output=whole)), Finished()]
    _, ended = compose(composer(), [CREATED, *done, *end])
    assert [json.loads(item.raw) for item in ended.output] == whole


def test_output_is_filled_in_when_the_end_leaves_it_out() -> None:
    end: list[ModelEvent] = [relayed("response.completed", response=response("completed")), Finished()]
    events, ended = compose(composer(), [CREATED, *item_events(0, CALL), *end])
    assert events[-1]["response"]["output"] == [CALL]
    assert len(ended.output) == 1


def test_late_announcement_is_not_said_twice() -> None:
    made = composer()
    events = made.open([]) + made.feed([CREATED, relayed("response.in_progress", response=response("in_progress"))])
    assert [json.loads(encode_event(event))["type"] for event in events] == ["response.created", "response.in_progress"]


def test_items_behind_a_compaction_of_ours_move_up() -> None:
    compacted = Compacted("sealed", (USER,), frozenset())
    events, ended = compose(
        composer(),
        [Accepted(), CompactionStarted()],
        [UsageReported(100, 9), compacted],
        [CREATED, *item_events(0, CALL), *DONE],
    )
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.done"] == [0, 1]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["compaction", "function_call"]
    assert events[-1]["response"]["usage"]["input_tokens"] == 110
    assert [item.type for item in ended.output] == ["compaction", "function_call"]


def test_failure_is_passed_on_and_fails_the_turn() -> None:
    failed = relayed("response.failed", response=response("failed", error={"code": "novel_code", "message": "no"}))
    events, ended = compose(composer(), [CREATED, failed, Failed(api_error("upstream_error", "no"))])
    assert events[-1]["response"]["error"] == {"code": "novel_code", "message": "no"}
    assert ended.error is not None
    assert (ended.response.status, ended.response.error and ended.response.error.code) == ("failed", "novel_code")


def test_break_without_the_upstreams_word_is_told_in_ours() -> None:
    events, ended = compose(composer(), [CREATED], [Failed(api_error("upstream_error", "cut"))])
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "upstream_error"
    assert ended.relayed is None


def test_stopped_turn_keeps_what_its_open_items_had() -> None:
    made = composer()
    added = relayed("response.output_item.added", output_index=0, item={**MESSAGE, "status": "in_progress"})
    delta = relayed("response.output_text.delta", output_index=0, content_index=0, item_id="msg_up", delta="so f")
    events = made.open([CREATED]) + made.feed([CREATED, added, delta])
    made.stop("cancelled")
    ended = made.close(2.0)
    [item] = ended.output
    said = json.loads(item.raw)
    assert (said["content"][0]["text"], said["status"], said["phase"]) == ("so f", "incomplete", "final_answer")
    assert ended.response.status == "incomplete"
    numbers = [json.loads(encode_event(event))["sequence_number"] for event in events + ended.events]
    assert numbers == list(range(len(numbers)))


def test_steer_is_applied_between_items_and_not_behind_a_call() -> None:
    accepted = SteerAccepted(sequence_number=0, steer=AcceptedSteer("steer_1", "resp_ours"))
    made = composer()
    message_added, message_done = item_events(0, MESSAGE)
    made.feed([CREATED, message_added])
    made.answer_steers([accepted])
    assert not made.is_over
    made.feed([message_done, item_events(1, MESSAGE)[0]])
    assert made.made_way
    called = composer()
    called.feed([CREATED, *item_events(0, CALL)])
    called.answer_steers([accepted])
    assert not called.is_over


GARBAGE = [None, 3, "x", [], {"status": 7, "output": "no", "error": "oops", "completed_at": {}}]


@pytest.mark.parametrize("value", GARBAGE, ids=repr)
def test_response_object_that_makes_no_sense_breaks_nothing(value: object) -> None:
    end: list[ModelEvent] = [relayed("response.completed", response=value), Finished()]
    events, ended = compose(composer(), [relayed("response.created", response=value), *item_events(0, CALL), *end])
    assert (events[-1]["response"]["id"], ended.response.status) == ("resp_ours", "completed")
    assert [item.id for item in ended.output] == ["fc_up"]


@pytest.mark.parametrize("status", [None, 3, "", "in_progress", [], {"a": 1}], ids=repr)
def test_ending_says_the_status_that_it_is(status: object) -> None:
    told = {"output": [CALL], "status": status}
    events, ended = compose(composer(), [CREATED, relayed("response.completed", response=told), Finished()])
    assert (events[-1]["response"]["status"], ended.response.status) == ("completed", "completed")


@pytest.mark.parametrize("time", [1e300, -1, 2**70])
def test_time_that_is_none_is_not_kept(time: float) -> None:
    told = {"output": [CALL], "status": "completed", "completed_at": time}
    _, ended = compose(composer(), [CREATED, relayed("response.completed", response=told), Finished()])
    assert ended.response.completed_at is None


@pytest.mark.parametrize("index", [-1, 10**9, "0", None, 1.5], ids=repr)
def test_place_that_makes_no_sense_is_passed_on_and_not_believed(index: object) -> None:
    made = composer()
    made.feed([CREATED, relayed("response.output_item.added", output_index=index, item=MESSAGE)])
    made.stop("cancelled")
    assert made.close(2.0).output == ()


def test_item_that_is_none_is_not_remembered() -> None:
    done = [relayed("response.output_item.done", output_index=at, item=item) for at, item in enumerate((None, 3, CALL))]
    _, ended = compose(composer(), [CREATED, *done, *DONE])
    assert [item.id for item in ended.output] == ["fc_up"]
