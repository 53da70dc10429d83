"""What `tool_choice` means, and the tools that it leaves."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from landline.dialects.tools import Tool, ToolSet
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import ToolChoice, ToolChoiceObject


class ChosenTools(msgspec.Struct, frozen=True):
    """What goes upstream."""

    tools: Sequence[Tool]
    mode: Literal["none", "auto", "required"] | None = None
    """None if nothing was said, or there is no tool."""
    tool: Tool | None = None
    """The one that must be called."""


def choose_tools(tool_set: ToolSet, choice: ToolChoice | None) -> ChosenTools | ApiError:
    """The tools to send and the choice among them, or the error if the choice names a tool that is not there."""
    if isinstance(choice, ToolChoiceObject):
        if choice.type == "allowed_tools":
            return _allowed(tool_set, choice)
        return _named(tool_set, choice)
    if choice == "required" and not tool_set.tools:
        return _refused('`tool_choice` is "required", but there is no tool that this model can call.')
    return ChosenTools(tool_set.tools, choice if tool_set.tools else None)


def _named(tool_set: ToolSet, choice: ToolChoiceObject) -> ChosenTools | ApiError:
    if choice.type not in ("function", "custom"):
        message = f"`tool_choice` asks for {choice.type!r}, a hosted tool that this model's target lacks."
        return api_error("unsupported_parameter", message, param="tool_choice")
    tool = _find(tool_set, choice)
    if tool is None:
        return _refused(f"`tool_choice` names {choice.name!r}, which is not among the tools.")
    return ChosenTools(tool_set.tools, tool=tool)


def _allowed(tool_set: ToolSet, choice: ToolChoiceObject) -> ChosenTools | ApiError:
    """The named subset and its mode. Hosted tools in it are passed over as they are in `tools`."""
    allowed: set[str] = set()
    for each in choice.tools or ():
        if each.type == "namespace":
            allowed.update(tool.upstream_name for tool in tool_set.tools if tool.namespace == each.name)
        elif each.type in ("function", "custom"):
            tool = _find(tool_set, each)
            if tool is None:
                return _refused(f"`tool_choice` allows {each.name!r}, which is not among the tools.")
            allowed.add(tool.upstream_name)
    left = [tool for tool in tool_set.tools if tool.upstream_name in allowed]
    if choice.mode == "required" and not left:
        return _refused("`tool_choice` requires one of its tools, but this model can call none of them.")
    return ChosenTools(left, (choice.mode or "auto") if left else None)


def _find(tool_set: ToolSet, choice: ToolChoiceObject) -> Tool | None:
    name = choice.name or ""
    return tool_set.find(choice.namespace, name) or tool_set.find_called(name)


def _refused(message: str) -> ApiError:
    return api_error("invalid_value", message, param="tool_choice")
