"""The openai package, unmodified, through the whole API: on the embedded model and on a scripted chat-completions server,
over SQLite and over PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from support.fakes.chat import FakeChatServer
from support.fakes.scenario import Received
from support.scripts.chat import Answer
from support.servers.running import RunningServer
from support.stores.postgres import PostgresServer

pytestmark = [pytest.mark.client, pytest.mark.model]

EMBEDDED = "smollm2-135m-instruct"
SCRIPTED = "whole-api"
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def first_of(line: Any, *kinds: str) -> Any:
    """The next event of one of these kinds; what comes before it is passed over."""
    return next(event for event in line if event.type in kinds)


def _answer(received: Received) -> Answer:
    last = received.messages[-1]["content"]
    text = last if isinstance(last, str) else "".join(part.get("text", "") for part in last)
    return Answer(text=f"You said {text[-40:]!r} after {len(received.messages) - 1} messages.")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """One Landline with both targets, over one kind of store."""
    fake_chat.scenario(_answer, model=SCRIPTED)
    folder: Path = tmp_path_factory.mktemp(request.param)
    url = "sqlite:///whole.db"
    if request.param == "postgresql":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.create_database()
    config = f"""
[store]
url = "{url}"
[targets.embedded]
dialect = "embedded"
[targets.fake]
dialect = "chat_completions"
base_url = "{fake_chat.base_url}"
[models."{EMBEDDED}"]
targets = ["embedded"]
[models."*"]
targets = ["fake"]
"""
    with RunningServer(config, folder) as running:
        yield running


@pytest.fixture(params=[SCRIPTED, EMBEDDED])
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="test-key", max_retries=0, timeout=120) as made:
        yield made


def _short(model: str) -> dict[str, Any]:
    """Settings that keep a turn of the small model short."""
    return {"model": model, "max_output_tokens": 16, "temperature": 0}


def test_stored_responses_are_continued_read_and_deleted(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(**_short(model), input="My name is Ada.", metadata={"topic": "names"})
    second = client.responses.create(**_short(model), input="What is it?", previous_response_id=first.id)
    read = client.responses.retrieve(second.id)
    assert read.model_dump() == second.model_dump()
    assert read.previous_response_id == first.id
    assert client.responses.retrieve(first.id).metadata == {"topic": "names"}
    items = list(client.responses.input_items.list(second.id, order="asc"))
    assert [item.type for item in items] == ["message"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    third = client.responses.create(**_short(model), input="Go on.", previous_response_id=second.id)
    assert third.usage is not None
    assert second.usage is not None
    assert third.usage.input_tokens > second.usage.input_tokens
    if model == EMBEDDED:
        assert third.usage.input_tokens_details.cached_tokens > 0


def test_stored_chain_goes_on_over_a_socket_and_back(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(**_short(model), input="Start.")
    with client.responses.connect() as line:
        line.response.create(**_short(model), input="Over the socket.", previous_response_id=first.id)
        second = first_of(line, *TERMINAL)
    assert second.type in ("response.completed", "response.incomplete")
    third = client.responses.create(**_short(model), input="Back.", previous_response_id=second.response.id)
    assert third.previous_response_id == second.response.id


def test_background_response_is_streamed_again(client: openai.OpenAI, model: str) -> None:
    live = list(client.responses.create(**_short(model), input="Slowly.", background=True, stream=True))
    assert [event.sequence_number for event in live] == list(range(len(live)))
    assert live[0].type == "response.created"
    response_id = live[0].response.id
    with client.responses.retrieve(response_id, stream=True) as events:
        assert [event.to_json() for event in events] == [event.to_json() for event in live]
    with client.responses.retrieve(response_id, stream=True, starting_after=1) as events:
        assert [event.sequence_number for event in events] == [event.sequence_number for event in live[2:]]


def test_background_response_is_polled_to_its_end(client: openai.OpenAI, model: str) -> None:
    response = client.responses.create(**_short(model), input="In the back.", background=True)
    assert response.status == "queued"
    while response.status in ("queued", "in_progress"):
        response = client.responses.retrieve(response.id)
    assert response.status in ("completed", "incomplete")
    assert client.responses.cancel(response.id).model_dump() == response.model_dump()
    assert client.responses.retrieve(response.id).background is True


def test_conversation_holds_what_was_said(client: openai.OpenAI, model: str) -> None:
    conversation = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "My name is Ada."}], metadata={"topic": "t"}
    )
    client.responses.create(**_short(model), input="Hello.", conversation=conversation.id)
    items: list[Any] = list(client.conversations.items.list(conversation.id, order="asc"))
    assert [item.type for item in items] == ["message", "message", "message"]
    client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    assert len(list(client.conversations.items.list(conversation.id, limit=1))) == 2
    assert client.conversations.update(conversation.id, metadata={"topic": "u"}).metadata == {"topic": "u"}
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_compacted_window_is_shorter_and_goes_on(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(**_short(model), input="Remember the word lighthouse.")
    window = client.responses.compact(model=model, previous_response_id=first.id)
    assert window.object == "response.compaction"
    assert window.output[-1].type == "compaction"
    following: Any = [
        *(item.model_dump(exclude_none=True) for item in window.output),
        {"role": "user", "content": "Go on."},
    ]
    response = client.responses.create(**_short(model), input=following)
    assert response.status in ("completed", "incomplete")


def test_trigger_and_threshold_compact_inside_the_chain(client: openai.OpenAI) -> None:
    """On the embedded model this is tested apart, with a conversation that fits its context."""
    first = client.responses.create(**_short(SCRIPTED), input="Remember the word lighthouse.")
    trigger: Any = [{"type": "compaction_trigger"}]
    second = client.responses.create(model=SCRIPTED, temperature=0, input=trigger, previous_response_id=first.id)
    assert [item.type for item in second.output] == ["compaction"]
    third = client.responses.create(**_short(SCRIPTED), input="Go on.", previous_response_id=second.id)
    management: Any = [{"type": "compaction", "compact_threshold": 10}]
    fourth = client.responses.create(
        model=SCRIPTED,
        temperature=0,
        input="And on.",
        previous_response_id=third.id,
        context_management=management,
    )
    assert [item.type for item in fourth.output] == ["compaction", "message"]
    fifth = client.responses.create(**_short(SCRIPTED), input="And on.", previous_response_id=fourth.id)
    assert fifth.status in ("completed", "incomplete")


def test_stored_response_is_steered(client: openai.OpenAI) -> None:
    with client.responses.connect() as line:
        settings: Any = {"model": EMBEDDED, "temperature": 0, "max_output_tokens": 100}
        line.response.create(**settings, input="Tell a story about a lighthouse.")
        target = first_of(line, "response.created").response.id
        line.response.steer(previous_response_id=target, input="Make it short.")
        accepted = next(event for event in line if event.type.startswith("response.steer"))
        assert accepted.type == "response.steer.accepted"
        successor = first_of(line, "response.created").response
        final = first_of(line, *TERMINAL).response
    assert successor.previous_response_id == target
    assert client.responses.retrieve(target).status in ("completed", "incomplete")
    assert client.responses.retrieve(final.id).output == final.output


def test_tokens_are_counted_as_the_model_counts_them(client: openai.OpenAI, model: str) -> None:
    counted = client.responses.input_tokens.count(model=model, input="How many tokens is this?")
    response = client.responses.create(**_short(model), input="How many tokens is this?")
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens


def test_item_reference_stands_for_the_stored_item(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(**_short(model), input="Say something.")
    following: Any = [
        {"role": "user", "content": "Say something."},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "Again."},
    ]
    assert client.responses.create(**_short(model), input=following).output
    missing: Any = [{"type": "item_reference", "id": "msg_nope"}]
    with pytest.raises(openai.NotFoundError):
        client.responses.create(**_short(model), input=missing)


def test_encrypted_reasoning_and_logprobs_are_asked_for_without_harm(client: openai.OpenAI, model: str) -> None:
    response = client.responses.create(
        **_short(model),
        input="Think.",
        include=["reasoning.encrypted_content", "message.output_text.logprobs"],
        top_logprobs=2,
        service_tier="auto",
        prompt_cache_key="tour",
        parallel_tool_calls=False,
        max_tool_calls=3,
    )
    assert response.max_tool_calls == 3
    assert response.prompt_cache_key == "tour"
    assert response.parallel_tool_calls is False
    assert response.service_tier is not None


def test_instructions_are_not_inherited(client: openai.OpenAI, model: str) -> None:
    first = client.responses.create(**_short(model), input="Hello.", instructions="Speak like a pirate.")
    second = client.responses.create(**_short(model), input="And now?", previous_response_id=first.id)
    assert first.instructions == "Speak like a pirate."
    assert second.instructions is None
