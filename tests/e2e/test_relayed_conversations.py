"""Conversations through Landline with a server that speaks Responses: its model sees each of them whole, once, in order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.clients.codex import CODE_MODE_SLUG, CodexRun, run_codex
from support.clients.responses import ResponsesSocket, post
from support.fakes.chat import Script
from support.fakes.responses import FakeResponses, Reply
from support.scripts.chat import Answer, Call, call
from support.servers.relaying import ENCRYPTED, TOOL, USER
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 20
LOOK = Reply("Let me look.", reasoning="Where is it?", calls=[Call("look", {})])


async def test_chain_by_id_shows_the_model_the_whole_conversation(
    upstream: FakeResponses, relay: RunningServer
) -> None:
    upstream.play(*(LOOK for _ in range(3)), Reply("Done."))
    parent_id, given = None, [USER]
    for _ in range(4):
        body = {"model": "m", "input": given, "tools": [TOOL], "previous_response_id": parent_id}
        status, response = await post(relay.base_url, body)
        assert status == 200, response
        parent_id = response["id"]
        calls = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
        given = [{"type": "function_call_output", "call_id": each, "output": "here"} for each in calls]
    upstream.assert_conversation()
    assert len(upstream.answered) == 4
    assert all("previous_response_id" not in each.body for each in upstream.received)


async def test_warm_up_is_answered_here_and_its_input_reaches_the_model_once(
    upstream: FakeResponses, relay: RunningServer
) -> None:
    upstream.play(Reply("Hello."))
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]}
    async with ResponsesSocket(relay.base_url) as socket:
        warm = await socket.turn(model="m", generate=False, store=False, input=[developer])
        parent_id = warm[-1]["response"]["id"]
        answered = await socket.turn(model="m", store=False, previous_response_id=parent_id, input=[USER])
    assert answered[-1]["type"] == "response.completed"
    assert upstream.conversations == [[developer, USER]]


async def test_steer_is_applied_between_items(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(Reply("Never said.", reasoning="A long thought.", pause_after=5), Reply("As you wish."))
    async with ResponsesSocket(relay.base_url) as socket:
        await socket.create(model="m", store=False, input=[USER], include=[ENCRYPTED])
        begun = await socket.receive_until("response.output_item.added")
        steer = {**USER, "content": "Be brief."}
        parent_id = begun[0]["response"]["id"]
        await socket.send({"type": "response.steer", "previous_response_id": parent_id, "input": [steer]})
        await socket.receive_until("response.steer.accepted")
        upstream.release()
        steered = await socket.receive_until("response.incomplete")
        successor = await socket.receive_until("response.completed")
    assert steered[-1]["response"]["incomplete_details"] == {"reason": "steered"}
    assert [item["type"] for item in steered[-1]["response"]["output"]] == ["reasoning"]
    assert successor[-1]["response"]["previous_response_id"] == parent_id
    assert [each.refused for each in upstream.received if each.refused] == []
    assert upstream.received[1].conversation == [USER, steer], "reasoning that led to nothing is not said"


async def test_compaction_is_the_upstreams_own(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(Reply("Noted."), Reply(), Reply("Still here."))
    async with ResponsesSocket(relay.base_url) as socket:
        first = (await socket.turn(model="m", store=False, input=[USER]))[-1]["response"]
        trigger = {"type": "compaction_trigger"}
        compacted = await socket.turn(model="m", store=False, previous_response_id=first["id"], input=[trigger])
        [compaction] = compacted[-1]["response"]["output"]
        assert compaction["encrypted_content"].startswith("gAAAA")
        window = [USER, compaction, {**USER, "content": "And now?"}]
        last = await socket.turn(model="m", store=False, input=window)
    assert last[-1]["type"] == "response.completed"
    assert upstream.received[1].body["input"][-1] == trigger
    assert upstream.received[2].body["input"] == window


async def test_standalone_compaction_keeps_the_user_messages(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(Reply(), Reply("Still here."))
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        question: Any = {"role": "user", "content": "What is it?"}
        answer: Any = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It."}]}
        window = await client.responses.compact(model="m", input=[question, answer])
        assert [item.type for item in window.output] == ["message", "compaction"]
        again: Any = [*(item.to_dict(warnings=False) for item in window.output), USER]
        response = await client.responses.create(model="m", input=again, store=False)
    assert response.output_text == "Still here."
    assert [item["type"] for item in upstream.conversations[1]] == ["message", "compaction", "message"]


async def test_landline_compacts_with_the_upstreams_model_where_it_is_told_to(
    upstream: FakeResponses, relay: RunningServer
) -> None:
    upstream.play(Reply("All that matters."), Reply("Still here."))
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        window = await client.responses.compact(model="own", input="What is it?")
        again: Any = [*(item.to_dict(warnings=False) for item in window.output), USER]
        response = await client.responses.create(model="own", input=again, store=True)
    assert response.output_text == "Still here."
    assert "All that matters." in str(upstream.conversations[1])
    assert all(each.body["store"] is False for each in upstream.received)


@pytest.mark.parametrize("fields", [{"store": True}, {"store": False, "reasoning": {"effort": "low"}}], ids=str)
async def test_reasoning_is_given_back_though_the_client_did_not_ask_for_it(
    upstream: FakeResponses, relay: RunningServer, fields: dict[str, Any]
) -> None:
    upstream.play(*(LOOK for _ in range(3)), Reply("Done."))
    await _answer_calls(relay, {**fields, "tools": [TOOL]})
    upstream.assert_conversation()
    assert len(upstream.answered) == 4
    assert ("include" in upstream.received[0].body) is not fields["store"]


async def test_model_is_known_to_reason_once_it_did(upstream: FakeResponses, relay: RunningServer) -> None:
    """Nothing said before that it does; what it thought first cannot be given back."""
    upstream.play(*(LOOK for _ in range(3)), Reply("Done."))
    await _answer_calls(relay, {"store": False, "tools": [TOOL]})
    assert [each.refused for each in upstream.received if each.refused] == []
    kinds = [[item["type"] for item in conversation] for conversation in upstream.conversations]
    assert [each.count("reasoning") for each in kinds] == [0, 0, 1, 2]
    assert [each.count("function_call") for each in kinds] == [0, 1, 2, 3]


async def _answer_calls(relay: RunningServer, create: dict[str, Any]) -> None:
    """A chain of turns on one socket, until a turn makes no call."""
    given: list[Any] = [USER]
    async with ResponsesSocket(relay.base_url) as socket:
        response = (await socket.turn(model="m", **create, input=given))[-1]["response"]
        while response["output"][-1]["type"] == "function_call":
            given = [{"type": "function_call_output", "call_id": response["output"][-1]["call_id"], "output": "here"}]
            turn = await socket.turn(model="m", **create, previous_response_id=response["id"], input=given)
            response = turn[-1]["response"]


async def test_reasoning_that_the_upstream_cannot_read_is_left_out_quietly(
    upstream: FakeResponses, relay: RunningServer
) -> None:
    upstream.play(LOOK, Reply("Done."))
    async with ResponsesSocket(relay.base_url) as socket:
        create: dict[str, Any] = {"model": "m", "store": False, "include": [ENCRYPTED]}
        first = (await socket.turn(**create, input=[USER], tools=[TOOL]))[-1]["response"]
        upstream.issued.sealed.clear()
        call_id = first["output"][-1]["call_id"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "here"}
        events = await socket.turn(**create, previous_response_id=first["id"], input=[output])
    assert events[-1]["type"] == "response.completed"
    refused, answered = upstream.received[1:]
    assert refused.refused is not None
    assert "could not be verified" in refused.refused
    assert [item["type"] for item in answered.conversation] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]


@pytest.fixture(scope="module")
def before_landline(landline: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline in front of another one."""
    target = f'dialect = "responses"\nbase_url = "{landline.base_url}"\nforeign_reasoning = "send"'
    config = f'[targets.up]\n{target}\n[models."*"]\ntargets = ["up"]\n'
    with RunningServer(config, tmp_path_factory.mktemp("before")) as server:
        yield server


async def test_another_landline_gets_its_sealed_reasoning_back(
    before_landline: RunningServer, scripted: Script
) -> None:
    looking = Answer("Looking.", reasoning="Where is it?", calls=(Call("look", {}),))
    scenario = scripted(looking, looking, Answer("Found."))
    given: list[Any] = [USER]
    create: dict[str, Any] = {"model": scenario.model, "store": False, "tools": [TOOL]}
    output: list[Any] = []
    async with ResponsesSocket(before_landline.base_url) as socket:
        for _ in range(3):
            events = await socket.turn(**create, include=["reasoning.encrypted_content"], input=given)
            output = events[-1]["response"]["output"]
            calls = [item["call_id"] for item in output if item["type"] == "function_call"]
            given += output
            given += [{"type": "function_call_output", "call_id": each, "output": "here"} for each in calls]
    assert output[-1]["content"][0]["text"] == "Found."
    scenario.assert_conversation()
    thoughts = [each.get("reasoning_content") for each in scenario.received[-1].messages]
    assert thoughts.count("Where is it?") == 2


async def test_another_landline_compacts_and_reads_its_compaction(
    before_landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("All that matters."), Answer("Still here."))
    async with ResponsesSocket(before_landline.base_url) as socket:
        create: dict[str, Any] = {"model": scenario.model, "store": False}
        events = await socket.turn(**create, input=[USER, {"type": "compaction_trigger"}])
        [compaction] = events[-1]["response"]["output"]
        assert compaction["type"] == "compaction"
        parent_id = events[-1]["response"]["id"]
        last = await socket.turn(**create, input=[USER], previous_response_id=parent_id)
    assert last[-1]["response"]["output"][0]["content"][0]["text"] == "Still here."
    assert "All that matters." in str(scenario.received[1].messages)


def test_codex_run_of_twenty_shell_calls(upstream: FakeResponses, relay: RunningServer, tmp_path: Path) -> None:
    upstream.play(*(_shell_call(number) for number in range(CALLS)), Answer("All done."))
    run = _run_codex(relay, tmp_path)
    assert run.answer == "All done.", run.report
    upstream.assert_conversation()
    assert len(upstream.answered) == CALLS + 1
    for number, received in enumerate(upstream.answered[1:]):
        assert f"number {number}" in str(received.conversation[-1]["output"])
        kinds = [item["type"] for item in received.conversation]
        assert [kinds.count(kind) for kind in ("reasoning", "function_call", "function_call_output")] == [
            number + 1
        ] * 3
        assert received.conversation[0]["role"] == "developer", "the warm-up's input comes first"


def test_codex_in_code_mode_keeps_tools_and_custom_calls(
    upstream: FakeResponses, relay: RunningServer, tmp_path: Path
) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    upstream.play(*(Answer(calls=(Call("exec", input=script),)) for _ in range(2)), Answer("All done."))
    run = _run_codex(relay, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    upstream.assert_conversation()
    kinds = [item["type"] for item in upstream.conversations[-1]]
    assert kinds.count("additional_tools") == 1
    assert kinds.count("custom_tool_call") == kinds.count("custom_tool_call_output") == 2
    assert "from code mode" in str(upstream.conversations[-1][-1]["output"])


def _shell_call(number: int) -> Answer:
    return Answer(reasoning=f"Step {number}.", calls=call("exec_command", cmd=f"echo number {number}").calls)


def _run_codex(relay: RunningServer, folder: Path, like: str = "") -> CodexRun:
    work_folder = folder / "work"
    work_folder.mkdir()
    prompt = "Do what is to be done."
    return run_codex(
        prompt, base_url=relay.base_url, model="m", home=folder / "home", work_folder=work_folder, like=like
    )
