"""What a strict Responses server refuses: the rules that lenient servers let pass, and that hide a broken history."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

# fmt: off
_FIELDS = frozenset((
    "model", "input", "instructions", "previous_response_id", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "max_tool_calls", "temperature", "top_p", "presence_penalty", "frequency_penalty",
    "top_logprobs", "text", "reasoning", "include", "store", "context_management", "truncation", "metadata",
    "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier", "service_tier",
    "client_metadata", "user",
))
# fmt: on
_HTTP_FIELDS = _FIELDS | {"stream", "stream_options", "background", "conversation"}
_SOCKET_FIELDS = _FIELDS | {"type", "stream_id", "generate"}
_SPOKEN = ("function_call", "custom_tool_call")


class RefusedError(Exception):
    """The request breaks the API; becomes a 4xx or an error frame."""

    def __init__(
        self, message: str, *, code: str = "invalid_value", status: int = 400, param: str | None = "input"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.param = param


@dataclass
class Issued:
    """What the server made, to know it again."""

    sealed: dict[str, Object] = field(default_factory=dict[str, Object])
    """Reasoning and compactions by their `encrypted_content`."""
    items: dict[str, Object] = field(default_factory=dict[str, Object])
    """Items by id."""
    stored_ids: set[str] = field(default_factory=set[str])
    thoughts: dict[str, str] = field(default_factory=dict[str, str])
    """Ids of items and of the reasoning that led to them."""

    def note(self, output: Sequence[Object], *, is_stored: bool) -> None:
        thought = None
        for item in output:
            self.items[item["id"]] = item
            if "encrypted_content" in item:
                self.sealed[item["encrypted_content"]] = item
            if item["type"] == "reasoning":
                thought = item["id"]
            elif thought is not None:
                self.thoughts[item["id"]] = thought
        if is_stored:
            self.stored_ids.update(item["id"] for item in output)


def check_create(body: Object, *, is_socket: bool) -> None:
    """Checks the members of a create; those of vendors begin with `vendor_`. Raises RefusedError."""
    known = _SOCKET_FIELDS if is_socket else _HTTP_FIELDS
    for name in body:
        if name not in known and not name.startswith("vendor_"):
            raise RefusedError(f"Unknown parameter: '{name}'.", code="unknown_parameter", param=name)
    if not isinstance(body.get("model"), str):
        raise RefusedError("Missing required parameter: 'model'.", code="missing_required_parameter", param="model")
    if "stream_options" in body and body.get("stream") is not True:
        raise RefusedError("'stream_options' is only allowed with 'stream'.", param="stream_options")


def check_played_back(new: Sequence[Object], issued: Issued) -> None:
    """Checks items that a client sends: what the server made comes back as it was. Raises RefusedError."""
    for index, item in enumerate(new):
        if item.get("type") in ("reasoning", "compaction"):
            _check_sealed(item, issued, f"input[{index}]")
        made = issued.items.get(item.get("id", ""))
        if made is not None:
            _check_same(item, made, f"input[{index}]")
        thought = issued.thoughts.get(item.get("id", ""))
        if thought is not None and thought not in {each.get("id") for each in new[:index]}:
            what = f"Item '{item['id']}' of type '{item['type']}'"
            raise RefusedError(f"{what} was provided without its required 'reasoning' item: '{thought}'.")
        if item.get("type") == "reasoning" and (index + 1 == len(new) or _is_clients(new[index + 1])):
            what = f"Item '{item.get('id')}' of type 'reasoning'"
            raise RefusedError(f"{what} was provided without its required following item.")


def check_conversation(items: Sequence[Object]) -> None:
    """Checks order: each call answered once, before anything else is said; no item twice. Raises RefusedError."""
    ids: set[str] = set()
    called: set[str] = set()
    answered: set[str] = set()
    open_calls: set[str] = set()
    for item in items:
        kind = item.get("type", "message")
        if item.get("id") in ids:
            raise RefusedError(f"Duplicate item found with id {item['id']}.", code="duplicate_item")
        ids.update([item["id"]] if item.get("id") else [])
        call_id: Any = item.get("call_id")
        if kind in _SPOKEN:
            if call_id in called:
                raise RefusedError(f"Duplicate call_id {call_id}.", code="duplicate_item")
            called.add(call_id)
            open_calls.add(call_id)
        elif kind.endswith("_output") and call_id is not None:
            if call_id not in called or call_id in answered:
                raise RefusedError(f"No tool call found for function call output with call_id {call_id}.", code="")
            answered.add(call_id)
            open_calls.discard(call_id)
        elif kind == "message":
            _refuse_unanswered(open_calls)
        elif kind == "compaction":
            open_calls.clear()


def check_answered(items: Sequence[Object]) -> None:
    """Checks that the model may speak: no call waits for its output. Raises RefusedError."""
    answered = {item.get("call_id") for item in items if item.get("type", "").endswith("_output")}
    calls = {item["call_id"] for item in items if item.get("type") in _SPOKEN and not item.get("async")}
    _refuse_unanswered(calls - answered)


def _check_sealed(item: Object, issued: Issued, where: str) -> None:
    sealed = item.get("encrypted_content")
    if sealed is None:
        if item.get("id") not in issued.stored_ids:
            what = f"Item with id '{item.get('id')}' not found."
            hint = "Items are not persisted when `store` is set to false."
            raise RefusedError(f"{what} {hint}", code="", status=404)
        return
    if sealed not in issued.sealed:
        message = f"The encrypted content for item {item.get('id')} could not be verified."
        raise RefusedError(message, code="invalid_encrypted_content")
    if item.get("summary", []) != issued.sealed[sealed].get("summary", []):
        raise RefusedError(f"The summary at {where} is not the one that was sealed.", code="invalid_encrypted_content")


def _check_same(item: Object, made: Object, where: str) -> None:
    """What the server said is not changed: clients may leave members out, never rewrite them."""
    for name in ("call_id", "name", "arguments", "input", "namespace", "role"):
        if name in item and item[name] is not None and item[name] != made.get(name):
            raise RefusedError(f"`{name}` at {where} is not what the model said.")
    if "content" in item and texts(item) != texts(made):
        raise RefusedError(f"The text at {where} is not what the model said.")


def _is_clients(item: Object) -> bool:
    return item.get("role", "assistant") != "assistant" or item.get("type", "").endswith("_output")


def texts(item: Object) -> list[str]:
    """The texts of an item's content."""
    content = item.get("content") or []
    if isinstance(content, str):
        return [content]
    return [str(part.get("text") or part.get("refusal") or "") for part in content]


def _refuse_unanswered(call_ids: set[str]) -> None:
    if call_ids:
        raise RefusedError(f"No tool output found for function call {min(call_ids)}.", code="")
