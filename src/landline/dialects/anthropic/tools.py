"""Tools as the Messages API offers them, and the choice among them."""

from typing import Literal

import msgspec
from msgspec import Raw

from landline.dialects.anthropic.flags import AnthropicFlags
from landline.dialects.tool_choice import ChosenTools
from landline.dialects.tools import ONE_STRING_PARAMETERS, Tool, ToolDefinition, ToolMaker

NO_TOOL = (
    b'{"name":"unavailable","description":"Stands for tools that can no longer be called.",'
    b'"input_schema":{"type":"object","properties":{}}}'
)
"""Offered, and forbidden, when the conversation has calls but the turn has no tools: gateways to Bedrock refuse a request
with `tool_use` blocks and no tools (2026-11)."""

_encode = msgspec.json.Encoder().encode
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


def tool_maker(flags: AnthropicFlags) -> ToolMaker:
    """How tools are offered with these flags; a custom tool is a function of one string."""

    def make(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
        kind: Literal["function", "custom"] = "custom" if tool.type == "custom" else "function"
        parameters = ONE_STRING_PARAMETERS if kind == "custom" else _input_schema(tool.parameters_json)
        about = tool.one_string_description if kind == "custom" else tool.description
        member: dict[str, object] = {"name": name}
        if about:
            member["description"] = about
        member["input_schema"] = Raw(parameters)
        if tool.strict and flags.strict_tools:
            member["strict"] = True
        return Tool(kind, namespace, tool.name or "", name, parameters, _encode(member))

    return make


def choice_member(chosen: ChosenTools, parallel: bool | None) -> dict[str, object] | None:
    """The value of `tool_choice`; None leaves it out."""
    choice: dict[str, object]
    if chosen.tool is not None:
        choice = {"type": "tool", "name": chosen.tool.upstream_name}
    elif chosen.mode == "none":
        return {"type": "none"}
    elif chosen.mode == "required":
        choice = {"type": "any"}
    elif chosen.mode == "auto" or parallel is False:
        choice = {"type": "auto"}
    else:
        return None
    if parallel is False:
        choice["disable_parallel_tool_use"] = True
    return choice


def is_forced(chosen: ChosenTools) -> bool:
    """Whether the model must call a tool, which it cannot do after thinking."""
    return chosen.tool is not None or chosen.mode == "required"


def _input_schema(parameters: bytes) -> bytes:
    """The schema with the `type` that the API insists on."""
    members = _MEMBERS.decode(parameters)
    if "type" in members:
        return parameters
    return _encode({"type": "object", **members})
