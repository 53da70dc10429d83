"""What a socket promises beyond the compliance list, over the real server: cancel, close, limits, wrong frames."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients.responses import ResponsesSocket
from support.fakes.chat import FakeChatServer, Script
from support.oracles.openresponses_schema import validate_error_frame, validate_stream
from support.scripts.chat import Answer
from support.servers.running import RunningServer

KEEPALIVES_OF_A_LIFE = 12
"""More silences of 0.1 s than the impatient Landline's age limit holds."""
SLOW = Answer("This takes a while, this takes a while.", pause_after=3)


@pytest.fixture(scope="module")
def impatient_landline(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline whose sockets may live for a second and whose keepalives come at once."""
    config = f"""
[limits]
max_age_s = 1.0
keepalive_s = 0.1
[targets.fake]
dialect = "chat_completions"
base_url = "{fake_chat.base_url}"
[models."*"]
targets = ["fake"]
"""
    with RunningServer(config, tmp_path_factory.mktemp("impatient")) as server:
        yield server


async def test_cancel_aborts_the_upstream_and_the_parent_stays(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("First."), SLOW, Answer("Third."))
    async with ResponsesSocket(landline.base_url) as socket:
        fields = {"model": scenario.model, "store": False}
        parent = validate_stream(await socket.turn(**fields, input="One."))
        await socket.create(**fields, previous_response_id=parent["id"], input="Two.")
        events = await socket.receive_until("response.output_text.delta")
        await socket.send({"type": "response.cancel", "response_id": events[0]["response"]["id"]})
        events += await socket.receive_until("response.incomplete")
        cancelled = validate_stream(events)
        assert cancelled["incomplete_details"] == {"reason": "cancelled"}
        await asyncio.to_thread(scenario.wait_for_abort)
        again = validate_stream(await socket.turn(**fields, previous_response_id=parent["id"], input="Three."))
    assert again["status"] == "completed"
    assert [message["role"] for message in scenario.received[2].messages] == ["user", "assistant", "user"]


async def test_clean_close_aborts_the_upstream(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(SLOW)
    async with ResponsesSocket(landline.base_url) as socket:
        await socket.create(model=scenario.model, store=False, input="Go.")
        await socket.receive_until("response.output_text.delta")
    await asyncio.to_thread(scenario.wait_for_abort)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{not json", "invalid_json"),
        ('{"type": "response.sing"}', "invalid_event_type"),
        ('{"type": "response.create", "model": 7}', "invalid_value"),
        ('{"type": "response.create", "model": "m", "background": true}', "unsupported_parameter"),
        ('{"type": "response.create", "model": "m"}', "missing_required_parameter"),
    ],
)
async def test_wrong_frame_is_answered_and_the_socket_goes_on(
    frame: str, code: str, landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("Still here."))
    async with ResponsesSocket(landline.base_url) as socket:
        await socket.send_text(frame)
        refused = await socket.receive()
        validate_error_frame(refused)
        assert (refused["status"], refused["error"]["code"]) == (400, code)
        validate_stream(await socket.turn(model=scenario.model, store=False, input="Go."))


async def test_silence_is_filled_with_numbered_text_frames(impatient_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(SLOW)
    async with ResponsesSocket(impatient_landline.base_url) as socket:
        await socket.create(model=scenario.model, store=False, input="Go.")
        events = await socket.receive_until("keepalive")
        events += await socket.receive_until("keepalive")
        scenario.release()
        events += await socket.receive_until("response.completed")
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_age_limit_lets_the_running_turn_finish(impatient_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(SLOW)
    async with ResponsesSocket(impatient_landline.base_url) as socket:
        await socket.create(model=scenario.model, store=False, input="Go.")
        for _ in range(KEEPALIVES_OF_A_LIFE):
            await socket.receive_until("keepalive")
        await socket.create(model=scenario.model, store=False, stream_id="too-late", input="Go.")
        refused = (await socket.receive_until("error"))[-1]
        validate_error_frame(refused)
        assert refused["error"]["code"] == "websocket_connection_limit_reached"
        scenario.release()
        await socket.receive_until("response.completed")
        assert await socket.receive_close() == 1001


async def test_termination_finishes_the_running_turn(
    fake_chat: FakeChatServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(SLOW)
    config = f"""
[targets.fake]
dialect = "chat_completions"
base_url = "{fake_chat.base_url}"
[models."*"]
targets = ["fake"]
"""
    with RunningServer(config, tmp_path) as server:
        async with ResponsesSocket(server.base_url) as busy, ResponsesSocket(server.base_url) as idle:
            await busy.create(model=scenario.model, store=False, input="Go.")
            await busy.receive_until("response.output_text.delta")
            server.send_signal(signal.SIGTERM)
            assert await idle.receive_close() == 1001
            scenario.release()
            await busy.receive_until("response.completed")
            assert await busy.receive_close() == 1001
        assert await asyncio.to_thread(server.wait) == 0


async def test_binary_frames_of_json_are_read(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Read."))
    async with ResponsesSocket(landline.base_url) as socket:
        frame = {"type": "response.create", "store": False, "input": "Go.", "model": scenario.model}
        await socket.send_bytes(json.dumps(frame).encode())
        validate_stream(await socket.receive_until("response.completed"))
