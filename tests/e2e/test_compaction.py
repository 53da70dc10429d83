"""Compaction in its three forms, truncation, token counts and sealed reasoning, by the openai SDK over HTTP and socket."""

import base64
import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from support.fakes.chat import Script
from support.fakes.scenario import Received
from support.oracles.openresponses_schema import validate_compacted_window, validate_response
from support.scripts.chat import Answer, Call, Refused
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

SUMMARY = "The user wants two things; one is done."
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}


@pytest.fixture
def client(landline: RunningServer) -> OpenAI:
    return OpenAI(base_url=landline.base_url, api_key="test-key", max_retries=0)


def summarising(received: Received) -> Answer:
    """A model that summarises when it is asked to and else says how much it was shown."""
    if "replaced by a summary" in json.dumps(received.messages[-1]):
        return Answer(SUMMARY)
    return Answer(f"I see {len(received.messages)} messages.")


def texts(received: Received) -> list[str]:
    """What each message says, calls and outputs included."""
    return [json.dumps(message) for message in received.messages]


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def conversation(turns: int) -> list[Any]:
    return [item for number in range(turns) for item in (user(f"question {number}"), assistant(f"answer {number}"))]


def test_compact_returns_the_next_window_and_it_works_as_it_is(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    answered = client.responses.with_raw_response.compact(
        model=scenario.model, input=conversation(3), instructions="Be brief."
    )
    window = answered.parse()
    assert [item.type for item in window.output] == ["message"] * 3 + ["compaction"]
    assert window.usage.input_tokens > 0
    body: dict[str, Any] = json.loads(answered.text)
    validate_compacted_window(body)
    output: list[Any] = body["output"]
    following: Any = [*output, user("and now?")]
    again = client.responses.create(model=scenario.model, input=following, store=False, instructions="Be brief.")
    assert again.status == "completed"
    asked = texts(scenario.received[-1])
    assert len(asked) == 6
    assert [f"question {number}" in asked[number + 1] for number in range(3)] == [True] * 3
    assert SUMMARY in asked[4]
    assert "and now?" in asked[5]
    assert not any("answer" in text for text in asked)


def test_compact_takes_a_stored_response(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    first = client.responses.create(model=scenario.model, input="one")
    window = client.responses.compact(model=scenario.model, previous_response_id=first.id)
    assert [item.type for item in window.output] == ["message", "compaction"]
    assert "one" in texts(scenario.received[-1])[0]


def test_trigger_gives_exactly_one_compaction_and_the_chain_goes_on(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    first = client.responses.create(model=scenario.model, input=conversation(4), store=True)
    trigger: Any = [{"type": "compaction_trigger"}]
    compacted = client.responses.create(model=scenario.model, previous_response_id=first.id, input=trigger)
    assert [item.type for item in compacted.output] == ["compaction"]
    validate_response(json.loads(compacted.to_json()))
    more = client.responses.create(model=scenario.model, previous_response_id=compacted.id, input="next")
    asked = texts(scenario.received[-1])
    assert SUMMARY in asked[-2]
    assert "next" in asked[-1]
    assert not any("answer" in text for text in asked)
    last = client.responses.create(model=scenario.model, previous_response_id=more.id, input="after that")
    assert texts(scenario.received[-1])[: len(asked)] == asked
    assert last.output_text == f"I see {len(asked) + 2} messages."


def test_open_call_outlives_a_compaction(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(
        lambda received: (
            Answer(calls=(Call("look", {"at": "x"}),))
            if received.messages[-1]["content"] == "call"
            else summarising(received)
        )
    )
    tools: Any = [TOOL]
    first = client.responses.create(model=scenario.model, input="call", tools=tools)
    call: Any = first.output[0]
    trigger: Any = [{"type": "compaction_trigger"}]
    compacted = client.responses.create(model=scenario.model, previous_response_id=first.id, input=trigger, tools=tools)
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "seen"}]
    window: Any = [compacted.output[0].to_dict(), *output]
    client.responses.create(model=scenario.model, input=window, tools=tools, store=False)
    messages = scenario.received[-1].messages
    assert [message["role"] for message in messages] == ["user", "user", "assistant", "tool"]
    assert messages[2]["tool_calls"][0]["id"] == messages[3]["tool_call_id"] == call.call_id


def test_threshold_compacts_inside_the_response(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    management: Any = [{"type": "compaction", "compact_threshold": 120}]
    settings: dict[str, Any] = {"model": scenario.model, "context_management": management}
    first = client.responses.create(input=conversation(1), **settings)
    assert [item.type for item in first.output] == ["message"]
    following: Any = [*conversation(10), user("go on")]
    events = list(client.responses.create(input=following, stream=True, **settings))
    kinds = [event.type for event in events]
    assert kinds[2:5] == [
        "response.compaction.compacting",
        "response.output_item.added",
        "response.output_item.done",
    ]
    done: Any = events[-1]
    assert [item.type for item in done.response.output] == ["compaction", "message"]
    asked = scenario.received
    assert done.response.usage.input_tokens > 200
    assert "go on" in texts(asked[-1])[-1]
    assert SUMMARY in texts(asked[-1])[-2]
    window = texts(asked[-1])
    settings["context_management"] = [{"type": "compaction", "compact_threshold": 100_000}]
    client.responses.create(input="more", previous_response_id=done.response.id, **settings)
    assert texts(asked[-1])[: len(window)] == window
    assert len(asked[-1].messages) == len(window) + 2


@pytest.mark.parametrize("content", ["gAAAAABfromElsewhere", ""])
def test_compaction_that_is_not_ours_is_refused(client: OpenAI, scripted: Script, content: str) -> None:
    scenario = scripted(Answer("never asked"))
    foreign: Any = [user("hi"), {"type": "compaction", "encrypted_content": content}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=scenario.model, input=foreign)
    assert refused.value.code == "invalid_encrypted_content"
    assert refused.value.param == "input[1].encrypted_content"
    assert scenario.received == []


def test_reasoning_comes_back_sealed_and_is_read_again(client: OpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("four", reasoning="two and two"), Answer("eight"))
    first = client.responses.create(
        model=scenario.model, input="2+2", store=False, include=["reasoning.encrypted_content"]
    )
    reasoning: Any = first.output[0].to_dict()
    assert reasoning["encrypted_content"]
    assert b"two and two" not in base64.urlsafe_b64decode(reasoning["encrypted_content"])
    del reasoning["content"]
    foreign: Any = {"type": "reasoning", "id": "rs_x", "summary": [], "encrypted_content": "gAAAAfromElsewhere"}
    played: Any = [user("2+2"), foreign, reasoning, first.output[1].to_dict(), user("and twice that?")]
    again = client.responses.create(model=scenario.model, input=played, store=False)
    assert again.output_text == "eight"
    assert scenario.received[-1].messages[1]["reasoning_content"] == "two and two"


def test_truncation_drops_the_oldest_and_keeps_calls_whole(client: OpenAI, scripted: Script) -> None:
    def short(received: Received) -> Answer | Refused:
        if len(received.messages) > 6:
            return Refused(400, "maximum context length is 6 messages", code="context_length_exceeded")
        return Answer("fits")

    scenario = scripted.choosing(short)
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
    history: Any = [{"role": "developer", "content": "rules"}, user("old"), call, output, *conversation(4), user("new")]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=scenario.model, input=history)
    assert refused.value.code == "context_length_exceeded"
    assert "6 messages" in refused.value.message
    answered = client.responses.create(model=scenario.model, input=history, truncation="auto")
    assert answered.output_text == "fits"
    said = texts(scenario.received[-1])
    assert "rules" in said[0]
    assert "new" in said[-1]
    assert not any("old" in text or "c1" in text for text in said)


def test_input_tokens_are_what_the_model_reads(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    counted = client.responses.input_tokens.count(model=scenario.model, input="How long is this?")
    answered = client.responses.create(model=scenario.model, input="How long is this?")
    assert answered.usage is not None
    assert counted.input_tokens == answered.usage.input_tokens
    assert scenario.received[0].body["max_tokens"] == 1
    more = client.responses.input_tokens.count(model=scenario.model, input="More.", previous_response_id=answered.id)
    assert more.input_tokens > counted.input_tokens


def test_trigger_and_threshold_work_on_a_socket_without_storing(client: OpenAI, scripted: Script) -> None:
    scenario = scripted.choosing(summarising)
    management: Any = [{"type": "compaction", "compact_threshold": 100}]
    with client.responses.connect() as line:

        def respond(**fields: Any) -> Any:
            line.response.create(model=scenario.model, store=False, **fields)
            for event in line:
                if event.type in ("response.completed", "error"):
                    return event
            raise AssertionError("the socket was closed")

        first = respond(input=conversation(3)).response
        trigger: Any = [{"type": "compaction_trigger"}]
        compacted = respond(input=trigger, previous_response_id=first.id).response
        assert [item.type for item in compacted.output] == ["compaction"]
        more = respond(input="x" * 600, previous_response_id=compacted.id).response
        assert SUMMARY in texts(scenario.received[-1])[-2]
        last = respond(input="go on", previous_response_id=more.id, context_management=management).response
        assert [item.type for item in last.output] == ["compaction", "message"]
        refused = respond(input=[{"type": "compaction", "encrypted_content": "gAAAAB"}])
        assert (refused.status, refused.error.code) == (400, "invalid_encrypted_content")
