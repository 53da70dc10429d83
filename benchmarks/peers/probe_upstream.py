"""The upstream of the probe: its answers say what the request held, over chat completions and over Responses alike.

`python -m peers.probe_upstream` listens on a free loopback port and prints it. What is timed runs on another upstream,
`landline bench upstream`, which reads next to nothing of a request.
"""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any, cast

import httptools
import msgspec
import uvloop

from peers.adapters import MODEL

TOOL = "look_up"
_RESPONSE_ID, _ITEM_ID = b"resp_0000000000", b"msg_0000000000"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


class Text(msgspec.Struct, frozen=True):
    """An answer in words, one a delta."""

    deltas: Sequence[str]


class Call(msgspec.Struct, frozen=True):
    """An answer that calls a tool."""

    arguments: str


def answer_probe(body: dict[str, Any]) -> Text | Call:
    """The answer to a request of either API: a call of the tool that is offered, until its output is
    there; then that output; without a tool, every message of the user, in order."""
    told = _read_conversation(body)
    role, last = told[-1]
    if role == "tool":
        return Text(_words(f"the tool said: {last}"))
    if body.get("tools"):
        return Call(json.dumps({"word": last}))
    return Text(_words("heard: " + " | ".join(text for role, text in told if role == "user")))


def chat_stream(answer: Text | Call) -> bytes:
    """An answer as a stream of chat-completion chunks, with the head of its HTTP message."""
    deltas: list[dict[str, object]]
    if isinstance(answer, Text):
        deltas = [{"content": each} for each in answer.deltas]
    else:
        call = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": TOOL, "arguments": answer.arguments},
        }
        deltas = [{"tool_calls": [call]}]
    deltas[0] = {"role": "assistant", **deltas[0]}
    reason = "stop" if isinstance(answer, Text) else "tool_calls"
    usage = {"prompt_tokens": 1, "completion_tokens": len(deltas), "total_tokens": 1 + len(deltas)}
    records = [_record({**_CHUNK, "choices": [_choice(delta)]}) for delta in deltas]
    last: list[dict[str, Any]] = [
        {**_CHUNK, "choices": [_choice({}, reason)]},
        {**_CHUNK, "choices": [], "usage": usage},
    ]
    closing = b"".join(_record(each) for each in last) + _chunked(b"data: [DONE]\n\n") + _END
    return _HEAD + b"".join(records) + closing


def responses_stream(answer: Text | Call) -> bytes:
    """An answer as a stream of Responses events, with the head of its HTTP message."""
    opening, deltas, closing = _text_events(answer) if isinstance(answer, Text) else _call_events(answer)
    item = closing[-1]["item"]
    usage = {**_USAGE, "output_tokens": len(deltas), "total_tokens": 1 + len(deltas)}
    ended = {**_RESPONSE, "status": "completed", "completed_at": 1, "output": [item], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _RESPONSE},
        {"type": "response.in_progress", "response": _RESPONSE},
        *opening,
        *deltas,
        *closing,
        {"type": "response.completed", "response": ended},
    ]
    records = [_record({**event, "sequence_number": n}, name=event["type"]) for n, event in enumerate(events)]
    return _HEAD + b"".join(records) + _END


_CHUNK: dict[str, object] = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
_USAGE: dict[str, object] = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
_RESPONSE: dict[str, object] = {
    "id": _RESPONSE_ID.decode(),
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "status": "in_progress",
    "incomplete_details": None,
    "model": "scripted",
    "previous_response_id": None,
    "instructions": None,
    "output": [],
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "temperature": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def _text_events(answer: Text) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Events before the first delta, the deltas, and those between the last delta and the response's end."""
    text = "".join(answer.deltas)
    part: dict[str, object] = {"type": "output_text", "annotations": [], "logprobs": []}
    place: dict[str, object] = {"item_id": _ITEM_ID.decode(), "output_index": 0, "content_index": 0}
    begun: dict[str, Any] = {
        "type": "message",
        "id": _ITEM_ID.decode(),
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }
    ended = {**begun, "status": "completed", "content": [{**part, "text": text}]}
    return (
        [
            {"type": "response.output_item.added", "output_index": 0, "item": begun},
            {"type": "response.content_part.added", "part": {**part, "text": ""}, **place},
        ],
        [{"type": "response.output_text.delta", "delta": each, "logprobs": [], **place} for each in answer.deltas],
        [
            {"type": "response.output_text.done", "text": text, "logprobs": [], **place},
            {"type": "response.content_part.done", "part": {**part, "text": text}, **place},
            {"type": "response.output_item.done", "output_index": 0, "item": ended},
        ],
    )


def _call_events(answer: Call) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """The same of a tool call, whose arguments are one delta."""
    place: dict[str, object] = {"item_id": _ITEM_ID.decode(), "output_index": 0}
    begun = {"type": "function_call", "id": _ITEM_ID.decode(), "call_id": "call_1", "name": TOOL, "arguments": ""}
    ended = {**begun, "arguments": answer.arguments, "status": "completed"}
    return (
        [{"type": "response.output_item.added", "output_index": 0, "item": {**begun, "status": "in_progress"}}],
        [{"type": "response.function_call_arguments.delta", "delta": answer.arguments, **place}],
        [
            {"type": "response.function_call_arguments.done", "name": TOOL, "arguments": answer.arguments, **place},
            {"type": "response.output_item.done", "output_index": 0, "item": ended},
        ],
    )


def _choice(delta: dict[str, object], finish_reason: str | None = None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason}


def _record(event: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return _chunked(f"{head}data: {json.dumps(event, separators=(',', ':'))}\n\n".encode())


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _words(text: str) -> list[str]:
    return [f"{word} " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]


def _read_conversation(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Role and text of every message and tool output of a request of either API, oldest first."""
    if "messages" in body:
        return [(each["role"], _text(each.get("content"))) for each in body["messages"]]
    if isinstance(body["input"], str):
        return [("user", body["input"])]
    return [
        ("tool", _text(each["output"]))
        if each.get("type") == "function_call_output"
        else (each.get("role", ""), _text(each.get("content")))
        for each in body["input"]
    ]


def _text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


_NUMBERS = itertools.count(1)


class _Connection(asyncio.Protocol):
    """One connection; the methods `on_…` are the parser's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":
            model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "scripted"}
            self._answer_json({"object": "list", "data": [model], "status": "ok"})
            return
        answer = answer_probe(json.loads(b"".join(self._body)))
        data = responses_stream(answer) if b"/responses" in self._url else chat_stream(answer)
        self._transport.write(_numbered(data, b"%010d" % next(_NUMBERS)))

    def _answer_json(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


def _numbered(data: bytes, number: bytes) -> bytes:
    """With ids of its own, as servers that store answers under the upstream's ids need them."""
    return data.replace(_RESPONSE_ID, b"resp_" + number).replace(_ITEM_ID, b"msg_" + number)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
