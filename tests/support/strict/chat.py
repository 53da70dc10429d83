"""What a strict chat-completions server refuses: the rules of the published API that lenient servers let pass.

Each rule raises `BrokenRequestError` with the place and the reason, which becomes a 400. A lenient fake would hide a history
that was lost, doubled or put in the wrong order.
"""

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
# fmt: off
_FIELDS = frozenset((
    "model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "response_format", "reasoning_effort", "verbosity", "stop", "seed", "n", "user", "metadata",
    "store", "service_tier", "prompt_cache_key", "safety_identifier",
))
# fmt: on
_TEXT_PARTS = frozenset(("text",))
_PARTS_BY_ROLE = {
    "system": _TEXT_PARTS,
    "developer": _TEXT_PARTS,
    "user": frozenset(("text", "image_url", "input_audio", "file")),
    "assistant": frozenset(("text", "refusal")),
    "tool": _TEXT_PARTS,
}
_ROLES_AFTER = {
    "system": ("system", "user", "assistant"),
    "user": ("system", "user", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
_MESSAGE_KEYS = frozenset(
    ("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning", "audio")
)


class BrokenRequestError(Exception):
    """The request breaks the chat-completions API; the message says where and how."""


def check_request(body: dict[str, Any]) -> None:
    """Checks a whole chat-completions body. Raises BrokenRequestError."""
    _require(set(body) <= _FIELDS, f"unknown fields {sorted(set(body) - _FIELDS)}")
    _require(isinstance(body.get("model"), str), "`model` must be a string")
    _require("stream_options" not in body or body.get("stream") is True, "`stream_options` without `stream`")
    names = _check_tools(body.get("tools"))
    _check_tool_choice(body.get("tool_choice"), names)
    _check_format(body.get("response_format"))
    messages: Any = body.get("messages")
    _require(isinstance(messages, list) and messages, "`messages` must be a list with at least one message")
    check_history(messages)


def check_history(messages: Sequence[dict[str, Any]]) -> None:
    """Checks order and shape of a conversation: every call answered once, directly after it. Raises BrokenRequestError."""
    open_calls: list[str] = []
    seen_calls: set[str] = set()
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        _check_message(message, where)
        if message["role"] == "tool":
            call_id: Any = message.get("tool_call_id")
            _require(call_id in open_calls, f"{where}: tool message for {call_id!r} without its call directly before")
            open_calls.remove(call_id)
            continue
        _require(not open_calls, f"{where}: calls {open_calls} are not answered before the next message")
        for call in message.get("tool_calls") or ():
            _require(call["id"] not in seen_calls, f"{where}: call id {call['id']!r} is used twice")
            seen_calls.add(call["id"])
            open_calls.append(call["id"])
    _require(not open_calls, f"the conversation ends with unanswered calls {open_calls}")


def check_role_order(messages: Sequence[dict[str, Any]]) -> None:
    """Checks what Mistral wants of the order of roles beside that. Raises BrokenRequestError."""
    for before, after in itertools.pairwise(message["role"] for message in messages):
        _require(after in _ROLES_AFTER[before], f"Unexpected role {after!r} after role {before!r}")
    _require(messages[-1]["role"] in ("user", "tool"), "Expected last role User or Tool")


def _check_message(message: dict[str, Any], where: str) -> None:
    role = message.get("role")
    _require(role in _PARTS_BY_ROLE, f"{where}: unknown role {role!r}")
    _require(set(message) <= _MESSAGE_KEYS, f"{where}: unknown keys {sorted(set(message) - _MESSAGE_KEYS)}")
    content = message.get("content")
    is_empty = not content and not any(message.get(key) for key in ("tool_calls", "reasoning_content", "reasoning"))
    _require(role != "assistant" or not is_empty, f"{where}: an assistant message without content")
    if isinstance(content, list):
        _require(bool(content), f"{where}: empty list of parts")
        for part in content:
            _check_part(part, _PARTS_BY_ROLE[str(role)], where)
    elif content is None:
        has_other = message.get("tool_calls") or message.get("refusal")
        _require(role == "assistant" and has_other, f"{where}: content is null")
    else:
        _require(isinstance(content, str), f"{where}: content is a {type(content).__name__}")
    _require("tool_calls" not in message or role == "assistant", f"{where}: `tool_calls` of a {role}")
    _require("tool_call_id" not in message or role == "tool", f"{where}: `tool_call_id` of a {role}")
    if "tool_calls" in message:
        calls = message["tool_calls"]
        _require(isinstance(calls, list) and calls, f"{where}: `tool_calls` must be a list with at least one call")
        for call in calls:
            _check_call(call, where)


def _check_part(part: Any, allowed: frozenset[str], where: str) -> None:
    _require(isinstance(part, dict) and part.get("type") in allowed, f"{where}: part {str(part)[:80]}")
    match part["type"]:
        case "text":
            _require(isinstance(part.get("text"), str), f"{where}: text part without text")
        case "image_url":
            image = part.get("image_url")
            _require(isinstance(image, dict) and isinstance(image.get("url"), str), f"{where}: image without url")
        case "file":
            _require(isinstance(part.get("file"), dict), f"{where}: file part without file")
        case _:
            pass


def _check_call(call: dict[str, Any], where: str) -> None:
    _require(bool(call.get("id")) and isinstance(call["id"], str), f"{where}: call without id")
    kind: Any = call.get("type")
    _require(kind in ("function", "custom"), f"{where}: call of type {kind!r}")
    _require(bool(_NAME.match(call[kind].get("name", ""))), f"{where}: call of {call[kind].get('name')!r}")
    if kind == "custom":
        _require(isinstance(call["custom"].get("input"), str), f"{where}: custom call without input")
        return
    try:
        arguments = json.loads(call["function"].get("arguments"))
    except (TypeError, ValueError):
        arguments = None
    _require(isinstance(arguments, dict), f"{where}: arguments are not a JSON object in a string")


def _check_tools(tools: Any) -> set[str]:
    if tools is None:
        return set()
    _require(isinstance(tools, list) and bool(tools), "`tools` must be a list with at least one tool")
    names: set[str] = set()
    for tool in tools:
        kind = tool.get("type")
        _require(kind in ("function", "custom") and isinstance(tool.get(kind), dict), f"tool of type {kind!r}")
        name = tool[kind].get("name")
        _require(isinstance(name, str) and bool(_NAME.match(name)), f"tool named {name!r}")
        _require(name not in names, f"tool {name!r} twice")
        parameters = tool[kind].get("parameters")
        _require(parameters is None or isinstance(parameters, dict), f"parameters of {name!r} are not an object")
        names.add(name)
    return names


def _check_tool_choice(choice: Any, names: set[str]) -> None:
    if choice is None:
        return
    _require(bool(names), "`tool_choice` without `tools`")
    if isinstance(choice, str):
        _require(choice in ("none", "auto", "required"), f"`tool_choice` {choice!r}")
        return
    kind = choice.get("type")
    if kind in ("function", "custom"):
        _require(choice.get(kind, {}).get("name") in names, f"`tool_choice` names no tool: {choice}")
    else:
        _require(kind == "allowed_tools" and "allowed_tools" in choice, f"`tool_choice` {choice}")


def _check_format(value: Any) -> None:
    if value is None:
        return
    kind = value.get("type")
    _require(kind in ("text", "json_object", "json_schema"), f"`response_format` {kind!r}")
    if kind == "json_schema":
        named = value.get("json_schema", {})
        _require(bool(_NAME.match(named.get("name") or "")), "`response_format` without a name")
        _require(isinstance(named.get("schema"), dict), "`response_format` without a schema")


def _require(holds: object, message: str) -> None:
    if not holds:
        raise BrokenRequestError(message)
