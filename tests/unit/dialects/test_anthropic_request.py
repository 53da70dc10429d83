"""Settings, tools, thinking and headers of a Messages request."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from landline.dialects.anthropic import Anthropic, AnthropicFlags
from landline.dialects.dialect import CountRequest, Prompt, UpstreamRequest
from support.conversations.anthropic import REDACTED, SIGNED, ask, build, error, thinking
from support.conversations.chat import Item, create, function_call, lineage, message, output
from support.oracles.anthropic_sdk import assert_sdk_sends
from support.strict.anthropic import BINDING_BETA, check_request

HI = message("user", "hi")
SCHEMA: Item = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
READ: Item = {
    "type": "function",
    "name": "read",
    "description": "Reads.",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False},
    "strict": True,
}
PATCH: Item = {
    "type": "custom",
    "name": "patch",
    "description": "Edits.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}
AGENTS: Item = {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn", "parameters": {"properties": {}}}]}  # fmt: skip
ALWAYS = ("model", "messages", "stream", "max_tokens")
CALLED = [HI], [function_call("a")], [output("a")]
SIGNED_CALL = [HI], [thinking(SIGNED), function_call("a")], [output("a")]
BUDGET = AnthropicFlags(thinking="budget")


def body(flags: AnthropicFlags | None = None, **fields: Any) -> Item:
    made = build([HI], flags=flags, **fields)
    return {name: value for name, value in made.items() if name not in ALWAYS}


def headers(flags: AnthropicFlags | None = None, **options: Any) -> dict[str, str]:
    made = ask([HI], flags=flags, **options)
    assert isinstance(made, UpstreamRequest)
    return made.headers


def notes(*links: list[Item], **options: Any) -> tuple[str, ...]:
    made = ask(*links, **options)
    assert isinstance(made, UpstreamRequest)
    return made.notes


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "top_logprobs": 0}, {}),
        ({"safety_identifier": "s", "service_tier": "flex", "user": "u"}, {"metadata": {"user_id": "s"}}),
        ({"metadata": {"a": "b"}, "store": False, "truncation": "auto", "text": {"verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "text"}}}, {}),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}},
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        ({"reasoning": {"effort": "high"}}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ({"reasoning": {"effort": "minimal"}}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        (
            {"reasoning": {"effort": "max", "summary": "auto"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
        ),
        ({"reasoning": {"summary": "detailed"}}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ({"reasoning": {"effort": "none"}}, {"thinking": {"type": "disabled"}}),
    ],
)
def test_a_setting_goes_out_under_its_own_name(fields: Item, sent: Item) -> None:
    assert body(AnthropicFlags(cache="off"), **fields) == sent


def test_max_tokens_is_always_there() -> None:
    assert build([HI])["max_tokens"] == AnthropicFlags().max_tokens
    assert build([HI], max_output_tokens=77)["max_tokens"] == 77
    assert build([HI], flags=AnthropicFlags(max_tokens=5000))["max_tokens"] == 5000


@pytest.mark.parametrize(
    "fields",
    [
        {"presence_penalty": 1},
        {"frequency_penalty": -1},
        {"top_logprobs": 2},
        {"include": ["message.output_text.logprobs"]},
    ],
)
def test_a_setting_that_the_model_lacks_is_refused(fields: Item) -> None:
    refused = error([HI], **fields)
    assert refused.code == "unsupported_parameter"
    assert refused.param in (*fields, "top_logprobs")


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"top_p": 0.5}])
def test_sampling_is_refused_by_flag(fields: Item) -> None:
    refused = error([HI], flags=AnthropicFlags(sampling="refuse"), **fields)
    assert (refused.code, refused.param) == ("unsupported_parameter", *fields)


def test_sampling_is_sent() -> None:
    flags = AnthropicFlags(cache="off")
    assert body(flags, temperature=0, top_p=0.5) == {"temperature": 0, "top_p": 0.5}
    assert error([HI], flags=flags, temperature=1.5).param == "temperature"
    assert error([HI], flags=flags, temperature=0, reasoning={"effort": "low"}).param == "temperature"


def test_a_json_object_is_asked_for_in_words() -> None:
    system = body(text={"format": {"type": "json_object"}}, instructions="i")["system"]
    assert system[0]["text"] == "i"
    assert "JSON object" in system[1]["text"]


def test_flags_shape_the_body() -> None:
    flags = AnthropicFlags(
        forward=("service_tier",), extra_body={"max_tokens": 9, "stop_sequences": ["x"]}, cache="off"
    )
    assert body(flags, service_tier="default", safety_identifier="s") == {
        "service_tier": "standard_only",
        "stop_sequences": ["x"],
    }
    assert build([HI], flags=flags)["max_tokens"] == 9


def test_headers_say_version_and_betas() -> None:
    made = headers(AnthropicFlags(api_version="2026-10-21", betas=("a-1", "b-2")))
    assert (made["anthropic-version"], made["anthropic-beta"]) == ("2026-10-21", "a-1,b-2")
    assert "anthropic-beta" not in headers()
    assert headers(AnthropicFlags(affinity_headers=("X-A",)), affinity_key="lane")["X-A"] == "lane"


def test_tools_are_offered_flat_and_custom_ones_as_functions() -> None:
    tools = body(AnthropicFlags(cache="off"), tools=[READ, PATCH, AGENTS])["tools"]
    schema = READ["parameters"]
    assert tools[0] == {"name": "read", "description": "Reads.", "input_schema": schema, "strict": True}
    assert tools[1]["input_schema"]["required"] == ["input"]
    assert tools[1]["description"] == "Edits.\n\n`input` is plain text that matches this lark grammar:\nstart: x"
    assert tools[2] == {"name": "agents__spawn", "input_schema": {"type": "object", "properties": {}}}
    assert "strict" not in body(AnthropicFlags(strict_tools=False), tools=[READ])["tools"][0]


def strict_tool(name: str = "f", required: Sequence[str] = (), **properties: Item) -> Item:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"type": "function", "name": name, "strict": True, "parameters": schema}


def test_limits_that_cannot_be_enforced_are_told_with_the_property() -> None:
    rate = {"type": "number", "description": "Per hour.", "exclusiveMinimum": 0, "multipleOf": 0.5}
    (made,) = build([HI], tools=[strict_tool(required=["rate"], rate=rate)])["tools"]
    assert made["strict"] is True
    told = made["input_schema"]["properties"]["rate"]
    assert told == {"type": "number", "description": "Per hour.\n\nLimits: exclusiveMinimum 0, multipleOf 0.5."}
    assert notes([HI], tools=[strict_tool(rate=rate)]) == ("limits of tools, told in words: 1",)


@pytest.mark.parametrize(
    "parameters", [{"type": "object"}, {"type": "object", "properties": {"a": {}}, "required": ["a"]}]
)
def test_a_tool_that_cannot_be_enforced_is_offered_without_strict(parameters: Item) -> None:
    tool = {"type": "function", "name": "f", "strict": True, "parameters": parameters}
    (made,) = build([HI], flags=AnthropicFlags(cache="off"), tools=[tool])["tools"]
    assert made == {"name": "f", "input_schema": parameters}
    assert notes([HI], tools=[tool]) == ("strict of tools: 1",)


def test_no_more_tools_are_strict_than_the_api_takes() -> None:
    tools = [strict_tool(f"t{number}") for number in range(23)]
    made = build([HI], tools=tools)["tools"]
    assert [tool.get("strict", False) for tool in made] == [True] * 20 + [False] * 3
    assert notes([HI], tools=tools) == ("strict of tools: 3",)


def test_the_form_of_the_answer_and_the_tools_share_one_limit() -> None:
    optional: dict[str, Any] = {f"p{number}": {"type": "string"} for number in range(13)}
    form = {"type": "json_schema", "name": "x", "schema": {"type": "object", "properties": optional}}
    tools = [strict_tool("many", **optional), strict_tool("few", p=optional["p1"])]
    assert [tool.get("strict") for tool in build([HI], tools=tools)["tools"]] == [True, True]
    made = build([HI], tools=tools, text={"format": form})["tools"]
    assert [tool.get("strict") for tool in made] == [None, True]


def test_a_form_that_cannot_be_enforced_is_told_in_words() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    form = {"type": "json_schema", "name": "counts", "strict": True, "schema": schema}
    made = build([HI], instructions="Count.", text={"format": form})
    assert "output_config" not in made
    assert made["system"][0]["text"] == "Count."
    assert made["system"][1]["text"].endswith(json.dumps(schema))
    assert any("text.format" in note for note in notes([HI], text={"format": form}))


def test_alternatives_at_the_root_of_a_schema_are_told_in_words() -> None:
    """The API refuses the whole request for one such tool."""
    either = [
        {"required": ["path"]},
        {"properties": {"url": {"type": "string"}, "path": {}}, "required": ["url"]},
        True,
    ]
    own = {"type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": False}
    tool = {"type": "function", "name": "f", "description": "Does f.", "parameters": {**own, "anyOf": either}}
    (made,) = build([HI], tools=[tool])["tools"]
    assert made["input_schema"] == {**own, "properties": {"url": {"type": "string"}, "path": {"type": "string"}}}
    about, _, told = made["description"].partition(" JSON schema: ")
    assert about == "Does f.\n\nThe input also matches this"
    assert json.loads(told) == {"anyOf": either}


@pytest.mark.parametrize(
    "combined", [{"oneOf": [{"$ref": "#/$defs/a"}]}, {"allOf": "odd"}, {"anyOf": [{"properties": 1}]}]
)
def test_alternatives_without_properties_add_none(combined: dict[str, Any]) -> None:
    (made,) = build([HI], tools=[{"type": "function", "name": "f", "parameters": combined}])["tools"]
    assert made["input_schema"] == {"type": "object"}
    assert made["description"].startswith("The input also matches this JSON schema: {")


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": ["object", "null"]}])
def test_the_root_of_a_schema_is_an_object(kind: dict[str, Any]) -> None:
    (made,) = build([HI], tools=[{"type": "function", "name": "f", "parameters": {"properties": {}, **kind}}])["tools"]
    assert made["input_schema"] == {"type": "object", "properties": {}}


def test_added_tools_join_the_requests() -> None:
    added = {"type": "additional_tools", "role": "developer", "tools": [PATCH]}
    assert [tool["name"] for tool in build([added, HI], tools=[READ])["tools"]] == ["read", "patch"]


def test_hosted_tools_are_passed_over() -> None:
    assert "tools" not in body(tools=[{"type": "web_search"}], tool_choice="auto", parallel_tool_calls=False)


def test_a_conversation_with_calls_has_tools_even_if_the_turn_has_none() -> None:
    made = build(*CALLED)
    assert [tool["name"] for tool in made["tools"]] == ["unavailable"]
    assert made["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "custom", "name": "patch"}}, {"type": "tool", "name": "patch"}),
        (
            {"tool_choice": {"type": "function", "name": "spawn", "namespace": "agents"}},
            {"type": "tool", "name": "agents__spawn"},
        ),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_a_choice_is_said_in_the_apis_words(fields: Item, sent: Any) -> None:
    assert body(tools=[READ, PATCH, AGENTS], **fields).get("tool_choice") == sent


def test_allowed_tools_are_all_that_is_sent() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]}
    made = body(tools=[READ, PATCH], tool_choice=choice)
    assert [tool["name"] for tool in made["tools"]] == ["patch"]
    assert made["tool_choice"] == {"type": "any"}


def test_a_choice_of_what_is_not_there_is_refused() -> None:
    assert error([HI], tools=[READ], tool_choice={"type": "function", "name": "x"}).param == "tool_choice"
    assert error([HI], tools=[{"type": "function", "name": 3}]).param == "tools[0].name"


def test_a_forced_call_comes_without_thinking() -> None:
    made = body(tools=[READ], tool_choice="required", reasoning={"effort": "high"})
    assert made["thinking"] == {"type": "disabled"}
    for effort, sent in (("low", "low"), ("high", "high"), ("max", "high")):
        made = body(tools=[READ], tool_choice="required", reasoning={"effort": effort})
        assert made["output_config"] == {"effort": sent}
    assert "output_config" not in body(tools=[READ], tool_choice="required", reasoning={"effort": "none"})
    assert body(tools=[READ], tool_choice="required")["thinking"] == {"type": "disabled"}
    told = notes([HI], tools=[READ], tool_choice="required", reasoning={"effort": "high"})
    assert told == ("thinking: off, because tool_choice forces a call",)
    assert notes([HI], flags=BUDGET, tools=[READ], tool_choice="required", reasoning={"effort": "low"}) == told


@pytest.mark.parametrize(
    ("flag", "sent"),
    [
        ("disabled", {"thinking": {"type": "disabled"}}),
        ("between_tools", {"thinking": {"type": "between_tools"}}),
        ("low_effort", {"output_config": {"effort": "low"}}),
    ],
)
def test_no_thinking_is_said_as_the_model_understands_it(flag: Any, sent: Item) -> None:
    assert body(AnthropicFlags(no_thinking=flag, cache="off"), reasoning={"effort": "none"}) == sent


def test_thinking_can_be_off_for_a_target() -> None:
    assert body(AnthropicFlags(thinking="off", cache="off"), reasoning={"effort": "high", "summary": "auto"}) == {}


def test_stale_thinking_is_dropped_by_flag() -> None:
    made = ask([HI], flags=AnthropicFlags(drop_stale_thinking=True, betas=("a-1",)))
    assert isinstance(made, UpstreamRequest)
    binding = {"prefix_mismatch_behavior": "drop_block"}
    assert json.loads(made.body)["thinking"] == {"type": "adaptive", "block_binding": binding}
    assert made.headers["anthropic-beta"] == f"a-1,{BINDING_BETA}"


@pytest.mark.parametrize(
    ("effort", "max_tokens", "budget"),
    [("minimal", None, 1024), ("high", None, 24_576), ("high", 2000, 1600), ("max", None, 25_600), ("low", 1280, 1024)],
)
def test_a_budget_leaves_room_for_the_answer(effort: str, max_tokens: int | None, budget: int) -> None:
    made = body(BUDGET, reasoning={"effort": effort}, max_output_tokens=max_tokens)
    assert made["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert "output_config" not in made


def test_a_budget_without_room_is_none() -> None:
    assert "thinking" not in body(BUDGET, reasoning={"effort": "high"}, max_output_tokens=1275)
    told = notes([HI], flags=BUDGET, reasoning={"effort": "high"}, max_output_tokens=1275)
    assert told == ("thinking: off, because max_output_tokens leaves no room (1275)",)
    assert "thinking" not in body(BUDGET, reasoning={"effort": "none"})


def test_a_tool_loop_that_began_without_thinking_goes_on_without() -> None:
    """The API refuses it where thinking has a budget; adaptive thinking may begin anywhere."""
    asked: Item = {"reasoning": {"effort": "low"}, "tools": [READ]}
    told = "thinking: off, because the open tool calls were made without it"
    assert "thinking" not in build(*CALLED, flags=BUDGET, **asked)
    assert notes(*CALLED, flags=BUDGET, **asked) == (told,)
    assert build(*SIGNED_CALL, flags=BUDGET, **asked)["thinking"]["type"] == "enabled"
    assert build(*CALLED, [message("assistant", "ok")], [HI], flags=BUDGET, **asked)["thinking"]["type"] == "enabled"
    late = [HI], [function_call("a"), thinking(REDACTED), function_call("b")], [output("a"), output("b")]
    assert notes(*late, flags=BUDGET, **asked) == (told,)
    assert build(*CALLED, **asked)["thinking"]["type"] == "adaptive"


def test_a_warm_up_asks_for_no_token_and_no_stream() -> None:
    flags = AnthropicFlags(warm_up="prefill", cache="off")
    asked: Item = {"reasoning": {"effort": "high"}, "tools": [READ], "tool_choice": "required", "instructions": "i"}
    made = build(flags=flags, generate=False, text={"format": {"type": "json_schema", "schema": SCHEMA}}, **asked)
    assert (made["max_tokens"], "stream" in made, "thinking" in made) == (0, False, False)
    assert made["messages"] == [{"role": "user", "content": [{"type": "text", "text": "(Begin.)"}]}]
    assert made["tools"]


@pytest.mark.parametrize(("flag", "prefills"), [("skip", False), ("prefill", True)])
def test_a_warm_up_is_worth_a_request_by_flag(flag: Any, prefills: bool) -> None:
    assert Anthropic(AnthropicFlags(warm_up=flag)).prefills_warm_up is prefills
    assert not Anthropic().compacts


def counted(**fields: Any) -> list[CountRequest]:
    made = Anthropic().count_requests(Prompt(history=lineage(CALLED), request=create(**fields), model="m"))
    assert not isinstance(made, msgspec.Struct), made
    return list(made)


def test_a_prompt_is_counted_by_the_api() -> None:
    fields: Item = {"reasoning": {"effort": "high"}, "tools": [READ], "instructions": "i", "safety_identifier": "s"}
    (request,) = counted(**fields)
    asked = json.loads(request.body)
    check_request(asked, is_counted=True)
    assert_sdk_sends(asked)
    assert request.path == "/messages/count_tokens"
    assert request.headers["anthropic-version"] == AnthropicFlags().api_version
    assert set(asked) == {"model", "messages", "system", "tools", "thinking", "output_config"}
    assert request.read_count(b'{"input_tokens":12,"new":1}') == 12
    assert request.read_count(b'{"count":12}') is None


def test_a_prompt_that_cannot_be_asked_cannot_be_counted() -> None:
    prompt = Prompt(history=lineage(CALLED), request=create(tool_choice="required"), model="m")
    assert isinstance(Anthropic().count_requests(prompt), msgspec.Struct)


def test_a_dialect_gives_the_same_bytes_for_the_same_turn() -> None:
    dialect = Anthropic()
    prompt = Prompt(history=lineage(CALLED), request=create(tools=[READ]), model="m")
    assert dialect.build_request(prompt) == dialect.build_request(prompt)


def test_history_uses_the_name_that_the_tool_has_now() -> None:
    tools: list[Item] = [
        {"type": "function", "name": "agents__spawn"},
        {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "spawn"}]},
    ]
    links = [HI], [function_call("1", "spawn", namespace="agents")], [output("1")]
    made = build(*links, tools=tools)
    assert made["messages"][1]["content"][0]["name"] == made["tools"][1]["name"] != "agents__spawn"
