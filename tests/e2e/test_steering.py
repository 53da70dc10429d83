"""Steering with the openai package for Python, unmodified: over a scripted upstream and over the embedded model."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai.lib.responses_websocket import AsyncResponsesWebSocketSession, ResponsesWebSocketLimits

from support.fakes.chat import Script
from support.scripts.chat import Answer, Call, Refused, call
from support.servers.running import RunningServer

LANE_LIMITS = ResponsesWebSocketLimits(
    max_lanes=8, max_events_per_lane=1000, max_events=4000, max_bytes_per_lane=1 << 22, max_bytes=1 << 24
)
LOOK_TOOL: Any = {
    "type": "function",
    "name": "look",
    "description": "Looks somewhere.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"where": {"type": "string"}},
        "required": ["where"],
        "additionalProperties": False,
    },
}
TIMEOUT_S = 60.0


class Steered:
    """One connection of the openai package that remembers what came."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, *types: str) -> Any:
        """The next event of one of these types."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type in types:
                    return event
                assert event.type != "error", event

    async def start(self, **fields: Any) -> str:
        """Sends a create and waits for its response; the id."""
        await self.connection.response.create(**fields)
        return (await self.until("response.created")).response.id

    async def steer(self, target: str, input: Any) -> Any:
        await self.connection.response.steer(previous_response_id=target, input=input)
        return await self.until("response.steer.accepted", "response.steer.failed")

    def numbers_of(self, first: str, last: str) -> list[int]:
        """The sequence numbers from the first event of a type to the last one of another."""
        types = [event.type for event in self.events]
        end = len(types) - types[::-1].index(last)
        return [event.sequence_number for event in self.events[types.index(first) : end]]


@asynccontextmanager
async def connected(landline: RunningServer) -> AsyncGenerator[Steered]:
    async with (
        openai.AsyncOpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0) as client,
        client.responses.connect() as connection,
    ):
        yield Steered(connection)


@pytest.mark.client
@pytest.mark.parametrize("store", [False, True])
async def test_steer_in_a_message_takes_effect_when_it_ends(
    store: bool, landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer("The first answer, whole.", pause_after=3), Answer("The steered one."))
    async with connected(landline) as line:
        target = await line.start(model=scenario.model, input="Go.", store=store, instructions="Be brief.")
        await line.until("response.output_text.delta")
        accepted = await line.steer(target, "Another way.")
        assert accepted.type == "response.steer.accepted"
        assert accepted.steer.previous_response_id == target
        scenario.release()
        await line.until("response.completed")
        assert line.numbers_of("response.created", "response.completed") == list(range(len(line.events)))
        created = await line.until("response.created")
        assert created.response.previous_response_id == target
        assert created.response.instructions == "Be brief."
        final = (await line.until("response.completed")).response
    assert final.output_text == "The steered one."
    scenario.assert_conversation()
    assert [message["role"] for message in scenario.received[1].messages][-3:] == ["user", "assistant", "user"]
    assert "Another way." in str(scenario.received[1].messages[-1])


@pytest.mark.client
async def test_stored_successor_is_there_for_every_connection(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("First.", pause_after=2), Answer("Second."), Answer("Third."))
    async with connected(landline) as line:
        target = await line.start(model=scenario.model, input="Go.")
        await line.until("response.output_text.delta")
        await line.steer(target, "Another way.")
        scenario.release()
        await line.until("response.completed")
        successor = (await line.until("response.completed")).response.id
    async with openai.AsyncOpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0) as client:
        items = (await client.responses.input_items.list(successor, order="asc")).data
        third = await client.responses.create(model=scenario.model, input="More.", previous_response_id=successor)
    assert [getattr(item, "role", None) for item in items][-1] == "user"
    assert "Another way." in str(items[-1])
    assert third.output_text == "Third."
    scenario.assert_conversation()
    assert len(scenario.received[-1].messages) == 5


@pytest.mark.client
async def test_steer_in_reasoning_stops_the_model_before_it_answers(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(
        Answer("Never said.", reasoning="Let me think about it.", pause_after=2, delta_chars=64), Answer("Steered.")
    )
    async with connected(landline) as line:
        target = await line.start(model=scenario.model, input="Go.", store=False)
        await line.until("response.reasoning_text.delta")
        await line.steer(target, [{"type": "message", "role": "user", "content": "Another way."}])
        scenario.release()
        stopped = (await line.until("response.incomplete")).response
        assert stopped.incomplete_details.reason == "steered"
        assert [item.type for item in stopped.output] == ["reasoning"]
        assert (await line.until("response.created")).response.previous_response_id == target
        assert (await line.until("response.completed")).response.output_text == "Steered."
    assert "Never" not in str(scenario.received[1].messages)


@pytest.mark.client
@pytest.mark.parametrize("store", [False, True])
async def test_steer_of_a_call_waits_for_its_output(store: bool, landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(
        Answer("I look.", calls=(Call("look", {"where": "in the north"}),), pause_after=4), Answer("Both seen.")
    )
    async with connected(landline) as line:
        fields: dict[str, Any] = {"model": scenario.model, "tools": [LOOK_TOOL], "store": store}
        target = await line.start(**fields, input="Go.")
        await line.until("response.function_call_arguments.delta")
        accepted = [await line.steer(target, text) for text in ("Hurry.", "And quietly.")]
        scenario.release()
        completed = (await line.until("response.completed")).response
        pending = [await line.until("response.steer.pending") for _ in accepted]
        assert [each.steer.id for each in pending] == [each.steer.id for each in accepted]
        [stub] = pending[0].required_input
        assert (stub.type, stub.name) == ("function_call_output", "look")
        assert stub.call_id == completed.output[-1].call_id
        numbers = line.numbers_of("response.created", "response.steer.pending")
        assert numbers == list(range(len(numbers)))
        filled = {**stub.to_dict(), "output": "nothing there"}
        del filled["name"]
        await line.start(**fields, previous_response_id=target, input=[filled])
        assert (await line.until("response.completed")).response.output_text == "Both seen."
    told = scenario.received[1].messages
    assert [message["role"] for message in told][-4:] == ["assistant", "tool", "user", "user"]
    assert ["Hurry." in str(told[-2]), "And quietly." in str(told[-1])] == [True, True]


@pytest.mark.client
async def test_steer_comes_back_when_its_successor_is_refused(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("First.", pause_after=2), Refused(429, "Too fast."), Answer("Second."))
    async with connected(landline) as line:
        target = await line.start(model=scenario.model, input="Go.", store=False)
        await line.until("response.output_text.delta")
        accepted = await line.steer(target, "Another way.")
        scenario.release()
        failed = await line.until("response.steer.failed")
        assert failed.error.code == "successor_creation_failed"
        assert (failed.steer.id, failed.steer.input) == (accepted.steer.id, "Another way.")
        numbers = line.numbers_of("response.created", "response.steer.failed")
        assert numbers == list(range(len(numbers)))
        await line.start(model=scenario.model, input=failed.steer.input, store=False, previous_response_id=target)
        assert (await line.until("response.completed")).response.output_text == "Second."
    assert [message["role"] for message in scenario.received[2].messages] == ["user", "assistant", "user"]


@pytest.mark.client
async def test_chain_of_steers_is_one_conversation(landline: RunningServer, scripted: Script) -> None:
    answers = [Answer(f"Answer {number}.", pause_after=2) for number in range(6)]
    scenario = scripted(*answers)
    async with connected(landline) as line:
        target = await line.start(model=scenario.model, input="Go.", store=False)
        for number in range(5):
            await line.until("response.output_text.delta")
            assert (await line.steer(target, f"Steer {number}.")).type == "response.steer.accepted"
            scenario.release()
            target = (await line.until("response.created")).response.id
        scenario.release()
        assert (await line.until("response.completed")).response.output_text == "Answer 5."
        assert (await line.steer(target, "Too late.")).error.code == "response_already_completed"
    scenario.assert_conversation()
    assert len(scenario.received[-1].messages) == 11


@pytest.mark.client
async def test_steered_lane_keeps_its_events_and_others_run_on(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted.choosing(
        lambda received: Answer(f"Heard {received.messages[-1]['content'][-4:]}", pause_after=2)
    )
    async with (
        openai.AsyncOpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0) as client,
        client.responses.connect(websocket_connection_options={"max_size": None}) as connection,
        AsyncResponsesWebSocketSession(connection, limits=LANE_LIMITS) as session,
    ):
        lanes = [session.lane(name) for name in ("left", "right")]
        targets: list[str] = []
        for number, lane in enumerate(lanes):
            await lane.send(
                {"type": "response.create", "model": scenario.model, "store": False, "input": f"to {number}"}
            )
            targets.append((await _next(lane, "response.created")).response.id)
            await _next(lane, "response.output_text.delta")
        await connection.response.steer(previous_response_id=targets[0], input="and left")
        accepted = await _next(lanes[0], "response.steer.accepted")
        assert accepted.stream_id == "left"
        for _ in range(3):
            scenario.release()
        await _next(lanes[0], "response.completed")
        assert (await _next(lanes[0], "response.created")).response.previous_response_id == targets[0]
        assert (await _next(lanes[0], "response.completed")).response.output_text == "Heard left"
        assert (await _next(lanes[1], "response.completed")).response.output_text == "Heard to 1"


@pytest.mark.client
async def test_call_of_a_steered_model_may_be_answered_before_it_ends(
    landline: RunningServer, scripted: Script
) -> None:
    scenario = scripted(Answer(calls=call("look", where="up").calls, pause_after=3), Answer("Seen."))
    async with connected(landline) as line:
        fields: dict[str, Any] = {"model": scenario.model, "tools": [LOOK_TOOL], "store": False}
        target = await line.start(**fields, input="Go.")
        added = await line.until("response.output_item.added")
        await line.steer(target, "Hurry.")
        output = {"type": "function_call_output", "call_id": added.item.call_id, "output": "blue"}
        await line.connection.response.create(**fields, previous_response_id=target, input=[output])
        scenario.release()
        await line.until("response.completed")
        assert (await line.until("response.created")).response.previous_response_id == target
        await line.until("response.completed")
    assert not [event for event in line.events if event.type == "response.steer.pending"]
    assert [message["role"] for message in scenario.received[1].messages] == ["user", "assistant", "tool", "user"]


@pytest.mark.model
async def test_embedded_model_is_steered(embedded_landline: RunningServer) -> None:
    async with connected(embedded_landline) as line:
        async with openai.AsyncOpenAI(base_url=embedded_landline.base_url, api_key="test-key") as client:
            model = (await client.models.list()).data[0].id
        fields: dict[str, Any] = {"model": model, "store": False, "temperature": 0, "max_output_tokens": 120}
        target = await line.start(**fields, input="Tell a story about a lighthouse.")
        await line.until("response.output_text.delta")
        accepted = await line.steer(target, "Say only the word: done")
        assert accepted.type == "response.steer.accepted"
        first = (await line.until("response.completed", "response.incomplete")).response
        created = (await line.until("response.created")).response
        assert created.previous_response_id == target
        final = (await line.until("response.completed", "response.incomplete")).response
        assert final.output_text
        assert first.usage is not None
        assert final.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens


async def _next(lane: Any, kind: str) -> Any:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            event = await lane.recv()
            if event.type == kind:
                return event
            assert event.type != "error", event
