"""Landline in front of a server's own WebSocket: unmodified clients, deltas upstream, and exactly the conversation."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from support.clients.codex import CODE_MODE_SLUG, CodexRun, run_codex
from support.clients.responses import ResponsesSocket
from support.fakes.chat import Script
from support.fakes.responses import AZURE, OPENAI, VERCEL, XAI, FakeResponses, Manners, Received, Step
from support.scripts.chat import Answer, call, custom_call
from support.servers.byte_relay import ByteRelay, client_messages, client_requests
from support.servers.running import RunningServer

CALLS = 20
VENDORS: dict[str, tuple[Manners, str]] = {
    "openai": (OPENAI, "socket = { lanes = 16 }"),
    "azure": (AZURE, ""),
    "xai": (XAI, 'instructions_with_previous = "omit"'),
    "vercel": (VERCEL, 'warm_up = "skip"\nsocket = { has_one_model = true, max_frame_bytes = 4194303 }'),
}


@contextmanager
def landline_at(base_url: str, folder: Path, settings: str = "") -> Generator[RunningServer]:
    """A Landline whose every model is reached over that server's sockets."""
    folder.mkdir()
    config = f"""
[targets.up]
dialect = "responses"
base_url = "{base_url}"
transport = "websocket"
{settings}
[models."*"]
targets = ["up"]
"""
    with RunningServer(config, folder) as landline:
        yield landline


def codex(landline: RunningServer | ByteRelay, folder: Path, *, model: str = "any", **options: Any) -> CodexRun:
    work_folder = folder / "work"
    work_folder.mkdir()
    return run_codex(
        "Do it.", base_url=landline.base_url, model=model, home=folder / "home", work_folder=work_folder, **options
    )


def shell_call(number: int) -> Answer:
    return Answer(reasoning=f"Step {number}.", calls=call("exec_command", cmd=f"echo number {number}").calls)


@pytest.mark.client
@pytest.mark.parametrize("vendor", VENDORS)
def test_codex_run_of_twenty_shell_calls_goes_upstream_as_deltas(vendor: str, tmp_path: Path) -> None:
    manners, settings = VENDORS[vendor]
    steps = [*(shell_call(number) for number in range(CALLS)), Answer("All done.")]
    fake = FakeResponses(*steps, manners=manners)
    with fake.in_thread(), landline_at(fake.base_url, tmp_path / "landline", settings) as landline:
        run = codex(landline, tmp_path)
    assert run.answer == "All done.", run.report
    fake.assert_conversation()
    assert len(fake.answered) == CALLS + 1
    assert len(fake.upgrades) == 1
    warm_ups = 0 if vendor == "vercel" else 1
    assert [each.is_warm_up for each in fake.received] == [True] * warm_ups + [False] * (CALLS + 1)
    first, *deltas = fake.answered
    assert (first.parent_id is None) == (vendor == "vercel")
    assert first.conversation[0]["role"] == "developer", "the warm-up's input comes first"
    assert [[item["type"] for item in each.body["input"]] for each in deltas] == [["function_call_output"]] * CALLS
    for number, received in enumerate(deltas):
        assert f"number {number}" in str(received.conversation[-1]["output"])
    assert {each.instructions for each in fake.received} == {fake.received[0].instructions}


@pytest.mark.client
def test_codex_over_http_goes_upstream_as_deltas(tmp_path: Path) -> None:
    fake = FakeResponses(*(shell_call(number) for number in range(CALLS)), Answer("All done."), manners=AZURE)
    with (
        fake.in_thread(),
        landline_at(fake.base_url, tmp_path / "landline") as landline,
        ByteRelay(landline.port) as relay,
    ):
        run = codex(relay, tmp_path, websockets=False)
    assert run.answer == "All done.", run.report
    fake.assert_conversation()
    posts = [body for each in relay.connections for _, body in client_requests(each)]
    assert len(posts) == CALLS + 1
    assert [len(each.body["input"]) for each in fake.received[1:]] == [1] * CALLS
    assert len(fake.upgrades) == 1


@pytest.mark.client
def test_codex_in_code_mode_goes_upstream_as_deltas(tmp_path: Path) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    fake = FakeResponses(custom_call("exec", script), custom_call("exec", script), Answer("All done."), manners=AZURE)
    with fake.in_thread(), landline_at(fake.base_url, tmp_path / "landline") as landline:
        run = codex(landline, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    fake.assert_conversation()
    assert [[item["type"] for item in each.body["input"]] for each in fake.answered[1:]] == [
        ["custom_tool_call_output"]
    ] * 2
    kinds = [item["type"] for item in fake.conversations[-1]]
    assert kinds.count("additional_tools") == 1


@pytest.mark.client
def test_codex_through_two_landlines(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    scenario = scripted(
        *(call("exec_command", cmd=f"echo number {number}") for number in range(CALLS)), Answer("Done.")
    )
    settings = "socket = { lanes = 16 }"
    with ByteRelay(landline.port) as relay, landline_at(relay.base_url, tmp_path / "first", settings) as first:
        run = codex(first, tmp_path, model=scenario.model)
    assert run.answer == "Done.", run.report
    scenario.assert_conversation()
    assert len(scenario.received) == CALLS + 1
    [connection] = relay.connections
    head = connection.response_head
    assert b"permessage-deflate" in head
    assert b"no_context_takeover" not in head
    frames = [json.loads(each) for each in client_messages(connection)]
    assert [frame.get("generate") for frame in frames] == [False] + [None] * (CALLS + 1)
    assert all(frame["previous_response_id"] for frame in frames[1:])
    assert [[item["type"] for item in frame["input"]] for frame in frames[2:]] == [["function_call_output"]] * CALLS


async def test_forking_lanes_reach_the_upstream_whole(tmp_path: Path) -> None:
    def choose(received: Received) -> Step:
        return Answer(f"answer to {received.conversation[-1]['content'][0]['text']}")

    fake = FakeResponses(choose=choose)
    with (
        fake.in_thread(),
        landline_at(fake.base_url, tmp_path / "landline", "socket = { lanes = 16 }") as landline,
    ):
        async with ResponsesSocket(landline.base_url) as socket:
            await socket.create(model="m", store=False, stream_id="main", input="root")
            root = (await socket.receive_until("response.completed"))[-1]["response"]["id"]
            parents = {f"lane-{number}": root for number in range(8)}
            for turn in range(3):
                for lane, parent in parents.items():
                    text = f"{lane} turn {turn}"
                    await socket.create(model="m", store=False, stream_id=lane, input=text, previous_response_id=parent)
                for _ in parents:
                    done = (await socket.receive_until("response.completed"))[-1]
                    parents[done["stream_id"]] = done["response"]["id"]
    assert [each.refused for each in fake.received if each.refused] == []
    assert len(fake.upgrades) == 1
    assert all(each.parent_id for each in fake.received[1:])
    for received in fake.received[1:]:
        texts = [item["content"][0]["text"] for item in received.conversation if item["role"] == "user"]
        lane = texts[-1].partition(" ")[0]
        assert texts == ["root", *(f"{lane} turn {turn}" for turn in range(len(texts) - 1))]


async def test_a_stored_chain_over_http_goes_upstream_as_deltas(tmp_path: Path) -> None:
    fake = FakeResponses(*(Answer(f"answer {number}") for number in range(4)), manners=AZURE)
    with fake.in_thread(), landline_at(fake.base_url, tmp_path / "landline") as landline:
        async with openai.AsyncOpenAI(base_url=landline.base_url, api_key="k", max_retries=0) as client:
            previous = None
            for number in range(4):
                response = await client.responses.create(
                    model="m", input=f"turn {number}", previous_response_id=previous
                )
                previous = response.id
                assert response.output_text == f"answer {number}"
            counted = await client.responses.input_tokens.count(model="m", input="one item")
            assert counted.input_tokens == 10
    fake.assert_conversation()
    assert [len(each.body["input"]) for each in fake.received] == [1] * 4
    assert [each.parent_id is None for each in fake.received] == [True, False, False, False]
