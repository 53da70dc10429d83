"""How a scripted answer looks on the Messages API's wire: its message, and the events that stream it."""

import itertools
import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

from support.scripts.chat import Answer, assistant_message
from support.strict.anthropic import without_marks

Block = dict[str, Any]


class Signer:
    """Signs thinking and knows it again: a block comes back unchanged, to the conversation in which it was made."""

    def __init__(self) -> None:
        self._prefixes: dict[str, str] = {}
        """What each signed block followed."""
        self._numbers = itertools.count(1)

    def sign(self, thought: str, body: dict[str, Any]) -> list[Block]:
        """The blocks of a thought: told, redacted (if it begins with `#`), or with nothing but a signature if it is `-`."""
        signature = b64encode(f"signature {next(self._numbers)}".encode()).decode()
        if thought.startswith("#"):
            block = {"type": "redacted_thinking", "data": b64encode(f"{signature}{thought}".encode()).decode()}
        else:
            block = {"type": "thinking", "thinking": thought.removeprefix("-"), "signature": signature}
        self._prefixes[_text(block)] = _prefix(body, len(body["messages"]))
        return [block]

    def explain(self, body: dict[str, Any]) -> str | None:
        """Why the thinking of a request cannot be taken; None if it can."""
        for index, message in enumerate(body["messages"]):
            for place, block in enumerate(message["content"]):
                if block["type"] not in ("thinking", "redacted_thinking"):
                    continue
                known = self._prefixes.get(_text(block))
                where = f"messages.{index}.content.{place}"
                if known is None:
                    return f"{where}: Invalid `signature` in `thinking` block."
                if known != _prefix(body, index):
                    return f"{where}: Invalid `signature` in `thinking` block. It is bound to a different conversation."
        return None


def assistant_content(answer: Answer, body: dict[str, Any], signer: Signer, new_id: Iterator[str]) -> list[Block]:
    """The blocks of an answer. Raises UnknownToolError."""
    content: list[Block] = []
    if answer.reasoning:
        content += signer.sign(answer.reasoning, body)
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    return content + _tool_uses(answer, body, new_id)


def stop_reason(answer: Answer) -> str:
    if answer.finish_reason is not None:
        return answer.finish_reason
    return "refusal" if answer.refusal else "tool_use" if answer.calls else "end_turn"


def events(answer: Answer, head: dict[str, Any], content: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer; `head` is the message with its usage."""
    started = {**head, "content": [], "stop_reason": None, "usage": {**head["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": started}
    yield {"type": "ping"}
    for index, block in enumerate(content):
        yield from _block_events(index, block, answer.delta_chars)
    delta: dict[str, Any] = {"stop_reason": stop_reason(answer), "stop_sequence": None}
    if answer.refusal:
        delta["stop_details"] = {"type": "refusal", "category": None, "explanation": answer.refusal}
    yield {"type": "message_delta", "delta": delta, "usage": head["usage"]}
    yield {"type": "message_stop"}


def _block_events(index: int, block: Block, size: int) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}.get(
        kind, {}
    )
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty}}
    deltas: list[Block] = []
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"], size)]
    elif kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], size)]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind == "tool_use" and block["input"]:
        whole = json.dumps(block["input"])
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *_pieces(whole, max(size, 8)))]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _tool_uses(answer: Answer, body: dict[str, Any], new_id: Iterator[str]) -> list[Block]:
    tools = [
        {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
        for tool in body.get("tools", ())
    ]
    calls = assistant_message(answer, {"tools": tools}, new_id).get("tool_calls", ())
    return [
        {
            "type": "tool_use",
            "id": f"toolu_{each['id']}",
            "name": each["function"]["name"],
            "input": json.loads(each["function"]["arguments"]),
        }
        for each in calls
    ]


def _prefix(body: dict[str, Any], length: int) -> str:
    front = {name: body.get(name) for name in ("system", "tools")}
    whole = without_marks([front, body["messages"][:length]])
    return blake2b(json.dumps(whole).encode(), digest_size=12).hexdigest()


def _text(block: Block) -> str:
    return json.dumps(block, sort_keys=True)


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))
