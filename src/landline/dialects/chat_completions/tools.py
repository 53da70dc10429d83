"""The tools of a turn as chat-completions tools, and the way back from the names that the model uses."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Literal, cast

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.chat_completions.flags import ChatCompletionsFlags
from landline.dialects.chat_completions.messages import ToolNames
from landline.dialects.names import hashed_name, upstream_name
from landline.wire.errors import ApiError
from landline.wire.items import AdditionalTools, Item, typed_item
from landline.wire.requests import validation_error

NO_PARAMETERS = b'{"type":"object","properties":{}}'
"""Sent for a function without parameters; llama-server refuses a function that names none."""
_encode = msgspec.json.Encoder().encode


class Tool(msgspec.Struct, frozen=True):
    """One tool that the model may call."""

    kind: Literal["function", "custom"]
    namespace: str | None
    name: str
    upstream_name: str
    parameters: bytes
    """JSON Schema of a function's arguments; of the one-string object for a custom tool."""
    json: bytes
    """The member of the request's `tools`."""


class ToolSet:
    """The tools of one turn in the order given; a later definition replaces an earlier one of the same name."""

    def __init__(self, tools: Sequence[Tool], passed_over: Iterable[str] = ()) -> None:
        self.tools = tuple(tools)
        self.passed_over = frozenset(passed_over)
        """Types of hosted and built-in tools that were offered and that this target lacks."""
        self._by_upstream_name = {tool.upstream_name: tool for tool in tools}

    @cached_property
    def renamed(self) -> ToolNames:
        """Upstream names that are not the usual ones, because another tool has those."""
        usual = ((tool, upstream_name(tool.namespace, tool.name)) for tool in self.tools)
        return {(tool.namespace, tool.name): tool.upstream_name for tool, name in usual if tool.upstream_name != name}

    @cached_property
    def _by_bare_name(self) -> dict[str, Tool | None]:
        bare: dict[str, Tool | None] = {}
        for tool in self.tools:
            bare[tool.name] = None if tool.name in bare else tool
        return bare

    def find(self, namespace: str | None, name: str) -> Tool | None:
        """The tool as the client names it."""
        return next((tool for tool in self.tools if tool.name == name and tool.namespace == namespace), None)

    def find_called(self, called: str) -> Tool | None:
        """The tool that the model means; a name without its namespace counts if only one tool has it."""
        return self._by_upstream_name.get(called) or self._by_bare_name.get(called)


class _Format(msgspec.Struct, frozen=True):
    type: str = "text"
    syntax: str | None = None
    definition: str | None = None


class _Definition(msgspec.Struct, frozen=True):
    """A tool as the client sends it; the fields of the kinds that are understood."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    format: _Format | None = None
    tools: list[Raw] | None = None


_DECODER: msgspec.json.Decoder[_Definition] = msgspec.json.Decoder(_Definition)
_Key = tuple[str | None, str]


def read_tools(tools: Sequence[Raw], tool_items: Sequence[Item], flags: ChatCompletionsFlags) -> ToolSet | ApiError:
    """The request's tools and those of `additional_tools` items, or the error that names the malformed one."""
    definitions: dict[_Key, _Definition] = {}
    passed_over: set[str] = set()
    for where, raw in _all_tools(tools, tool_items):
        try:
            for namespace, definition in _flatten(raw):
                if definition.type in ("function", "custom") and definition.name:
                    definitions[(namespace, definition.name)] = definition
                else:
                    passed_over.add(definition.type)
        except msgspec.ValidationError as error:
            return validation_error(error, prefix=where)
    names = _upstream_names(definitions)
    made = [_make_tool(key[0], definition, names[key], flags) for key, definition in definitions.items()]
    return ToolSet(made, passed_over)


def _all_tools(tools: Sequence[Raw], tool_items: Sequence[Item]) -> Iterator[tuple[str, Raw]]:
    yield from ((f"tools[{index}]", raw) for index, raw in enumerate(tools))
    for item in tool_items:
        added = typed_item(item)
        if isinstance(added, AdditionalTools):
            yield from ((f"input.additional_tools[{index}]", raw) for index, raw in enumerate(added.tools))


def _flatten(raw: Raw) -> Iterator[tuple[str | None, _Definition]]:
    """A tool, or the tools of a namespace; the namespace's own description goes with its first tool."""
    definition = _DECODER.decode(raw)
    if definition.type != "namespace":
        yield None, definition
        return
    about = definition.description or ""
    for nested in definition.tools or ():
        tool = _DECODER.decode(nested)
        if about:
            described = f"{about}\n\n{tool.description}" if tool.description else about
            tool = msgspec.structs.replace(tool, description=described)
            about = ""
        yield definition.name, tool


def _upstream_names(keys: Iterable[_Key]) -> dict[_Key, str]:
    """A name of its own for every tool: plain functions first, because their names cannot be split back."""
    names: dict[_Key, str] = {}
    taken: set[str] = set()
    for key in sorted(keys, key=lambda key: key[0] is not None):
        name = upstream_name(*key)
        if name in taken:
            name = hashed_name(*key)
        taken.add(name)
        names[key] = name
    return names


def _make_tool(namespace: str | None, tool: _Definition, name: str, flags: ChatCompletionsFlags) -> Tool:
    if tool.type == "custom":
        make = _native_custom if flags.custom_tools == "custom" else _one_string_function
        return make(namespace, tool, name)
    has_parameters = not isinstance(tool.parameters, UnsetType) and bytes(tool.parameters) != b"null"
    parameters = bytes(cast("Raw", tool.parameters)) if has_parameters else NO_PARAMETERS
    function: dict[str, object] = {"name": name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = Raw(parameters)
    if tool.strict:
        function["strict"] = True
    made = _encode({"type": "function", "function": function})
    return Tool("function", namespace, tool.name or "", name, parameters, made)


def _one_string_function(namespace: str | None, tool: _Definition, name: str) -> Tool:
    """A custom tool for servers that only know functions; its grammar is told, not enforced."""
    about = [tool.description] if tool.description else []
    if tool.format is not None and tool.format.definition:
        about.append(
            f"`input` is plain text that matches this {tool.format.syntax or ''} grammar:\n{tool.format.definition}"
        )
    text = {"type": "string", "description": "The whole input of the tool, as plain text."}
    schema = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    parameters = _encode(schema)
    function = {"name": name, "description": "\n\n".join(about), "parameters": Raw(parameters)}
    return Tool(
        "custom", namespace, tool.name or "", name, parameters, _encode({"type": "function", "function": function})
    )


def _native_custom(namespace: str | None, tool: _Definition, name: str) -> Tool:
    custom: dict[str, object] = {"name": name}
    if tool.description:
        custom["description"] = tool.description
    if tool.format is not None and tool.format.definition is not None:
        grammar = {"syntax": tool.format.syntax, "definition": tool.format.definition}
        custom["format"] = {"type": "grammar", "grammar": grammar}
    return Tool("custom", namespace, tool.name or "", name, b"", _encode({"type": "custom", "custom": custom}))
