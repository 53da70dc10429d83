import json
from pathlib import Path
from typing import Any

import pytest

from landline.dialects.tools import UpstreamTool
from landline.engine.gguf import GgufHead
from landline.engine.settings import EngineSettings
from landline.engine.tool_plan import choose_chat_template, knows_tools, plan_calls, plan_overrides, tool_block

LOOK = UpstreamTool(
    "function", None, "look", "look", b'{"type":"object"}', b'{"type":"function","function":{"name":"look"}}'
)
SAY = UpstreamTool(
    "function", None, "say", "say", b'{"type":"object"}', b'{"type":"function","function":{"name":"say"}}'
)
NAMED: Any = {"type": "function", "function": {"name": "say"}}


@pytest.mark.parametrize(
    ("tools", "choice", "knows_tools", "way", "left"),
    [
        ([], None, False, "none", []),
        ([LOOK, SAY], "auto", True, "server", [LOOK, SAY]),
        ([LOOK, SAY], None, True, "server", [LOOK, SAY]),
        ([LOOK, SAY], "auto", False, "text", [LOOK, SAY]),
        ([LOOK, SAY], "none", False, "none", []),
        ([LOOK, SAY], "none", True, "none", []),
        ([LOOK, SAY], "required", False, "enforced", [LOOK, SAY]),
        ([LOOK, SAY], "required", True, "enforced", [LOOK, SAY]),
        ([LOOK, SAY], NAMED, False, "enforced", [SAY]),
        ([LOOK, SAY], NAMED, True, "enforced", [SAY]),
    ],
)
def test_the_choice_decides_the_way(
    tools: list[UpstreamTool], choice: Any, knows_tools: bool, way: str, left: list[UpstreamTool]
) -> None:
    plan = plan_calls(tools, choice, knows_tools=knows_tools)
    assert (plan.way, list(plan.tools)) == (way, left)


def test_the_front_of_the_prompt_is_the_same_whatever_may_be_called() -> None:
    suffixes = {
        plan_overrides(
            plan_calls([LOOK, SAY], choice, knows_tools=False), [LOOK, SAY], knows_tools=False, string_chars=100
        ).system_suffix
        for choice in ("auto", "none", "required", NAMED)
    }
    assert suffixes == {tool_block([LOOK, SAY])}


def test_tools_are_told_as_json_lines() -> None:
    lines = tool_block([LOOK, SAY]).splitlines()
    assert [json.loads(line) for line in lines[1:3]] == [{"name": "look"}, {"name": "say"}]


def test_a_template_that_knows_tools_gets_them_beside_the_grammar() -> None:
    plan = plan_calls([LOOK], "required", knows_tools=True)
    overrides = plan_overrides(plan, [LOOK], knows_tools=True, string_chars=100)
    assert overrides.members["tool_choice"] == "none"
    assert "tools" not in overrides.omit
    assert str(overrides.members["grammar"]).startswith("%llguidance")
    assert overrides.system_suffix == ""


def test_a_template_that_knows_none_is_sent_none() -> None:
    plan = plan_calls([LOOK], "auto", knows_tools=False)
    overrides = plan_overrides(plan, [LOOK], knows_tools=False, string_chars=100)
    assert {"tools", "tool_choice"} <= overrides.omit
    assert overrides.members == {}


def test_the_fallback_is_the_servers_own_converter() -> None:
    plan = plan_calls([LOOK], "required", knows_tools=False)
    overrides = plan_overrides(plan, [LOOK], knows_tools=False, string_chars=100, is_fallback=True)
    assert "grammar" not in overrides.members
    assert "response_format" in overrides.members
    assert "response_format" not in overrides.omit


def test_without_tools_nothing_changes() -> None:
    overrides = plan_overrides(plan_calls([], None, knows_tools=False), [], knows_tools=False, string_chars=100)
    assert (overrides.members, overrides.omit, overrides.system_suffix) == ({}, frozenset(), "")


PLAIN = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
TOOLS = "{% if tools %}{{ tools }}{% endif %}"


def head(template: str | None) -> GgufHead:
    return GgufHead("llama", None, None, template)


def test_a_template_that_knows_tools_is_left_to_the_models_file() -> None:
    assert choose_chat_template(head(TOOLS), EngineSettings()) == ""


def test_a_template_that_knows_none_gets_a_prelude_and_stays_whole() -> None:
    chosen = choose_chat_template(head(PLAIN), EngineSettings())
    assert chosen.endswith(PLAIN)
    assert "tool_calls" in chosen


def test_a_model_without_a_template_gets_one() -> None:
    assert "<|im_start|>" in choose_chat_template(head(None), EngineSettings())


def test_a_template_of_the_user_replaces_the_models(tmp_path: Path) -> None:
    path = tmp_path / "template.jinja"
    path.write_text(TOOLS)
    assert choose_chat_template(head(PLAIN), EngineSettings(chat_template=str(path))) == TOOLS
    path.write_text(PLAIN)
    assert choose_chat_template(head(TOOLS), EngineSettings(chat_template=str(path))).endswith(PLAIN)


def test_a_template_knows_tools_if_it_says_the_word() -> None:
    assert knows_tools(TOOLS)
    assert not knows_tools("{{ toolset }}")
    assert not knows_tools(None)
