"""Steering by example: what is taken, when it takes effect, what is said about it."""

import json
from typing import Any

import pytest

from landline.session.steering import MAX_PENDING_STEERS
from landline.session.turn import AnswerSteer, SendFrames
from landline.wire.errors import api_error
from landline.wire.model_events import (
    Failed,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from support.turns.steered_line import SteeredLine, texts

OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}


def types(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["type"].removeprefix("response.") for frame in frames]


def waiting_line(**fields: object) -> tuple[SteeredLine, str]:
    """A line whose first response completed with a call unanswered and two steers pending."""
    line = SteeredLine()
    target = line.created(**fields)
    line.call(target, "call_1")
    line.steer(target, "left")
    line.steer(target, "right")
    line.end(target, ToolCallEnded(6), Finished())
    return line, target


def test_steered_message_ends_and_the_successor_follows_with_the_same_settings() -> None:
    line = SteeredLine()
    target = line.created(input="one", instructions="Be brief.", temperature=0.5, store=False, stream_id="a")
    line.say(target, TextDelta("half"))
    answer = line.steer(target, "two")
    assert types(line.frames)[-1] == "steer.accepted"
    assert answer["stream_id"] == "a"
    assert answer["steer"]["previous_response_id"] == target
    line.end(target, TextDelta(" whole"), Finished())
    assert types(line.take_frames())[-1] == "completed"
    successor = line.newest()
    assert texts(successor) == ["one", "half whole", "two"]
    request = successor.request
    assert (request.previous_response_id, request.instructions, request.temperature) == (target, "Be brief.", 0.5)
    assert (request.store, successor.stream_id) == (False, "a")
    line.end(successor.response_id)
    frames = line.take_frames()
    assert frames[0]["response"]["previous_response_id"] == target
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))


def test_target_makes_way_before_its_next_item() -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, ReasoningDelta("hm"))
    line.steer(target, "two")
    line.say(target, ReasoningDelta("m"), TextDelta("never"), Finished())
    frames = line.take_frames()
    last = frames[-1]
    assert types(frames)[-2:] == ["output_item.done", "incomplete"]
    assert last["response"]["incomplete_details"] == {"reason": "steered"}
    assert [item["type"] for item in last["response"]["output"]] == ["reasoning"]
    assert [frame["sequence_number"] for frame in frames] == list(range(2, 2 + len(frames)))
    assert texts(line.newest()) == ["hi", "hmm", "two"]


def test_target_that_said_nothing_yet_makes_way_at_once() -> None:
    line = SteeredLine()
    target = line.created()
    line.steer(target, "two")
    assert types(line.take_frames()) == ["steer.accepted", "incomplete"]
    assert texts(line.newest()) == ["hi", "two"]


def test_call_is_not_begun_once_the_target_is_steered() -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, TextDelta("let me look"))
    line.steer(target, "do not")
    line.call(target, "call_1")
    output = line.take_frames("response.incomplete")[0]["response"]["output"]
    assert [(item["type"], item["status"]) for item in output] == [("message", "completed")]
    assert texts(line.newest()) == ["hi", "let me look", "do not"]


def test_begun_call_is_finished_with_those_that_follow_it() -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, ToolCallStarted(0, "call_1", "look"))
    line.steer(target)
    line.say(target, ToolCallDelta(0, "{}"), ToolCallEnded(0), ToolCallStarted(1, "call_2", "exec", "custom"))
    line.end(target, ToolCallDelta(1, "ls"), Finished())
    frames = line.take_frames("response.completed", "response.steer.pending")
    assert types(frames) == ["completed", "steer.pending"]
    assert frames[1]["required_input"] == [
        {"type": "function_call_output", "call_id": "call_1", "name": "look"},
        {"type": "custom_tool_call_output", "call_id": "call_2"},
    ]


def test_successor_runs_before_what_waits_on_its_lane_and_elsewhere() -> None:
    line = SteeredLine(max_in_flight=1)
    target = line.created(stream_id="a")
    for lane in ("a", "b"):
        line.send(type="response.create", model="m", input="later", stream_id=lane)
    line.steer(target, "now")
    successor = line.newest()
    assert texts(successor) == ["hi", "now"]
    line.end(successor.response_id)
    line.end(next(reversed(line.turns)))
    assert [texts(turn)[-1] for turn in line.turns.values()] == ["hi", "now", "later", "later"]


def test_several_steers_are_applied_together_in_order() -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, TextDelta("a"))
    accepted = [line.steer(target, f"steer {number}") for number in range(3)]
    assert len({each["steer"]["id"] for each in accepted}) == 3
    line.end(target)
    assert texts(line.newest())[2:] == ["steer 0", "steer 1", "steer 2"]


def test_successor_can_be_steered_again() -> None:
    line = SteeredLine()
    target = line.created()
    line.steer(target, "two")
    successor = line.newest().response_id
    assert line.steer(successor)["error"]["code"] == "response_not_active"
    line.say(successor)
    assert line.steer(successor, "three")["type"] == "response.steer.accepted"
    assert texts(line.newest()) == ["hi", "two", "three"]
    assert line.steer(target)["error"]["code"] == "response_already_completed"


def test_pending_steers_are_told_once_and_go_before_the_clients_results() -> None:
    line, target = waiting_line(instructions="old")
    frames = line.take_frames()
    pending = [frame for frame in frames if frame["type"] == "response.steer.pending"]
    assert types(frames)[-3:] == ["completed", "steer.pending", "steer.pending"]
    assert [frame["sequence_number"] for frame in frames] == list(range(2, 2 + len(frames)))
    assert pending[0]["reason"] == "waiting_for_required_input"
    assert pending[0]["steer"]["id"] != pending[1]["steer"]["id"]
    assert pending[0]["required_input"] == pending[1]["required_input"]
    line.create(previous_response_id=target, input=[OUTPUT], instructions="new")
    assert texts(line.newest()) == ["hi", "function_call", "left", "right", "function_call_output"]
    assert line.newest().request.instructions == "new"
    line.end(line.newest().response_id)
    assert not [frame for frame in line.take_frames() if "steer" in frame["type"]]
    line.create(previous_response_id=target, input=[OUTPUT])
    assert "left" not in texts(line.newest())


def test_create_that_came_first_takes_the_steers_and_nothing_is_told() -> None:
    line = SteeredLine()
    target = line.created()
    line.call(target, "call_1")
    line.steer(target, "left")
    line.send(type="response.create", model="m", previous_response_id=target, input=[OUTPUT])
    line.end(target, Finished())
    assert not line.take_frames("response.steer.pending")
    assert texts(line.newest()) == ["hi", "function_call", "left", "function_call_output"]


def test_warm_up_and_other_lanes_leave_pending_steers_alone() -> None:
    line, target = waiting_line()
    warm = line.create(previous_response_id=target, input=[OUTPUT], generate=False)
    line.end(warm, Finished())
    line.create(previous_response_id=target, input=[OUTPUT], stream_id="fork")
    assert all("left" not in texts(turn) for turn in line.turns.values())
    line.create(previous_response_id=target, input=[OUTPUT])
    assert texts(line.newest())[2:4] == ["left", "right"]


def test_queued_warm_up_does_not_keep_pending_steers_from_being_told() -> None:
    line = SteeredLine()
    target = line.created()
    line.call(target, "call_1")
    line.steer(target)
    line.send(type="response.create", model="m", previous_response_id=target, input=[OUTPUT], generate=False)
    line.end(target, Finished())
    assert line.take_frames("response.steer.pending")


def test_refused_successor_gives_the_steers_back_and_no_error_frame_comes() -> None:
    line = SteeredLine()
    target = line.created()
    accepted = line.steer(target, "two")
    line.frames.clear()
    line.refuse(line.newest().response_id)
    [failed] = line.take_frames()
    assert failed["error"]["code"] == "successor_creation_failed"
    assert failed["steer"] == {**accepted["steer"], "input": "two"}
    assert failed["sequence_number"] == accepted["sequence_number"] + 2
    assert texts(line.turns[line.create(previous_response_id=target, input="two")]) == ["hi", "two"]


def test_refused_create_gives_back_the_steers_that_it_took() -> None:
    line, target = waiting_line()
    line.frames.clear()
    line.refuse(line.create(previous_response_id=target, input=[OUTPUT]))
    frames = line.take_frames()
    assert types(frames) == ["error", "steer.failed", "steer.failed"]
    assert [frame["steer"]["input"] for frame in frames[1:]] == ["left", "right"]


def test_create_that_is_not_admitted_gives_back_the_steers_that_it_took() -> None:
    line, target = waiting_line()
    line.frames.clear()
    line.send(type="response.create", model="m", previous_response_id=target, input=[{**OUTPUT, "call_id": "call_9"}])
    assert types(line.take_frames()) == ["error", "steer.failed", "steer.failed"]


HALF, CALL = TextDelta("half"), ToolCallStarted(0, "call_1", "look")


@pytest.mark.parametrize(
    ("how", "began"), [("failed", HALF), ("cancelled", HALF), ("failed", CALL), ("cancelled", CALL), ("cut", CALL)]
)
def test_target_that_ends_badly_gives_its_steers_back(how: str, began: TextDelta | ToolCallStarted) -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, began)
    line.steer(target, [{"role": "user", "content": "two"}])
    if how == "cancelled":
        line.send(type="response.cancel", response_id=target)
    else:
        line.end(target, Failed(api_error("server_error", "x")) if how == "failed" else Finished("max_output_tokens"))
    frames = line.take_frames()
    assert types(frames)[-2:] == ["failed" if how == "failed" else "incomplete", "steer.failed"]
    assert frames[-1]["error"]["code"] == "successor_creation_failed"
    assert frames[-1]["steer"]["input"] == [{"role": "user", "content": "two"}]
    assert frames[-1]["sequence_number"] == frames[-2]["sequence_number"] + 1
    assert len(line.turns) == 1


def test_answer_cut_by_its_limit_is_followed_by_the_successor() -> None:
    line = SteeredLine()
    target = line.created()
    line.say(target, TextDelta("a"))
    line.steer(target)
    line.end(target, Finished("max_output_tokens"))
    assert line.newest().request.previous_response_id == target


@pytest.mark.parametrize(
    "input",
    [
        None,
        7,
        [],
        {},
        ["x"],
        [{"role": "assistant", "content": "x"}],
        [{"role": "system", "content": "x"}],
        [{"type": "function_call_output", "call_id": "c", "output": "x"}],
        [{"role": "user", "content": "x", "id": "msg_1"}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}],
        [{"role": "user", "content": [{"type": "input_text"}]}],
        [{"role": "user", "content": "fine"}, {"role": "user"}],
    ],
)
def test_other_input_than_user_messages_is_given_back(input: object) -> None:
    line = SteeredLine()
    target = line.created()
    failed = line.steer(target, input)
    assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "invalid_input")
    assert failed["error"]["type"] == "invalid_request_error"
    assert failed["steer"] == {"previous_response_id": target, "input": input}
    assert failed["sequence_number"] == 2
    line.end(target)
    assert len(line.turns) == 1


@pytest.mark.parametrize(
    "input",
    [
        "",
        [{"type": "message", "role": "user", "content": "x"}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "x"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                    {"type": "input_file", "file_data": "data:text/plain;base64,AA==", "filename": "a.txt"},
                ],
            },
            {"role": "user", "content": "y"},
        ],
    ],
)
def test_user_messages_of_text_images_and_files_are_taken(input: object) -> None:
    line = SteeredLine()
    assert line.steer(line.created(), input)["type"] == "response.steer.accepted"


@pytest.mark.parametrize(
    "frame",
    [
        {"stream_id": "a", "input": "x"},
        {"stream_id": None, "input": "x"},
        {"previous_response_id": 7, "input": "x"},
        {"previous_response_id": None},
    ],
)
def test_submission_of_the_wrong_shape_is_invalid(frame: dict[str, Any]) -> None:
    line = SteeredLine()
    line.send(**({"type": "response.steer", "previous_response_id": line.created()} | frame))
    assert line.frames[-1]["error"]["code"] == "invalid_input"


def test_steer_without_a_known_target_has_number_0_and_no_lane() -> None:
    line = SteeredLine()
    failed = line.steer("resp_unknown")
    assert (failed["error"]["code"], failed["sequence_number"]) == ("response_not_found", 0)
    assert "stream_id" not in failed
    assert "id" not in failed["steer"]


def test_steer_of_an_ended_response_goes_on_with_its_numbers() -> None:
    line = SteeredLine()
    target = line.created(stream_id="a")
    line.end(target)
    last = line.frames[-1]["sequence_number"]
    for number in (last + 1, last + 2):
        failed = line.steer(target)
        assert (failed["error"]["code"], failed["sequence_number"]) == ("response_already_completed", number)
        assert failed["stream_id"] == "a"


def test_response_that_is_not_created_yet_is_not_active() -> None:
    line = SteeredLine()
    assert line.steer(line.create())["error"]["code"] == "response_not_active"


def test_response_that_is_being_cancelled_is_not_active() -> None:
    line = SteeredLine()
    target = line.created()
    line.session.receive_frame(f'{{"type":"response.cancel","response_id":"{target}"}}', 0.0)
    assert line.steer(target)["error"]["code"] == "response_not_active"


def test_connection_past_its_age_takes_no_steers_but_applies_those_it_has() -> None:
    line = SteeredLine(max_age_s=60)
    target = line.created()
    line.say(target, TextDelta("a"))
    line.steer(target, "two")
    line.now = 61.0
    assert line.session.tick(line.now) == []
    assert line.steer(target)["error"]["code"] == "response_not_active"
    line.end(target)
    assert texts(line.newest()) == ["hi", "aok", "two"]


@pytest.mark.parametrize("fields", [{"generate": False}, {"conversation": "conv_1"}])
def test_warm_ups_and_conversations_cannot_be_steered(fields: dict[str, Any]) -> None:
    line = SteeredLine()
    failed = line.steer(line.created(**fields))
    assert failed["error"]["code"] == "steering_not_supported"


def test_thirty_third_pending_steer_is_refused() -> None:
    line = SteeredLine()
    target = line.created()
    line.call(target, "call_1")
    for _ in range(MAX_PENDING_STEERS):
        assert line.steer(target)["type"] == "response.steer.accepted"
    assert line.steer(target)["error"]["code"] == "too_many_pending_steers"
    line.end(target, Finished())
    assert len(line.take_frames("response.steer.pending")) == MAX_PENDING_STEERS


def test_pending_steers_are_bounded_in_bytes_over_the_connection() -> None:
    line = SteeredLine(max_queued_bytes=3000)
    first, second = line.created(stream_id="a"), line.created(stream_id="b")
    for target in (first, second):
        line.call(target, "call_1")
    assert line.steer(first, "x" * 1500)["type"] == "response.steer.accepted"
    assert line.steer(second, "x" * 1500)["error"]["code"] == "too_many_pending_steers"
    line.send(type="response.cancel", response_id=first)
    assert line.steer(second, "x" * 1500)["type"] == "response.steer.accepted"


def test_answers_that_nobody_reads_pile_up_where_the_edge_counts_them() -> None:
    line = SteeredLine(max_queued_bytes=3000)
    target = line.created()
    frame = json.dumps({"type": "response.steer", "previous_response_id": target, "input": [{"text": "x" * 1000}]})
    kinds = [type(command) for _ in range(8) for command in line.session.receive_frame(frame, 0.0)]
    assert kinds == [AnswerSteer] * 4 + [SendFrames] * 4


def test_closed_connection_says_nothing_of_its_steers() -> None:
    line = SteeredLine()
    target = line.created()
    line.call(target, "call_1")
    line.steer(target)
    line.frames.clear()
    line.session.close()
    line.end(target, Finished())
    assert line.frames == []
