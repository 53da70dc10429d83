"""Answers of many servers that speak chat completions, fed in every split."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.wire.model_events import Accepted, Failed, Finished, ToolCallDelta, ToolCallStarted, UsageReported
from landline.wire.requests import CreateRequest
from support.conversations.chat import function_call, lineage, message, output
from support.conversations.transcripts import Case, assert_events, case_names, play, read_case, splits

DIALECT = "chat_completions"
CASES = case_names(DIALECT)


def dialect_of(case: Case) -> ChatCompletions:
    return ChatCompletions(msgspec.json.decode(case.flags, type=ChatCompletionsFlags))


@pytest.mark.parametrize("name", CASES)
def test_an_answer_becomes_its_events(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(dialect_of(case), case, [body]), case.events)


@pytest.mark.parametrize("name", CASES)
def test_an_answer_that_comes_byte_by_byte_is_the_same(name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert_events(play(dialect_of(case), case, [body[i : i + 1] for i in range(len(body))]), case.events)


@given(data=st.data(), name=st.sampled_from(CASES))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str) -> None:
    case, body = read_case(DIALECT, name)
    assert play(dialect_of(case), case, data.draw(splits(body))) == play(dialect_of(case), case, [body])


@pytest.mark.parametrize("name", CASES)
def test_every_answer_has_exactly_one_ending_and_it_is_last(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(dialect_of(case), case, [body])
    endings = [event for event in events if isinstance(event, Finished | Failed)]
    assert len(endings) == 1
    assert events[-1] is endings[0]
    assert not any(isinstance(event, Accepted) for event in events)


@pytest.mark.parametrize("name", CASES)
def test_call_ids_are_given_and_unique_within_an_answer(name: str) -> None:
    case, body = read_case(DIALECT, name)
    call_ids = [event.call_id for event in play(dialect_of(case), case, [body]) if isinstance(event, ToolCallStarted)]
    assert all(call_ids)
    assert len(set(call_ids)) == len(call_ids)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_said_before_the_calls_are_complete(name: str) -> None:
    case, body = read_case(DIALECT, name)
    events = play(dialect_of(case), case, [body])
    kinds = [type(event) for event in events]
    calls = [place for place, kind in enumerate(kinds) if kind in (ToolCallStarted, ToolCallDelta)]
    between = kinds[calls[0] : calls[-1]] if calls else []
    assert set(between) <= {ToolCallStarted, ToolCallDelta}


def test_a_call_id_that_came_before_in_the_conversation_is_replaced() -> None:
    """As from servers that count their calls anew in every answer: a client would take an old output for the new one's."""
    calls = ",".join(
        f'{{"index":{index},"id":"{call_id}","function":{{"name":"f","arguments":"{{}}"}}}}'
        for index, call_id in enumerate(("call_0", "call_1"))
    )
    body = f'data: {{"choices":[{{"index":0,"delta":{{"tool_calls":[{calls}]}},"finish_reason":"stop"}}]}}\n\n'
    history = lineage([[message("user", "go"), function_call("call_0")], [output("call_0")]])
    prompt = Prompt(history=history, request=CreateRequest(), model="m", response_id="resp_new")
    events = ChatCompletions().open_decoder(prompt).feed(body.encode())
    assert [each.call_id for each in events if isinstance(each, ToolCallStarted)] == ["call_new_0", "call_1"]


@pytest.mark.parametrize("body", [b"%s", b'data: {"more":%s}\n\n', b'data: {"error":%s}\n\n'])
def test_an_answer_that_no_json_reader_takes_is_an_error(body: bytes) -> None:
    decoder = ChatCompletions().open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    events = decoder.feed(body % (b"[" * 100_000 + b"]" * 100_000)) or decoder.end()
    assert [type(each) for each in events] == [Failed]


def test_nothing_comes_after_the_end() -> None:
    case, body = read_case(DIALECT, "openai-text")
    decoder = dialect_of(case).open_decoder(Prompt(history=None, request=CreateRequest(), model="m"))
    assert isinstance(decoder.feed(body)[-1], Finished)
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_a_warm_up_says_only_what_it_cost_and_how_it_ended() -> None:
    case, body = read_case(DIALECT, "openai-text")
    events = play(dialect_of(case), case, [body], is_warm_up=True)
    assert events == [UsageReported(1200, 2, 1024), Finished()]
