"""Items as Gemini contents: the shape that the API wants, whatever the order and the links."""

import json
from typing import Any

import pytest

from landline.dialects.dialect import UpstreamRequest
from landline.dialects.gemini import GeminiFlags
from landline.dialects.gemini.parts import SKIP_CHECK
from landline.dialects.gemini.transcript import GO_ON, NO_BEGINNING
from support.conversations.chat import custom_call, function_call, message, output, reasoning
from support.conversations.gemini import (
    MODEL,
    Item,
    block,
    build,
    build_request,
    contents,
    error,
    signed_reasoning,
)

PNG = "iVBORw0KGgo="
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "original"}
PNG_PART = {"inlineData": {"mimeType": "image/png", "data": PNG}}
OLD = "gemini-2.5-flash"
GOES_ON = {"role": "user", "parts": [{"text": GO_ON}]}


def roles(made: list[dict[str, Any]]) -> list[str]:
    return [content["role"] for content in made]


def test_instructions_and_leading_developer_messages_are_the_system_instruction() -> None:
    links = [message("developer", "a"), message("system", "b"), message("user", "hi")], [message("developer", "late")]
    body = build(*links, instructions="i")
    assert body["systemInstruction"] == {"parts": [{"text": "i\n\na\n\nb"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}, {"text": "late"}]}]


def test_without_instructions_there_is_no_system_instruction() -> None:
    assert "systemInstruction" not in build([message("user", "hi")])


def test_where_the_developer_alone_speaks_its_words_are_the_question() -> None:
    body = build([message("developer", "a")], [message("system", "b")], instructions="i")
    assert body["systemInstruction"] == {"parts": [{"text": "i"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_what_follows_each_other_on_one_side_is_one_content() -> None:
    links = [message("user", "a", "b")], [message("user", "c"), message("assistant", "d")], [message("assistant", "e")]
    assert contents(*links) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]},
        {"role": "model", "parts": [{"text": "d"}, {"text": "e"}]},
        GOES_ON,
    ]


def test_empty_texts_say_nothing() -> None:
    made = contents([message("user", "a", ""), message("assistant", ""), message("user", "")], [message("user", "b")])
    assert made == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_a_conversation_that_begins_with_the_model_gets_a_note_in_front() -> None:
    made = contents([function_call("a"), output("a")], model=OLD)
    assert roles(made) == ["user", "model", "user"]
    assert made[0]["parts"] == [{"text": NO_BEGINNING}]


def test_calls_are_answered_together_in_their_order() -> None:
    calls = [function_call("a", "f", '{"x":1}'), custom_call("b", "exec", 'say "hi"\n', namespace="functions")]
    made = contents(
        [message("user", "go"), *calls], [output("b", "B", "custom_tool_call_output"), output("a", "A")], model=OLD
    )
    assert made[1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}},
                {"functionCall": {"id": "b", "name": "functions__exec", "args": {"input": 'say "hi"\n'}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"output": "A"}}},
                {"functionResponse": {"id": "b", "name": "functions__exec", "response": {"output": "B"}}},
            ],
        },
    ]


def test_ids_stay_out_where_the_server_refuses_them() -> None:
    made = contents(
        [message("user", "go"), function_call("a"), output("a")], flags=GeminiFlags(call_ids=False), model=OLD
    )
    assert made[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert made[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "done"}}}]


def test_a_call_without_its_output_gets_a_note() -> None:
    made = contents([message("user", "go"), function_call("a"), message("user", "never mind")])
    assert made[2]["parts"][0]["functionResponse"]["response"] == {"output": "(no output yet)"}
    assert made[2]["parts"][1] == {"text": "never mind"}


def test_a_message_between_a_call_and_its_output_comes_after_the_output() -> None:
    made = contents([message("user", "go"), function_call("a")], [message("user", "hurry"), output("a")])
    assert [next(iter(part)) for part in made[2]["parts"]] == ["functionResponse", "text"]


def test_an_output_that_comes_after_the_model_went_on_is_told_and_changes_nothing_before_it() -> None:
    before = [message("user", "go"), function_call("a")], [message("user", "on")], [message("assistant", "on")]
    late = contents(*before, [output("a", "finally")])
    assert contents(*before) == [*late[:-1], GOES_ON]
    assert late[-1] == {"role": "user", "parts": [{"text": "Output of the tool call a:"}, {"text": "finally"}]}


def test_outputs_of_two_calls_with_one_id_keep_their_calls() -> None:
    calls = [function_call("a", arguments='{"n": 1}'), function_call("a", arguments='{"n": 2}')]
    made = contents([message("user", "go"), *calls], [output("a", "one"), output("a", "two"), output("a", "three")])
    responses = [part["functionResponse"]["response"]["output"] for part in made[2]["parts"][:2]]
    assert responses == ["one", "two"]
    assert made[2]["parts"][2:] == [{"text": "Output of the tool call a:"}, {"text": "three"}]


def test_a_conversation_that_ends_with_the_model_gets_a_note_behind_that_leaves_again() -> None:
    spoken = [message("user", "go"), message("assistant", "one")]
    assert contents(spoken)[-1] == GOES_ON
    longer = contents(spoken, [message("assistant", "two"), message("user", "on")])
    assert [roles(longer), longer[1]["parts"]] == [["user", "model", "user"], [{"text": "one"}, {"text": "two"}]]


def test_calls_that_are_answered_one_by_one_are_contents_of_their_own() -> None:
    made = contents([message("user", "go"), function_call("a"), output("a"), function_call("b"), output("b")])
    assert roles(made) == ["user", "model", "user", "model", "user"]


def test_names_begin_as_the_api_wants() -> None:
    made = contents([message("user", "go"), function_call("a", "9lives"), output("a")], model=OLD)
    assert made[1]["parts"][0]["functionCall"]["name"] == "_9lives"
    assert made[2]["parts"][0]["functionResponse"]["name"] == "_9lives"


# Signatures.


def test_the_signature_of_a_call_stands_on_that_call() -> None:
    made = contents(
        [message("user", "go")],
        [signed_reasoning(block("call", "c2lnLWE=", call_id="a")), function_call("a"), function_call("b")],
        [output("a"), output("b")],
    )
    assert [part.get("thoughtSignature") for part in made[1]["parts"]] == ["c2lnLWE=", None]


def test_a_call_without_a_signature_skips_the_check_where_the_model_demands_one() -> None:
    links = [message("user", "go"), function_call("a"), function_call("b")], [output("a"), output("b")]
    made = contents(*links)
    assert [part.get("thoughtSignature") for part in made[1]["parts"]] == [SKIP_CHECK, None]
    for model in (OLD, "gemma-4"):
        assert not any("thoughtSignature" in part for part in contents(*links, model=model)[1]["parts"])
    assert (
        contents(*links, flags=GeminiFlags(signatures="optional"))[1]["parts"]
        == contents(*links, model=OLD)[1]["parts"]
    )


def test_a_skipped_check_stays_when_the_user_speaks_again() -> None:
    before = [message("user", "go"), function_call("a")], [output("a"), message("assistant", "done")]
    assert [*contents(*before, [message("user", "more")])[:4], GOES_ON] == contents(*before)


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([(9, 9, "ZW5k")], [("One three", None), ("", "ZW5k")]),
        ([(0, 9, "YWxs")], [("One three", "YWxs")]),
        ([(4, 6, "bWlk")], [("One ", None), ("th", "bWlk"), ("ree", None)]),
        ([(0, 4, "YQ=="), (4, 9, "Yg==")], [("One ", "YQ=="), ("three", "Yg==")]),
        ([(20, 30, "YmV5b25k")], [("One three", None), ("", "YmV5b25k")]),
    ],
)
def test_the_signature_of_text_stands_where_it_stood(places: list[tuple[int, int, str]], wanted: list[Any]) -> None:
    blocks = [block("text", signature, start=start, end=end) for start, end, signature in places]
    made = contents([message("user", "go"), message("assistant", "One three"), signed_reasoning(*blocks)])
    assert [(part["text"], part.get("thoughtSignature")) for part in made[1]["parts"]] == wanted


def test_a_signature_behind_a_call_stands_on_an_empty_part() -> None:
    made = contents([message("user", "go"), function_call("a"), signed_reasoning(block("text", "ZW5k"))], [output("a")])
    assert made[1]["parts"][1] == {"text": "", "thoughtSignature": "ZW5k"}


def test_a_signed_thought_comes_back_as_a_thought() -> None:
    thought = signed_reasoning(block("thought", "dGg=", start=4, end=8), summary="Hm. Yes.")
    made = contents([message("user", "go"), thought, message("assistant", "Yes")])
    assert made[1]["parts"] == [{"text": "Yes.", "thought": True, "thoughtSignature": "dGg="}, {"text": "Yes"}]


def test_thoughts_that_nobody_signed_do_not_come_back() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    made = build_request([message("user", "go"), thought, message("assistant", "Yes")])
    assert isinstance(made, UpstreamRequest)
    assert b"Hm." not in made.body
    assert made.notes == ()


def test_reasoning_of_other_models_is_left_out_and_counted() -> None:
    foreign = [
        reasoning("hm"),
        {"type": "reasoning", "summary": [], "encrypted_content": "AAAA"},
        signed_reasoning('{"type":"thinking"}', by="anthropic"),
        signed_reasoning(block("call", "c2ln", model="gemini-4-argon", call_id="a")),
    ]
    made = build_request([message("user", "go")], foreign[:2], [*foreign[2:], function_call("a"), output("a")])
    assert isinstance(made, UpstreamRequest)
    assert made.notes == ("reasoning of other models: 4",)
    assert json.loads(made.body)["contents"][1]["parts"][0]["thoughtSignature"] == SKIP_CHECK


def test_reasoning_that_is_left_out_does_not_part_what_belongs_together() -> None:
    made = contents([message("user", "a"), reasoning("hm"), message("user", "b")])
    assert made == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


# Images, files, audio.


def test_user_parts_keep_their_order() -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    text = {"type": "input_text", "text": "look"}
    made = contents([{"role": "user", "content": [IMAGE, text, file, audio]}])
    assert made[0]["parts"] == [
        PNG_PART,
        {"text": "look"},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
    ]


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        (
            {"type": "input_image", "image_url": "https://x.test/a.JPG?size=1"},
            ("https://x.test/a.JPG?size=1", "image/jpeg"),
        ),
        ({"type": "input_image", "image_url": "https://x.test/a"}, ("https://x.test/a", None)),
        ({"type": "input_image", "file_id": "https://x.test/v1beta/files/a"}, ("https://x.test/v1beta/files/a", None)),
        ({"type": "input_file", "file_url": "gs://bucket/a.csv"}, ("gs://bucket/a.csv", "text/csv")),
        (
            {"type": "input_file", "file_url": "https://x.test/1", "filename": "a.md"},
            ("https://x.test/1", "text/markdown"),
        ),
        ({"type": "input_file", "file_id": "https://x.test/v1beta/files/a"}, ("https://x.test/v1beta/files/a", None)),
    ],
)
def test_what_lies_elsewhere_is_named(part: Item, wanted: tuple[str, str | None]) -> None:
    made = contents([{"role": "user", "content": [part]}])[0]["parts"][0]["fileData"]
    assert (made["fileUri"], made.get("mimeType")) == wanted


def test_bare_file_data_is_what_its_name_says() -> None:
    part = {"type": "input_file", "filename": "notes.txt", "file_data": "AAAA"}
    assert contents([{"role": "user", "content": [part]}])[0]["parts"] == [
        {"inlineData": {"mimeType": "text/plain", "data": "AAAA"}}
    ]


@pytest.mark.parametrize("declared", ["", "application/octet-stream"])
def test_data_without_a_kind_is_what_its_name_says(declared: str) -> None:
    part = {"type": "input_file", "filename": "a.PDF", "file_data": f"data:{declared};base64,AAAA"}
    assert contents([{"role": "user", "content": [part]}])[0]["parts"][0]["inlineData"]["mimeType"] == "application/pdf"


def test_data_without_a_kind_is_bytes() -> None:
    part = {"type": "input_file", "file_data": "data:;base64,AAAA"}
    assert contents([{"role": "user", "content": [part]}])[0]["parts"][0]["inlineData"]["mimeType"] == (
        "application/octet-stream"
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_image", "image_url": "data:image/svg+xml,<svg/>"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_file", "filename": "a", "file_data": "AAAA"},
        {"type": "input_file"},
        {"type": "input_audio", "input_audio": {"format": "wav"}},
        {"type": "input_video", "video_url": "data:video/mp4;base64,AAAA"},
    ],
)
def test_content_that_cannot_be_said_is_refused(part: Item) -> None:
    refused = error([{"role": "user", "content": [part]}])
    assert (refused.code, refused.param) == ("unsupported_content", "input")
    assert error([function_call("a")], [output("a", [part])]).code == "unsupported_content"


def test_images_of_outputs_are_inside_the_response() -> None:
    parts = [{"type": "input_text", "text": "seen"}, IMAGE]
    made = contents([message("user", "go"), function_call("a"), output("a", parts)])
    response = made[2]["parts"][0]["functionResponse"]
    assert (response["response"], response["parts"]) == ({"output": "seen"}, [PNG_PART])
    assert len(made[2]["parts"]) == 1


@pytest.mark.parametrize(
    ("part", "flags", "model"),
    [
        (IMAGE, GeminiFlags(), OLD),
        (IMAGE, GeminiFlags(tool_media="after"), MODEL),
        ({"type": "input_image", "image_url": "data:image/gif;base64,AAAA"}, GeminiFlags(), MODEL),
        ({"type": "input_file", "file_url": "https://x.test/a.pdf"}, GeminiFlags(), MODEL),
    ],
)
def test_what_a_response_cannot_hold_comes_after_all_responses(part: Item, flags: GeminiFlags, model: str) -> None:
    links = [message("user", "go"), function_call("a"), function_call("b")], [output("a", [part]), output("b")]
    made = contents(*links, flags=flags, model=model)[2]["parts"]
    assert [next(iter(each)) for each in made[:2]] == ["functionResponse"] * 2
    assert made[2] == {"text": "Attached to the output of a:"}
    assert len(made) == 4
    assert "parts" not in made[0]["functionResponse"]


# Items of other kinds.


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"type": "compaction", "encrypted_content": "AAAA"}, "unsupported_content"),
        ({"type": "item_reference", "id": "msg_1"}, "invalid_value"),
    ],
)
def test_items_that_need_more_than_this_dialect_are_refused_for_the_rest_of_the_lineage(item: Item, code: str) -> None:
    assert error([message("user", "hi")], [item]).code == code
    assert error([item], [message("user", "hi")]).code == code


def test_built_in_tools_of_the_client_are_calls_like_any_other() -> None:
    call: Item = {"type": "local_shell_call", "call_id": "c1", "action": {"command": ["ls"]}}
    done: Item = {"type": "local_shell_call_output", "call_id": "c1", "output": "a.txt"}
    made = contents([message("user", "hi"), call, done])
    assert made[1]["parts"][0]["functionCall"]["args"] == {"action": {"command": ["ls"]}}
    assert made[2]["parts"][0]["functionResponse"]["response"] == {"output": "a.txt"}


def test_what_hosted_tools_did_is_left_out_and_counted() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    made = build_request([message("user", "go"), searched], [searched, message("user", "on")])
    assert isinstance(made, UpstreamRequest)
    assert made.notes == ("items of hosted tools: 2",)


def test_an_input_of_which_nothing_can_be_said_is_refused() -> None:
    search: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    for refused in (error([search]), error([search], instructions="Go on."), error([])):
        assert (refused.code, refused.param) == ("missing_required_parameter", "input")
