"""A replay is one request a turn: everything over HTTP, what is new over the socket; and what went wrong is in its result."""

import json

import pytest

from landline.agent import Endpoint
from landline.agent.connection import Transport
from landline.workload import Task, make_task, recorded_profile, replay_task
from support.fakes.responses import Fail, FakeResponses, Reply

CALL = Reply(calls=[("run_command", "{}")])


def task(calls: int = 2) -> Task:
    return make_task(recorded_profile(), calls)


def kinds(items: list[dict[str, object]]) -> list[object]:
    return [item["type"] for item in items]


@pytest.mark.parametrize("transport", ["http", "ws"])
async def test_server_reads_the_same_conversation_over_both(transport: Transport) -> None:
    replayed = task()
    async with FakeResponses(CALL, CALL, Reply("done")).serving() as fake:
        replay = await replay_task(replayed, Endpoint(base_url=fake.base_url, transport=transport), "m")
    assert (replay.failure, replay.transport, len(replay.turns)) == (None, transport, 3)
    last = fake.conversations[-1]
    assert kinds(last) == ["message"] * 4 + ["function_call", "function_call_output"] * 2
    assert [item["output"] for item in last if item["type"] == "function_call_output"] == [
        step.output for step in replayed.steps
    ]


async def test_socket_carries_only_new_items_and_the_tools_again() -> None:
    async with FakeResponses(CALL, CALL, Reply("done")).serving() as fake:
        replay = await replay_task(task(), Endpoint(base_url=fake.base_url), "m")
    frames = [json.loads(frame) for frame in fake.frames]
    assert [len(frame["input"]) for frame in frames] == [4, 1, 1]
    assert all(len(frame["tools"]) == len(recorded_profile().tools) for frame in frames)
    assert [turn.is_delta for turn in replay.turns] == [False, True, True]


async def test_every_turn_must_call_but_the_last_which_must_not() -> None:
    async with FakeResponses(CALL, CALL, Reply("done")).serving() as fake:
        await replay_task(task(), Endpoint(base_url=fake.base_url), "m")
    assert [json.loads(frame)["tool_choice"] for frame in fake.frames] == ["required", "required", "none"]


async def test_model_that_does_not_call_is_told_the_output_as_a_message() -> None:
    replayed = task(1)
    async with FakeResponses(Reply("I know."), Reply("done")).serving() as fake:
        replay = await replay_task(replayed, Endpoint(base_url=fake.base_url), "m")
    assert replay.failure is None
    assert fake.conversations[-1][-1]["content"] == replayed.steps[0].output


async def test_second_call_of_one_turn_gets_an_empty_output() -> None:
    two = Reply(calls=[("run_command", "{}"), ("run_command", "{}")])
    replayed = task(1)
    async with FakeResponses(two, Reply("done")).serving() as fake:
        await replay_task(replayed, Endpoint(base_url=fake.base_url), "m")
    assert [item["output"] for item in fake.conversations[-1][-2:]] == [replayed.steps[0].output, ""]


async def test_failure_ends_the_replay_with_the_turns_so_far() -> None:
    refused = Fail({"status": 401, "error": {"code": "invalid_api_key", "message": "no"}})
    seen: list[bool] = []
    async with FakeResponses(CALL, refused).serving() as fake:
        replay = await replay_task(
            task(), Endpoint(base_url=fake.base_url), "m", on_turn=lambda turn: seen.append(turn.is_delta)
        )
    assert replay.failure is not None
    assert "invalid_api_key" in replay.failure
    assert len(replay.turns) == 2
    assert seen == [False, True]
