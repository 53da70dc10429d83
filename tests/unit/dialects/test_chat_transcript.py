"""Items as messages: the shape that strict servers want, whatever the order and the links."""

import json
import re
from typing import Any

import pytest

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.profiles import PROFILES
from landline.session.lineage import Link
from landline.wire.items import decode_item
from support.conversations.anthropic import signed_lineage
from support.conversations.chat import (
    Item,
    build,
    create,
    custom_call,
    error,
    function_call,
    lineage,
    message,
    messages,
    output,
    reasoning,
)

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "original"}


def test_instructions_are_the_first_system_message() -> None:
    made = messages([message("user", "hi")], instructions="Be kind.")
    assert made == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]


def test_instructions_may_change_from_turn_to_turn() -> None:
    assert messages([message("user", "hi")], instructions="A")[1:] == messages([message("user", "hi")])


def test_developer_messages_take_the_role_of_the_flag() -> None:
    flags = ChatCompletionsFlags(developer_role="developer", system_position="anywhere")
    made = messages([message("developer", "x")], flags=flags, instructions="y")
    assert [each["role"] for each in made] == ["developer", "developer"]
    assert [each["role"] for each in messages([message("developer", "x")])] == ["system"]


def chat_flags_of(profile: str) -> ChatCompletionsFlags:
    api = PROFILES[profile].api("chat_completions")
    assert api is not None
    known = ChatCompletionsFlags.__struct_fields__
    return ChatCompletionsFlags(**{name: value for name, value in api.settings.items() if name in known})  # pyright: ignore


OPEN_MODEL_SERVERS = [
    name for name, profile in PROFILES.items() if profile.is_local and profile.api("chat_completions")
]


@pytest.mark.parametrize("profile", [None, *OPEN_MODEL_SERVERS, "openrouter", "together", "fireworks"])
def test_open_models_get_one_system_message_and_only_at_the_start(profile: str | None) -> None:
    flags = ChatCompletionsFlags() if profile is None else chat_flags_of(profile)
    turns = [message("developer", "permissions"), message("user", "hi")], [message("assistant", "ho")]
    late = [message("developer", "be brief"), message("system", "be kind"), message("user", "go on")]
    made = messages(*turns, late, flags=flags, instructions="You are an agent.")
    assert [each["role"] for each in made] == ["system", "user", "assistant", "user", "user", "user"]
    assert made[0]["content"] == "You are an agent.\n\npermissions"
    assert "be brief" in str(made)


def test_a_system_message_between_calls_and_their_outputs_is_the_users_behind_them() -> None:
    history = [message("user", "hi"), function_call("a"), message("developer", "be brief"), output("a")]
    assert [each["role"] for each in messages(history)] == ["user", "assistant", "tool", "user"]


@pytest.mark.parametrize("profile", ["openai", "azure", "xai"])
def test_vendors_that_take_system_messages_anywhere_get_them_where_they_stand(profile: str) -> None:
    flags = chat_flags_of(profile)
    made = messages([message("developer", "a"), message("user", "hi"), message("developer", "b")], flags=flags)
    assert [each["role"] for each in made] == [flags.developer_role, "user", flags.developer_role]


def test_a_server_with_one_system_message_gets_one() -> None:
    flags = ChatCompletionsFlags(system_position="start")
    links = [message("developer", "a"), message("system", "b"), message("user", "hi")], [message("developer", "late")]
    assert messages(*links, flags=flags, instructions="i") == [
        {"role": "system", "content": "i\n\na\n\nb"},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "late"},
    ]


def test_items_of_one_answer_are_one_assistant_message() -> None:
    answer = [
        reasoning("hm"),
        message("assistant", "Let me look."),
        function_call("a"),
        function_call("b", "g", '{"x":1}'),
    ]
    made = messages([message("user", "hi")], answer, [output("a"), output("b", "B")])
    assert made[1] == {
        "role": "assistant",
        "content": "Let me look.",
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"x":1}'}},
        ],
    }
    assert [(each["tool_call_id"], each["content"]) for each in made[2:]] == [("a", "done"), ("b", "B")]


@pytest.mark.parametrize(
    ("field", "wanted"), [("reasoning_content", {"reasoning_content"}), ("reasoning", {"reasoning"})]
)
def test_reasoning_goes_back_in_the_field_of_the_flag(field: Any, wanted: set[str]) -> None:
    made = messages([reasoning("hm"), message("assistant", "4")], flags=ChatCompletionsFlags(reasoning_field=field))
    assert set(made[0]) - {"role", "content"} == wanted


def test_reasoning_stays_out_where_the_server_refuses_it() -> None:
    flags = ChatCompletionsFlags(reasoning_field="none")
    assert messages([reasoning("hm"), message("assistant", "4")], flags=flags) == [
        {"role": "assistant", "content": "4"}
    ]
    assert messages([message("user", "hi")], [reasoning("hm")], [message("user", "go on")], flags=flags) == [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "go on"},
    ]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_what_stands_for_reasoning_stands_where_there_is_none(field: Any) -> None:
    flags = ChatCompletionsFlags(reasoning_field=field, reasoning_placeholder=" ")
    made = messages(
        [message("user", "hi"), reasoning("hm"), message("assistant", "4"), message("user", "on")],
        [function_call("a"), output("a"), message("assistant", "5")],
        flags=flags,
    )
    assert [each[field] for each in made if each["role"] == "assistant"] == ["hm", " ", " "]
    none = ChatCompletionsFlags(reasoning_field="none", reasoning_placeholder=" ")
    assert messages([message("assistant", "4")], flags=none) == [{"role": "assistant", "content": "4"}]


def test_an_answer_without_a_word_is_no_message() -> None:
    assert messages([message("user", "hi"), message("assistant", ""), message("user", "there")]) == [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "there"},
    ]


def sealed(text: str, *blocks: Item, by: str = "chat_completions") -> Item:
    """Reasoning as the client has it of a target that signs it."""
    signed = {"by": by, "blocks": [json.dumps(block) for block in blocks]}
    return {**reasoning(text), "encrypted_content": json.dumps(signed)}


def signed_messages(*links: list[Item], flags: ChatCompletionsFlags) -> list[dict[str, Any]]:
    prompt = Prompt(history=signed_lineage(links), request=create(), model="m")
    made = ChatCompletions(flags).build_request(prompt)
    assert isinstance(made, UpstreamRequest)
    return json.loads(made.body)["messages"]


def test_signed_details_go_back_in_place_of_their_text_by_flag() -> None:
    block = {"type": "reasoning.encrypted", "id": "a", "data": "c2ln"}
    links = [sealed("hm", {"type": "reasoning.text", "text": "hm"}, block), function_call("a")], [output("a")]
    flags = ChatCompletionsFlags(reasoning_field="reasoning", reasoning_details=True)
    made = signed_messages(*links, flags=flags)
    assert made[0]["reasoning_details"] == [{"type": "reasoning.text", "text": "hm"}, block]
    assert "reasoning" not in made[0]
    plain = signed_messages(*links, flags=ChatCompletionsFlags(reasoning_field="reasoning"))
    assert "reasoning_details" not in plain[0]
    assert plain[0]["reasoning"] == "hm"


def test_signed_details_know_their_calls_by_the_ids_of_the_request() -> None:
    block = {"type": "reasoning.encrypted", "id": "a", "data": "c2ln"}
    turns = [[sealed("", block), function_call("a"), output("a")] for _ in range(2)]
    made = signed_messages(*turns, flags=ChatCompletionsFlags(reasoning_details=True))
    for answer in (made[0], made[2]):
        assert [detail["id"] for detail in answer["reasoning_details"]] == [answer["tool_calls"][0]["id"]]


def test_what_another_vendor_signed_is_its_text_alone() -> None:
    made = signed_messages(
        [sealed("hm", {"type": "thinking"}, by="anthropic"), message("assistant", "4")],
        flags=ChatCompletionsFlags(reasoning_details=True),
    )
    assert made == [{"role": "assistant", "content": "4", "reasoning_content": "hm"}]


def test_sealed_reasoning_without_text_leaves_no_message() -> None:
    sealed: Item = {"type": "reasoning", "summary": [], "encrypted_content": "AAAA"}
    assert messages([message("user", "hi"), sealed, message("user", "there")]) == [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": "there"},
    ]


def test_a_message_between_a_call_and_its_output_comes_after_the_output() -> None:
    made = messages([function_call("a")], [message("user", "hurry"), output("a")])
    assert [each["role"] for each in made] == ["assistant", "tool", "user"]


def test_outputs_follow_in_the_order_of_their_calls() -> None:
    made = messages([function_call("a"), function_call("b")], [output("b", "B"), output("a", "A")])
    assert [each["content"] for each in made[1:]] == ["A", "B"]


def test_outputs_of_two_calls_with_one_id_keep_their_calls() -> None:
    calls = [function_call("a", arguments='{"n": 1}'), function_call("a", arguments='{"n": 2}')]
    made = messages(calls, [output("a", "one"), output("a", "two"), output("a", "three")])
    use_ids = [call["id"] for call in made[0]["tool_calls"]]
    assert use_ids[0] == "a" != use_ids[1]
    assert [(each["tool_call_id"], each["content"]) for each in made[1:3]] == list(
        zip(use_ids, ["one", "two"], strict=True)
    )
    assert made[3] == {"role": "user", "content": "Output of the tool call a:\nthree"}


def test_call_ids_that_begin_anew_in_every_answer_are_told_apart() -> None:
    """As from servers that name a call by its place in the answer (Kimi, 2026-09)."""
    turns = [[function_call("list:0"), output("list:0", str(number))] for number in range(4)]
    made = messages(*turns)
    use_ids = [each["tool_calls"][0]["id"] for each in made[::2]]
    assert use_ids[0] == "list:0"
    assert len(set(use_ids)) == 4
    assert [(each["tool_call_id"], each["content"]) for each in made[1::2]] == list(zip(use_ids, "0123", strict=True))


def test_a_call_id_that_vendors_refuse_is_sent_as_another_one() -> None:
    made = messages([function_call("c" * 41)], [output("c" * 41)])
    use_id = made[0]["tool_calls"][0]["id"]
    assert len(use_id) <= 40
    assert made[1]["tool_call_id"] == use_id


def test_call_ids_are_nine_letters_and_digits_by_flag() -> None:
    flags = ChatCompletionsFlags(call_ids="alphanumeric_9")
    links = [function_call("D681PevKs"), function_call("call_1")], [output("call_1", "1"), output("D681PevKs", "D")]
    made = messages(*links, flags=flags)
    kept, made_up = [call["id"] for call in made[0]["tool_calls"]]
    assert kept == "D681PevKs"
    assert re.fullmatch(r"[a-z0-9]{9}", made_up)
    assert [(each["tool_call_id"], each["content"]) for each in made[1:]] == [(kept, "D"), (made_up, "1")]


NOTED, GO_ON = {"role": "assistant", "content": "(Noted.)"}, {"role": "user", "content": "(Go on.)"}
STRICT = ChatCompletionsFlags(role_order="strict", system_position="start")


@pytest.mark.parametrize(
    "links",
    [
        [[function_call("a"), output("a")], [message("user", "go on")]],
        [[function_call("a")], [message("user", "go on"), output("a")]],
        [[function_call("a"), output("a")], [message("developer", "go on")]],
    ],
)
def test_the_model_has_a_word_between_an_output_and_the_user_by_flag(links: list[list[Item]]) -> None:
    made = messages(*links, flags=STRICT)
    assert [each["role"] for each in made] == ["assistant", "tool", "assistant", "user"]
    assert made[2] == NOTED


def test_the_model_has_a_word_before_images_of_outputs_by_flag() -> None:
    links = [function_call("a")], [output("a", [IMAGE])], [message("user", "what is it?")]
    made = messages(*links, flags=STRICT)
    assert [each["role"] for each in made] == ["assistant", "tool", "assistant", "user", "user"]


def test_the_user_has_the_last_word_by_flag() -> None:
    spoken = [message("user", "hi")], [message("assistant", "ho")]
    assert messages(*spoken, flags=STRICT)[1:] == [{"role": "assistant", "content": "ho"}, GO_ON]
    longer = messages(*spoken, [message("user", "and")], flags=STRICT)
    assert longer[1:] == [{"role": "assistant", "content": "ho"}, {"role": "user", "content": "and"}]


def test_two_continuations_of_open_calls_know_nothing_of_each_other() -> None:
    history = lineage([[message("user", "go"), function_call("a"), function_call("b")]])
    dialect = ChatCompletions()

    def outputs(*items: Item) -> list[str]:
        link = Link(history, [decode_item(json.dumps(item).encode()) for item in items])
        made = dialect.build_request(Prompt(history=link, request=create(), model="m"))
        assert isinstance(made, UpstreamRequest)
        return [each["content"] for each in json.loads(made.body)["messages"][2:]]

    none = "(no output yet)"
    assert outputs(output("a", "one"), message("user", "hurry")) == ["one", none, "hurry"]
    assert outputs(output("b", "two")) == [none, "two"]
    assert outputs(message("user", "hurry")) == [none, none, "hurry"]


def test_what_cannot_be_said_is_left_out_and_counted() -> None:
    searched: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    sealed: Item = {"type": "reasoning", "summary": [], "encrypted_content": "AAAA"}

    def notes(flags: ChatCompletionsFlags, *links: list[Item]) -> tuple[str, ...]:
        made = ChatCompletions(flags).build_request(Prompt(history=lineage(links), request=create(), model="m"))
        assert isinstance(made, UpstreamRequest)
        return made.notes

    links = [message("user", "go"), searched, sealed], [searched, reasoning("hm"), message("assistant", "found")]
    assert notes(ChatCompletionsFlags(), *links) == ("reasoning: 1", "items of hosted tools: 2")
    assert notes(ChatCompletionsFlags(reasoning_field="none"), *links) == ("reasoning: 2", "items of hosted tools: 2")
    assert notes(ChatCompletionsFlags(), [message("user", "go"), reasoning("hm")]) == ()


def test_calls_that_are_answered_one_by_one_are_messages_of_their_own() -> None:
    made = messages([function_call("a"), output("a"), function_call("b"), output("b")])
    assert [each["role"] for each in made] == ["assistant", "tool", "assistant", "tool"]


def test_a_call_without_its_output_gets_a_note() -> None:
    made = messages([function_call("a")], [message("user", "never mind")])
    assert made[1] == {"role": "tool", "tool_call_id": "a", "content": "(no output yet)"}
    assert made[2]["content"] == "never mind"


def test_an_output_that_comes_after_the_model_went_on_is_told_and_changes_nothing_before_it() -> None:
    before = [function_call("a")], [message("user", "go on")], [message("assistant", "on")]
    late = messages(*before, [output("a", "finally")])
    assert late[:-1] == messages(*before)
    assert late[-1] == {"role": "user", "content": "Output of the tool call a:\nfinally"}


def test_custom_calls_are_functions_of_one_string() -> None:
    made = messages(
        [custom_call("a", "exec", 'say "hi"\n', namespace="functions")], [output("a", kind="custom_tool_call_output")]
    )
    call = made[0]["tool_calls"][0]
    assert call["function"] == {"name": "functions__exec", "arguments": '{"input": "say \\"hi\\"\\n"}'}


def test_custom_calls_are_native_by_flag() -> None:
    made = messages([custom_call("a", text="t")], [output("a")], flags=ChatCompletionsFlags(custom_tools="custom"))
    assert made[0]["tool_calls"] == [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "t"}}]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", "{}"),
        ("  ", "{}"),
        ('{"a":', '{"malformed_arguments": "{\\"a\\":"}'),
        ("[1]", '{"malformed_arguments": "[1]"}'),
    ],
)
def test_arguments_that_are_no_object_are_kept_in_one(arguments: str, sent: str) -> None:
    made = messages([function_call("a", arguments=arguments)], [output("a")])
    assert made[0]["tool_calls"][0]["function"]["arguments"] == sent


def test_parts_of_an_output_are_joined_on_lines() -> None:
    parts = [{"type": "input_text", "text": text} for text in ("Output:\n", "a", "b")]
    assert messages([function_call("a")], [output("a", parts)])[1]["content"] == "Output:\na\nb"


def test_images_of_outputs_come_in_a_user_message_after_all_outputs() -> None:
    parts = [{"type": "input_text", "text": "seen"}, IMAGE]
    made = messages([function_call("a"), function_call("b")], [output("a", parts), output("b")])
    assert [each["role"] for each in made] == ["assistant", "tool", "tool", "user"]
    assert made[1]["content"] == "seen"
    assert made[3]["content"][1] == {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "high"}}


def test_images_stay_in_outputs_by_flag() -> None:
    made = messages([function_call("a")], [output("a", [IMAGE])], flags=ChatCompletionsFlags(tool_images=True))
    assert made[1]["content"][0]["type"] == "image_url"
    assert len(made) == 2


def test_user_parts_keep_their_order() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    text = {"type": "input_text", "text": "look"}
    made = messages([{"role": "user", "content": [IMAGE, text, file, audio]}])
    assert [part["type"] for part in made[0]["content"]] == ["image_url", "text", "file", "input_audio"]
    assert made[0]["content"][2]["file"] == {"filename": "a.pdf", "file_data": file["file_data"]}
    assert made[0]["content"][3] == audio


def test_an_image_without_detail_and_a_file_by_id_are_said_as_they_are() -> None:
    image = {"type": "input_image", "image_url": "https://example.test/a.png"}
    made = messages([{"role": "user", "content": [image, {"type": "input_file", "file_id": "file_1"}]}])
    assert made[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}},
        {"type": "file", "file": {"file_id": "file_1"}},
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "file_url": "http://example.test/a.pdf"},
        {"type": "input_video", "video_url": "data:video/mp4;base64,AAAA"},
    ],
)
def test_content_that_cannot_be_said_is_refused(part: Item) -> None:
    assert error([{"role": "user", "content": [part]}]).code == "unsupported_content"
    assert error([function_call("a")], [output("a", [part])]).code == "unsupported_content"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"type": "compaction", "encrypted_content": "AAAA"}, "unsupported_content"),
        ({"type": "compaction_trigger"}, "unsupported_content"),
        ({"type": "item_reference", "id": "msg_1"}, "invalid_value"),
    ],
)
def test_items_that_need_more_than_this_dialect_are_refused_for_the_rest_of_the_lineage(item: Item, code: str) -> None:
    assert error([message("user", "hi")], [item]).code == code
    assert error([item], [message("user", "hi")]).code == code


def test_what_hosted_tools_did_is_passed_over() -> None:
    search: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    tools: Item = {"type": "additional_tools", "role": "developer", "tools": []}
    assert messages([message("user", "hi"), search, tools]) == [{"role": "user", "content": "hi"}]


def test_built_in_tools_of_the_client_are_calls_like_any_other() -> None:
    action = {"type": "exec", "command": ["ls"]}
    call: Item = {"type": "local_shell_call", "id": "lsh_1", "call_id": "c1", "status": "completed", "action": action}
    done: Item = {"type": "local_shell_call_output", "id": "lsh_1", "call_id": "c1", "output": "a.txt"}
    _, assistant, tool = messages([message("user", "hi"), call, done])
    function = assistant["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("local_shell", {"action": action})
    assert tool == {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}


def test_output_of_a_built_in_tool_that_is_no_text_is_said_as_its_json() -> None:
    call: Item = {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}}
    done: Item = {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "x", "stderr": ""}]}
    assert json.loads(messages([call, done])[1]["content"]) == [{"stdout": "x", "stderr": ""}]


def test_item_of_an_unknown_kind_is_told_as_its_json() -> None:
    told = messages([{"type": "x:new", "text": "?"}])
    assert told[0]["role"] == "user"
    assert '"text":"?"' in told[0]["content"]


def test_an_input_of_which_nothing_can_be_said_is_refused() -> None:
    search: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    refused = error([search])
    assert (refused.code, refused.param) == ("missing_required_parameter", "input")
    assert messages([search], instructions="Go on.") == [{"role": "system", "content": "Go on."}]
    assert messages([search], generate=False) == []


def test_refusals_are_said_as_text() -> None:
    refused: Item = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}
    assert messages([refused]) == [{"role": "assistant", "content": "I cannot."}]


def test_a_link_is_rendered_once() -> None:
    history = lineage([[message("user", "hi")], [message("assistant", "ho")]])
    assert history is not None
    calls: list[int] = []

    def step(before: int | None, items: object) -> int:
        calls.append(1)
        return (before or 0) + 1

    assert history.folds("k", step) == [1, 2]
    assert history.folds("k", step) == [1, 2]
    assert len(calls) == 2


def test_no_items_and_no_instructions_give_no_messages() -> None:
    assert build() == {"model": "m", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
