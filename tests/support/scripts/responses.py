"""What the fake Responses server answers, turn by turn, and how an answer looks on its wire."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from support.scripts.chat import Answer, Call, Refused, UnknownToolError

Object = dict[str, Any]

STRANGE = b'{"b": 1,  "a":2.50e0,"u":"\\u00e9\\/"}'
"""A value that no encoder writes this way: if it comes back so, it was never decoded and encoded again."""
_STRANGE_MARK = "@strange@"
DELTA_CHARS = 8


@dataclass(frozen=True)
class Reply:
    """Answers with items, in this order: `items`, reasoning, a message, calls."""

    text: str | None = None
    calls: Sequence[tuple[str, str] | Call] = ()
    """Function calls as (name, arguments), or `Call`s whose tools are looked up in what the request offers."""
    items: Sequence[Object] = ()
    reasoning: str = ""
    """A summary; the item has an `encrypted_content`, if asked for, that the server wants back as it is."""
    refusal: str = ""
    incomplete: str | None = None
    is_terminal_only: bool = False
    """Whether `output` comes only in the terminal response."""
    omits_output: bool = False
    """Whether the terminal response leaves its `output` out, as OpenAI's sockets may."""
    is_strange: bool = False
    """Whether there are events, items and fields that nobody knows."""
    pause_after: int | None = None
    """After so many events, wait for `release()` (or for the client to go away)."""
    cut_after: int | None = None
    """After so many events, drop the connection."""
    fail_with: Object | None = None
    """The error of the `response.failed` that the answer ends in."""
    usage: Object | None = None
    """In place of the count."""


@dataclass(frozen=True)
class Fail:
    """Answers with an error: as a frame on the socket, as a status over HTTP."""

    frame: Object
    status: int = 400
    headers: dict[str, str] | None = None
    is_late: bool = False
    """Whether a response was created before, and its `response.failed` follows."""


@dataclass(frozen=True)
class CutLine:
    """Breaks the connection, after the first events if asked."""

    after_text: str | None = None


@dataclass(frozen=True)
class Silence:
    """Never answers."""


Step = Reply | Fail | CutLine | Silence | Answer | Refused


def as_responses_step(step: Step) -> Reply | Fail | CutLine | Silence:
    """A step of any scenario as this server plays it."""
    match step:
        case Answer():
            return Reply(
                text=step.text if step.text or not (step.calls or step.refusal) else None,
                calls=step.calls,
                reasoning=step.reasoning,
                refusal=step.refusal,
                incomplete={"length": "max_output_tokens", "content_filter": "content_filter"}.get(
                    step.finish_reason or ""
                ),
                pause_after=step.pause_after,
                cut_after=step.cut_after,
            )
        case Refused():
            error = {"type": step.type, "code": step.code, "message": step.message, "param": None}
            frame = {"type": "error", "status": step.status, "error": error, "headers": step.headers}
            return Fail(frame, status=step.status, headers=step.headers)
        case _:
            return step


def encode(value: Object) -> bytes:
    """The JSON as it leaves, the strange value as its own bytes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace(f'"{_STRANGE_MARK}"', STRANGE.decode()).encode()


def output_items(reply: Reply, number: int, tools: list[Object], *, is_sealed: bool) -> list[Object]:
    """The items of an answer; `is_sealed` tells the content of its reasoning. Raises UnknownToolError."""
    items = [{"id": f"it_{number}_{index}", **item} for index, item in enumerate(reply.items)]
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": reply.reasoning}]
        sealed = {"encrypted_content": f"gAAAA-sealed-{number}"} if is_sealed else {}
        items.append({"type": "reasoning", "id": f"rs_{number}", "summary": summary, **sealed})
    if reply.is_strange:
        items.append({"type": "vendor:note", "id": f"note_{number}", "status": "completed", "data": _STRANGE_MARK})
    if reply.text is not None or reply.refusal:
        items.append(_message(reply, f"msg_{number}"))
    for index, each in enumerate(reply.calls):
        call = _function_call(*each) if isinstance(each, tuple) else _offered_call(each, tools)
        prefix = "ctc" if call["type"] == "custom_tool_call" else "fc"
        place = {"id": f"{prefix}_{number}_{index}", "call_id": f"call_{number}_{index}", "status": "completed"}
        items.append({**call, **place})
    if reply.is_strange:
        items = [{**item, "vendor_extra": _STRANGE_MARK} for item in items]
    return [json.loads(json.dumps(item)) for item in items]


def item_events(items: Sequence[Object]) -> Iterator[Object]:
    """The events that tell the items, without their numbers."""
    for index, item in enumerate(items):
        place = {"output_index": index, "item_id": item.get("id")}
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        match item["type"]:
            case "message":
                for at, part in enumerate(item["content"]):
                    yield from _part_events(part, {**place, "content_index": at})
            case "reasoning":
                for at, part in enumerate(item["summary"]):
                    yield from _summary_events(part, {**place, "summary_index": at})
            case "function_call":
                yield from _text_events("response.function_call_arguments", "arguments", item["arguments"], place)
            case "custom_tool_call":
                yield from _text_events("response.custom_tool_call_input", "input", item["input"], place)
            case _:
                pass
        yield {"type": "response.output_item.done", "output_index": index, "item": item}


def strange_events() -> list[Object]:
    """Events that nobody knows, one of a response and one of the vendor's own."""
    return [
        {"type": "response.vendor_note", "note": _STRANGE_MARK},
        {"type": "vendor.rate_limits", "limits": _STRANGE_MARK},
    ]


def _message(reply: Reply, item_id: str) -> Object:
    parts: list[Object] = []
    if reply.text is not None:
        parts.append({"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []})
    if reply.refusal:
        parts.append({"type": "refusal", "refusal": reply.refusal})
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": parts}


def _function_call(name: str, arguments: str) -> Object:
    return {"type": "function_call", "name": name, "arguments": arguments}


def _offered_call(wanted: Call, tools: list[Object]) -> Object:
    for tool, namespace in _flat(tools):
        if tool.get("name") == wanted.name:
            where = {"namespace": namespace} if namespace is not None else {}
            if tool["type"] == "custom":
                return {"type": "custom_tool_call", "name": wanted.name, "input": wanted.input, **where}
            return {**_function_call(wanted.name, json.dumps(wanted.arguments)), **where}
    raise UnknownToolError(f"expected a tool named {wanted.name!r} among {[each.get('name') for each in tools]}")


def _flat(tools: list[Object]) -> Iterator[tuple[Object, str | None]]:
    for tool in tools:
        if tool["type"] == "namespace":
            yield from ((each, tool["name"]) for each in tool["tools"])
        else:
            yield tool, None


def _begun(item: Object) -> Object:
    """The item as it is announced: nothing in it yet."""
    empty = {"content": [], "arguments": "", "input": "", "summary": []}
    begun = {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}
    return {**begun, "status": "in_progress"} if "status" in item else begun


def _part_events(part: Object, place: Object) -> Iterator[Object]:
    kind, name = ("output_text", "text") if part["type"] == "output_text" else ("refusal", "refusal")
    logprobs = {"logprobs": []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", "part": {**part, name: ""}, **place}
    for delta in _pieces(part[name]):
        yield {"type": f"response.{kind}.delta", "delta": delta, **logprobs, **place}
    yield {"type": f"response.{kind}.done", name: part[name], **logprobs, **place}
    yield {"type": "response.content_part.done", "part": part, **place}


def _summary_events(part: Object, place: Object) -> Iterator[Object]:
    yield {"type": "response.reasoning_summary_part.added", "part": {**part, "text": ""}, **place}
    yield from _text_events("response.reasoning_summary_text", "text", part["text"], place)
    yield {"type": "response.reasoning_summary_part.done", "part": part, **place}


def _text_events(kind: str, name: str, text: str, place: Object) -> Iterator[Object]:
    for delta in _pieces(text):
        yield {"type": f"{kind}.delta", "delta": delta, **place}
    yield {"type": f"{kind}.done", name: text, **place}


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + DELTA_CHARS] for start in range(0, len(text), DELTA_CHARS))
