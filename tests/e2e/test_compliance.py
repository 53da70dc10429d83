"""The Open Responses compliance list, rebuilt: each case over the real server, every object held to the schema.

Left out until responses are stored and compacted: `compact-response`, `compact-missing-model` and
`websocket-compact-new-chain`. How the schema's quirks are treated is said in `openresponses_schema`.
"""

import copy
from typing import Any

import pytest

from support.clients.responses import ResponsesSocket, post, stream
from support.fakes.chat import Script
from support.fakes.scenario import Scenario
from support.oracles.openresponses_schema import validate_error_frame, validate_response, validate_stream
from support.scripts.chat import Answer, Refused, Step, call
from support.servers.running import RunningServer

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
WEATHER_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather of a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


async def create(server: RunningServer, scenario: Scenario, **fields: Any) -> dict[str, Any]:
    """One JSON response, validated; it must have completed."""
    status, response = await post(server.base_url, {"model": scenario.model, **fields})
    assert status == 200, response
    validate_response(response)
    assert response["status"] == "completed"
    return response


def text_of(response: dict[str, Any]) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


async def test_basic_response(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Hello to you."))
    response = await create(strict_landline, scenario, input=[user("Say hello in three words.")])
    assert text_of(response) == "Hello to you."
    assert response["output"][0]["role"] == "assistant"


async def test_assistant_phase(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("It is done."))
    history = [
        user("Do it."),
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "I am looking at it."},
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": "I have looked at it."},
        user("And?"),
    ]
    response = await create(strict_landline, scenario, input=history)
    assert text_of(response) == "It is done."
    said = "".join(str(message["content"]) for message in scenario.received[0].messages)
    assert "I am looking at it." in said
    assert "I have looked at it." in said


async def test_response_output_phase_schema(strict_landline: RunningServer, scripted: Script) -> None:
    response = await create(strict_landline, scripted(Answer("Phased.")), input="Go.")
    for phase in ("commentary", "final_answer"):
        phased = copy.deepcopy(response)
        phased["output"][0]["phase"] = phase
        validate_response(phased)
    response["output"][0]["phase"] = "thinking"
    with pytest.raises(AssertionError, match="thinking"):
        validate_response(response)


async def test_streaming_response(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("One, two, three, four, five."))
    events = await stream(strict_landline.base_url, {"model": scenario.model, "input": [user("Count to five.")]})
    response = validate_stream(events)
    assert response["status"] == "completed"
    assert text_of(response) == "One, two, three, four, five."


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (Answer("An answer.", reasoning="A thought of some length."), ["reasoning", "message"]),
        (
            Answer("Calling.", calls=(*call("get_weather", location="Oslo").calls,) * 2),
            ["message", "function_call", "function_call"],
        ),
        (Answer(refusal="I would rather not."), ["message"]),
        (Answer(""), []),
    ],
    ids=["reasoning", "parallel calls", "refusal", "empty"],
)
async def test_streamed_items_of_every_kind(
    answer: Answer, kinds: list[str], strict_landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(answer, answer)
    body = {"model": scenario.model, "input": "Go.", "tools": [WEATHER_TOOL]}
    response = validate_stream(await stream(strict_landline.base_url, body))
    assert [item["type"] for item in response["output"]] == kinds
    whole = await create(strict_landline, scenario, input="Go.", tools=[WEATHER_TOOL])
    assert [item["type"] for item in whole["output"]] == kinds


async def test_streamed_answer_over_the_token_limit_is_incomplete(
    strict_landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("It goes on and", finish_reason="length"))
    body = {"model": scenario.model, "input": "Go.", "max_output_tokens": 16}
    response = validate_stream(await stream(strict_landline.base_url, body))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][-1]["status"] == "incomplete"


async def test_stream_that_breaks_off_ends_in_error_then_failed(
    strict_landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("It breaks off here.", cut_after=2))
    events = await stream(strict_landline.base_url, {"model": scenario.model, "input": "Go."})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    response = events[-1]["response"]
    validate_response(response)
    assert response["status"] == "failed"
    assert isinstance(response["error"]["code"], str)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_system_prompt(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Ahoy."))
    system = {"type": "message", "role": "system", "content": "You are a pirate."}
    await create(strict_landline, scenario, input=[system, user("Say hello.")])
    assert [message["role"] for message in scenario.received[0].messages] == ["system", "user"]


async def test_tool_calling(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(call("get_weather", location="San Francisco"))
    response = await create(strict_landline, scenario, input=[user("Weather in San Francisco?")], tools=[WEATHER_TOOL])
    (item,) = response["output"]
    assert (item["type"], item["name"], item["status"]) == ("function_call", "get_weather", "completed")
    assert item["arguments"] == '{"location": "San Francisco"}'
    echoed = {"strict": None, **WEATHER_TOOL}
    assert response["tools"] == [echoed]


async def test_image_input(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("A single pixel."))
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}]
    await create(strict_landline, scenario, input=[{"type": "message", "role": "user", "content": parts}])
    text, image = scenario.received[0].messages[0]["content"]
    assert text == {"type": "text", "text": "What is it?"}
    assert image["image_url"]["url"] == PIXEL


async def test_multi_turn(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Your name is Ada."))
    history = [
        user("My name is Ada."),
        {"type": "message", "role": "assistant", "content": "Hello, Ada."},
        user("What is my name?"),
    ]
    await create(strict_landline, scenario, input=history)
    assert [message["role"] for message in scenario.received[0].messages] == ["user", "assistant", "user"]


async def test_json_schema_format_is_echoed(strict_landline: RunningServer, scripted: Script) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    fmt = {"type": "json_schema", "name": "point", "schema": schema, "strict": True}
    response = await create(strict_landline, scripted(Answer('{"x": 1}')), input="Go.", text={"format": fmt})
    assert response["text"]["format"]["schema"] == schema


async def test_unmatched_tool_output_is_refused(strict_landline: RunningServer, scripted: Script) -> None:
    orphan = {"type": "function_call_output", "call_id": "call_nobody", "output": "x"}
    status, body = await post(strict_landline.base_url, {"model": scripted().model, "input": [orphan]})
    assert status == 400
    assert body["error"]["param"] == "input"
    assert "call_nobody" in body["error"]["message"]


async def test_websocket_response(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Over the line."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        response = validate_stream(await socket.turn(model=scenario.model, store=False, input="Go."))
    assert text_of(response) == "Over the line."


async def test_websocket_sequential_responses(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("First."), Answer("Second."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        first = validate_stream(await socket.turn(model=scenario.model, store=False, input="One."))
        second = validate_stream(await socket.turn(model=scenario.model, store=False, input="Two."))
    assert (text_of(first), text_of(second)) == ("First.", "Second.")
    assert first["id"] != second["id"]
    assert len(scenario.received[1].messages) == 1, "a create without a parent starts afresh"


async def test_websocket_second_create_waits_for_the_first(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("First."), Answer("Second."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        await socket.create(model=scenario.model, store=False, input="One.")
        await socket.create(model=scenario.model, store=False, input="Two.")
        first = validate_stream(await socket.receive_until("response.completed"))
        second = validate_stream(await socket.receive_until("response.completed"))
    assert (text_of(first), text_of(second)) == ("First.", "Second.")


async def test_websocket_continuation(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("OK."), Answer("It is copper."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        first = validate_stream(await socket.turn(model=scenario.model, store=False, input="The word is copper."))
        events = await socket.turn(
            model=scenario.model, store=False, previous_response_id=first["id"], input="What is the word?"
        )
    second = validate_stream(events)
    assert second["previous_response_id"] == first["id"]
    scenario.assert_conversation()


async def test_websocket_reconnect_store_false_recovery(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("OK."), Answer("It is copper."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        first = validate_stream(await socket.turn(model=scenario.model, store=False, input=[user("It is copper.")]))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        fields = {"model": scenario.model, "store": False}
        (lost,) = await socket.turn(**fields, previous_response_id=first["id"], input="What is it?")
        _assert_not_found(lost, first["id"])
        whole = [user("It is copper."), *first["output"], user("What is it?")]
        second = validate_stream(await socket.turn(**fields, input=whole))
    assert text_of(second) == "It is copper."
    scenario.assert_conversation()


async def test_websocket_previous_response_not_found(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted()
    async with ResponsesSocket(strict_landline.base_url) as socket:
        (frame,) = await socket.turn(
            model=scenario.model, store=False, previous_response_id="resp_missing", input="Go."
        )
    _assert_not_found(frame, "resp_missing")
    assert scenario.received == []


@pytest.mark.parametrize(
    "failing", [None, Refused(500, "Broken."), Answer("Broken off.", cut_after=2)], ids=["refused", "500", "cut"]
)
async def test_websocket_failed_continuation_evicts_cache(
    failing: Step | None, strict_landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("OK."), *([failing] if failing else []))
    orphan = {"type": "function_call_output", "call_id": "call_nobody", "output": "x"}
    async with ResponsesSocket(strict_landline.base_url) as socket:
        fields = {"model": scenario.model, "store": False}
        first = validate_stream(await socket.turn(**fields, input="The word is ember."))
        continued = {**fields, "previous_response_id": first["id"]}
        (*_, failed) = await socket.turn(**continued, input="Go." if failing else [orphan])
        assert failed["type"] in ("error", "response.failed")
        (frame,) = await socket.turn(**continued, input="What is the word?")
    _assert_not_found(frame, first["id"])


async def test_websocket_lanes_carry_their_stream_id(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("On a lane."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        events = await socket.turn(model=scenario.model, store=False, stream_id="a.b-c_1", input="Go.")
        validate_stream(events, stream_id="a.b-c_1")
        (frame,) = await socket.turn(model=scenario.model, stream_id="not allowed", input="Go.")
    validate_error_frame(frame)
    assert frame["error"]["code"] == "invalid_stream_id"
    assert "stream_id" not in frame


async def test_websocket_warm_up(strict_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("Warm."))
    async with ResponsesSocket(strict_landline.base_url) as socket:
        fields = {"model": scenario.model, "store": False}
        events = await socket.turn(**fields, input="The word is copper.", generate=False)
        assert [event["type"] for event in events] == ["response.created", "response.completed"]
        warm = validate_stream(events)
        assert (warm["output"], warm["usage"]["output_tokens"]) == ([], 0)
        answer = validate_stream(await socket.turn(**fields, previous_response_id=warm["id"], input=[]))
    assert text_of(answer) == "Warm."
    assert "copper" in str(scenario.received[-1].messages[-1]["content"])


def _assert_not_found(frame: dict[str, Any], response_id: str) -> None:
    validate_error_frame(frame)
    assert (frame["type"], frame["status"]) == ("error", 400)
    assert frame["error"]["code"] == "previous_response_not_found"
    assert frame["error"]["param"] == "previous_response_id"
    assert response_id in frame["error"]["message"]
