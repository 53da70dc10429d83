"""Settings, headers and overrides of a chat-completions request."""

from typing import Any
from urllib.parse import unquote

import pytest

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags, RequestOverrides
from landline.dialects.dialect import Prompt, UpstreamRequest
from support.conversations.chat import Item, build, create, lineage, message
from support.strict.chat import check_request

USER = message("user", "hi")
SCHEMA: Item = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def body(flags: ChatCompletionsFlags | None = None, overrides: RequestOverrides | None = None, **fields: Any) -> Item:
    made = build([USER], flags=flags, overrides=overrides, **fields)
    assert isinstance(made, dict), made
    return made


def headers(prompt: Prompt, flags: ChatCompletionsFlags | None = None) -> dict[str, str]:
    made = ChatCompletions(flags).build_request(prompt)
    assert isinstance(made, UpstreamRequest)
    return made.headers


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"presence_penalty": 1, "frequency_penalty": -1}, {"presence_penalty": 1, "frequency_penalty": -1}),
        ({"max_output_tokens": 100}, {"max_tokens": 100}),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"summary": "auto"}}, {}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        ({"prompt_cache_key": "k", "user": "u", "service_tier": "flex"}, {"prompt_cache_key": "k", "user": "u"}),
        ({"metadata": {"a": "b"}, "store": False, "truncation": "auto", "max_tool_calls": 3}, {}),
    ],
)
def test_a_setting_goes_out_under_its_chat_name(fields: Item, sent: Item) -> None:
    made = body(**fields)
    check_request(made)
    always = ("model", "stream", "stream_options", "messages")
    assert {name: value for name, value in made.items() if name not in always} == sent


def test_a_schema_goes_out_whole() -> None:
    wanted = {"type": "json_schema", "name": "answer", "description": "d", "schema": SCHEMA, "strict": True}
    made = body(text={"format": wanted})
    check_request(made)
    named = {key: value for key, value in wanted.items() if key != "type"}
    assert made["response_format"] == {"type": "json_schema", "json_schema": named}


def test_a_schema_without_a_name_gets_one() -> None:
    made = body(text={"format": {"type": "json_schema"}})
    assert made["response_format"] == {"type": "json_schema", "json_schema": {"name": "answer"}}


@pytest.mark.parametrize("parallel", [True, False])
def test_parallel_calls_are_a_setting_of_tools(parallel: bool) -> None:
    tool: Item = {"type": "function", "name": "f"}
    assert body(tools=[tool], parallel_tool_calls=parallel)["parallel_tool_calls"] is parallel
    assert "parallel_tool_calls" not in body(parallel_tool_calls=parallel)


def test_flags_shape_the_body() -> None:
    flags = ChatCompletionsFlags(
        stream_usage=False,
        max_tokens_field="max_completion_tokens",
        forward=("verbosity", "service_tier", "safety_identifier"),
        extra_body={"top_k": 40, "temperature": 0.1},
    )
    made = body(
        flags,
        max_output_tokens=99,
        text={"verbosity": "low"},
        service_tier="flex",
        safety_identifier="s",
        user="u",
        temperature=1,
    )
    assert made == {
        "model": "m",
        "stream": True,
        "max_completion_tokens": 99,
        "verbosity": "low",
        "service_tier": "flex",
        "safety_identifier": "s",
        "top_k": 40,
        "temperature": 0.1,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_overrides_add_replace_and_leave_out() -> None:
    tool: Item = {"type": "function", "name": "f"}
    overrides = RequestOverrides(
        members={"id_slot": 3, "cache_prompt": True, "response_format": {"type": "json_object"}},
        omit=frozenset(("tools", "tool_choice")),
        system_suffix="Tools: f.",
    )
    made = body(
        overrides=overrides, tools=[tool], tool_choice={"type": "function", "name": "f"}, instructions="Be kind."
    )
    assert not {"tools", "tool_choice"} & set(made)
    assert (made["id_slot"], made["cache_prompt"], made["response_format"]) == (3, True, {"type": "json_object"})
    assert made["messages"][0] == {"role": "system", "content": "Be kind.\n\nTools: f."}


def test_overrides_that_leave_tools_out_settle_the_choice_themselves() -> None:
    overrides = RequestOverrides(omit=frozenset(("tools", "tool_choice")))
    assert "tools" not in body(overrides=overrides, tool_choice="required")


def test_a_warm_up_asks_for_one_token() -> None:
    assert body(generate=False, max_output_tokens=500)["max_tokens"] == 1


@pytest.mark.parametrize(("flag", "prefills"), [("skip", False), ("prefill", True)])
def test_a_warm_up_is_worth_a_request_by_flag(flag: Any, prefills: bool) -> None:
    assert ChatCompletions(ChatCompletionsFlags(warm_up=flag)).prefills_warm_up is prefills


def test_the_affinity_key_goes_out_in_every_named_header() -> None:
    prompt = Prompt(history=lineage([[USER]]), request=create(), model="m", affinity_key="lane-1")
    assert headers(prompt)["X-Session-Id"] == "lane-1"
    made = headers(prompt, ChatCompletionsFlags(affinity_headers=("X-A", "X-B")))
    assert (made["X-A"], made["X-B"]) == ("lane-1", "lane-1")
    assert "X-Session-Id" not in made


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "grün", "\x00"])
def test_an_affinity_key_of_any_characters_is_a_valid_header(key: str) -> None:
    value = headers(Prompt(history=None, request=create(), model="m", affinity_key=key))["X-Session-Id"]
    assert value.isascii()
    assert value.isprintable()
    assert unquote(value) == key


def test_without_an_affinity_key_there_is_no_such_header() -> None:
    assert "X-Session-Id" not in headers(Prompt(history=None, request=create(), model="m"))


def test_a_dialect_gives_the_same_bytes_for_the_same_turn() -> None:
    dialect = ChatCompletions()
    prompt = Prompt(history=lineage([[USER], [message("assistant", "ho")], [USER]]), request=create(), model="m")
    first, second = dialect.build_request(prompt), dialect.build_request(prompt)
    assert isinstance(first, UpstreamRequest)
    assert first == second


def test_dialects_with_other_flags_share_a_lineage() -> None:
    history = lineage([[message("developer", "x")]])
    prompt = Prompt(history=history, request=create(), model="m")
    plain = ChatCompletions().build_request(prompt)
    developer = ChatCompletions(ChatCompletionsFlags(developer_role="developer")).build_request(prompt)
    assert isinstance(plain, UpstreamRequest)
    assert isinstance(developer, UpstreamRequest)
    assert b'"system"' in plain.body
    assert b'"developer"' in developer.body
