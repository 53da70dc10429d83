"""The openai package for Python, unmodified, against Landline over JSON, SSE and its WebSocket connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.lib.responses_websocket import AsyncResponsesWebSocketSession, ResponsesWebSocketLimits

from support.fakes.chat import Script
from support.fakes.scenario import Received
from support.scripts.chat import Answer, Call, Refused, call
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

LANE_LIMITS = ResponsesWebSocketLimits(
    max_lanes=8, max_events_per_lane=1000, max_events=4000, max_bytes_per_lane=1 << 22, max_bytes=1 << 24
)
WEATHER_TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest_asyncio.fixture
async def client(landline: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0) as made:
        yield made


async def test_json_answer_has_text_and_honest_usage(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("Hello there."))
    response = await client.responses.create(model=scenario.model, input="Say hello.", instructions="Be brief.")
    assert response.output_text == "Hello there."
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.input_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    first, second = scenario.received[0].messages
    assert (first["role"] in ("system", "developer"), first["content"]) == (True, "Be brief.")
    assert second["role"] == "user"


async def test_stream_deltas_make_up_the_text(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("A rather longer answer, in pieces.", reasoning="Let me think."))
    async with client.responses.stream(model=scenario.model, input="Go.") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        response = await stream.get_final_response()
    assert len(deltas) > 2
    assert "".join(deltas) == response.output_text == "A rather longer answer, in pieces."
    assert [item.type for item in response.output] == ["reasoning", "message"]


async def test_parallel_calls_over_json_are_answered_in_the_next_request(
    client: openai.AsyncOpenAI, scripted: Script
) -> None:
    cities = ("Oslo", "Rome")
    calls = tuple(Call("get_weather", {"city": city}) for city in cities)
    scenario = scripted(Answer("Looking.", calls=calls), Answer("Cold and warm."))
    history: list[Any] = [{"role": "user", "content": "Weather?"}]
    first = await client.responses.create(model=scenario.model, input=history, tools=[WEATHER_TOOL], store=False)
    made = [item for item in first.output if item.type == "function_call"]
    assert [item.arguments for item in made] == ['{"city": "Oslo"}', '{"city": "Rome"}']
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history += [{"type": "function_call_output", "call_id": item.call_id, "output": "fine"} for item in made]
    second = await client.responses.create(model=scenario.model, input=history, tools=[WEATHER_TOOL], store=False)
    assert second.output_text == "Cold and warm."
    scenario.assert_conversation()


async def test_structured_output_is_parsed(client: openai.AsyncOpenAI, scripted: Script) -> None:
    from pydantic import BaseModel

    class Point(BaseModel):
        x: int
        y: int

    scenario = scripted(Answer('{"x": 1, "y": 2}'))
    response = await client.responses.parse(model=scenario.model, input="A point.", text_format=Point)
    assert response.output_parsed == Point(x=1, y=2)
    sent = scenario.received[0].body["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "Point")


async def test_rate_limit_of_the_upstream_keeps_its_wait(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Refused(429, "Too fast.", type="rate_limit_error", headers={"retry-after": "7"}))
    with pytest.raises(openai.RateLimitError) as caught:
        await client.responses.create(model=scenario.model, input="Go.")
    assert caught.value.response.headers["retry-after"] == "7"


async def test_stream_that_the_upstream_cuts_ends_failed(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("This answer breaks off.", cut_after=2))
    stream = await client.responses.create(model=scenario.model, input="Go.", stream=True)
    seen: list[str] = []
    with pytest.raises(openai.APIError):
        seen.extend([event.type async for event in stream])
    assert "response.completed" not in seen


async def test_upstream_is_aborted_when_the_client_leaves(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("Never finished, never finished.", pause_after=3))
    stream = await client.responses.create(model=scenario.model, input="Go.", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await asyncio.to_thread(scenario.wait_for_abort)


async def test_twenty_unstored_turns_chain_on_one_socket(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(*(call("get_weather", city=f"City {number}") for number in range(20)), Answer("Done."))
    new_input: Any = "Weather everywhere?"
    previous: str | None = None
    async with client.responses.connect() as connection:
        while True:
            chained: Any = {"previous_response_id": previous} if previous else {}
            await connection.response.create(
                model=scenario.model, input=new_input, tools=[WEATHER_TOOL], store=False, **chained
            )
            response = await _final(connection)
            calls = [item for item in response.output if item.type == "function_call"]
            if not calls:
                break
            new_input = [{"type": "function_call_output", "call_id": calls[0].call_id, "output": "mild"}]
            previous = response.id
    assert response.output_text == "Done."
    assert len(scenario.received) == 21
    scenario.assert_conversation()


async def test_missing_parent_is_an_error_event_and_the_socket_goes_on(
    client: openai.AsyncOpenAI, scripted: Script
) -> None:
    scenario = scripted(Answer("Still here."))
    async with client.responses.connect() as connection:
        await connection.response.create(model=scenario.model, input="x", store=False, previous_response_id="resp_0")
        refused = await connection.recv()
        assert refused.type == "error"
        assert refused.error.code == "previous_response_not_found"
        await connection.response.create(model=scenario.model, input="x", store=False)
        assert (await _final(connection)).output_text == "Still here."


async def test_lanes_run_at_the_same_time_and_fork(client: openai.AsyncOpenAI, scripted: Script) -> None:
    def choose(received: Received) -> Answer:
        question = str(received.messages[-1]["content"])
        return Answer(f"Answer to {question[:9]}", pause_after=2 if "lane" in question else None)

    scenario = scripted.choosing(choose)
    async with (
        client.responses.connect(websocket_connection_options={"max_size": None}) as connection,
        AsyncResponsesWebSocketSession(connection, limits=LANE_LIMITS) as session,
    ):
        lanes = [session.lane("left"), session.lane("right")]
        for number, lane in enumerate(lanes):
            await lane.send(
                {"type": "response.create", "model": scenario.model, "store": False, "input": f"to lane {number}"}
            )
        await asyncio.to_thread(scenario.wait_for_requests, 2)
        scenario.release()
        scenario.release()
        answers = [await lane.get_final_response() for lane in lanes]
        assert [each.output_text for each in answers] == ["Answer to to lane 0", "Answer to to lane 1"]
        fork = session.lane("fork")
        await fork.send(
            {
                "type": "response.create",
                "model": scenario.model,
                "store": False,
                "input": "forked",
                "previous_response_id": answers[0].id,
            }
        )
        await fork.get_final_response()
    last = scenario.received[-1].messages
    assert [message["role"] for message in last] == ["user", "assistant", "user"]
    assert "to lane 0" in str(last[0]["content"])


async def _final(connection: Any) -> Any:
    async for event in connection:
        if event.type in ("response.completed", "response.incomplete", "response.failed"):
            return event.response
        assert event.type != "error", event
    raise AssertionError("the socket closed in mid-turn")
