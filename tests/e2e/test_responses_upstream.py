"""What a server that speaks Responses says through Landline: the same as without, but for ids and numbers."""

import json
import re
from collections.abc import Mapping
from typing import Any

import aiohttp
import openai
import pytest

from support.clients.responses import post, stream
from support.fakes.responses import Fail, FakeResponses, Reply
from support.scripts.chat import Call
from support.scripts.responses import STRANGE, Object
from support.servers.relaying import ENCRYPTED, KEY, TOOL, USER
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CUSTOM_TOOL: Any = {"type": "custom", "name": "patch"}
_IDS = re.compile(r"\b(resp_|msg_|fc_|rs_|ctc_|call_|it_|note_|gAAAA-[a-z]+-)[0-9a-f_]+\b")


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
async def test_client_sees_the_same_events_as_directly(
    upstream: FakeResponses, relay: RunningServer, name: str
) -> None:
    upstream.play(ANSWERS[name], ANSWERS[name])
    seen: list[list[Any]] = []
    for base_url, key in ((upstream.base_url, KEY), (relay.base_url, "client-key")):
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            events = await client.responses.create(
                model="m", input="Go.", tools=[TOOL, CUSTOM_TOOL], stream=True, extra_body={"vendor_x": [1]}
            )
            seen.append([normal(event.to_dict(warnings=False)) async for event in events])
    assert seen[1] == seen[0]
    direct, relayed = upstream.received
    assert relayed.body == {**direct.body, "input": relayed.body["input"]}
    assert relayed.conversation == direct.conversation


@pytest.mark.parametrize("name", ANSWERS)
async def test_client_sees_the_same_response_as_directly(
    upstream: FakeResponses, relay: RunningServer, name: str
) -> None:
    upstream.play(ANSWERS[name], ANSWERS[name])
    seen: list[Any] = []
    for base_url, key in ((upstream.base_url, KEY), (relay.base_url, "client-key")):
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0) as client:
            response = await client.responses.create(model="m", input="Go.", tools=[TOOL, CUSTOM_TOOL], store=False)
            seen.append(normal(response.to_dict(warnings=False)))
    assert seen[1] == seen[0]


async def test_failed_response_is_the_upstreams_behind_an_error_event(
    upstream: FakeResponses, relay: RunningServer
) -> None:
    """Open Responses wants the `error` event on event streams, whoever made the response."""
    upstream.play(Reply("Half an", is_strange=True, fail_with={"code": "server_error", "message": "The model broke."}))
    events = await stream(relay.base_url, {"model": "m", "input": "Go."})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["code"] == "upstream_error"
    told = json.loads(upstream.events_sent[-1])
    assert normal(events[-1]) == normal(told)


async def test_numbers_and_response_ids_are_ours(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(ANSWERS["strange"])
    events = await stream(relay.base_url, {"model": "m", "input": "Go.", "tools": [TOOL]})
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    assert upstream.received[0].response_id not in ids


async def test_strange_values_keep_their_bytes_both_ways(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(ANSWERS["strange"], Reply("Done."))
    body = {"model": "m", "input": [USER], "tools": [TOOL], "stream": True, "store": False, "include": [ENCRYPTED]}
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{relay.base_url}/responses") as socket:
        await socket.send_json({"type": "response.create", **body})
        frames = [await socket.receive_str()]
        while '"type":"response.completed"' not in frames[-1]:
            frames.append(await socket.receive_str())
        told = b"".join(upstream.events_sent).count(STRANGE)
        assert told == "".join(frames).encode().count(STRANGE) > 10
        answer = [each for each in upstream.received[0].output if each["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": answer[0]["call_id"], "output": "x"}
        parent_id = json.loads(frames[-1])["response"]["id"]
        await socket.send_json(
            {"type": "response.create", **body, "input": [output], "previous_response_id": parent_id}
        )
        while '"type":"response.completed"' not in await socket.receive_str():
            pass
    upstream.assert_conversation()
    assert upstream.bodies[1].count(STRANGE) == 5, "the items and their fields, as they came"


async def test_stored_response_is_the_one_that_was_told(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(ANSWERS["strange"])
    told = (await stream(relay.base_url, {"model": "m", "input": "Go.", "tools": [TOOL]}))[-1]["response"]
    async with aiohttp.ClientSession() as http, http.get(f"{relay.base_url}/responses/{told['id']}") as reply:
        body = await reply.read()
    assert json.loads(body) == told
    assert body.count(STRANGE) == 6, "five items' fields and the response's own"


async def test_response_in_the_background_is_relayed_too(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(ANSWERS["text"])
    events = await stream(relay.base_url, {"model": "m", "input": "Go.", "background": True})
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert events[-1]["response"]["model"] == "m-2026-11-01"
    assert "background" not in upstream.received[0].body


async def test_tokens_are_counted_by_the_upstream(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play()
    async with openai.AsyncOpenAI(base_url=relay.base_url, api_key="k", max_retries=0) as client:
        assert (await client.responses.input_tokens.count(model="m", input="Hello.")).input_tokens == 10
    assert upstream.received == []


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
async def test_refusal_keeps_its_meaning(upstream: FakeResponses, relay: RunningServer, name: str) -> None:
    fail, expected = REFUSALS[name]
    upstream.play(fail)
    url = f"{relay.base_url}/responses"
    async with aiohttp.ClientSession() as http, http.post(url, json={"model": "m", "input": "x"}) as reply:
        told = (await reply.json())["error"]
        assert (reply.status, told["code"], reply.headers.get("retry-after")) == expected
    error = fail.frame["error"]
    assert error["message"] in told["message"]
    assert error["code"] in (None, told["code"]) or error["code"] in told["message"]


async def test_key_that_the_upstream_refuses_is_not_repeated(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play()
    status, body = await post(relay.base_url, {"model": "locked", "input": "x"})
    assert (status, body["error"]["code"]) == (502, "upstream_auth_error")
    assert "sk-" not in str(body)
    upstream.play(Reply(fail_with={"code": "server_error", "message": f"The key {KEY} broke."}))
    events = await stream(relay.base_url, {"model": "m", "input": "x"})
    assert events[-1]["type"] == "response.failed"
    assert KEY not in str(events)


async def test_client_that_goes_away_stops_the_model(upstream: FakeResponses, relay: RunningServer) -> None:
    upstream.play(Reply("A long answer.", pause_after=5))
    url = f"{relay.base_url}/responses"
    body = {"model": "m", "input": "x", "stream": True}
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as reply:
        await reply.content.readany()
    assert upstream.wait_for_abort().body["model"] == "m"
