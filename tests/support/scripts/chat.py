"""What the scripted chat-completions server answers, turn by turn, and how an answer looks on its wire."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """A tool call to make: `arguments` for a function tool, `input` for a custom one.

    `name` is the tool's own name; the name on the wire is looked up in the request's tools, where a server may have
    joined a namespace to it or turned a custom tool into a function with one string.
    """

    name: str
    arguments: dict[str, Any] | None = None
    input: str | None = None


@dataclass(frozen=True)
class Answer:
    """One turn of the model. Without text and calls it answers the empty string."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    """`tool_calls` or `stop` by itself."""
    delta_chars: int = 8
    pause_after: int | None = None
    """After so many chunks, wait for the scenario's `release()` (or for the client to go away)."""
    cut_after: int | None = None
    """After so many chunks, drop the connection."""
    usage: dict[str, Any] | None = None
    """In place of the honest count."""


@dataclass(frozen=True)
class Refused:
    """An HTTP error in place of an answer."""

    status: int
    message: str = "scripted error"
    type: str = "server_error"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])


Step = Answer | Refused


class UnknownToolError(Exception):
    """The script calls a tool that the request does not offer."""


def call(name: str, **arguments: Any) -> Answer:
    """A turn of one function call."""
    return Answer(calls=(Call(name, arguments),))


def custom_call(name: str, text: str) -> Answer:
    """A turn of one custom (free text) call."""
    return Answer(calls=(Call(name, input=text),))


def assistant_message(answer: Answer, body: dict[str, Any], new_id: Iterator[str]) -> dict[str, Any]:
    """The answer as a whole chat message, calls named as the request's tools name them. Raises UnknownToolError."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if not answer.calls:
        message["content"] = answer.text
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.refusal:
        message["refusal"] = answer.refusal
    if answer.calls:
        message["tool_calls"] = [_wire_call(each, body.get("tools") or [], next(new_id)) for each in answer.calls]
    return message


def finish_reason(answer: Answer) -> str:
    return answer.finish_reason or ("tool_calls" if answer.calls else "stop")


def deltas(answer: Answer, message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The `delta` objects of the streamed answer, in order, the role first."""
    yield {"role": "assistant", "content": ""}
    for key, text in (("reasoning_content", answer.reasoning), ("content", answer.text), ("refusal", answer.refusal)):
        for piece in _pieces(text, answer.delta_chars):
            yield {key: piece}
    for index, each in enumerate(message.get("tool_calls", ())):
        kind = each["type"]
        field_name = "arguments" if kind == "function" else "input"
        yield {"tool_calls": [{"index": index, **each, kind: {**each[kind], field_name: ""}}]}
        for piece in _pieces(each[kind][field_name], max(answer.delta_chars, 8)):
            yield {"tool_calls": [{"index": index, kind: {field_name: piece}}]}


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _wire_call(each: Call, tools: list[dict[str, Any]], call_id: str) -> dict[str, Any]:
    tool = _find_tool(each.name, tools)
    if tool["type"] == "custom":
        return {"id": call_id, "type": "custom", "custom": {"name": tool["custom"]["name"], "input": each.input}}
    arguments = each.arguments
    if arguments is None:
        arguments = {_only_property(tool["function"]): each.input}
    function = {"name": tool["function"]["name"], "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function}


def _find_tool(name: str, tools: Iterable[dict[str, Any]]) -> dict[str, Any]:
    names = {tool[tool["type"]]["name"]: tool for tool in tools}
    if name in names:
        return names[name]
    joined = [each for each in names if each.endswith(name) and not each.removesuffix(name)[-1:].isalnum()]
    if len(joined) != 1:
        raise UnknownToolError(f"expected one tool named {name!r} among {sorted(names)}")
    return names[joined[0]]


def _only_property(function: dict[str, Any]) -> str:
    properties = list(function["parameters"]["properties"])
    if len(properties) != 1:
        raise UnknownToolError(f"expected {function['name']!r} to take one string, it takes {properties}")
    return properties[0]


def step_from_json(value: dict[str, Any]) -> Step:
    """A step out of a script file: `{"text": …}`, `{"calls": [{"name", "arguments" | "input"}]}` or `{"status": …}`."""
    if "status" in value:
        return Refused(**value)
    given: dict[str, Any] = {**value, "calls": tuple(Call(**each) for each in value.get("calls", ()))}
    return Answer(**given)
