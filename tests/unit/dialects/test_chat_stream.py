"""Answers of many servers, fed in every split. Each folder of transcripts/chat_completions holds one server's quirk."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, ToolCallStarted, UsageReported
from landline.wire.requests import CreateRequest

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts" / "chat_completions"


class ExpectedFailure(msgspec.Struct, forbid_unknown_fields=True):
    failed: str
    contains: str


class Case(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    events: list[Raw]
    tools: list[Raw] = []
    flags: ChatCompletionsFlags = ChatCompletionsFlags()


CASES = sorted(path.name for path in TRANSCRIPTS.iterdir())


def read_case(name: str) -> tuple[Case, bytes]:
    folder = TRANSCRIPTS / name
    return msgspec.json.decode((folder / "case.json").read_bytes(), type=Case), (folder / "answer.txt").read_bytes()


def play(case: Case, chunks: Sequence[bytes], *, is_warm_up: bool = False) -> list[ModelEvent]:
    request = CreateRequest(tools=case.tools, generate=False if is_warm_up else None)
    prompt = Prompt(history=None, request=request, model="m", response_id="resp_test")
    decoder = ChatCompletions(case.flags).open_decoder(prompt)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    if not any(isinstance(event, Finished | Failed) for event in events):
        events += decoder.end()
    return events


def assert_events(events: Sequence[ModelEvent], expected: Sequence[Raw]) -> None:
    assert len(events) == len(expected), events
    for event, wanted in zip(events, expected, strict=True):
        if isinstance(event, Failed):
            failure = msgspec.json.decode(wanted, type=ExpectedFailure)
            assert event.error.code == failure.failed
            assert failure.contains in event.error.message
        else:
            assert event == msgspec.json.decode(wanted, type=ModelEvent)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(name)
    assert_events(play(case, [body]), case.events)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_comes_byte_by_byte_is_the_same(name: str) -> None:
    case, body = read_case(name)
    assert_events(play(case, [body[i : i + 1] for i in range(len(body))]), case.events)


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(name)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    edges = [0, *cuts, len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(edges)]
    assert play(case, chunks) == play(case, [body])


@pytest.mark.parametrize("name", CASES)
def test_every_answer_has_exactly_one_ending_and_it_is_last(name: str) -> None:
    case, body = read_case(name)
    events = play(case, [body])
    endings = [event for event in events if isinstance(event, Finished | Failed)]
    assert len(endings) == 1
    assert events[-1] is endings[0]
    assert not any(isinstance(event, Accepted) for event in events)


@pytest.mark.parametrize("name", CASES)
def test_call_ids_are_given_and_unique_within_an_answer(name: str) -> None:
    case, body = read_case(name)
    call_ids = [event.call_id for event in play(case, [body]) if isinstance(event, ToolCallStarted)]
    assert all(call_ids)
    assert len(set(call_ids)) == len(call_ids)


def test_nothing_comes_after_the_end() -> None:
    case, body = read_case("openai-text")
    prompt = Prompt(history=None, request=CreateRequest(), model="m")
    decoder = ChatCompletions(case.flags).open_decoder(prompt)
    assert isinstance(decoder.feed(body)[-1], Finished)
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_a_warm_up_says_only_what_it_cost_and_how_it_ended() -> None:
    case, body = read_case("openai-text")
    assert play(case, [body], is_warm_up=True) == [UsageReported(1200, 2, 1024), Finished()]
