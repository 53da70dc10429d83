"""How each client plays back what a server gave it: one conversation in the server's words, and as each client sends it.

Made after what unmodified clients of November 2026 were seen to send with their whole history. A client's own items
(messages of users, tool outputs) come back as that client first sent them; what differs is the spelling of the server's.
"""

import json
from collections.abc import Callable
from typing import Any

JsonItem = dict[str, Any]

SEALED = "sealed-by-the-server"

QUESTION: JsonItem = {
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "Wie spät ist es?"}],
}
REASONING: JsonItem = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Look at the clock."}],
    "encrypted_content": SEALED,
}
CALL: JsonItem = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "clock",
    "arguments": '{"zone": "Europe/Z\\u00fcrich", "precise": true, "offset": 1.0, "tags": []}',
}
OUTPUT: JsonItem = {"type": "function_call_output", "call_id": "call_1", "output": "12:00\nand a bit"}
BARE_CALL: JsonItem = {
    "id": "fc_2",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_2",
    "name": "now",
    "arguments": "",
}
BARE_OUTPUT: JsonItem = {"type": "function_call_output", "call_id": "call_2", "output": "ok"}
ANSWER: JsonItem = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": 'It is "noon".\n', "annotations": [], "logprobs": []}],
}
CONVERSATION = (QUESTION, REASONING, CALL, OUTPUT, BARE_CALL, BARE_OUTPUT, ANSWER)
"""As the server knows it, before the next question."""


def _openai_python(item: JsonItem) -> JsonItem:
    return item


def _agents_python(item: JsonItem) -> JsonItem:
    return {"role": item["role"], "content": _text(item)} if item is QUESTION else dict(sorted(item.items()))


def _agents_js(item: JsonItem) -> JsonItem:
    return {**item, "status": "completed"} if item["type"] == "function_call_output" else item


def _ai_sdk(item: JsonItem) -> JsonItem:
    match item["type"]:
        case "message" if item["role"] == "assistant":
            return {"role": "assistant", "content": [{"type": "output_text", "text": _text(item)}], "id": item["id"]}
        case "message":
            return {"role": item["role"], "content": item["content"]}
        case "reasoning":
            return _without(item, "content")
        case "function_call":
            return {**_without(item, "id", "status"), "arguments": _printed_by_javascript(item["arguments"])}
        case _:
            return item


def _pi(item: JsonItem) -> JsonItem:
    match item["type"]:
        case "function_call":
            return {**_without(item, "status"), "arguments": _printed_by_javascript(item["arguments"])}
        case "message" if item["role"] == "assistant":
            part: JsonItem = {"type": "output_text", "text": _text(item), "annotations": []}
            return {**item, "content": [part], "id": "msg_of_pi"}
        case _:
            return item


def _codex(item: JsonItem) -> JsonItem:
    match item["type"]:
        case "reasoning":
            return {**item, "content": None}
        case "function_call_output":
            return {**item, "id": "fco_of_codex"}
        case "message" if item["role"] == "assistant":
            return {**_without(item, "status"), "content": [{"type": "output_text", "text": _text(item)}]}
        case _:
            return item


def _codex_with_openai(item: JsonItem) -> JsonItem:
    return {**_codex(item), "internal_chat_message_metadata_passthrough": {"turn_id": "t", "create_time": 1.5}}


def _langchain(item: JsonItem) -> JsonItem:
    if item["type"] == "message" and item["role"] == "assistant":
        return {**item, "content": [{"type": "output_text", "text": _text(item), "annotations": []}]}
    return {"content": _text(item), "role": item["role"], "type": "message"} if item["type"] == "message" else item


def _plain_messages(item: JsonItem) -> JsonItem:
    """llm, pydantic-ai: messages are a role and a string."""
    match item["type"]:
        case "message":
            return {"role": item["role"], "content": _text(item)}
        case "function_call":
            return _without(item, "id", "status")
        case _:
            return item


def _text(message: JsonItem) -> str:
    return message["content"][0]["text"]


def _without(item: JsonItem, *names: str) -> JsonItem:
    return {name: value for name, value in item.items() if name not in names}


def _printed_by_javascript(arguments: str) -> str:
    """`JSON.stringify(JSON.parse(…))`: no spaces, no needless escapes, whole numbers without a fraction."""
    if not arguments:
        return "{}"
    value = json.loads(
        arguments, parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text)
    )
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


SPELLINGS: dict[str, Callable[[JsonItem], JsonItem]] = {
    "openai-python": _openai_python,
    "openai-agents": _agents_python,
    "@openai/agents": _agents_js,
    "ai-sdk": _ai_sdk,
    "pi": _pi,
    "codex": _codex,
    "codex-with-openai": _codex_with_openai,
    "langchain": _langchain,
    "llm": _plain_messages,
}
"""Client → what becomes of one item. opencode is built on the AI SDK, litellm and pydantic-ai spell like the ones here."""


def played_back(client: str) -> list[JsonItem]:
    """The conversation as that client sends it."""
    return [SPELLINGS[client](item) for item in CONVERSATION]
