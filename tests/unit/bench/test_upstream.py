"""The scripted upstream: what it reads of a request, and that its answers are what the clients of both APIs expect."""

import aiohttp
import msgspec
import openai
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from landline.bench.upstream import STAMP_BYTES, Script, read_script, stamp
from support.fakes.scripted_upstream import running_upstream

BURST = Script(words=3)
SPLIT = Script(words=3, is_split=True)
PACED = Script(words=4, per_s=200)


@pytest.mark.parametrize("script", [BURST, SPLIT, PACED])
def test_a_script_is_read_from_its_sentence(script: Script) -> None:
    assert read_script(f'{{"input":"{script.sentence}"}}'.encode()) == script


def test_the_newest_sentence_counts() -> None:
    assert read_script(f"{PACED.sentence} {BURST.sentence} more".encode()) == BURST


def test_other_text_gets_the_default() -> None:
    assert read_script(b'{"input":"Say hello."}') == Script()
    assert read_script(b"") == Script()


def test_a_script_has_the_time_between_its_first_and_last_word() -> None:
    assert PACED.duration_s == pytest.approx(0.015)
    assert BURST.duration_s == 0


def test_stamps_have_one_size_and_rise() -> None:
    first, second = stamp(), stamp()
    assert len(first) == len(second) == STAMP_BYTES + 1
    assert int(first) <= int(second)


@pytest.mark.parametrize("script", [BURST, SPLIT, PACED])
async def test_chat_completions_stream_as_the_sdk_reads_them(script: Script) -> None:
    async with running_upstream() as base_url, openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        stream = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": script.sentence}], stream=True
        )
        chunks = [chunk async for chunk in stream]
    words = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert len(words) == script.words
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == script.words


@pytest.mark.parametrize("script", [BURST, SPLIT, PACED])
async def test_responses_stream_as_the_sdk_reads_them(script: Script) -> None:
    async with running_upstream() as base_url, openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        stream = await client.responses.create(model="any", input=script.sentence, stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert sum(event.type == "response.output_text.delta" for event in events) == script.words
    end = events[-1]
    assert end.type == "response.completed"
    assert end.response.output_text.count(" ") == script.words


@pytest.mark.parametrize("script", [BURST, SPLIT, PACED])
async def test_socket_turns_have_the_same_events_and_ids_of_their_own(script: Script) -> None:
    adapter: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    frame = msgspec.json.encode({"type": "response.create", "model": "any", "input": script.sentence}).decode()
    ids: list[str] = []
    async with (
        running_upstream() as base_url,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{base_url}/responses") as socket,
    ):
        for _ in range(2):
            await socket.send_str(frame)
            event = adapter.validate_python(await socket.receive_json())
            deltas = 0
            while event.type != "response.completed":
                event = adapter.validate_python(await socket.receive_json())
                deltas += event.type == "response.output_text.delta"
            assert deltas == script.words
            ids += [event.response.id, *(item.id or "" for item in event.response.output)]
    assert len(set(ids)) == 4


async def test_requests_that_do_not_stream_get_the_whole_answer() -> None:
    async with running_upstream() as base_url, openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        chat = await client.chat.completions.create(model="any", messages=[{"role": "user", "content": BURST.sentence}])
        response = await client.responses.create(model="any", input=BURST.sentence)
        models = await client.models.list()
    assert chat.choices[0].message.content == response.output_text == "word word word "
    assert [model.id for model in models.data] == ["scripted"]


async def test_paced_words_tell_when_they_were_written() -> None:
    before = int(stamp())
    async with running_upstream() as base_url, openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        stream = await client.responses.create(model="any", input=PACED.sentence, stream=True)
        words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
    times = [int(word) for word in words]
    assert before <= times[0]
    assert times == sorted(times)
    assert times[-1] <= int(stamp())
