"""Answers of Gemini, fed in every split."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.dialect import Prompt
from landline.dialects.gemini import Gemini
from landline.wire.model_events import Accepted, Failed, Finished, ReasoningSigned, TextDelta, ToolCallStarted
from landline.wire.requests import CreateRequest
from transcript_cases import assert_events, case_names, play, read_case, splits

DIALECT = "gemini"
CASES = case_names(DIALECT)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(Gemini(), case, [body]), case.events)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_comes_byte_by_byte_is_the_same(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(Gemini(), case, [body[i : i + 1] for i in range(len(body))]), case.events)


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert play(Gemini(), case, data.draw(splits(body))) == play(Gemini(), case, [body])


@pytest.mark.parametrize("name", CASES)
def test_every_answer_has_exactly_one_ending_and_it_is_last(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(Gemini(), case, [body])
    assert [event for event in events if isinstance(event, Finished | Failed)] == events[-1:]
    assert not any(isinstance(event, Accepted) for event in events)


@pytest.mark.parametrize("name", CASES)
def test_call_ids_are_given_and_unique_within_an_answer(name: str) -> None:
    case, body = read_case(DIALECT, name)
    call_ids = [event.call_id for event in play(Gemini(), case, [body]) if isinstance(event, ToolCallStarted)]
    assert all(call_ids)
    assert len(set(call_ids)) == len(call_ids)


@pytest.mark.parametrize("name", CASES)
def test_nothing_signed_comes_between_two_deltas_of_one_text(name: str) -> None:
    """It would end the message."""
    case, body = read_case(DIALECT, name)
    kinds = [type(event) for event in play(Gemini(), case, [body])]
    between = zip(kinds, kinds[1:], kinds[2:], strict=False)
    assert (TextDelta, ReasoningSigned, TextDelta) not in between


def test_nothing_comes_after_the_end() -> None:
    _, body = read_case(DIALECT, "error-record")
    decoder = Gemini().open_decoder(Prompt(history=None, request=CreateRequest(), model="gemini-3.8-flash"))
    assert isinstance(decoder.feed(body)[-1], Failed)
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_blocks_name_the_model_that_signed_them() -> None:
    case, body = read_case(DIALECT, "call-signed")
    case.model = "gemini-4-argon"
    signed = play(Gemini(), case, [body])[0]
    assert isinstance(signed, ReasoningSigned)
    assert signed.by == "gemini"
    assert msgspec.json.decode(signed.block)["model"] == "gemini-4-argon"
