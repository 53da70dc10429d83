"""Records with odd members, put in order for the strict decoder."""

import json

import pytest

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Prompt, StreamDecoder
from landline.wire.model_events import Failed, TextDelta
from landline.wire.requests import CreateRequest
from support.conversations.transcripts import read_case


def decoder() -> StreamDecoder:
    return ChatCompletions().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))


def test_what_was_left_out_is_told_once_without_its_content() -> None:
    _, body = read_case("chat_completions", "gateway-odd-members")
    reader = decoder()
    reader.feed(body)
    assert "`choices[].delta.refusal` is a boolean in place of a string" in reader.oddities
    assert "`usage` is an array in place of an object" in reader.oddities
    assert len(set(reader.oddities)) == len(reader.oddities)
    assert not any("Oslo" in each for each in reader.oddities)


def test_good_answers_have_no_oddities() -> None:
    _, body = read_case("chat_completions", "openai-parallel-calls")
    reader = decoder()
    reader.feed(body)
    assert list(reader.oddities) == []


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            {"choices": [{"delta": {"content": {"blob": 1}}}]},
            "expected `choices[].delta.content` to be a string or an array",
        ),
        ({"choices": "none"}, "expected `choices` to be an array, got a string"),
        ({"choices": [{"delta": "text"}]}, "expected `choices[].delta` to be an object, got a string"),
        ({"choices": [{"delta": {"tool_calls": ["f"]}}]}, "expected `choices[].delta.tool_calls[]` to be an object"),
    ],
)
def test_what_is_needed_and_unreadable_is_an_error_that_says_so(record: object, told: str) -> None:
    [failed] = decoder().feed(b"data: " + json.dumps(record).encode() + b"\n\n")
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"
    assert told in failed.error.message


@pytest.mark.parametrize("odd", [True, 3, "x", [], [1], {}, {"a": 1}])
@pytest.mark.parametrize("name", ["index", "logprobs", "usage", "finish_reason"])
def test_no_odd_member_of_a_choice_takes_its_text(name: str, odd: object) -> None:
    choice = {"delta": {"content": "Hi"}, name: odd} if name != "index" or odd != 3 else {"delta": {"content": "Hi"}}
    events = decoder().feed(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
    assert events == [TextDelta("Hi")]
