"""Text that models write, in any split, as text and calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.tools import ToolSet, UpstreamTool
from landline.engine.call_reader import CallReader
from landline.wire.model_events import (
    Accepted,
    Finished,
    LogprobEntry,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
    UsageReported,
)

TOOLS = ToolSet(
    [
        UpstreamTool("function", None, "look", "look", b"{}", b"{}"),
        UpstreamTool("function", "files", "read", "files__read", b"{}", b"{}"),
        UpstreamTool("custom", None, "shell", "shell", b"{}", b"{}"),
    ]
)
LOOK = '{"name": "look", "arguments": {"at": "the {sky} \\"now\\"", "deep": {"a": [1, 2]}}}'
LOOK_ARGUMENTS = '{"at": "the {sky} \\"now\\"", "deep": {"a": [1, 2]}}'


def read(pieces: list[str], end: list[ModelEvent] | None = None) -> list[ModelEvent]:
    reader = CallReader(TOOLS.find_called, "call_x")
    events: list[ModelEvent] = []
    for piece in pieces:
        events += reader.read([TextDelta(piece)])
    return events + reader.read(end if end is not None else [Finished()])


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events: list[ModelEvent]) -> list[tuple[str, str]]:
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    return [(call.name, "".join(each.text for each in deltas if each.index == call.index)) for call in started]


@st.composite
def splits(draw: st.DrawFn, text: str) -> list[str]:
    """The text cut into pieces anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]


@pytest.mark.parametrize(
    ("written", "text", "calls"),
    [
        ("Hello, {world}.", "Hello, {world}.", []),
        (LOOK, "", [("look", LOOK_ARGUMENTS)]),
        (f"  \n{LOOK}\n", "", [("look", LOOK_ARGUMENTS)]),
        (f"<tool_call>\n{LOOK}\n</tool_call>", "", [("look", LOOK_ARGUMENTS)]),
        (f"I look. <tool_call>{LOOK}</tool_call>", "I look. ", [("look", LOOK_ARGUMENTS)]),
        (f"{LOOK}\n{LOOK}", "", [("look", LOOK_ARGUMENTS)] * 2),
        (
            f"<tool_call>{LOOK}</tool_call>\n<tool_call>\n{LOOK}</tool_call>",
            "",
            [("look", LOOK_ARGUMENTS)] * 2,
        ),
        (f"{LOOK} I looked.", " I looked.", [("look", LOOK_ARGUMENTS)]),
        ('{"name":"look","parameters":{"a":1}}', "", [("look", '{"a":1}')]),
        ('{"arguments": {"a": 1}, "name": "look"}', "", [("look", '{"a": 1}')]),
        ('{"name": "look", "arguments": "{\\"a\\": 1}"}', "", [("look", '{"a": 1}')]),
        ('{"name": "look"}', "", [("look", "{}")]),
        ('{"type": "function", "function": {"name": "look", "arguments": {}}}', "", [("look", "{}")]),
        ('{"name": "look", "arguments": {}, "id": "1", "more": {"x": "}"}}', "", [("look", "{}")]),
        ('{"name": "files__read", "arguments": {}}', "", [("read", "{}")]),
        ('{"name": "read", "arguments": {}}', "", [("read", "{}")]),
        ('{"name": "shell", "arguments": {"input": "ls \\u00e9\\n"}}', "", [("shell", "ls é\n")]),
        ('{"name": "unknown", "arguments": {}}', '{"name": "unknown", "arguments": {}}', []),
        ('{"answer": {"name": "look"}}', '{"answer": {"name": "look"}}', []),
        ('{"name": "Ann", "age": 3}', '{"name": "Ann", "age": 3}', []),
        ('{"name": "look", "argu', '{"name": "look", "argu', []),
        ('{"name": 5, "arguments": {}}', '{"name": 5, "arguments": {}}', []),
        ("{ not JSON }", "{ not JSON }", []),
        ('{"name": "look", "arguments": {"a": "cut', "", [("look", '{"a": "cut')]),
        ("a < b and <tool", "a < b and <tool", []),
        ("<tool_calls> are nice", "<tool_calls> are nice", []),
        ("<tool_call>no JSON", "<tool_call>no JSON", []),
        ("", "", []),
        (" \n", " \n", []),
    ],
)
@given(data=st.data())
def test_any_split_is_read_alike(written: str, text: str, calls: list[tuple[str, str]], data: st.DataObject) -> None:
    events = read(data.draw(splits(written)))
    assert (text_of(events), calls_of(events)) == (text, calls)
    assert events[-1] == Finished()


@given(
    data=st.data(),
    words=st.lists(st.sampled_from(["<", "<tool", "_call>", "{", "}", '"', "a", " ", "name", ":"]), max_size=20),
)
def test_text_without_a_call_is_never_changed(data: st.DataObject, words: list[str]) -> None:
    written = "".join(words)
    events = read(data.draw(splits(written)))
    assert (text_of(events), calls_of(events)) == (written, [])


def test_text_streams_as_soon_as_it_cannot_be_a_call() -> None:
    reader = CallReader(TOOLS.find_called, "call_x")
    first = TextDelta("Hel", [LogprobEntry("Hel", -0.5, [72, 101, 108], [])])
    assert reader.read([first]) == [first]
    assert reader.read([TextDelta("lo <")]) == []
    assert reader.read([TextDelta("3")]) == [TextDelta("lo <"), TextDelta("3")]
    assert reader.read([TextDelta('{"a')]) == [TextDelta('{"a')]


def test_an_answer_in_json_streams_as_soon_as_its_first_key_is_known() -> None:
    reader = CallReader(TOOLS.find_called, "call_x")
    assert reader.read([TextDelta('{"ci')]) == []
    assert reader.read([TextDelta('ty": ')]) == [TextDelta('{"ci'), TextDelta('ty": ')]


def test_arguments_stream_while_they_are_written() -> None:
    reader = CallReader(TOOLS.find_called, "call_x")
    assert reader.read([TextDelta('{"name": "look", "arguments": {"a')]) == [
        ToolCallStarted(0, "call_x_0", "look"),
        ToolCallDelta(0, '{"a'),
    ]
    assert reader.read([TextDelta('": 1}')]) == [ToolCallDelta(0, '": 1}'), ToolCallEnded(0)]
    assert reader.read([TextDelta("}")]) == []


def test_calls_are_numbered_and_named_apart() -> None:
    events = read([LOOK + LOOK])
    started = [event for event in events if isinstance(event, ToolCallStarted)]
    assert [(call.index, call.call_id) for call in started] == [(0, "call_x_0"), (1, "call_x_1")]


def test_calls_that_the_server_read_keep_their_numbers() -> None:
    reader = CallReader(TOOLS.find_called, "call_x")
    assert reader.read([ToolCallStarted(0, "c", "look")]) == [ToolCallStarted(0, "c", "look")]
    assert reader.read([TextDelta(LOOK)])[0] == ToolCallStarted(1, "call_x_1", "look")


def test_a_namespace_is_split_off() -> None:
    [call] = [
        event for event in read(['{"name": "files__read", "arguments": {}}']) if isinstance(event, ToolCallStarted)
    ]
    assert (call.namespace, call.name, call.kind) == ("files", "read", "function")


def test_other_events_pass_and_held_text_comes_before_the_count() -> None:
    reader = CallReader(TOOLS.find_called, "call_x")
    assert reader.read([Accepted(), ReasoningDelta("hm"), TextDelta('{"name')]) == [Accepted(), ReasoningDelta("hm")]
    assert reader.read([UsageReported(1, 2), Finished("max_output_tokens")]) == [
        TextDelta('{"name'),
        UsageReported(1, 2),
        Finished("max_output_tokens"),
    ]


@given(arguments=st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), data=st.data())
def test_arguments_arrive_unchanged(arguments: dict[str, object], data: st.DataObject) -> None:
    written = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    events = read(data.draw(splits(f'{{"name": "look", "arguments": {written}}}')))
    assert calls_of(events) == [("look", written)]
