"""Tools out under flat names and back under the client's."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.dialects.tools import MAX_NAME_CHARS, ToolSet, upstream_name
from support.conversations.chat import Item, build, create, error, function_call, lineage, messages, output
from support.strict.chat import check_request

READ: Item = {
    "type": "function",
    "name": "read",
    "description": "Reads.",
    "parameters": {"type": "object"},
    "strict": True,
}
PATCH: Item = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: line+"},
}
AGENTS: Item = {
    "type": "namespace",
    "name": "agents",
    "description": "Sub-agents.",
    "tools": [
        {"type": "function", "name": "spawn", "strict": False},
        {"type": "function", "name": "close", "description": "Ends one."},
    ],
}
HOSTED = ["web_search", "file_search", "code_interpreter", "image_generation", "mcp", "tool_search", "computer", "shell", "local_shell", "apply_patch", "programmatic_tool_calling"]  # fmt: skip


def tools_sent(*tools: Item, links: tuple[list[Item], ...] = (), **options: Any) -> list[Item]:
    body = build(*(links or ([{"role": "user", "content": "hi"}],)), tools=list(tools), **options)
    assert isinstance(body, dict), body
    if not options.get("flags"):
        check_request(body)
    return body.get("tools", [])


def tool_set(*tools: Item) -> ToolSet:
    made = ChatCompletions().tool_set(Prompt(history=None, request=create(tools=list(tools)), model="m"))
    assert isinstance(made, ToolSet), made
    return made


def added(*tools: Item) -> Item:
    return {"type": "additional_tools", "role": "developer", "tools": list(tools)}


def test_a_function_keeps_its_schema_and_strictness() -> None:
    assert tools_sent(READ) == [
        {"type": "function", "function": {key: value for key, value in READ.items() if key != "type"}}
    ]


def test_a_function_without_parameters_gets_an_empty_object() -> None:
    for parameters in ({}, {"parameters": None}):
        sent = tools_sent({"type": "function", "name": "now", **parameters})
        assert sent == [
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
        ]


def test_a_custom_tool_is_a_function_of_one_string_that_tells_its_grammar() -> None:
    function = tools_sent(PATCH)[0]["function"]
    assert list(function["parameters"]["properties"]) == ["input"]
    assert function["parameters"]["required"] == ["input"]
    assert function["description"].startswith("Edits files.")
    assert "lark" in function["description"]
    assert "start: line+" in function["description"]


def test_a_custom_tool_is_native_by_flag() -> None:
    assert tools_sent(PATCH, flags=ChatCompletionsFlags(custom_tools="custom")) == [
        {
            "type": "custom",
            "custom": {
                "name": "apply_patch",
                "description": "Edits files.",
                "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: line+"}},
            },
        }
    ]


def test_a_namespace_is_flattened_and_its_description_kept() -> None:
    sent = [tool["function"] for tool in tools_sent(AGENTS)]
    assert [tool["name"] for tool in sent] == ["agents__spawn", "agents__close"]
    assert [tool["description"] for tool in sent] == ["Sub-agents.", "Ends one."]


@pytest.mark.parametrize("kind", HOSTED)
def test_hosted_tools_are_passed_over(kind: str) -> None:
    assert tools_sent({"type": kind}) == []
    assert len(tools_sent({"type": kind}, READ)) == 1
    assert tool_set({"type": kind}, READ).passed_over == {kind}


def test_choices_about_tools_stay_away_when_there_are_none() -> None:
    body = build(tools=[{"type": "web_search"}], tool_choice="auto", parallel_tool_calls=True)
    assert isinstance(body, dict)
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(body)


def test_added_tools_join_the_requests_and_later_definitions_win() -> None:
    newer = {**READ, "description": "Reads better."}
    sent = tools_sent(READ, links=([added(newer, AGENTS)], [{"role": "user", "content": "hi"}]))
    assert [tool["function"]["name"] for tool in sent] == ["read", "agents__spawn", "agents__close"]
    assert sent[0]["function"]["description"] == "Reads better."


def test_added_tools_stay_in_force_in_later_links() -> None:
    sent = tools_sent(
        links=([added(READ)], [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "ho"}])
    )
    assert len(sent) == 1


def test_a_malformed_tool_is_named() -> None:
    refused = error(tools=[READ, {"type": "function", "name": 3}])
    assert refused.code == "invalid_value"
    assert refused.param == "tools[1].name"


def test_tools_are_read_once_for_the_same_bytes() -> None:
    dialect = ChatCompletions()
    prompts = [Prompt(history=None, request=create(tools=[READ, AGENTS]), model="m") for _ in range(2)]
    assert dialect.tool_set(prompts[0]) is dialect.tool_set(prompts[1])


def test_few_tool_lists_are_remembered() -> None:
    dialect = ChatCompletions()
    first = Prompt(history=None, request=create(tools=[READ]), model="m")
    before = dialect.tool_set(first)
    for number in range(100):
        dialect.tool_set(Prompt(history=None, request=create(tools=[{**READ, "name": f"f{number}"}]), model="m"))
    assert dialect.tool_set(first) is not before


_NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
_PLAIN_NAME = st.text("ab_-", min_size=1, max_size=8)


@given(names=st.lists(st.tuples(st.none() | _PLAIN_NAME | _NAME, _PLAIN_NAME | _NAME), unique=True, max_size=12))
def test_any_tools_get_valid_names_of_their_own_and_find_back(names: list[tuple[str | None, str]]) -> None:
    tools: list[Item] = [
        {"type": "namespace", "name": namespace, "tools": [{"type": "function", "name": name}]}
        if namespace is not None
        else {"type": "function", "name": name}
        for namespace, name in names
    ]
    made = tool_set(*tools)
    sent = [tool.upstream_name for tool in made.tools]
    assert len(set(sent)) == len(names)
    for tool in made.tools:
        assert 0 < len(tool.upstream_name) <= MAX_NAME_CHARS
        assert made.find_called(tool.upstream_name) is tool
        assert made.find(tool.namespace, tool.name) is tool
    assert {(tool.namespace, tool.name) for tool in made.tools} == set(names)


def test_history_uses_the_name_that_the_tool_has_now() -> None:
    tools: list[Item] = [
        {"type": "function", "name": "a__b"},
        {"type": "namespace", "name": "a", "tools": [{"type": "function", "name": "b"}]},
    ]
    links = [function_call("1", "b", namespace="a")], [output("1")]
    renamed = tool_set(*tools).tools[1].upstream_name
    assert renamed != "a__b"
    assert messages(*links, tools=tools)[0]["tool_calls"][0]["function"]["name"] == renamed
    assert messages(*links, tools=tools[1:])[0]["tool_calls"][0]["function"]["name"] == "a__b"
    assert messages(*links)[0]["tool_calls"][0]["function"]["name"] == "a__b"


def test_a_name_without_its_namespace_counts_only_if_it_is_the_only_one() -> None:
    both = tool_set(AGENTS, {"type": "namespace", "name": "other", "tools": [{"type": "function", "name": "spawn"}]})
    assert both.find_called("spawn") is None
    found = both.find_called("close")
    assert found is not None
    assert found.namespace == "agents"


def test_long_names_are_cut_the_same_way_every_time() -> None:
    assert upstream_name("n" * 60, "tool") == upstream_name("n" * 60, "tool")
    assert upstream_name("n" * 60, "tool") != upstream_name("n" * 60, "tools")


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "read"}, {"type": "function", "function": {"name": "read"}}),
        ({"type": "custom", "name": "apply_patch"}, {"type": "function", "function": {"name": "apply_patch"}}),
        (
            {"type": "function", "name": "spawn", "namespace": "agents"},
            {"type": "function", "function": {"name": "agents__spawn"}},
        ),
    ],
)
def test_a_choice_is_said_in_chat_terms(choice: Any, sent: Any) -> None:
    body = build([{"role": "user", "content": "hi"}], tools=[READ, PATCH, AGENTS], tool_choice=choice)
    assert isinstance(body, dict)
    check_request(body)
    assert body["tool_choice"] == sent
    assert len(body["tools"]) == 4


def test_a_native_custom_tool_is_chosen_natively() -> None:
    choice = {"type": "custom", "name": "apply_patch"}
    body = build(tools=[PATCH], tool_choice=choice, flags=ChatCompletionsFlags(custom_tools="custom"))
    assert isinstance(body, dict)
    assert body["tool_choice"] == {"type": "custom", "custom": {"name": "apply_patch"}}


def test_allowed_tools_are_all_that_is_sent() -> None:
    allowed = [{"type": "function", "name": "read"}, {"type": "namespace", "name": "agents"}, {"type": "web_search"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    body = build(tools=[READ, PATCH, AGENTS], tool_choice=choice)
    assert isinstance(body, dict)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["read", "agents__spawn", "agents__close"]
    assert body["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"type": "web_search"}, "unsupported_parameter"),
        ({"type": "function", "name": "nope"}, "invalid_value"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "nope"}]}, "invalid_value"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}, "invalid_value"),
    ],
)
def test_a_choice_of_what_is_not_there_is_refused(choice: Item, code: str) -> None:
    refused = error(tools=[READ, {"type": "web_search"}], tool_choice=choice)
    assert (refused.code, refused.param) == (code, "tool_choice")


def test_required_without_a_tool_is_refused() -> None:
    assert error(tools=[{"type": "web_search"}], tool_choice="required").param == "tool_choice"


def test_calls_in_history_need_no_tool_in_the_request() -> None:
    history = lineage([[function_call("1", "gone")]])
    assert history is not None
    assert messages([function_call("1", "gone")], [output("1")])[0]["tool_calls"][0]["function"]["name"] == "gone"
