"""What a model was told, in one form for all dialects: who said what, calls by name and arguments, outputs in order."""

import json
from collections.abc import Iterator
from typing import Any

Said = tuple[str, str]
"""`user`, `said`, `call` or `output`, and the text; of a call its arguments, sorted."""


def told_to_chat(body: dict[str, Any]) -> list[Said]:
    """A chat-completions request."""

    def each() -> Iterator[Said]:
        for message in body["messages"]:
            role = {"user": "user", "assistant": "said", "tool": "output"}.get(message["role"])
            if role is not None and message.get("content"):
                yield role, _text(message["content"])
            for call in message.get("tool_calls", ()):
                yield "call", _sorted(call["function"]["arguments"])

    return list(each())


def told_to_anthropic(body: dict[str, Any]) -> list[Said]:
    """A Messages request; thinking is not counted."""

    def each() -> Iterator[Said]:
        for message in body["messages"]:
            content = message["content"]
            for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                match block["type"]:
                    case "text":
                        yield "user" if message["role"] == "user" else "said", block["text"]
                    case "tool_use":
                        yield "call", _sorted(block["input"])
                    case "tool_result":
                        yield "output", _text(block["content"])
                    case _:
                        pass

    return list(each())


def told_to_gemini(body: dict[str, Any]) -> list[Said]:
    """A generateContent request; thoughts are not counted."""

    def each() -> Iterator[Said]:
        for content in body["contents"]:
            for part in content["parts"]:
                if "functionCall" in part:
                    yield "call", _sorted(part["functionCall"].get("args", {}))
                elif "functionResponse" in part:
                    yield "output", part["functionResponse"]["response"]["output"]
                elif part.get("text") and not part.get("thought"):
                    yield "user" if content["role"] == "user" else "said", part["text"]

    return list(each())


def told_to_responses(conversation: list[dict[str, Any]]) -> list[Said]:
    """The items of a conversation; reasoning is not counted."""

    def each() -> Iterator[Said]:
        for item in conversation:
            match item.get("type", "message"):
                case "message":
                    yield "user" if item["role"] == "user" else "said", _text(item["content"])
                case "function_call":
                    yield "call", _sorted(item["arguments"])
                case "function_call_output":
                    yield "output", _text(item["output"])
                case _:
                    pass

    return list(each())


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _sorted(arguments: Any) -> str:
    value = json.loads(arguments) if isinstance(arguments, str) else arguments
    return json.dumps(value, sort_keys=True)
