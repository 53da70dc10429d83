"""The real embedded model behind `landline serve` without any configuration, asked by the openai package for Python."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from support.clients.responses import ResponsesSocket
from support.servers.running import RunningServer

pytestmark = pytest.mark.model

TRIES = 10
AT_ONCE = 4
STORY = "The lighthouse keeper counted the ships that passed in the night and wrote their lights into a book. " * 12
CITY_TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
PERSON_FORMAT: Any = {
    "type": "json_schema",
    "name": "person",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    },
}


@pytest_asyncio.fixture
async def client(embedded_landline: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=embedded_landline.base_url, api_key="test-key", max_retries=0) as made:
        yield made


@pytest_asyncio.fixture
async def model(client: openai.AsyncOpenAI) -> str:
    return (await client.models.list()).data[0].id


async def test_json_answer(client: openai.AsyncOpenAI, model: str) -> None:
    response = await client.responses.create(model=model, input="What is the capital of France?", max_output_tokens=32)
    assert response.output_text
    assert response.usage is not None
    assert 0 < response.usage.output_tokens <= 32


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, (0.2, 0.9)), ({"temperature": 1.0}, (1.0, 0.9)), ({"temperature": 1.0, "top_p": 1.0}, (1.0, 1.0))],
    ids=str,
)
async def test_sampling_is_the_models_own_unless_the_client_says_otherwise(
    client: openai.AsyncOpenAI, model: str, given: Any, expected: tuple[float, float]
) -> None:
    asked: Any = {"model": model, "input": "Say hello.", "max_output_tokens": 16, **given}
    whole = await client.responses.create(**asked)
    events: list[Any] = [event async for event in await client.responses.create(**asked, stream=True)]
    streamed = [event.response for event in events if hasattr(event, "response")]
    stored = await client.responses.retrieve(whole.id)
    async with client.responses.connect() as connection:
        last = await _turn(connection, **asked)
    assert {(each.temperature, each.top_p) for each in (whole, stored, last, *streamed)} == {expected}


async def test_stream_ends_at_the_token_limit_as_incomplete(client: openai.AsyncOpenAI, model: str) -> None:
    question = "Tell a long story."
    stream = await client.responses.create(
        model=model, input=question, temperature=0, max_output_tokens=16, stream=True
    )
    events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == last.response.output_text != ""


async def test_second_turn_of_an_unstored_chain_reuses_the_first(client: openai.AsyncOpenAI, model: str) -> None:
    async with client.responses.connect() as connection:
        first = await _turn(connection, model=model, store=False, input=STORY, temperature=0, max_output_tokens=24)
        second = await _turn(
            connection,
            model=model,
            store=False,
            input="And then?",
            previous_response_id=first.id,
            temperature=0,
            max_output_tokens=24,
        )
    assert first.usage.total_tokens > 200
    assert second.usage.input_tokens > first.usage.total_tokens
    assert second.usage.input_tokens_details.cached_tokens >= 0.9 * first.usage.total_tokens


async def test_warm_up_prefills_and_an_empty_input_answers(client: openai.AsyncOpenAI, model: str) -> None:
    async with client.responses.connect() as connection:
        warm = await _turn(connection, model=model, store=False, input="Warm: " + STORY, generate=False)
        assert warm.output == []
        assert warm.usage.output_tokens == 0
        answer = await _turn(
            connection, model=model, store=False, input=[], previous_response_id=warm.id, max_output_tokens=16
        )
    assert answer.output_text
    assert answer.usage.input_tokens_details.cached_tokens >= 0.9 * warm.usage.input_tokens > 200


async def test_forced_tool_call_parses_every_time(client: openai.AsyncOpenAI, model: str) -> None:
    async def ask(number: int) -> None:
        response = await client.responses.create(
            model=model,
            input=f"What is the weather in city number {number}?",
            tools=[CITY_TOOL],
            tool_choice="required",
        )
        (made,) = [item for item in response.output if item.type == "function_call"]
        assert made.name == "get_weather"
        arguments = json.loads(made.arguments)
        assert set(arguments) == {"city", "unit"}
        assert arguments["unit"] in ("celsius", "fahrenheit")

    await _try_often(ask)


async def test_json_schema_answer_parses_every_time(client: openai.AsyncOpenAI, model: str) -> None:
    async def ask(number: int) -> None:
        response = await client.responses.create(
            model=model, input=f"Invent person {number}.", text={"format": PERSON_FORMAT}
        )
        person = json.loads(response.output_text)
        assert set(person) == {"name", "age"}
        assert (type(person["name"]), type(person["age"])) == (str, int)

    await _try_often(ask)


async def test_cancel_ends_the_response_and_the_line_goes_on(embedded_landline: RunningServer, model: str) -> None:
    async with ResponsesSocket(embedded_landline.base_url) as socket:
        await socket.create(
            model=model, store=False, input="Tell a very long story.", temperature=0, max_output_tokens=2000
        )
        started = await socket.receive_until("response.output_text.delta")
        await socket.send({"type": "response.cancel", "response_id": started[0]["response"]["id"]})
        (*_, last) = await socket.receive_until("response.completed", "response.incomplete", "response.failed")
        assert last["type"] == "response.incomplete"
        (*_, next_last) = await socket.turn(model=model, store=False, input="Hello.", max_output_tokens=16)
        assert next_last["type"] in ("response.completed", "response.incomplete")


async def test_two_lanes_answer_at_the_same_time(embedded_landline: RunningServer, model: str) -> None:
    async with ResponsesSocket(embedded_landline.base_url) as socket:
        for lane in ("left", "right"):
            await socket.create(
                model=model, store=False, stream_id=lane, input="Count slowly from one.", max_output_tokens=64
            )
        seen: dict[str, list[str]] = {"left": [], "right": []}
        order: list[str] = []
        while sum(types[-1:] in (["response.completed"], ["response.incomplete"]) for types in seen.values()) < 2:
            event = await socket.receive()
            seen[event["stream_id"]].append(event["type"])
            order.append(event["stream_id"])
    first_of_second = max(order.index("left"), order.index("right"))
    last_of_first = min(_last_index(order, "left"), _last_index(order, "right"))
    assert first_of_second < last_of_first, "one lane waited for the other"


def _last_index(order: list[str], lane: str) -> int:
    return len(order) - 1 - order[::-1].index(lane)


async def _try_often(ask: Any) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def limited(number: int) -> None:
        async with limit:
            await ask(number)

    await asyncio.gather(*(limited(number) for number in range(TRIES)))


async def _turn(connection: Any, **fields: Any) -> Any:
    await connection.response.create(**fields)
    async for event in connection:
        if event.type in ("response.completed", "response.incomplete"):
            return event.response
        assert event.type not in ("error", "response.failed"), event
    raise AssertionError("the socket closed in mid-turn")
