"""What requests of the chat-completions API have and the Responses API does not: told, because it would be ignored."""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.errors import ApiError, api_error
from landline.wire.items import Item

MESSAGE_ROLES = ("user", "assistant", "system", "developer")
"""Open Responses 2026-04-24, `MessageRole`."""

CHAT_MEMBERS = {
    "messages": "`input`",
    "response_format": "`text.format`",
    "functions": "`tools`, each with `type`, `name` and `parameters` at its own top level",
    "function_call": "`tool_choice`",
    "max_tokens": "`max_output_tokens`",
    "max_completion_tokens": "`max_output_tokens`",
    "n": "one request for each answer",
    "stop": "no stop sequences: this API has none",
}
"""Members of a request, and what says the same here."""

_MESSAGE_MEMBERS = {
    "tool_calls": "a `function_call` item for each call",
    "function_call": "a `function_call` item",
    "tool_call_id": "a `function_call_output` item with its `call_id`",
}
_ROLE_MEANT = {
    "tool": " The output of a tool is an item of type `function_call_output`.",
    "function": " The output of a tool is an item of type `function_call_output`.",
}
_NOTHING = frozenset((b"null", b"[]"))


class _ChatMessage(msgspec.Struct):
    """What a message of the chat-completions API has beside `role` and `content`."""

    tool_calls: Raw | UnsetType = UNSET
    function_call: Raw | UnsetType = UNSET
    tool_call_id: Raw | UnsetType = UNSET


_CHAT_MESSAGE: msgspec.json.Decoder[_ChatMessage] = msgspec.json.Decoder(_ChatMessage)


def refuse_chat_member(name: str, value: Raw) -> ApiError | None:
    """The error for one of `CHAT_MEMBERS` that a request has; one that says nothing, or what is so anyway, is none."""
    if bytes(value) in _NOTHING or (name == "n" and bytes(value) == b"1"):
        return None
    message = f"`{name}` belongs to the chat-completions API and would be ignored: use {CHAT_MEMBERS[name]}."
    return api_error("unsupported_parameter", message, param=name)


def refuse_chat_message(item: Item, place: str) -> ApiError | None:
    """The error for a message whose role is none, or that has calls or outputs of tools as members; `place` is its path."""
    if item.role not in MESSAGE_ROLES:
        roles = ", ".join(f"`{role}`" for role in MESSAGE_ROLES)
        message = f"Expected `{place}.role` to be one of {roles}; got {_shown(item.role)}.{_ROLE_MEANT.get(item.role or '', '')}"
        return api_error("invalid_value", message, param=f"{place}.role")
    if b"tool_call" not in item.raw and b"function_call" not in item.raw:
        return None
    members = _CHAT_MESSAGE.decode(item.raw)
    for name, instead in _MESSAGE_MEMBERS.items():
        value: Raw | UnsetType = getattr(members, name)
        if isinstance(value, Raw) and bytes(value) not in _NOTHING:
            param = f"{place}.{name}"
            message = f"`{param}` belongs to the chat-completions API and would be ignored: use {instead}."
            return api_error("unsupported_parameter", message, param=param)
    return None


def _shown(role: str | None) -> str:
    return repr(role if role is None or len(role) <= 80 else f"{role[:80]}…")
