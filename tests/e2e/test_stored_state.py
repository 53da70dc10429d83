"""Stored responses, background and conversations by the openai package for Python, unmodified."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.resources.responses.responses import AsyncResponsesConnection
from openai.types.responses import Response

from support.fakes.chat import FakeChatServer, Script
from support.oracles.openresponses_schema import validate_response
from support.scripts.chat import Answer
from support.servers.byte_relay import ByteRelay
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

DEADLINE_S = 20
SLOW = Answer("A slow answer, in many small pieces.", delta_chars=4, pause_after=3)


def connect(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=url, api_key="test-key", max_retries=0)


@pytest_asyncio.fixture
async def client(landline: RunningServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with connect(landline.base_url) as made:
        yield made


async def finished(client: openai.AsyncOpenAI, response_id: str) -> Response:
    """Polls as the guide says, without a wait between: the answer is there in no time."""
    async with asyncio.timeout(DEADLINE_S):
        while (response := await client.responses.retrieve(response_id)).status in ("queued", "in_progress"):
            pass
    return response


async def test_response_is_retrieved_and_deleted(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("Kept."))
    made = await client.responses.create(model=scenario.model, input="Keep this.", metadata={"k": "v"})
    found = await client.responses.retrieve(made.id, include=["message.output_text.logprobs"])
    assert found.to_dict() == made.to_dict()
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        await client.responses.retrieve(made.id)
    assert caught.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.create(model=scenario.model, input="x", previous_response_id=made.id)
    assert refused.value.code == "previous_response_not_found"


async def test_input_items_are_paged_through(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(Answer("Read."))
    texts = [f"line {number}" for number in range(5)]
    made = await client.responses.create(
        model=scenario.model, input=[{"role": "user", "content": text} for text in texts]
    )
    pages = client.responses.input_items.list(made.id, limit=2, order="asc")
    items: list[Any] = [item async for item in pages]
    assert [item.content[0].text for item in items] == texts
    assert [(item.type, item.role, item.status) for item in items] == [("message", "user", "completed")] * 5


async def test_background_response_is_polled_to_its_end(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(SLOW)
    queued = await client.responses.create(model=scenario.model, input="Go.", background=True)
    assert (queued.status, queued.background) == ("queued", True)
    scenario.wait_for_requests(1)
    assert (await client.responses.retrieve(queued.id)).status == "in_progress"
    scenario.release()
    response = await finished(client, queued.id)
    assert (response.status, response.output_text) == ("completed", SLOW.text)
    validate_response(response.to_dict())


async def test_background_stream_is_resumed_after_a_cut(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(SLOW)
    with ByteRelay(landline.port) as relay:
        client = connect(relay.base_url)
        stream = await client.responses.create(model=scenario.model, input="Go.", background=True, stream=True)
        text, number, response_id = "", -1, ""
        with contextlib.suppress(openai.APIConnectionError):
            async for event in stream:
                number = event.sequence_number
                if event.type == "response.created":
                    response_id = event.response.id
                if event.type == "response.output_text.delta":
                    text += event.delta
                    relay.cut()
        assert 0 < len(text) < len(SLOW.text)
        scenario.release()
        event: Any = None
        async for event in await client.responses.retrieve(response_id, stream=True, starting_after=number):
            assert event.sequence_number == number + 1
            number = event.sequence_number
            if event.type == "response.output_text.delta":
                text += event.delta
        assert event.type == "response.completed"
        assert text == event.response.output_text == SLOW.text
        again = [event async for event in await client.responses.retrieve(response_id, stream=True)]
        assert [event.sequence_number for event in again] == list(range(number + 1))
        await client.close()


async def test_stream_helper_follows_a_background_response(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(SLOW)
    scenario.release()
    queued: list[Any] = [
        event
        async for event in await client.responses.create(
            model=scenario.model, input="Go.", background=True, stream=True
        )
    ]
    assert [event.type for event in queued][:3] == ["response.created", "response.queued", "response.in_progress"]
    async with client.responses.stream(response_id=queued[0].response.id, starting_after=2) as stream:
        response = await stream.get_final_response()
    assert response.output_text == SLOW.text


async def test_background_response_is_cancelled_once_and_for_all(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(SLOW)
    queued = await client.responses.create(model=scenario.model, input="Go.", background=True)
    scenario.wait_for_requests(1)
    cancelled = await client.responses.cancel(queued.id)
    assert cancelled.status == "cancelled"
    scenario.wait_for_abort()
    assert (await client.responses.cancel(queued.id)).to_dict() == cancelled.to_dict()
    assert (await client.responses.retrieve(queued.id)).status == "cancelled"


async def test_synchronous_response_is_neither_cancelled_nor_streamed_again(
    client: openai.AsyncOpenAI, scripted: Script
) -> None:
    scenario = scripted(Answer("Done."))
    made = await client.responses.create(model=scenario.model, input="Go.")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        await client.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError, match="cannot be streamed"):
        await client.responses.retrieve(made.id, stream=True)


async def test_conversation_lives_through_everything_its_client_can_do(
    client: openai.AsyncOpenAI, scripted: Script
) -> None:
    scenario = scripted(Answer("Hello."), Answer("Again hello."))
    conversation = await client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "My name is Ada."}], metadata={"topic": "t"}
    )
    await client.responses.create(model=scenario.model, conversation=conversation.id, input="hello")
    second = await client.responses.create(
        model=scenario.model, conversation={"id": conversation.id}, input="again", stream=False
    )
    assert second.conversation is not None
    assert second.conversation.id == conversation.id
    assert [message["content"] for message in scenario.received[1].messages] == [
        "My name is Ada.",
        "hello",
        "Hello.",
        "again",
    ]
    items: list[Any] = [item async for item in client.conversations.items.list(conversation.id, order="asc")]
    said = ["My name is Ada.", "hello", "Hello.", "again", "Again hello."]
    assert [item.content[0].text for item in items] == said
    read = await client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id)
    assert read.to_dict() == items[0].to_dict()
    extra: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "extra"}]}
    added = await client.conversations.items.create(conversation.id, items=[extra])
    assert [item.type for item in added.data] == ["message"]
    kept = await client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    assert (kept.id, kept.metadata) == (conversation.id, {"topic": "t"})
    newest: list[Any] = [item async for item in client.conversations.items.list(conversation.id, limit=2)]
    assert [item.content[0].text for item in newest] == ["extra", *said[:0:-1]]
    changed = await client.conversations.update(conversation.id, metadata={"topic": "u"})
    assert (changed.metadata, changed.created_at) == ({"topic": "u"}, conversation.created_at)
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(
            model=scenario.model, conversation=conversation.id, input="x", previous_response_id=second.id
        )
    deleted = await client.conversations.delete(conversation.id)
    assert (deleted.deleted, deleted.object) == (True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(conversation.id)
    assert (await client.responses.retrieve(second.id)).output_text == "Again hello."


async def test_second_writer_of_a_conversation_gets_a_conflict(client: openai.AsyncOpenAI, scripted: Script) -> None:
    scenario = scripted(SLOW, Answer("Next."))
    conversation = await client.conversations.create()
    stream = await client.responses.create(model=scenario.model, conversation=conversation.id, input="one", stream=True)
    with pytest.raises(openai.ConflictError) as caught:
        await client.responses.create(model=scenario.model, conversation=conversation.id, input="two")
    assert caught.value.code == "conversation_locked"
    scenario.release()
    assert [event.type async for event in stream][-1] == "response.completed"
    after = await client.responses.create(model=scenario.model, conversation=conversation.id, input="three")
    assert after.output_text == "Next."


async def test_item_references_stand_for_stored_items(client: openai.AsyncOpenAI, scripted: Script) -> None:
    """The Vercel AI SDK sends earlier answers as references when it may count on `store`."""
    scenario = scripted(Answer("The answer."), Answer("As I said."))
    first = await client.responses.create(model=scenario.model, input="A question.")
    following: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "A question."}]},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": [{"type": "input_text", "text": "Again?"}]},
    ]
    await client.responses.create(model=scenario.model, input=following)
    assert [message["content"] for message in scenario.received[1].messages] == ["A question.", "The answer.", "Again?"]
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model=scenario.model, input=[{"type": "item_reference", "id": "msg_unknown"}])


def config(fake: FakeChatServer, store: str) -> str:
    return f"""
[store]
{store}
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


@pytest.mark.parametrize("store", ["", 'url = "sqlite:///kept.db"'])
async def test_stored_responses_go_on_on_any_transport_after_a_restart(
    fake_chat: FakeChatServer, scripted: Script, tmp_path: Path, store: str
) -> None:
    scenario = scripted(*(Answer(f"answer {number}") for number in range(5)))
    with RunningServer(config(fake_chat, store), tmp_path) as server:
        async with connect(server.base_url) as client, client.responses.connect() as line:
            first = await _ask(line, model=scenario.model, input="turn 0")
            second = await client.responses.create(model=scenario.model, input="turn 1", previous_response_id=first.id)
            conversation = await client.conversations.create(items=[{"role": "user", "content": "kept"}])
    with RunningServer(config(fake_chat, store), tmp_path) as server:
        async with connect(server.base_url) as client:
            assert (await client.responses.retrieve(second.id)).to_dict() == second.to_dict()
            async with client.responses.connect() as line:
                third = await _ask(line, model=scenario.model, input="turn 2", previous_response_id=second.id)
                fourth = await _ask(line, model=scenario.model, input="turn 3", previous_response_id=third.id)
            await client.responses.create(model=scenario.model, input="turn 4", previous_response_id=fourth.id)
            items: list[Any] = [item async for item in client.conversations.items.list(conversation.id)]
    assert [item.content[0].text for item in items] == ["kept"]
    assert [message["content"] for message in scenario.received[-1].messages] == [
        "turn 0",
        "answer 0",
        "turn 1",
        "answer 1",
        "turn 2",
        "answer 2",
        "turn 3",
        "answer 3",
        "turn 4",
    ]


async def test_conversation_goes_on_over_a_socket(landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(Answer("one"), Answer("two"))
    async with connect(landline.base_url) as client:
        conversation = await client.conversations.create(items=[{"role": "user", "content": "kept"}])
        async with client.responses.connect() as line:
            first = await _ask(line, model=scenario.model, input="a", conversation=conversation.id)
        assert first.conversation is not None
        await client.responses.create(model=scenario.model, input="b", conversation=conversation.id)
    assert [message["content"] for message in scenario.received[-1].messages] == ["kept", "a", "one", "b"]


async def test_second_server_without_a_place_of_its_own_keeps_its_state_in_memory(
    fake_chat: FakeChatServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(Answer("one"), Answer("two"))
    with (
        RunningServer(config(fake_chat, ""), tmp_path) as first,
        RunningServer(config(fake_chat, ""), tmp_path) as second,
    ):
        assert "store_in_memory" in second.log
        assert "store_in_memory" not in first.log
        async with connect(second.base_url) as client:
            made = await client.responses.create(model=scenario.model, input="a")
            await client.responses.create(model=scenario.model, input="b", previous_response_id=made.id)


async def test_background_response_that_a_stop_interrupts_is_found_incomplete(
    fake_chat: FakeChatServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(SLOW)
    settings = config(fake_chat, "") + "[server]\ndrain_s = 0\n"
    with RunningServer(settings, tmp_path) as server:
        async with connect(server.base_url) as client:
            queued = await client.responses.create(model=scenario.model, input="Go.", background=True)
            scenario.wait_for_requests(1)
    with RunningServer(settings, tmp_path) as server:
        async with connect(server.base_url) as client:
            assert (await client.responses.retrieve(queued.id)).status == "incomplete"


async def _ask(line: AsyncResponsesConnection, **body: Any) -> Response:
    """One turn on an open socket."""
    await line.response.create(**body)
    async for event in line:
        assert event.type != "error", event
        if event.type == "response.completed":
            return event.response
    raise AssertionError("the socket was closed")
