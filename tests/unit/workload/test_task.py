"""A task has the sizes of its profile, and its script is one that a scripted target plays."""

import json

import pytest

from landline.upstream.script import decode_script
from landline.workload import ModelPace, make_task, model_s, recorded_profile, scripted_turns
from landline.workload.task import TOOL_NAME

PACE = ModelPace(first_token_ms=400, tokens_per_s=100)


def test_messages_and_tools_have_the_recorded_sizes() -> None:
    profile = recorded_profile()
    task = make_task(profile)
    assert [len(message) for message in task.messages] == [shape.size_bytes for shape in profile.messages]
    assert [json.loads(message)["role"] for message in task.messages] == [shape.role for shape in profile.messages]
    tools = json.loads(task.tools)
    assert [len(json.dumps(tool, separators=(",", ":"))) for tool in tools] == profile.tools
    assert tools[0]["name"] == TOOL_NAME
    assert len({tool["name"] for tool in tools}) == len(tools)


def test_calls_and_outputs_have_the_recorded_sizes_inside_their_strings() -> None:
    profile = recorded_profile()
    task = make_task(profile)
    [shape] = profile.calls
    assert len(task.steps) == profile.calls_made == 20
    assert {len(json.dumps(step.arguments)) - 2 for step in task.steps} == {shape.arguments_bytes}
    assert {len(json.dumps(step.output)) - 2 for step in task.steps} == {shape.output_bytes}
    assert all(json.loads(step.arguments)["command"] for step in task.steps)


def test_every_output_is_another_text() -> None:
    assert len({step.output for step in make_task(recorded_profile(), 50).steps}) == 50


def test_full_history_is_what_a_stateless_client_would_send_about() -> None:
    task = make_task(recorded_profile(), 3)
    told = sum(map(len, task.messages)) + len(task.tools)
    steps = [len(step.arguments) + len(step.output) for step in task.steps]
    assert task.full_history_bytes == 4 * told + 3 * steps[0] + 2 * steps[1] + steps[2]


def test_script_makes_the_calls_of_the_task_and_says_its_answer() -> None:
    task = make_task(recorded_profile(), 3)
    script = decode_script(scripted_turns(task, PACE))
    *calls, answer = [[json.loads(json.dumps(step)) for step in turn] for turn in turns_of(task)]
    assert [turn.expect.last_item for turn in script.turns if turn.expect] == ["message", *["function_call_output"] * 3]
    assert [call[-1]["arguments"] for call in calls] == [step.arguments for step in task.steps]
    assert "".join(step["text"] for step in answer if step["type"] == "text") == task.answer
    assert script.after_last == "fail"


def turns_of(task: object) -> list[list[dict[str, str]]]:
    lines = scripted_turns(task, PACE).splitlines()[1:]  # pyright: ignore[reportArgumentType]
    return [json.loads(line)["steps"] for line in lines]


@pytest.mark.parametrize("calls", [1, 20])
def test_models_time_is_that_of_the_delays_in_its_script(calls: int) -> None:
    task = make_task(recorded_profile(), calls)
    delays = [step["ms"] for turn in turns_of(task) for step in turn if step["type"] == "delay"]
    assert sum(map(float, delays)) / 1000 == pytest.approx(model_s(task, PACE))
    assert model_s(task, PACE) > (calls + 1) * 0.4
