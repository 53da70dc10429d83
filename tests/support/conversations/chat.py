"""Conversations to render: builders of items, links and prompts, and the request they give."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags, RequestOverrides
from landline.dialects.dialect import Prompt
from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.items import decode_item
from landline.wire.requests import CreateRequest, decode_create

Item = dict[str, Any]


def message(role: str, *texts: str) -> Item:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


def function_call(call_id: str, name: str = "f", arguments: str = "{}", **more: Any) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def custom_call(call_id: str, name: str = "c", text: str = "text", **more: Any) -> Item:
    return {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": text, **more}


def output(call_id: str, value: Any = "done", kind: str = "function_call_output") -> Item:
    return {"type": kind, "call_id": call_id, "output": value}


def reasoning(text: str) -> Item:
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def lineage(links: Iterable[Sequence[Item]]) -> Link | None:
    history: Link | None = None
    for items in links:
        history = Link(history, [decode_item(json.dumps(item).encode()) for item in items])
    return history


def create(**fields: Any) -> CreateRequest:
    request = decode_create(json.dumps(fields).encode())
    assert isinstance(request, CreateRequest), request
    return request


def build(
    *links: Sequence[Item],
    dialect: ChatCompletions | None = None,
    flags: ChatCompletionsFlags | None = None,
    overrides: RequestOverrides | None = None,
    affinity_key: str | None = None,
    **fields: Any,
) -> dict[str, Any] | ApiError:
    """The body of the request that these links and create fields give, or the error."""
    prompt = Prompt(history=lineage(links), request=create(**fields), model="m", affinity_key=affinity_key)
    made = (dialect or ChatCompletions(flags)).build_request(prompt, overrides or RequestOverrides())
    return made if isinstance(made, ApiError) else json.loads(made.body)


def messages(*links: Sequence[Item], **options: Any) -> list[dict[str, Any]]:
    """The messages of that request; none if it is refused because nothing can be said."""
    body = build(*links, **options)
    if isinstance(body, ApiError) and body.code == "missing_required_parameter":
        return []
    assert isinstance(body, dict), body
    return body["messages"]


def error(*links: Sequence[Item], **options: Any) -> ApiError:
    """The error in place of that request."""
    made = build(*links, **options)
    assert isinstance(made, ApiError), made
    return made
