"""Items as messages of the Messages API: the shape that it wants, whatever the order and the links."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.anthropic import Anthropic, AnthropicFlags
from landline.dialects.anthropic.transcript import CALL_ID_FORMAT, extend_transcript
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.history_calls import CallIds, CallIdWriter
from landline.wire.items import Item as WireItem
from support.conversations.anthropic import (
    REDACTED,
    SIGNED,
    ask,
    assistant,
    build,
    error,
    messages,
    result,
    signed_lineage,
    thinking,
    use,
    user,
)
from support.conversations.chat import Item, create, custom_call, function_call, message, output, reasoning
from support.strict.anthropic import without_marks

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "high"}
IMAGE_BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
BEGIN, GO_ON, NO_OUTPUT = "(Begin.)", "(Go on.)", "(no output yet)"
SIGNED_BLOCK, REDACTED_BLOCK = json.loads(SIGNED), json.loads(REDACTED)
HI = message("user", "hi")


def test_instructions_and_leading_developer_messages_are_the_system_prompt() -> None:
    made = build([message("developer", "a"), message("system", "b")], [HI, message("developer", "c")], instructions="i")
    assert [block["text"] for block in made["system"]] == ["i", "a", "b"]
    assert without_marks(made["messages"]) == [user("hi", "c")]


def test_without_instructions_there_is_no_system_prompt() -> None:
    assert "system" not in build([HI])
    assert "system" not in build([HI], instructions=" \n")


def test_items_of_one_side_are_one_message() -> None:
    answer = [message("assistant", "Look"), function_call("a"), function_call("b"), message("assistant", "ing")]
    assert messages([HI, message("user", "there")], answer, [output("a"), output("b", "two"), HI]) == [
        user("hi", "there"),
        assistant("Look", use("a"), use("b"), "ing"),
        user(result("a"), result("b", "two"), "hi"),
    ]


def test_results_come_first_and_what_was_said_between_follows_them() -> None:
    said = [message("user", "wait"), output("b"), message("developer", "be kind"), output("a")]
    assert messages([HI], [function_call("a"), function_call("b")], said)[2] == user(
        result("b"), result("a"), "wait", "be kind"
    )


def test_a_call_that_is_never_answered_gets_a_note() -> None:
    made = messages([HI], [function_call("a"), function_call("b")], [output("a"), message("user", "stop")])
    assert made[2:] == [user(result("a"), result("b", NO_OUTPUT), "stop")]
    made = messages([HI], [function_call("a")], [message("user", "stop")], [message("assistant", "ok")], [HI])
    assert made[2:] == [user(result("a", NO_OUTPUT), "stop"), assistant("ok"), user("hi")]


def test_calls_that_follow_outputs_are_an_answer_of_their_own() -> None:
    made = messages([HI, function_call("a"), output("a"), function_call("b"), output("b")])
    assert made[1:] == [assistant(use("a")), user(result("a")), assistant(use("b")), user(result("b"))]


def test_a_late_output_is_told() -> None:
    made = messages([HI], [function_call("a")], [output("a")], [output("a", "again")])
    assert made[2] == user(result("a"), "Output of the tool call a:", "again")


def test_the_first_message_and_the_last_are_the_users() -> None:
    assert messages([message("assistant", "ho")]) == [user(BEGIN), assistant("ho"), user(GO_ON)]
    assert messages([message("developer", "a")]) == [user(BEGIN)]
    assert messages([function_call("a")]) == [user(BEGIN), assistant(use("a")), user(result("a", NO_OUTPUT))]


@pytest.mark.parametrize("items", [[message("user", " \n")], [{"type": "web_search_call", "id": "ws"}], []])
def test_a_prompt_of_which_nothing_can_be_said_is_refused(items: list[Item]) -> None:
    assert error(items).code == "missing_required_parameter"


def test_blank_text_is_left_out() -> None:
    items = [message("user", "", "hi"), message("assistant", " "), function_call("a"), output("a", " ")]
    made = messages(items)
    assert made == [user("hi"), assistant(use("a")), user({"type": "tool_result", "tool_use_id": "a"})]


def test_an_output_may_hold_images() -> None:
    value = [{"type": "input_text", "text": "Look:"}, IMAGE]
    made = messages([HI], [function_call("a")], [output("a", value)])
    assert made[2] == user(result("a", [{"type": "text", "text": "Look:"}, IMAGE_BLOCK]))


def test_custom_calls_are_calls_of_a_function_of_one_string() -> None:
    made = messages(
        [HI], [custom_call("a", text='say "é"', namespace="edit")], [output("a", kind="custom_tool_call_output")]
    )
    assert made[1] == assistant(use("a", "edit__c", input='say "é"'))


def test_foreign_items_are_told() -> None:
    shell = {"type": "local_shell_call", "call_id": "a", "action": {"command": ["ls"]}}
    answered = {"type": "local_shell_call_output", "call_id": "a", "output": "x"}
    strange = {"type": "vendor:thing", "id": "t", "status": "completed"}
    made = messages([HI, shell, answered, strange])
    assert made[1] == assistant(use("a", "local_shell", action={"command": ["ls"]}))
    output_block, told = made[2]["content"]
    assert output_block == result("a", "x")
    assert told["text"].startswith("Item of type 'vendor:thing': {")


def test_a_screenshot_is_an_image() -> None:
    """Told as JSON, it would be hundreds of thousands of tokens."""
    looked = {"type": "computer_call", "call_id": "a", "action": {"type": "screenshot"}}
    shot = {"type": "computer_screenshot", "image_url": IMAGE["image_url"]}
    made = messages([HI, looked], [{"type": "computer_call_output", "call_id": "a", "output": shot}])
    assert made[1] == assistant(use("a", "computer", action={"type": "screenshot"}))
    assert made[2] == user(result("a", [IMAGE_BLOCK]))
    kept = {"type": "computer_screenshot", "file_id": "file_1"}
    made = messages([HI, looked], [{"type": "computer_call_output", "call_id": "a", "output": kept}])
    assert json.loads(made[2]["content"][0]["content"]) == kept
    unreadable = {**shot, "image_url": "data:image/svg+xml;base64,AAAA"}
    refused = error([HI, looked], [{"type": "computer_call_output", "call_id": "a", "output": unreadable}])
    assert refused.code == "unsupported_content"


@pytest.mark.parametrize("call_id", ["functions.exec:0", "a b", "é", "x" * 65])
def test_a_call_id_that_the_api_refuses_gets_another_one(call_id: str) -> None:
    made = messages([HI], [function_call(call_id)], [output(call_id)])
    use_id = CallIdWriter(CallIds(), CALL_ID_FORMAT).add(call_id)
    assert made[1:] == [assistant(use(use_id)), user(result(use_id))]
    assert use_id != CallIdWriter(CallIds(), CALL_ID_FORMAT).add(call_id + "x")


def test_a_call_id_that_comes_again_in_one_answer_gets_another_one_and_outputs_keep_their_calls() -> None:
    calls = [function_call("a", arguments='{"n": 1}'), function_call("a", arguments='{"n": 2}')]
    made = messages([HI, *calls, output("a", "one")], [output("a", "two"), output("a", "three")])
    other = CallIdWriter(CallIds().with_ids(["a"]), CALL_ID_FORMAT).add("a")
    assert made[1] == assistant(use("a", n=1), use(other, n=2))
    told = ["Output of the tool call a:", "three"]
    assert made[2] == user(result("a", "one"), result(other, "two"), *told)


def test_call_ids_that_begin_anew_in_every_answer_are_told_apart() -> None:
    """As from servers that name a call by its place in the answer (Kimi, 2026-07)."""
    turns = [[function_call("list:0"), output("list:0", str(number))] for number in range(4)]
    made = messages([HI], *turns)
    uses = [message["content"][0]["id"] for message in made if message["role"] == "assistant"]
    results = [message["content"][0] for message in made[2:] if message["role"] == "user"]
    assert len(set(uses)) == 4
    assert results == [result(use_id, str(number)) for number, use_id in enumerate(uses)]


def test_arguments_that_are_no_object_are_told_as_text() -> None:
    made = messages([HI], [function_call("a", arguments='{"x":')], [output("a")])
    assert made[1] == assistant(use("a", malformed_arguments='{"x":'))
    endless = '{"x":' + "[" * 100_000 + "]" * 100_000 + "}"
    made = messages([HI], [function_call("a", arguments=endless)], [output("a")])
    assert made[1] == assistant(use("a", malformed_arguments=endless))


def test_signed_thinking_goes_back_as_it_came_before_what_it_led_to() -> None:
    links = [HI], [thinking(SIGNED, REDACTED), message("assistant", "Look"), function_call("a")], [output("a")]
    assert messages(*links)[1] == assistant(SIGNED_BLOCK, REDACTED_BLOCK, "Look", use("a"))
    made = ask(*links)
    assert isinstance(made, UpstreamRequest)
    assert f"[{SIGNED},{REDACTED},".encode() in made.body
    assert made.notes == ()


def test_thinking_between_calls_keeps_its_place() -> None:
    made = messages([HI], [thinking(SIGNED), function_call("a"), thinking(REDACTED), function_call("b")])
    assert made[1] == assistant(SIGNED_BLOCK, use("a"), REDACTED_BLOCK, use("b"))


@pytest.mark.parametrize("rest", [[], [message("user", "stop")], [message("user", "stop"), message("assistant", "ok")]])
def test_thinking_that_led_to_nothing_is_left_out_and_counted(rest: list[Item]) -> None:
    made = ask([HI], [message("assistant", "ho")], [HI], [thinking(SIGNED)], rest)
    assert isinstance(made, UpstreamRequest)
    assert b"thinking" not in made.body
    assert made.notes == ("reasoning: 1",)


def test_reasoning_of_others_is_left_out_and_counted() -> None:
    items = [reasoning("hm"), thinking('{"a":1}', by="gemini"), message("assistant", "ho")]
    made = ask([HI], items, [HI])
    assert isinstance(made, UpstreamRequest)
    assert made.notes == ("reasoning: 2",)
    assert without_marks(json.loads(made.body)["messages"])[1] == assistant("ho")


def test_reasoning_of_others_between_outputs_parts_nothing() -> None:
    made = messages([HI, function_call("a"), function_call("b"), output("a"), reasoning("hm"), output("b")])
    assert made[2] == user(result("a"), result("b"))


def test_what_hosted_tools_did_is_left_out_and_counted() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    made = ask([HI, searched, {"type": "additional_tools", "tools": []}], [searched, message("assistant", "found")])
    assert isinstance(made, UpstreamRequest)
    assert made.notes == ("items of hosted tools: 2",)


def test_what_cannot_be_said_stays_an_error() -> None:
    sealed = {"type": "compaction", "encrypted_content": "x"}
    assert error([HI], [sealed], [HI]).code == "unsupported_content"


PDF = "data:application/pdf;base64,JVBERi0="
TEXT = "data:text/markdown;base64,IyBI"


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "input_image", "image_url": "https://a.test/i.png"}, {"type": "image", "source": {"type": "url", "url": "https://a.test/i.png"}}),
        ({"type": "input_image", "image_url": "data:image/jpg;base64,AAAA"}, {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}}),
        ({"type": "input_image", "file_id": "file_1"}, {"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
        ({"type": "input_file", "file_data": PDF, "filename": "a.pdf"}, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "a.pdf"}),
        ({"type": "input_file", "file_data": "JVBERi0="}, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}),
        ({"type": "input_file", "file_data": TEXT}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# H"}}),
        ({"type": "input_file", "file_data": "IyBI"}, {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# H"}}),
        ({"type": "input_file", "file_url": "https://a.test/a.pdf"}, {"type": "document", "source": {"type": "url", "url": "https://a.test/a.pdf"}}),
        ({"type": "input_file", "file_id": "file_1"}, {"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    ],
)  # fmt: skip
def test_images_and_files_are_blocks(part: Item, block: Item) -> None:
    assert messages([{"type": "message", "role": "user", "content": [part]}]) == [user(block)]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image"},
        {"type": "input_image", "image_url": "data:image/svg+xml;base64,AAAA"},
        {"type": "input_image", "image_url": "data:image/png,raw"},
        {"type": "input_file"},
        {"type": "input_file", "file_data": "data:application/zip;base64,AAAA"},
        {"type": "input_file", "file_data": "data:text/plain;base64,!!"},
        {"type": "input_file", "file_data": "/9j/"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ],
)
def test_content_that_the_api_cannot_read_is_refused(part: Item) -> None:
    assert error([{"type": "message", "role": "user", "content": [part]}]).code == "unsupported_content"


_IDS = st.sampled_from(["a", "b", "c:1", "d"])
_ITEMS = st.one_of(
    st.sampled_from(["hi", "", " "]).map(lambda text: message("user", text)),
    st.sampled_from(["ho", ""]).map(lambda text: message("assistant", text)),
    st.just(message("developer", "rule")),
    st.just(thinking(SIGNED)),
    st.just(thinking(REDACTED, by="gemini")),
    _IDS.map(output),
    st.just(
        {"type": "message", "role": "user", "content": [{**IMAGE, "prompt_cache_breakpoint": {"mode": "explicit"}}]}
    ),
)


@st.composite
def _conversations(draw: st.DrawFn) -> list[Item]:
    """Any order of items; call ids may come again."""
    items = draw(st.lists(_ITEMS, max_size=10))
    for call_id in draw(st.lists(_IDS, max_size=6)):
        items.insert(draw(st.integers(0, len(items))), function_call(call_id))
    return items


@given(items=_conversations(), options=st.sampled_from([{}, {"reasoning": {"effort": "high"}}, {"instructions": "i"}]))
def test_any_conversation_is_one_that_the_api_takes(items: list[Item], options: dict[str, Any]) -> None:
    """`ask` checks every rule."""
    messages(items, **options)
    messages(items, flags=AnthropicFlags(thinking="budget"), **options)


@given(items=_conversations().filter(bool), data=st.data())
def test_the_bytes_do_not_depend_on_how_items_are_cut_into_links(items: list[Item], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=4)))
    edges = [0, *cuts, len(items)]
    links = [items[start:end] for start, end in itertools.pairwise(edges) if end > start]
    whole = Anthropic().build_request(Prompt(history=signed_lineage([items]), request=create(), model="m"))
    cut = Anthropic().build_request(Prompt(history=signed_lineage(links), request=create(), model="m"))
    assert whole == cut


def test_a_turn_makes_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item of 200 turns is read once, and the pieces of the history are the same objects in every request."""
    read = list[WireItem]()

    def counting(before: Any, items: Any, names: Any) -> Any:
        read.extend(items)
        return extend_transcript(before, items, names)

    monkeypatch.setattr("landline.dialects.anthropic.dialect.extend_transcript", counting)
    turn = [thinking(SIGNED), function_call("x", arguments='{"a":"' + "b" * 500 + '"}'), output("x", "c" * 4000)]
    links = [
        [HI],
        *([{**item, **({"call_id": f"c{n}"} if "call_id" in item else {})} for item in turn] for n in range(200)),
    ]
    history = signed_lineage(links)
    chain = history.chain() if history is not None else []
    dialect = Anthropic()
    bodies = [dialect.build_request(Prompt(history=link, request=create(), model="m")) for link in chain]
    assert all(isinstance(body, UpstreamRequest) for body in bodies)
    assert len(read) == 1 + 3 * 200
    before = [piece.body for link in chain[:-1] for piece in link.folds("anthropic", _never)[-1].pieces]
    after = [piece.body for link in chain[:-1] for piece in link.folds("anthropic", _never)[-1].pieces]
    assert all(left is right for left, right in zip(before, after, strict=True))


def _never(before: Any, items: Any) -> Any:
    raise AssertionError("made again")
