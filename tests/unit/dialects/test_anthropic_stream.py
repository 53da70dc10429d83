"""Answers of the Messages API, fed in every split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.anthropic import Anthropic
from landline.dialects.dialect import Prompt
from landline.wire.model_events import Accepted, Failed, Finished, ToolCallStarted, UsageReported
from landline.wire.requests import CreateRequest
from support.conversations.transcripts import assert_events, case_names, play, read_case, splits

DIALECT = "anthropic"
CASES = case_names(DIALECT)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(Anthropic(), case, [body]), case.events)


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert play(Anthropic(), case, data.draw(splits(body))) == play(Anthropic(), case, [body])


@pytest.mark.parametrize("name", CASES)
def test_byte_by_byte_there_is_one_ending_and_call_ids_are_unique(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(Anthropic(), case, [body[i : i + 1] for i in range(len(body))])
    assert_events(events, case.events)
    assert [event for event in events if isinstance(event, Finished | Failed)] == events[-1:]
    assert not any(isinstance(event, Accepted) for event in events)
    call_ids = [event.call_id for event in events if isinstance(event, ToolCallStarted)]
    assert all(call_ids)
    assert len(set(call_ids)) == len(call_ids)


def test_nothing_comes_after_the_end() -> None:
    _, body = read_case(DIALECT, "text")
    decoder = Anthropic().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    assert isinstance(decoder.feed(body)[-1], Finished)
    assert (decoder.feed(body), decoder.end()) == ([], [])


@pytest.mark.parametrize("name", ["text", "whole-message", "max-tokens"])
def test_a_warm_up_says_only_what_it_cost_and_how_it_ended(name: str) -> None:
    case, body = read_case(DIALECT, name)
    usage, ending = play(Anthropic(), case, [body], is_warm_up=True)
    assert isinstance(usage, UsageReported)
    assert ending == Finished()


def test_a_broken_warm_up_fails() -> None:
    case, body = read_case(DIALECT, "error-with-200")
    (failed,) = play(Anthropic(), case, [body], is_warm_up=True)
    assert isinstance(failed, Failed)
