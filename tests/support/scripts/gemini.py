"""How a scripted answer looks on Gemini's wire, and what of it must come back."""

import json
from collections.abc import Iterator
from typing import Any

from support.scripts.chat import Answer, assistant_message
from support.strict.gemini import Signatures

Part = dict[str, Any]


def model_content(
    answer: Answer, body: dict[str, Any], new_id: Iterator[str], signatures: Signatures
) -> dict[str, Any]:
    """The whole answer as the content that must come back in the next request. Raises UnknownToolError.

    Signed as Gemini 3 does it: the first of calls made together, else an empty part at the end.
    """
    message = assistant_message(answer, {"tools": list(_chat_tools(body))}, new_id)
    parts: list[Part] = [{"text": answer.text}] if answer.text else []
    for place, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "args": json.loads(call["function"]["arguments"])}
        part: Part = {"functionCall": {"id": call["id"], **function}}
        if place == 0:
            part["thoughtSignature"] = signatures.sign(call["id"])
        parts.append(part)
    if not answer.calls and answer.text:
        parts.append({"text": "", "thoughtSignature": signatures.sign()})
    return {"role": "model", "parts": parts}


def records(answer: Answer, content: dict[str, Any], body: dict[str, Any], usage: dict[str, Any]) -> list[Part]:
    """The records of the streamed answer: thoughts if they were asked for, text in pieces, each call whole."""
    thinking = body.get("generationConfig", {}).get("thinkingConfig", {})
    thought = answer.reasoning if thinking.get("includeThoughts") else ""
    parts = [{"text": piece, "thought": True} for piece in _pieces(thought, answer.delta_chars)]
    for part in content["parts"]:
        parts += (
            [{"text": piece} for piece in _pieces(part["text"], answer.delta_chars)] if part.get("text") else [part]
        )
    made = [_record(part) for part in parts or [{"text": ""}]]
    made[-1]["candidates"][0]["finishReason"] = answer.finish_reason or "STOP"
    made[-1]["usageMetadata"] = usage
    return made


def _record(part: Part) -> Part:
    return {"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}]}


def _pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _chat_tools(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The declarations as a script looks tools up."""
    for tool in body.get("tools", ()):
        for declaration in tool["functionDeclarations"]:
            parameters = declaration.get("parametersJsonSchema", {"type": "object", "properties": {}})
            yield {"type": "function", "function": {"name": declaration["name"], "parameters": parameters}}
