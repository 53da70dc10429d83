"""The canonical form of an item, without what clients rewrite when they play it back; and how clients spell their JSON.

Lineages compare digests of it. Two items with the same canonical form mean the same to every model, so one may replace the
other. Removed is exactly what unmodified clients were observed to change (November 2026):

| rewriting | clients |
|---|---|
| `id`, `status`, `created_by` and null members left out, added or made anew | all |
| message `type` left out | openai-agents, AI SDK, opencode, pi, pydantic-ai, llm |
| a string for a list of one text, and the reverse | openai-agents, langchain, llm, pydantic-ai |
| kind, `annotations` and `logprobs` of a text part | AI SDK, opencode, pi, llm |
| tool arguments parsed and printed again: spaces, escapes, `1.0` as `1`, `{}` for nothing | AI SDK, opencode, pi |
| `internal_chat_message_metadata_passthrough` added | Codex CLI with OpenAI's own provider |
| readable reasoning left out where the sealed copy says it | Codex CLI, AI SDK, opencode, pi |

Any other difference makes another item: `phase`, `namespace`, `encrypted_content`, the order of parts and of
members inside them. So do merged or split messages, and reasoning without its content. Reasoning without content is identified by its `id`,
which is all that an upstream needs to find it. A vendor's signature counts if the client received it, sealed; if it stayed
here, the reasoning's `id` stands for it, so a client that plays the reasoning back under its id gets its signature again.
"""

import json
import re
from hashlib import blake2b
from typing import Any, NoReturn, cast

import msgspec
from msgspec import Raw

from landline.wire.items import KNOWN_ITEM_TYPES, Item

ITEM_DIGEST_BYTES = 8
"""Enough to distinguish the items of one conversation; no access decision depends on it."""
CANONICAL_DIGEST_BYTES = 16
"""Large enough that nobody can construct two items with the same digest."""
_CLIENT_KEYS = frozenset(("id", "created_by", "internal_chat_message_metadata_passthrough"))
_DROPPED_KEYS = _CLIENT_KEYS | {"status"}
_TEXT_PARTS = frozenset(("input_text", "output_text", "text"))
_DROPPED_PART_KEYS = frozenset(("type", "annotations", "logprobs"))
_CONTENT_KEYS = frozenset(("content", "output", "summary"))
_ESCAPED = re.compile(rb"\\u")
_ESCAPED_ASCII = re.compile(rb"\\u00[0-7]")
_ESCAPED_SHORT = re.compile(rb"\\u0[0-7]")
"""Two bytes in UTF-8, or one."""
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a character of four bytes in UTF-8."""
_DECODER: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode


def canonical(item: Item) -> bytes:
    """The canonical JSON, members sorted; then, on a line of its own, what is not in the item's members (`_unsaid`)."""
    try:
        if item.type not in KNOWN_ITEM_TYPES:
            return _encode({**foreign_members(item.raw), "type": item.type})
        return _encode(_canonical_members(item)) + _unsaid(item)
    except RecursionError:
        return item.raw


def canonical_digest(item: Item) -> bytes:
    """Identifies what the item means, everywhere and permanently: equal digests are equal items."""
    return blake2b(canonical(item), digest_size=CANONICAL_DIGEST_BYTES).digest()


def item_digest(item: Item) -> bytes:
    """A short digest of what the item means, independent of how a client spells it."""
    return blake2b(canonical(item), digest_size=ITEM_DIGEST_BYTES).digest()


def foreign_members(raw: bytes) -> dict[str, Any]:
    """The members of an item of an unknown type, sorted, without ids that servers and clients assign. Dialects describe the
    item by them, so that a model reads the same text for every copy of it."""
    members = _DECODER.decode(raw).items()
    return {key: each for key, each in sorted(members) if key not in _CLIENT_KEYS and each is not None}


def _canonical_members(item: Item) -> dict[str, Any]:
    members = _DECODER.decode(item.raw)
    if item.type == "reasoning" and item.opened:
        said = _DECODER.decode(item.opened[0].raw)
        members |= {key: each for key, each in said.items() if each is not None}
    members["type"] = item.type
    kept: dict[str, Any] = {}
    for key, each in sorted(members.items()):
        if each is None or key in _DROPPED_KEYS:
            continue
        if key in _CONTENT_KEYS:
            each = _canonical_content(each)
            if each == []:
                continue
        elif key == "arguments" and isinstance(each, str):
            each = _canonical_arguments(each)
        kept[key] = each
    return kept


def _unsaid(item: Item) -> bytes:
    """What an item means besides its members: its vendor's signature, or the id that it refers to."""
    match item.type:
        case "item_reference":
            return b"\n" + _encode(item.id)
        case "reasoning" if item.signed is not None and _is_sealed_too(item):
            return b"\n" + _encode(item.signed)
        case "reasoning" if item.signed is not None or (item.opened is None and not _says_something(item)):
            return b"\n" + _encode(item.id)
        case _:
            return b""


def _is_sealed_too(reasoning: Item) -> bool:
    """Whether its client was given the signature, sealed."""
    return bool(_DECODER.decode(reasoning.raw).get("encrypted_content"))


def _says_something(reasoning: Item) -> bool:
    members = _DECODER.decode(reasoning.raw)
    return bool(members.get("content") or members.get("encrypted_content"))


def _canonical_content(content: object) -> object:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        return content
    parts = [_canonical_part(part) for part in cast("list[object]", content)]
    return [] if parts == [{"text": ""}] else parts


def _canonical_part(part: object) -> object:
    if not isinstance(part, dict):
        return part
    fields = cast("dict[str, object]", part)
    dropped = _DROPPED_PART_KEYS if fields.get("type") in _TEXT_PARTS else ()
    return {key: each for key, each in sorted(fields.items()) if key not in dropped and each is not None}


def _canonical_arguments(text: str) -> object:
    """The value of the arguments, members in order; text that is no JSON object unchanged."""
    try:
        value: object = _ARGUMENTS.decode(text) if text.strip() else _members([])
        _encode(value)
    except (ValueError, RecursionError):
        return text
    return cast("object", value) if isinstance(value, dict) else text


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object that keeps its order and members of the same name."""
    return {"members": pairs}


def _number(text: str) -> Raw:
    """The number without closing zeros, which JavaScript does not print; its other digits count."""
    if "." in text and "e" not in text and "E" not in text:
        text = text.rstrip("0").rstrip(".")
    return Raw(text.encode())


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


_ARGUMENTS = json.JSONDecoder(
    object_pairs_hook=_members, parse_float=_number, parse_int=_number, parse_constant=_refuse_constant
)


def is_spaced(json: bytes | str) -> bool:
    """Whether the JSON has spaces after colons and commas, judged by the first member."""
    if isinstance(json, str):
        colon = json.find(":")
        return json[colon + 1 : colon + 2] == " "
    colon = json.find(b":")
    return json[colon + 1 : colon + 2] == b" "


def excess_bytes(json: bytes) -> int:
    """Bytes that spaces and escapes add to a JSON text."""
    return len(json) - len(msgspec.json.format(json, indent=-1)) + escape_bytes(json)


def escape_bytes(json: bytes) -> int:
    """Bytes that escapes of non-ASCII characters add compared to UTF-8."""
    if _ESCAPED.search(json) is None or not json.isascii():
        return 0  # a client that writes one non-ASCII character unescaped escapes none
    json = json.replace(rb"\\", b"")
    ascii_count = len(_ESCAPED_ASCII.findall(json))
    short_count = len(_ESCAPED_SHORT.findall(json)) - ascii_count + len(_ESCAPED_HALF.findall(json))
    return 4 * short_count + 3 * (json.count(rb"\u") - ascii_count - short_count)
