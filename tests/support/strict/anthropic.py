"""What a strict Messages API refuses: the rules that Anthropic publishes, and one more of ours (roles take turns).

Each rule raises `BrokenRequestError` with the place and the reason, which becomes a 400. Sources: Messages API reference,
tool use, thinking, preserved thinking, prompt caching (November 2026).
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from support.strict.chat import BrokenRequestError

Block = dict[str, Any]
BINDING_BETA = "thinking-binding-controls-2026-08-01"
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_USE_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
# fmt: off
_FIELDS = frozenset((
    "model", "messages", "max_tokens", "system", "tools", "tool_choice", "stream", "thinking", "output_config",
    "metadata", "service_tier", "stop_sequences", "temperature", "top_p", "top_k",
))
_COUNTED_FIELDS = frozenset(("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"))
# fmt: on
_KEYS: dict[str, frozenset[str]] = {
    "text": frozenset(("text", "cache_control")),
    "image": frozenset(("source", "cache_control")),
    "document": frozenset(("source", "title", "context", "cache_control")),
    "tool_use": frozenset(("id", "name", "input", "cache_control")),
    "tool_result": frozenset(("tool_use_id", "content", "is_error", "cache_control")),
    "thinking": frozenset(("thinking", "signature")),
    "redacted_thinking": frozenset(("data",)),
}
_KINDS = {
    "user": frozenset(("text", "image", "document", "tool_result")),
    "assistant": frozenset(("text", "tool_use", "thinking", "redacted_thinking")),
    "result": frozenset(("text", "image", "document")),
}
_SOURCES: dict[str, frozenset[str]] = {
    "base64": frozenset(("media_type", "data")),
    "url": frozenset(("url",)),
    "file": frozenset(("file_id",)),
    "text": frozenset(("media_type", "data")),
}
_THINKING_KEYS: dict[str, frozenset[str]] = {
    "adaptive": frozenset(("display", "block_binding")),
    "enabled": frozenset(("budget_tokens", "display", "block_binding")),
    "disabled": frozenset(),
    "between_tools": frozenset(),
}
_SCHEMA_KEYS = frozenset((
    "type", "properties", "required", "additionalProperties", "items", "minItems", "enum", "const", "anyOf", "$ref",
    "$defs", "definitions", "title", "description", "format", "pattern",
))  # fmt: skip
_SCHEMA_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
THOUGHTS = ("thinking", "redacted_thinking")


def check_request(body: dict[str, Any], betas: Sequence[str] = (), *, is_counted: bool = False) -> None:
    """Checks a whole body, or one for count_tokens. Raises BrokenRequestError."""
    fields = _COUNTED_FIELDS if is_counted else _FIELDS
    _require(set(body) <= fields, f"{sorted(set(body) - fields)}: Extra inputs are not permitted")
    _require(isinstance(body.get("model"), str), "model: Field required")
    if not is_counted:
        _require(isinstance(body.get("max_tokens"), int) and body["max_tokens"] >= 0, "max_tokens: Field required")
    _check_settings(body, betas)
    names = _check_tools(body.get("tools"))
    _check_enforced(body)
    _check_choice(body, names)
    for block in _system_blocks(body):
        _check_block(block, frozenset(("text",)), "system")
    check_messages(body.get("messages"), _thinking_kind(body))
    marks = list(marked(body))
    _require(len(marks) <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")
    for mark in marks:
        is_known = mark.get("type") == "ephemeral" and mark.get("ttl", "5m") in ("5m", "1h")
        _require(is_known and set(mark) <= {"type", "ttl"}, f"cache_control: {mark}")


def check_messages(messages: Any, thinking: str | None = None) -> None:
    """Checks order and shape of a conversation. Raises BrokenRequestError."""
    _require(isinstance(messages, list) and messages, "messages: at least one message is required")
    seen: set[str] = set()
    open_uses: list[str] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        _require(set(message) == {"role", "content"}, f"{where}: keys {sorted(message)}")
        expected = "assistant" if index % 2 else "user"
        _require(message["role"] == expected, f"{where}: roles must alternate, expected {expected!r}")
        content = message["content"]
        _require(isinstance(content, list) and content, f"{where}: content must be a non-empty list here")
        for place, block in enumerate(content):
            _check_block(block, _KINDS[expected], f"{where}.content.{place}")
        if expected == "user":
            _check_results(content, open_uses, where)
            continue
        open_uses = [block["id"] for block in content if block["type"] == "tool_use"]
        for use_id in open_uses:
            _require(use_id not in seen, f"{where}: `tool_use` ids must be unique, found {use_id!r} twice")
            seen.add(use_id)
        _require(
            content[-1]["type"] not in THOUGHTS, f"{where}: The final block in an assistant message cannot be thinking"
        )
    _require(messages[-1]["role"] == "user", "This model does not support assistant message prefill.")
    if thinking == "enabled":
        _check_loop(messages)


def marked(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every `cache_control` of a request."""
    for block in all_blocks(body):
        if "cache_control" in block:
            yield block["cache_control"]


def all_blocks(body: dict[str, Any]) -> Iterator[Block]:
    """Tools, system blocks and content blocks, in the order of the prompt."""
    yield from body.get("tools", ())
    yield from _system_blocks(body)
    for message in body["messages"]:
        yield from message["content"]


def _check_results(content: Sequence[Block], open_uses: Sequence[str], where: str) -> None:
    results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
    missing = [use_id for use_id in open_uses if use_id not in results]
    _require(
        not missing, f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {missing}"
    )
    extra = [use_id for use_id in results if use_id not in open_uses]
    _require(not extra, f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {extra}")
    _require(len(set(results)) == len(results), f"{where}: each tool_use must have a single result, found {results}")
    first = [block["type"] for block in content[: len(results)]]
    _require(set(first) <= {"tool_result"}, f"{where}: tool_result blocks must come first, found {first}")


def _check_loop(messages: Sequence[Block]) -> None:
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    if answers and any(block["type"] == "tool_use" for block in answers[-1]):
        kind = answers[-1][0]["type"]
        _require(kind in THOUGHTS, f"Expected `thinking` or `redacted_thinking`, but found `{kind}`.")


def _check_block(block: Any, allowed: frozenset[str], where: str) -> None:
    kind = block.get("type")
    _require(kind in allowed, f"{where}: block of type {kind!r}")
    extra = set(block) - _KEYS[kind] - {"type"}
    _require(not extra, f"{where}: {sorted(extra)}: Extra inputs are not permitted")
    match kind:
        case "text":
            _require(block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
        case "image" | "document":
            source = block["source"]
            _require({*source} - {"type"} == {*_SOURCES[source["type"]]}, f"{where}: source {sorted(source)}")
        case "tool_use":
            _require(_USE_ID.match(block["id"]), f"{where}: id {block['id']!r} should match {_USE_ID.pattern!r}")
            _require(_NAME.match(block["name"]), f"{where}: name {block['name']!r}")
            _require(isinstance(block["input"], dict), f"{where}: input should be an object")
        case "tool_result":
            inner = block.get("content", "")
            for place, each in enumerate(inner if isinstance(inner, list) else ()):
                _check_block(each, _KINDS["result"], f"{where}.content.{place}")
        case "thinking":
            _require(isinstance(block["thinking"], str) and block.get("signature"), f"{where}: signature required")
        case _:
            pass


def _check_tools(tools: Any) -> set[str]:
    if tools is None:
        return set()
    _require(isinstance(tools, list) and bool(tools), "tools: expected at least one")
    names: set[str] = set()
    for tool in tools:
        extra = set(tool) - {"name", "description", "input_schema", "strict", "cache_control"}
        _require(not extra, f"tools: {sorted(extra)}: Extra inputs are not permitted")
        _require(_NAME.match(tool["name"]), f"tools: name {tool['name']!r}")
        _require(tool["name"] not in names, f"tools: Tool names must be unique, found {tool['name']!r} twice")
        _require(tool["input_schema"].get("type") == "object", f"tools: input_schema.type of {tool['name']!r}")
        combined = {"allOf", "anyOf", "oneOf"} & set(tool["input_schema"])
        _require(not combined, "input_schema does not support oneOf, allOf, or anyOf at the top level")
        names.add(tool["name"])
    return names


def _check_enforced(body: dict[str, Any]) -> None:
    """The limits of "Structured outputs": of each schema, and of all in a request together."""
    strict = [tool for tool in body.get("tools") or () if tool.get("strict")]
    _require(len(strict) <= 20, f"Too many strict tools ({len(strict)}). The maximum number supported is 20.")
    schemas = [tool["input_schema"] for tool in strict]
    form = body.get("output_config", {}).get("format")
    schemas += [form["schema"]] if form is not None else []
    nodes = [node for schema in schemas for node in check_schema(schema)]
    optional = sum(len(node.get("properties", {})) - len(node.get("required", ())) for node in nodes)
    _require(optional <= 24, f"Schemas contains too many optional parameters ({optional})")
    unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
    _require(unions <= 16, f"Schemas contains too many parameters with union types ({unions})")


def check_schema(schema: Any) -> list[dict[str, Any]]:
    """Every schema in one that the API is to enforce. Raises BrokenRequestError for what it does not take."""
    _require(isinstance(schema, dict), f"a schema of any value is not supported: {schema}")
    extra = set(schema) - _SCHEMA_KEYS
    _require(not extra, f"For {schema.get('type')!r} type, properties {sorted(extra)} are not supported")
    is_known = bool({"type", "anyOf", "enum", "const", "$ref"} & set(schema))
    _require(is_known, "Schema must have a 'type', 'anyOf', 'enum' or 'const' field")
    _require(schema.get("minItems", 0) in (0, 1), "For 'array' type, 'minItems' values other than 0 or 1")
    _require(schema.get("format", "date") in _SCHEMA_FORMATS, f"format {schema.get('format')!r}")
    if "object" in schema.get("type", ()):
        _require(schema.get("additionalProperties") is False, "'additionalProperties' must be explicitly set to false")
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    inner += [schema["items"]] if "items" in schema else []
    return [schema, *(node for each in inner for node in check_schema(each))]


def _check_choice(body: dict[str, Any], names: set[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    _require(bool(names), "tool_choice: may only be specified while providing tools")
    kind = choice.get("type")
    _require(kind in ("auto", "any", "tool", "none"), f"tool_choice: {choice}")
    allowed = {"auto": {"disable_parallel_tool_use"}, "none": set[str]()}.get(kind, {"disable_parallel_tool_use"})
    extra = set(choice) - {"type"} - allowed - ({"name"} if kind == "tool" else set[str]())
    _require(not extra, f"tool_choice: {sorted(extra)}: Extra inputs are not permitted")
    _require(kind != "tool" or choice.get("name") in names, f"tool_choice: tool {choice.get('name')!r} not found")
    if kind in ("any", "tool"):
        is_thinking = _thinking_kind(body) in ("enabled", "adaptive")
        _require(not is_thinking, "Thinking may not be enabled when tool_choice forces tool use.")


def _check_settings(body: dict[str, Any], betas: Sequence[str]) -> None:
    thinking = body.get("thinking")
    if thinking is not None:
        kind = thinking.get("type")
        _require(kind in _THINKING_KEYS, f"thinking.type: {kind!r}")
        extra = set(thinking) - {"type"} - _THINKING_KEYS[kind]
        _require(not extra, f"thinking: {sorted(extra)}: Extra inputs are not permitted")
        _require("block_binding" not in thinking or BINDING_BETA in betas, "thinking.block_binding: needs its beta")
    if _thinking_kind(body) == "enabled":
        budget = body["thinking"].get("budget_tokens", 0)
        _require(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        _require("max_tokens" not in body or budget < body["max_tokens"], "`max_tokens` must be greater than budget")
    if _thinking_kind(body) in ("enabled", "adaptive"):
        _require(body.get("temperature", 1) == 1, "`temperature` may only be set to 1 when thinking is enabled.")
    output = body.get("output_config", {})
    _require(set(output) <= {"effort", "format"}, f"output_config: {sorted(output)}")
    _require(output.get("effort", "low") in ("low", "medium", "high", "xhigh", "max"), f"effort: {output}")
    if "format" in output:
        _require(output["format"].keys() == {"type", "schema"}, f"output_config.format: {sorted(output['format'])}")
    if body.get("max_tokens") == 0:
        refused = {"stream", "thinking", "tool_choice"} & set(body) | set(output) & {"format"}
        _require(not refused, f"max_tokens: 0 cannot be combined with {sorted(refused)}")


def _system_blocks(body: dict[str, Any]) -> list[Block]:
    system = body.get("system")
    if system is None:
        return []
    _require(isinstance(system, list) and bool(system), "system: expected a list of blocks here")
    return system


def _thinking_kind(body: dict[str, Any]) -> str | None:
    return (body.get("thinking") or {}).get("type")


def without_marks(value: Any) -> Any:
    """The same without cache breakpoints, which are no part of the prompt."""
    return json.loads(json.dumps(value), object_hook=_drop_mark)


def _drop_mark(members: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in members.items() if name != "cache_control"}


def _require(holds: object, message: str) -> None:
    if not holds:
        raise BrokenRequestError(message)
