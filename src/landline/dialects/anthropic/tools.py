"""The `tools` and `tool_choice` members of a Messages request; called by `dialect`."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Raw

from landline.dialects.anthropic.schemas import OPTIONAL_MAX, UNIONS_MAX, EnforceableSchema, enforceable_schema
from landline.dialects.anthropic.settings import AnthropicFlags
from landline.dialects.tools import (
    ONE_STRING_PARAMETERS,
    ChosenTools,
    ToolDefinition,
    ToolMaker,
    UpstreamTool,
    object_schema,
)

NO_TOOL = (
    b'{"name":"unavailable","description":"Stands for tools that can no longer be called.",'
    b'"input_schema":{"type":"object","properties":{}}}'
)
"""Offered, and forbidden, when the conversation has calls but the turn has no tools: gateways to Bedrock refuse a request
with `tool_use` blocks and no tools (2026-11)."""

STRICT_MAX = 20
"""Strict tools in a request (guide "Structured outputs", limits)."""

_encode = msgspec.json.Encoder().encode
_COMBINED = ("allOf", "anyOf", "oneOf")


class _Root(msgspec.Struct, frozen=True, rename="camel"):
    properties: dict[str, Raw] = {}
    all_of: list[Raw] = []
    any_of: list[Raw] = []
    one_of: list[Raw] = []


class _RootType(msgspec.Struct, frozen=True):
    type: str | list[str] | None = None


_ROOT_TYPE: msgspec.json.Decoder[_RootType] = msgspec.json.Decoder(_RootType)
_ROOT: msgspec.json.Decoder[_Root] = msgspec.json.Decoder(_Root)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])


class MessagesTool(UpstreamTool, frozen=True):
    """A tool with its strict form, and the share of the request's limits that this uses."""

    strict_json: bytes = b""
    """The element of `tools` with `strict`; empty if the client did not ask for it, or the API cannot enforce the schema."""
    wants_strict: bool = False
    is_told: bool = False
    """Whether limits of the schema are only in its descriptions."""
    optional: int = 0
    unions: int = 0


class OfferedTools(msgspec.Struct, frozen=True):
    """The tools of a request."""

    members: list[bytes]
    loose: int = 0
    """Tools that are not strict although the client asked for it."""
    told: int = 0
    """Strict tools with limits that are only in their descriptions."""


def offer_tools(tools: Sequence[UpstreamTool], form: EnforceableSchema | None) -> OfferedTools:
    """As many of the tools strict as the API's limits allow beside the answer's format, in order.

    Which ones depends on the list alone, so the prompt's beginning stays the same from turn to turn.
    """
    members: list[bytes] = []
    strict = told = loose = 0
    optional, unions = (form.optional, form.unions) if form is not None else (0, 0)
    for tool in tools:
        if not isinstance(tool, MessagesTool) or not tool.wants_strict:
            members.append(tool.json)
            continue
        is_within = optional + tool.optional <= OPTIONAL_MAX and unions + tool.unions <= UNIONS_MAX
        if not tool.strict_json or strict == STRICT_MAX or not is_within:
            members.append(tool.json)
            loose += 1
            continue
        members.append(tool.strict_json)
        strict, optional, unions = strict + 1, optional + tool.optional, unions + tool.unions
        told += tool.is_told
    return OfferedTools(members, loose, told)


def tool_maker(flags: AnthropicFlags) -> ToolMaker:
    """How tools are offered with these flags; a custom tool is a function of one string."""

    def make(namespace: str | None, tool: ToolDefinition, name: str) -> UpstreamTool:
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
        made = MessagesTool(kind, namespace, tool.name or "", name, parameters, _encode(member))
        return _with_strict(made, member) if kind == "function" and tool.strict and flags.strict_tools else made

    return make


def _with_strict(tool: MessagesTool, member: Mapping[str, object]) -> MessagesTool:
    """The tool with its strict form, if the API can enforce its schema."""
    form = enforceable_schema(tool.parameters)
    if form is None or _ROOT_TYPE.decode(form.schema).type != "object":
        return msgspec.structs.replace(tool, wants_strict=True)
    return msgspec.structs.replace(
        tool,
        wants_strict=True,
        strict_json=_encode({**member, "input_schema": Raw(form.schema), "strict": True}),
        is_told=form.is_told,
        optional=form.optional,
        unions=form.unions,
    )


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
    """The schema as the API accepts it, and text for the description.

    The API refuses every request with alternatives at the root of a tool's schema (2025 to 2026-07). They move into the
    description, and the properties that they name become the tool's.
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
    """The properties of a schema and of its alternatives; none for a schema that is no object's."""
    try:
        root = _ROOT.decode(schema)
    except msgspec.ValidationError:
        return {}
    properties: dict[str, Raw] = {}
    for each in (*root.all_of, *root.any_of, *root.one_of):
        properties |= _properties_of(each)
    return properties | root.properties
