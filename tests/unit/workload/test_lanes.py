"""Replays in lanes of one socket: each gets its own events, at the same time, and what goes wrong is in its result."""

import asyncio
from pathlib import Path

import pytest

from landline.workload import ModelPace, make_task, open_lanes, recorded_profile, replay_on, scripted_turns
from support.fakes.responses import FakeResponses
from support.servers.byte_relay import ByteRelay
from support.servers.running import RunningServer

NAMES = ("one", "two", "three")
PACE = ModelPace(first_token_ms=30, tokens_per_s=10_000)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    """A server that plays the script of a task with three calls."""
    transcript = tmp_path / "transcript.jsonl"
    transcript.write_bytes(scripted_turns(make_task(recorded_profile(), 3), PACE))
    return f'[targets.script]\ndialect = "scripted"\ntranscript = "{transcript}"\n[models."*"]\ntargets = ["script"]\n'


async def test_lanes_replay_their_tasks_at_the_same_time(configuration: str, tmp_path: Path) -> None:
    tasks = [make_task(recorded_profile(), 3, seed=seed) for seed in range(len(NAMES))]
    with RunningServer(configuration, tmp_path) as server, ByteRelay(server.port) as relay:
        base_url = f"http://127.0.0.1:{relay.port}/v1"
        async with open_lanes(base_url, NAMES) as lanes:
            replays = await asyncio.gather(
                *(replay_on(lane, task, "m") for lane, task in zip(lanes, tasks, strict=True))
            )
    for replay in replays:
        assert (replay.failure, replay.transport, len(replay.turns)) == (None, "ws", 4)
        assert [turn.is_delta for turn in replay.turns] == [False, True, True, True]
    assert relay.sent_bytes < sum(task.full_history_bytes for task in tasks)


async def test_a_server_without_sockets_ends_every_replay_with_the_reason() -> None:
    async with open_lanes("http://127.0.0.1:9/v1", NAMES) as lanes:
        replays = [await replay_on(lane, make_task(recorded_profile(), 1), "m") for lane in lanes]
    assert all(replay.failure is not None and len(replay.turns) == 1 for replay in replays)


async def test_a_server_without_lanes_fails_the_turns() -> None:
    async with FakeResponses().serving() as fake, open_lanes(fake.base_url, NAMES[:2]) as lanes:
        replays = await asyncio.gather(
            *(replay_on(lane, make_task(recorded_profile(), 1, seed=number), "m") for number, lane in enumerate(lanes))
        )
    assert all(replay.failure is not None for replay in replays)
