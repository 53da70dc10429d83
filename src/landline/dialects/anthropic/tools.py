"""Tools as the Messages API offers them, and the choice among them."""

from typing import Literal

import msgspec
from msgspec import Raw

from landline.dialects.anthropic.flags import AnthropicFlags
from landline.dialects.tool_choice import ChosenTools
from landline.dialects.tools import ONE_STRING_PARAMETERS, Tool, ToolDefinition, ToolMaker, object_schema

NO_TOOL = (
    b'{"name":"unavailable","description":"Stands for tools that can no longer be called.",'
    b'"input_schema":{"type":"object","properties":{}}}'
)
"""Offered, and forbidden, when the conversation has calls but the turn has no tools: gateways to Bedrock refuse a request
with `tool_use` blocks and no tools (2026-11)."""

_encode = msgspec.json.Encoder().encode
_COMBINED = ("allOf", "anyOf", "oneOf")


class _Root(msgspec.Struct, frozen=True, rename="camel"):
    properties: dict[str, Raw] = {}
    all_of: list[Raw] = []
    any_of: list[Raw] = []
    one_of: list[Raw] = []


_ROOT: msgspec.json.Decoder[_Root] = msgspec.json.Decoder(_Root)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


def tool_maker(flags: AnthropicFlags) -> ToolMaker:
    """How tools are offered with these flags; a custom tool is a function of one string."""

    def make(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
        kind: Literal["function", "custom"] = "custom" if tool.type == "custom" else "function"
        if kind == "custom":
            parameters, about = ONE_STRING_PARAMETERS, tool.one_string_description
        else:
            parameters, condition = _input_schema(object_schema(tool.parameters_json))
            about = "\n\n".join(text for text in (tool.description, condition) if text)
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


def _input_schema(parameters: bytes) -> tuple[bytes, str]:
    """The schema as the API takes it, and what of it is told in words.

    It refuses every request whose tools have alternatives at the root of a schema (2025 to 2026-07): they go into the
    description, and the properties that they name are the tool's.
    """
    members = _MEMBERS.decode(parameters)
    apart = {name: members.pop(name) for name in _COMBINED if name in members}
    if not apart:
        return parameters, ""
    properties = _properties_of(parameters)
    if properties:
        members["properties"] = Raw(_encode(properties))
    return _encode(members), f"The input also matches this JSON schema: {_encode(apart).decode()}"


def _properties_of(schema: bytes) -> dict[str, Raw]:
    """Those that a schema names and those that its alternatives name; what is no schema of an object names none."""
    try:
        root = _ROOT.decode(schema)
    except msgspec.ValidationError:
        return {}
    properties: dict[str, Raw] = {}
    for each in (*root.all_of, *root.any_of, *root.one_of):
        properties |= _properties_of(each)
    return properties | root.properties
