"""The tools of a turn: read from the request, given flat upstream names, chosen by `tool_choice`, found by called name.

Used by every dialect that rebuilds requests, and by the embedded engine.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.dialects.dialect import Prompt
from landline.lru_dict import LruDict
from landline.wire.errors import ApiError, api_error
from landline.wire.items import AdditionalTools, Item, ToolFormat, typed_item
from landline.wire.requests import ToolChoice, ToolChoiceObject, validation_error

NO_PARAMETERS = b'{"type":"object","properties":{}}'
"""Sent for a function without parameters; llama-server refuses a function without the member."""
ONE_STRING_PARAMETERS = (
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as plain text."}}'
    b',"required":["input"],"additionalProperties":false}'
)
"""Parameters of the function that stands in for a custom tool."""
TOOL_SETS_KEPT = 64
"""Tool lists cached: clients send theirs with every turn (Codex CLI 17.8 kB), few lists are in use at a time."""
MAX_NAME_CHARS = 64
"""Limit of function names in the chat-completions API; Anthropic takes 128 characters, Gemini 64 (November 2026)."""
SEPARATOR = "__"
ToolNames = dict[tuple[str | None, str], str]
"""Upstream names of the tools whose usual name is taken: (namespace, name) → name. Nearly always empty."""
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")


class UpstreamTool(msgspec.Struct, frozen=True):
    """One tool that the model may call."""

    kind: Literal["function", "custom"]
    namespace: str | None
    name: str
    upstream_name: str
    parameters: bytes
    """JSON Schema of a function's arguments; for a custom tool that of the one-string object."""
    json: bytes
    """The element of the upstream request's `tools`."""
    is_strict: bool = False
    """Whether the client asked for arguments that match the schema; set by dialects that send this apart from the tool."""


class ToolSet:
    """The tools of one turn in the order given; a later definition replaces an earlier one of the same name."""

    def __init__(self, tools: Sequence[UpstreamTool], passed_over: Iterable[str] = ()) -> None:
        self.tools = tuple(tools)
        self.passed_over = frozenset(passed_over)
        """Types of hosted and built-in tools in the request that this target lacks."""
        self._by_name = {(tool.namespace, tool.name): tool for tool in tools}
        self._by_upstream_name = {tool.upstream_name: tool for tool in tools}

    @cached_property
    def renamed(self) -> ToolNames:
        """Upstream names that differ from the usual ones, which other tools have."""
        usual = ((tool, upstream_name(tool.namespace, tool.name)) for tool in self.tools)
        return {(tool.namespace, tool.name): tool.upstream_name for tool, name in usual if tool.upstream_name != name}

    @cached_property
    def _by_bare_name(self) -> dict[str, UpstreamTool | None]:
        bare: dict[str, UpstreamTool | None] = {}
        for tool in self.tools:
            bare[tool.name] = None if tool.name in bare else tool
        return bare

    def find(self, namespace: str | None, name: str) -> UpstreamTool | None:
        """The tool as the client names it."""
        return self._by_name.get((namespace, name))

    def find_called(self, called: str) -> UpstreamTool | None:
        """The tool that the model called; a name without its namespace counts if only one tool has it."""
        return self._by_upstream_name.get(called) or self._by_bare_name.get(called)

    def has_longer_name(self, beginning: str) -> bool:
        """Whether a tool's name begins with this text and is longer."""
        names = (*self._by_upstream_name, *self._by_bare_name)
        return any(len(name) > len(beginning) and name.startswith(beginning) for name in names)


class ToolDefinition(msgspec.Struct, frozen=True):
    """A tool as the client sends it: the fields of the supported kinds."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    format: ToolFormat | None = None
    tools: list[Raw] | None = None

    @property
    def parameters_json(self) -> bytes:
        """JSON Schema of a function's arguments."""
        parameters = self.parameters
        if isinstance(parameters, UnsetType) or bytes(parameters) == b"null":
            return NO_PARAMETERS
        return bytes(parameters)

    @property
    def one_string_description(self) -> str:
        """Description of a custom tool that is offered as a function; its grammar is described, not enforced."""
        about = [self.description] if self.description else []
        if self.format is not None and self.format.definition:
            syntax = self.format.syntax or ""
            about.append(f"`input` is plain text that matches this {syntax} grammar:\n{self.format.definition}")
        return "\n\n".join(about)


def object_schema(parameters: bytes) -> bytes:
    """The parameters with the type "object" at their root, which vendors require and clients may leave out."""
    members = _MEMBERS.decode(parameters)
    if members.get("type") == Raw(b'"object"'):
        return parameters
    return msgspec.json.encode({**members, "type": "object"})


ToolMaker = Callable[[str | None, ToolDefinition, str], UpstreamTool]
"""Makes the dialect's tool out of namespace, definition and upstream name."""
_DECODER: msgspec.json.Decoder[ToolDefinition] = msgspec.json.Decoder(ToolDefinition)
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_Key = tuple[str | None, str]
_NO_TOOLS = ToolSet(())


class ToolReader:
    """Reads the tools of turns for one dialect; caches them by their bytes."""

    def __init__(self, make_tool: ToolMaker) -> None:
        self._make_tool = make_tool
        self._known: LruDict[bytes, ToolSet | ApiError] = LruDict(TOOL_SETS_KEPT)

    def read(self, prompt: Prompt) -> ToolSet | ApiError:
        """The tools of a turn, or the error that names the malformed one."""
        tools = prompt.request.tools or ()
        tool_items = prompt.tool_items
        if not tools and not tool_items:
            return _NO_TOOLS
        key = b"".join((*tools, b"|", *(item.raw for item in tool_items)))
        known = self._known.get(key)
        if known is None:
            known = read_tools(tools, tool_items, self._make_tool)
            self._known.put(key, known)
        return known

    def known(self, prompt: Prompt) -> ToolSet:
        """The tools of a turn whose request was accepted, for its answer; an empty set otherwise."""
        tool_set = self.read(prompt)
        return _NO_TOOLS if isinstance(tool_set, ApiError) else tool_set


def read_tools(tools: Sequence[Raw], tool_items: Sequence[Item], make_tool: ToolMaker) -> ToolSet | ApiError:
    """The request's tools and those of `additional_tools` items, or the error that names the malformed one."""
    definitions: dict[_Key, ToolDefinition] = {}
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
    made = [make_tool(key[0], definition, names[key]) for key, definition in definitions.items()]
    return ToolSet(made, passed_over)


def _all_tools(tools: Sequence[Raw], tool_items: Sequence[Item]) -> Iterator[tuple[str, Raw]]:
    yield from ((f"tools[{index}]", raw) for index, raw in enumerate(tools))
    for item in tool_items:
        added = typed_item(item)
        if isinstance(added, AdditionalTools):
            yield from ((f"input.additional_tools[{index}]", raw) for index, raw in enumerate(added.tools))


def _flatten(raw: Raw) -> Iterator[tuple[str | None, ToolDefinition]]:
    """A tool, or the tools of a namespace; the namespace's description is added to its first tool's."""
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
    """A unique name for every tool. Tools without a namespace come first, so of two that collide the other one is renamed."""
    names: dict[_Key, str] = {}
    taken: set[str] = set()
    for key in sorted(keys, key=lambda key: key[0] is not None):
        name = upstream_name(*key)
        if name in taken:
            name = hashed_name(*key)
        taken.add(name)
        names[key] = name
    return names


class ChosenTools(msgspec.Struct, frozen=True):
    """The tools that are sent upstream, and the choice among them."""

    tools: Sequence[UpstreamTool]
    mode: Literal["none", "auto", "required"] | None = None
    """None if the client set none, or there is no tool."""
    tool: UpstreamTool | None = None
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
    """The named subset and its mode. Hosted tools in it are ignored as they are in `tools`."""
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


def _find(tool_set: ToolSet, choice: ToolChoiceObject) -> UpstreamTool | None:
    name = choice.name or ""
    return tool_set.find(choice.namespace, name) or tool_set.find_called(name)


def _refused(message: str) -> ApiError:
    return api_error("invalid_value", message, param="tool_choice")


def upstream_name(namespace: str | None, name: str) -> str:
    """`namespace__name`, or `name`; a name that is too long or has other characters gets a suffix, a stable hash."""
    joined = f"{namespace}{SEPARATOR}{name}" if namespace else name
    clean = _FORBIDDEN.sub("_", joined)
    if clean == joined and 0 < len(joined) <= MAX_NAME_CHARS:
        return joined
    return hashed_name(namespace, name)


def hashed_name(namespace: str | None, name: str) -> str:
    """A name unique to the pair: its readable beginning and eight hexadecimal digits."""
    joined = f"{namespace}{SEPARATOR}{name}" if namespace else name
    digest = blake2b(f"{namespace or ''}\0{name}".encode(), digest_size=4).hexdigest()
    return f"{_FORBIDDEN.sub('_', joined)[: MAX_NAME_CHARS - 9]}_{digest}"
