"""Tools as function declarations, and the choice among them."""

import msgspec
from msgspec import Raw

from landline.dialects.tools import (
    MAX_NAME_CHARS,
    NO_PARAMETERS,
    ONE_STRING_PARAMETERS,
    ChosenTools,
    Tool,
    ToolDefinition,
    ToolSet,
    object_schema,
)

_encode = msgspec.json.Encoder().encode
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def declare(namespace: str | None, tool: ToolDefinition, name: str) -> Tool:
    """A tool as a function declaration; a custom tool as a function of one string."""
    name = function_name(name)
    if tool.type == "custom":
        parameters, description = ONE_STRING_PARAMETERS, tool.one_string_description
    else:
        parameters, description = object_schema(tool.parameters_json), tool.description
    declaration: dict[str, object] = {"name": name}
    if description:
        declaration["description"] = description
    if parameters != NO_PARAMETERS:
        declaration["parametersJsonSchema"] = Raw(parameters)
    kind = "custom" if tool.type == "custom" else "function"
    made = _encode(declaration)
    return Tool(kind, namespace, tool.name or "", name, parameters, made, is_strict=tool.strict is True)


def function_name(name: str) -> str:
    """The name as Gemini takes it: the first character must be a letter or an underscore."""
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"[:MAX_NAME_CHARS]


def tool_members(tool_set: ToolSet, chosen: ChosenTools) -> dict[str, object]:
    """`tools` and `toolConfig`.

    Every tool is declared whatever the choice, so that the start of the prompt stays the same and is read from the cache; a
    subset is said by its names. `VALIDATED` is `AUTO` that holds calls to their schemas, and the only such mode that takes
    names (API reference, FunctionCallingConfig).
    """
    if not tool_set.tools:
        return {}
    members: dict[str, object] = {"tools": [{"functionDeclarations": [Raw(tool.json) for tool in tool_set.tools]}]}
    config = _calling_config(tool_set, chosen)
    if config:
        members["toolConfig"] = {"functionCallingConfig": config}
    return members


def _calling_config(tool_set: ToolSet, chosen: ChosenTools) -> dict[str, object]:
    if chosen.tool is not None:
        return {"mode": "ANY", "allowedFunctionNames": [chosen.tool.upstream_name]}
    if not chosen.tools:
        return {"mode": "NONE"}
    mode = _MODES[chosen.mode] if chosen.mode is not None else None
    if len(chosen.tools) < len(tool_set.tools) and mode != "NONE":
        names = [tool.upstream_name for tool in chosen.tools]
        return {"mode": "ANY" if mode == "ANY" else "VALIDATED", "allowedFunctionNames": names}
    if mode in (None, "AUTO") and any(tool.is_strict for tool in tool_set.tools):
        return {"mode": "VALIDATED"}
    return {"mode": mode} if mode is not None else {}
