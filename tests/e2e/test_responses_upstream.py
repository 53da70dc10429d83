"""Landline in front of a server that speaks Responses itself: its clients see what it says, and it sees what they said."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from chat_script import Answer, Call, call
from codex_cli import CODE_MODE_SLUG, CodexRun, run_codex
from fake_chat_server import Script
from fake_responses_server import Fail, FakeResponses, Reply
from responses_client import ResponsesSocket, post, stream
from responses_script import STRANGE, Object
from running_server import RunningServer

pytestmark = pytest.mark.client

KEY = "sk-upstream-0123456789"
CALLS = 20
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]}
ENCRYPTED = "reasoning.encrypted_content"
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
CUSTOM_TOOL = {"type": "custom", "name": "patch"}
_IDS = re.compile(r"\b(resp_|msg_|fc_|rs_|ctc_|call_|it_|note_|gAAAA-[a-z]+-)[0-9a-f_]+\b")


@pytest.fixture(scope="module")
def server() -> Iterator[FakeResponses]:
    fake = FakeResponses(key=KEY)
    with fake.in_thread():
        yield fake


@pytest.fixture(scope="module")
def relay(server: FakeResponses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline whose models are all that server's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANDLINE_TEST_UPSTREAM_KEY", KEY)
        environment.setenv("LANDLINE_TEST_WRONG_KEY", "sk-wrong-0123456789")
        with RunningServer(_config(server.base_url), tmp_path_factory.mktemp("relay")) as landline:
            yield landline


def _config(base_url: str) -> str:
    target = f'dialect = "responses"\nbase_url = "{base_url}"\napi_key_env'
    return f"""
[targets.up]
{target} = "LANDLINE_TEST_UPSTREAM_KEY"
[targets.locked]
{target} = "LANDLINE_TEST_WRONG_KEY"
[targets.own]
{target} = "LANDLINE_TEST_UPSTREAM_KEY"
compaction = "landline"
store = "never"
[models."*"]
targets = ["up"]
[models."locked"]
targets = ["locked"]
[models."own"]
targets = ["own"]
"""


def normal(value: Any) -> Any:
    """The value without what may differ: ids, and the numbers of the first events."""
    match value:
        case dict():
            return {name: normal(each) for name, each in value.items() if name != "sequence_number"}
        case list():
            return [normal(each) for each in value]
        case str():
            return _IDS.sub(r"\1…", value)
        case _:
            return value


ANSWERS: Mapping[str, Reply] = {
    "text": Reply("Hello there, in several pieces."),
    "reasoning and call": Reply("Let me look.", reasoning="Where is it?", calls=[Call("look", {})]),
    "parallel calls": Reply(calls=[Call("look", {}), Call("look", {"a": 1})]),
    "custom call": Reply(calls=[Call("patch", input="*** Begin\né")]),
    "refusal": Reply(refusal="I will not."),
    "incomplete": Reply("Cut off", incomplete="max_output_tokens"),
    "filtered": Reply("Cut", incomplete="content_filter"),
    "other end": Reply("Cut", incomplete="max_messages"),
    "strange": Reply("Hm.", is_strange=True, reasoning="So.", calls=[Call("look", {})]),
    "hosted call": Reply("Found.", items=[{"type": "web_search_call", "status": "completed", "action": {"q": "x"}}]),
    "terminal only": Reply("Hello.", is_terminal_only=True),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_client_sees_the_same_events_as_directly(server: FakeResponses, relay: RunningServer, name: str) -> None:
    server.play(ANSWERS[name], ANSWERS[name])
    seen: list[list[Any]] = []
    for base_url, key in ((server.base_url, KEY), (relay.base_url, "client-key")):
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            events = await client.responses.create(
                model="m", input="Go.", tools=[TOOL, CUSTOM_TOOL], stream=True, extra_body={"vendor_x": [1]}
            )
            seen.append([normal(event.to_dict(warnings=False)) async for event in events])
    assert seen[1] == seen[0]
    direct, relayed = server.received
    assert relayed.body == {**direct.body, "input": relayed.body["input"]}
    assert relayed.conversation == direct.conversation


@pytest.mark.parametrize("name", ANSWERS)
async def test_client_sees_the_same_response_as_directly(
    server: FakeResponses, relay: RunningServer, name: str
) -> None:
    server.play(ANSWERS[name], ANSWERS[name])
    seen: list[Any] = []
    for base_url, key in ((server.base_url, KEY), (relay.base_url, "client-key")):
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            response = await client.responses.create(model="m", input="Go.", tools=[TOOL, CUSTOM_TOOL], store=False)
            seen.append(normal(response.to_dict(warnings=False)))
    assert seen[1] == seen[0]


async def test_failed_response_is_the_upstreams_behind_an_error_event(
    server: FakeResponses, relay: RunningServer
) -> None:
    """Open Responses wants the `error` event on event streams, whoever made the response."""
    server.play(Reply("Half an", is_strange=True, fail_with={"code": "server_error", "message": "The model broke."}))
    events = await stream(relay.base_url, {"model": "m", "input": "Go."})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["code"] == "upstream_error"
    told = json.loads(server.events_sent[-1])
    assert normal(events[-1]) == normal(told)


async def test_numbers_and_response_ids_are_ours(server: FakeResponses, relay: RunningServer) -> None:
    server.play(ANSWERS["strange"])
    events = await stream(relay.base_url, {"model": "m", "input": "Go.", "tools": [TOOL]})
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    assert server.received[0].response_id not in ids


async def test_strange_values_keep_their_bytes_both_ways(server: FakeResponses, relay: RunningServer) -> None:
    server.play(ANSWERS["strange"], Reply("Done."))
    body = {"model": "m", "input": [USER], "tools": [TOOL], "stream": True, "store": False, "include": [ENCRYPTED]}
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{relay.base_url}/responses") as socket:
        await socket.send_json({"type": "response.create", **body})
        frames = [await socket.receive_str()]
        while '"type":"response.completed"' not in frames[-1]:
            frames.append(await socket.receive_str())
        told = b"".join(server.events_sent).count(STRANGE)
        assert told == "".join(frames).encode().count(STRANGE) > 10
        answer = [each for each in server.received[0].output if each["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": answer[0]["call_id"], "output": "x"}
        parent_id = json.loads(frames[-1])["response"]["id"]
        await socket.send_json(
            {"type": "response.create", **body, "input": [output], "previous_response_id": parent_id}
        )
        while '"type":"response.completed"' not in await socket.receive_str():
            pass
    server.assert_conversation()
    assert server.bodies[1].count(STRANGE) == 5, "the items and their fields, as they came"


async def test_chain_by_id_shows_the_model_the_whole_conversation(server: FakeResponses, relay: RunningServer) -> None:
    server.play(*(ANSWERS["reasoning and call"] for _ in range(3)), Reply("Done."))
    parent_id, given = None, [USER]
    for _ in range(4):
        body = {"model": "m", "input": given, "tools": [TOOL], "previous_response_id": parent_id}
        status, response = await post(relay.base_url, body)
        assert status == 200, response
        parent_id = response["id"]
        calls = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
        given = [{"type": "function_call_output", "call_id": each, "output": "here"} for each in calls]
    server.assert_conversation()
    assert len(server.answered) == 4
    assert all("previous_response_id" not in each.body for each in server.received)


async def test_warm_up_is_answered_here_and_its_input_reaches_the_model_once(
    server: FakeResponses, relay: RunningServer
) -> None:
    server.play(Reply("Hello."))
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]}
    async with ResponsesSocket(relay.base_url) as socket:
        warm = await socket.turn(model="m", generate=False, store=False, input=[developer])
        parent_id = warm[-1]["response"]["id"]
        answered = await socket.turn(model="m", store=False, previous_response_id=parent_id, input=[USER])
    assert answered[-1]["type"] == "response.completed"
    assert server.conversations == [[developer, USER]]


async def test_stored_response_is_the_one_that_was_told(server: FakeResponses, relay: RunningServer) -> None:
    server.play(ANSWERS["strange"])
    told = (await stream(relay.base_url, {"model": "m", "input": "Go.", "tools": [TOOL]}))[-1]["response"]
    async with aiohttp.ClientSession() as http, http.get(f"{relay.base_url}/responses/{told['id']}") as reply:
        body = await reply.read()
    assert json.loads(body) == told
    assert body.count(STRANGE) == 6, "five items' fields and the response's own"


async def test_response_in_the_background_is_relayed_too(server: FakeResponses, relay: RunningServer) -> None:
    server.play(ANSWERS["text"])
    events = await stream(relay.base_url, {"model": "m", "input": "Go.", "background": True})
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert events[-1]["response"]["model"] == "m-2026-11-01"
    assert "background" not in server.received[0].body


async def test_steer_is_applied_between_items(server: FakeResponses, relay: RunningServer) -> None:
    server.play(Reply("Never said.", reasoning="A long thought.", pause_after=5), Reply("As you wish."))
    async with ResponsesSocket(relay.base_url) as socket:
        await socket.create(model="m", store=False, input=[USER], include=[ENCRYPTED])
        begun = await socket.receive_until("response.output_item.added")
        steer = {**USER, "content": "Be brief."}
        parent_id = begun[0]["response"]["id"]
        await socket.send({"type": "response.steer", "previous_response_id": parent_id, "input": [steer]})
        await socket.receive_until("response.steer.accepted")
        server.release()
        steered = await socket.receive_until("response.incomplete")
        successor = await socket.receive_until("response.completed")
    assert steered[-1]["response"]["incomplete_details"] == {"reason": "steered"}
    assert [item["type"] for item in steered[-1]["response"]["output"]] == ["reasoning"]
    assert successor[-1]["response"]["previous_response_id"] == parent_id
    assert [each.refused for each in server.received if each.refused] == []
    assert server.received[1].conversation == [USER, steer], "reasoning that led to nothing is not said"


async def test_compaction_is_the_upstreams_own(server: FakeResponses, relay: RunningServer) -> None:
    server.play(Reply("Noted."), Reply(), Reply("Still here."))
    async with ResponsesSocket(relay.base_url) as socket:
        first = (await socket.turn(model="m", store=False, input=[USER]))[-1]["response"]
        trigger = {"type": "compaction_trigger"}
        compacted = await socket.turn(model="m", store=False, previous_response_id=first["id"], input=[trigger])
        [compaction] = compacted[-1]["response"]["output"]
        assert compaction["encrypted_content"].startswith("gAAAA")
        window = [USER, compaction, {**USER, "content": "And now?"}]
        last = await socket.turn(model="m", store=False, input=window)
    assert last[-1]["type"] == "response.completed"
    assert server.received[1].body["input"][-1] == trigger
    assert server.received[2].body["input"] == window


async def test_standalone_compaction_keeps_the_user_messages(server: FakeResponses, relay: RunningServer) -> None:
    server.play(Reply(), Reply("Still here."))
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        question: Any = {"role": "user", "content": "What is it?"}
        answer: Any = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It."}]}
        window = await client.responses.compact(model="m", input=[question, answer])
        assert [item.type for item in window.output] == ["message", "compaction"]
        again: Any = [*(item.to_dict(warnings=False) for item in window.output), USER]
        response = await client.responses.create(model="m", input=again, store=False)
    assert response.output_text == "Still here."
    assert [item["type"] for item in server.conversations[1]] == ["message", "compaction", "message"]


async def test_landline_compacts_with_the_upstreams_model_where_it_is_told_to(
    server: FakeResponses, relay: RunningServer
) -> None:
    server.play(Reply("All that matters."), Reply("Still here."))
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        window = await client.responses.compact(model="own", input="What is it?")
        again: Any = [*(item.to_dict(warnings=False) for item in window.output), USER]
        response = await client.responses.create(model="own", input=again, store=True)
    assert response.output_text == "Still here."
    assert "All that matters." in str(server.conversations[1])
    assert all(each.body["store"] is False for each in server.received)


@pytest.mark.parametrize("fields", [{"store": True}, {"store": False, "reasoning": {"effort": "low"}}], ids=str)
async def test_reasoning_is_given_back_though_the_client_did_not_ask_for_it(
    server: FakeResponses, relay: RunningServer, fields: dict[str, Any]
) -> None:
    server.play(*(ANSWERS["reasoning and call"] for _ in range(3)), Reply("Done."))
    await _answer_calls(relay, {**fields, "tools": [TOOL]})
    server.assert_conversation()
    assert len(server.answered) == 4
    assert ("include" in server.received[0].body) is not fields["store"]


async def test_model_is_known_to_reason_once_it_did(server: FakeResponses, relay: RunningServer) -> None:
    """Nothing said before that it does; what it thought first cannot be given back."""
    server.play(*(ANSWERS["reasoning and call"] for _ in range(3)), Reply("Done."))
    await _answer_calls(relay, {"store": False, "tools": [TOOL]})
    assert [each.refused for each in server.received if each.refused] == []
    kinds = [[item["type"] for item in conversation] for conversation in server.conversations]
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
    server: FakeResponses, relay: RunningServer
) -> None:
    server.play(ANSWERS["reasoning and call"], Reply("Done."))
    async with ResponsesSocket(relay.base_url) as socket:
        create: dict[str, Any] = {"model": "m", "store": False, "include": [ENCRYPTED]}
        first = (await socket.turn(**create, input=[USER], tools=[TOOL]))[-1]["response"]
        server.issued.sealed.clear()
        call_id = first["output"][-1]["call_id"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "here"}
        events = await socket.turn(**create, previous_response_id=first["id"], input=[output])
    assert events[-1]["type"] == "response.completed"
    refused, answered = server.received[1:]
    assert refused.refused is not None
    assert "could not be verified" in refused.refused
    assert [item["type"] for item in answered.conversation] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]


async def test_tokens_are_counted_by_the_upstream(server: FakeResponses, relay: RunningServer) -> None:
    server.play()
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        assert (await client.responses.input_tokens.count(model="m", input="Hello.")).input_tokens == 10
    assert server.received == []


def failing(status: int, error: Object, headers: dict[str, str] | None = None) -> Fail:
    return Fail({"error": {"type": "t", "param": None, **error}}, status=status, headers=headers)


REFUSALS: Mapping[str, tuple[Fail, tuple[int, str, str | None]]] = {
    "overflow": (
        failing(400, {"code": "context_length_exceeded", "message": "too long"}),
        (400, "context_length_exceeded", None),
    ),
    "limit": (
        failing(429, {"code": "slow_down", "message": "m"}, {"retry-after": "7"}),
        (429, "rate_limit_exceeded", "7"),
    ),
    "credit": (failing(429, {"code": "credit_balance_exhausted", "message": "m"}), (429, "insufficient_quota", None)),
    "model": (failing(400, {"code": "model_not_found", "message": "no such"}), (404, "model_not_found", None)),
    "unknown code": (failing(400, {"code": "novel_code", "message": "Otherwise."}), (400, "invalid_value", None)),
    "no code": (
        failing(503, {"code": None, "message": "busy"}, {"retry-after": "2"}),
        (503, "server_is_overloaded", "2"),
    ),
    "broken": (failing(500, {"code": "server_error", "message": "oops"}), (502, "upstream_error", None)),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal_keeps_its_meaning(server: FakeResponses, relay: RunningServer, name: str) -> None:
    fail, expected = REFUSALS[name]
    server.play(fail)
    url = f"{relay.base_url}/responses"
    async with aiohttp.ClientSession() as http, http.post(url, json={"model": "m", "input": "x"}) as reply:
        told = (await reply.json())["error"]
        assert (reply.status, told["code"], reply.headers.get("retry-after")) == expected
    error = fail.frame["error"]
    assert error["message"] in told["message"]
    assert error["code"] in (None, told["code"]) or error["code"] in told["message"]


async def test_key_that_the_upstream_refuses_is_not_repeated(server: FakeResponses, relay: RunningServer) -> None:
    server.play()
    status, body = await post(relay.base_url, {"model": "locked", "input": "x"})
    assert (status, body["error"]["code"]) == (502, "upstream_auth_error")
    assert "sk-" not in str(body)
    server.play(Reply(fail_with={"code": "server_error", "message": f"The key {KEY} broke."}))
    events = await stream(relay.base_url, {"model": "m", "input": "x"})
    assert events[-1]["type"] == "response.failed"
    assert KEY not in str(events)


async def test_client_that_goes_away_stops_the_model(server: FakeResponses, relay: RunningServer) -> None:
    server.play(Reply("A long answer.", pause_after=5))
    url = f"{relay.base_url}/responses"
    body = {"model": "m", "input": "x", "stream": True}
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as reply:
        await reply.content.readany()
    assert server.wait_for_abort().body["model"] == "m"


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


def test_codex_run_of_twenty_shell_calls(server: FakeResponses, relay: RunningServer, tmp_path: Path) -> None:
    server.play(*(_shell_call(number) for number in range(CALLS)), Answer("All done."))
    run = _run_codex(relay, tmp_path)
    assert run.answer == "All done.", run.report
    server.assert_conversation()
    assert len(server.answered) == CALLS + 1
    for number, received in enumerate(server.answered[1:]):
        assert f"number {number}" in str(received.conversation[-1]["output"])
        kinds = [item["type"] for item in received.conversation]
        assert [kinds.count(kind) for kind in ("reasoning", "function_call", "function_call_output")] == [
            number + 1
        ] * 3
        assert received.conversation[0]["role"] == "developer", "the warm-up's input comes first"


def test_codex_in_code_mode_keeps_tools_and_custom_calls(
    server: FakeResponses, relay: RunningServer, tmp_path: Path
) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    server.play(*(Answer(calls=(Call("exec", input=script),)) for _ in range(2)), Answer("All done."))
    run = _run_codex(relay, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    server.assert_conversation()
    kinds = [item["type"] for item in server.conversations[-1]]
    assert kinds.count("additional_tools") == 1
    assert kinds.count("custom_tool_call") == kinds.count("custom_tool_call_output") == 2
    assert "from code mode" in str(server.conversations[-1][-1]["output"])


def _shell_call(number: int) -> Answer:
    return Answer(reasoning=f"Step {number}.", calls=call("exec_command", cmd=f"echo number {number}").calls)


def _run_codex(relay: RunningServer, folder: Path, like: str = "") -> CodexRun:
    work_folder = folder / "work"
    work_folder.mkdir()
    prompt = "Do what is to be done."
    return run_codex(
        prompt, base_url=relay.base_url, model="m", home=folder / "home", work_folder=work_folder, like=like
    )
