"""Tools as members of a chat-completions request."""

import msgspec
from msgspec import Raw

from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.tools import ONE_STRING_PARAMETERS, ChosenTools, Tool, ToolDefinition, ToolMaker

_encode = msgspec.json.Encoder().encode


def tool_maker(flags: ChatCompletionsFlags) -> ToolMaker:
    """How tools are offered to a server with these flags."""
    make_custom = _native_custom if flags.custom_tools == "custom" else _one_string_function

    def make(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
        return make_custom(namespace, tool, name) if tool.type == "custom" else _function(namespace, tool, name)

    return make


def choice_member(chosen: ChosenTools, flags: ChatCompletionsFlags) -> str | dict[str, object] | None:
    """The value of `tool_choice`; None leaves it out."""
    if chosen.tool is None:
        return chosen.mode
    kind = "custom" if chosen.tool.kind == "custom" and flags.custom_tools == "custom" else "function"
    return {"type": kind, kind: {"name": chosen.tool.upstream_name}}


def _function(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
    parameters = tool.parameters_json
    function: dict[str, object] = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = Raw(parameters)
    if tool.strict:
        function["strict"] = True
    made = _encode({"type": "function", "function": function})
    return Tool("function", namespace, tool.name or "", name, parameters, made)


def _one_string_function(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
    """A custom tool for servers that only know functions."""
    parameters = ONE_STRING_PARAMETERS
    function = {"name": name, "description": tool.one_string_description, "parameters": Raw(parameters)}
    made = _encode({"type": "function", "function": function})
    return Tool("custom", namespace, tool.name or "", name, parameters, made)


def _native_custom(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
    custom: dict[str, object] = {"name": name}
    if tool.description:
        custom["description"] = tool.description
    if tool.format is not None and tool.format.definition is not None:
        grammar = {"syntax": tool.format.syntax, "definition": tool.format.definition}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    return Tool("custom", namespace, tool.name or "", name, b"", _encode({"type": "custom", "custom": custom}))
