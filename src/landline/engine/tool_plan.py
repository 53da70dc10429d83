"""How a turn's tools reach the model: by its chat template, as text in the system message, or enforced by a grammar. Pure.

- *enforced*: `tool_choice` is `required` or names a tool. A grammar leaves the model nothing else to write.
- *server*: the model's template knows tools; llama.cpp shows them and reads calls, and we read what it overlooks.
- *text*: the template knows no tools; we show them in the system message and read the calls.

A template that never mentions `tools` drops calls and tool results without an error. A prelude in front of it rewrites such
messages into plain ones before the model's own template sees them: a call becomes the JSON that the model is asked to
write (so that the tokens of a call that it wrote itself are found again in the KV cache), a result becomes a user message.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from landline.dialects.chat_completions import RequestOverrides
from landline.dialects.tools import UpstreamTool
from landline.engine.constraints import call_grammar, call_schema
from landline.engine.gguf import GgufHead
from landline.engine.settings import EngineSettings
from landline.wire.requests import ToolChoice

_TOOL_MEMBERS = frozenset(("tools", "tool_choice", "parallel_tool_calls"))


class CallPlan(msgspec.Struct, frozen=True):
    """What a turn does about tools."""

    way: Literal["none", "server", "text", "enforced"]
    tools: Sequence[UpstreamTool] = ()
    """Those that may be called."""


def plan_calls(
    tools: Sequence[UpstreamTool], choice: ToolChoice | str | dict[str, object] | None, *, knows_tools: bool
) -> CallPlan:
    """The plan for the tools that `choose_tools` left and the choice that it made of them."""
    if not tools or choice == "none":
        return CallPlan("none")
    if choice == "required":
        return CallPlan("enforced", tools)
    if isinstance(choice, dict):
        name = _named(choice)
        return CallPlan("enforced", [tool for tool in tools if tool.upstream_name == name])
    return CallPlan("server" if knows_tools else "text", tools)


def plan_overrides(
    plan: CallPlan, shown: Sequence[UpstreamTool], *, knows_tools: bool, string_chars: int, is_fallback: bool = False
) -> RequestOverrides:
    """What the request says for the plan. `shown` are all tools of the turn: the prompt's front stays the same whichever
    of them may be called, so that the KV cache stays good."""
    members: dict[str, object] = {}
    omit: frozenset[str] = frozenset()
    suffix = ""
    if shown and not knows_tools:
        omit = _TOOL_MEMBERS
        suffix = tool_block(shown)
    if plan.way == "enforced":
        if knows_tools:
            members["tool_choice"] = "none"  # llama.cpp refuses a grammar beside tools that may be called
            members["chat_template_kwargs"] = {"enable_thinking": False}
        if is_fallback:
            schema = call_schema(plan.tools, string_chars)
            members["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
        else:
            members["grammar"] = call_grammar(plan.tools, string_chars)
            omit |= {"response_format"}
    return RequestOverrides(members=members, omit=omit, system_suffix=suffix)


def tool_block(tools: Sequence[UpstreamTool]) -> str:
    """The tools as text, for models whose template cannot show them."""
    lines = [_line(tool) for tool in tools]
    return "\n".join(
        (
            "You can call these functions:",
            *lines,
            "To call a function, answer with one line of JSON and nothing else, like",
            '{"name": "the name of the function", "arguments": {"its": "arguments"}}',
        )
    )


class _Function(msgspec.Struct, frozen=True):
    function: msgspec.Raw


def _line(tool: UpstreamTool) -> str:
    return bytes(msgspec.json.decode(tool.json, type=_Function).function).decode()


def _named(choice: dict[str, object]) -> object:
    inner = choice.get(str(choice.get("type")))
    return msgspec.convert(inner, dict[str, object]).get("name") if inner is not None else None


_TOOLS_WORD = re.compile(r"\btools\b")

_PRELUDE = """\
{%- set landline = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set text = message['content'] or '' -%}
{%- if message['role'] == 'tool' -%}
{%- set landline.messages = landline.messages + [{'role': 'user', 'content': 'The function returned:\\n' ~ text}] -%}
{%- elif message['tool_calls'] -%}
{%- set call = namespace(text=text) -%}
{%- for each in message['tool_calls'] -%}
{%- set arguments = each['function']['arguments'] -%}
{%- set call.text = call.text ~ ('\\n' if call.text else '') ~ '{"name": ' ~ (each['function']['name'] | tojson)
    ~ ', "arguments": ' ~ (arguments if arguments is string else arguments | tojson) ~ '}' -%}
{%- endfor -%}
{%- set landline.messages = landline.messages + [{'role': 'assistant', 'content': call.text}] -%}
{%- else -%}
{%- set landline.messages = landline.messages + [{'role': message['role'], 'content': text}] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = landline.messages -%}
"""


_CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""What llama.cpp takes for a model that brings no template."""


def choose_chat_template(head: GgufHead, settings: EngineSettings) -> str:
    """The Jinja source that the child is given; empty leaves the choice to the model's file."""
    template = chat_template_of(head, settings)
    if knows_tools(template):
        return template or "" if settings.chat_template is not None else ""
    return _PRELUDE + (template or _CHATML)


def chat_template_of(head: GgufHead, settings: EngineSettings) -> str | None:
    """The template before anything is put in front of it; None when neither file nor settings have one."""
    if settings.chat_template is not None:
        return Path(settings.chat_template).expanduser().read_text()
    return head.chat_template


def knows_tools(template: str | None) -> bool:
    """Whether the template shows tools itself."""
    return template is not None and _TOOLS_WORD.search(template) is not None
