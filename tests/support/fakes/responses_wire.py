"""How the fake Responses server writes a response object, a count and an error."""

from collections.abc import Iterator
from typing import Any

from support.scripts.responses import Object, Reply, item_events, strange_events


def usage_of(conversation: list[Object], *, is_warm_up: bool) -> Object:
    """The count: ten tokens an item, and all but the newest were read before."""
    read = 10 * len(conversation)
    written = 0 if is_warm_up else 5
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": max(read - 10, 0), "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def response_object(body: Object, response_id: str, model: str) -> Object:
    """The response object in progress: the settings echoed."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "service_tier": "default",
        "store": body.get("store") is not False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": None,
        "background": False,
        "metadata": body.get("metadata") or {},
    }


def error_body(
    code: str, message: str, *, kind: str = "invalid_request_error", param: str | None = None
) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code or None, "message": message, "param": param}}


def error_frame(code: str, message: str, *, status: int = 400, param: str | None = None) -> Object:
    return {"type": "error", "status": status, **error_body(code, message, param=param)}


def ended_response(response: Object, reply: Reply, output: list[Object], usage: Object) -> Object:
    """The response object as its terminal event tells it."""
    status = "failed" if reply.fail_with else "incomplete" if reply.incomplete else "completed"
    return {
        **{name: value for name, value in response.items() if name != "output"},
        **({} if reply.omits_output else {"output": output}),
        "status": status,
        "usage": reply.usage or usage,
        "completed_at": 1_700_000_001 if status == "completed" else None,
        "incomplete_details": {"reason": reply.incomplete} if reply.incomplete else None,
        "error": reply.fail_with,
    }


def events_of(reply: Reply, response: Object, output: list[Object], *, is_warm_up: bool) -> Iterator[Object]:
    """Everything before the terminal event."""
    if reply.is_strange:
        yield {"type": "vendor.early", "note": "@strange@"}
        response["vendor_extra"] = "@strange@"
    yield {"type": "response.created", "response": response}
    if is_warm_up:
        return
    yield {"type": "response.in_progress", "response": response}
    yield {"type": "keepalive"}
    if reply.is_strange:
        yield from strange_events()
    if not reply.is_terminal_only:
        yield from item_events(output)
