"""Tool calls and answers that the model cannot but write: schemas within llama.cpp's limits, made into grammars. Pure.

The grammar is llguidance's Lark form (llama.cpp built with it reads a `grammar` that begins with `%llguidance`): the frame
of a call is fixed text and its arguments follow the tool's schema, in the spacing in which chat templates print calls,
so that a call in the history has the very tokens that were generated.

llama.cpp reads a number that is no 64-bit integer as a floating-point one: bounds beyond that are lost or turn around
without an error, an `enum` is written as `1e+21`, and what is no double either makes its JSON parser refuse the whole
request. Such numbers are clamped where that narrows a bound, and reported by `schema_fault` where it does not.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeGuard, cast

import msgspec
from msgspec import UnsetType

from landline.dialects.tools import UpstreamTool
from landline.wire.requests import TextSettings

_CHARS_PER_ARRAY_ITEM = 64
"""An array that names no `maxItems` may have one item for so many characters that a string may have, at least 16."""
OBJECT_MEMBERS = 8
"""`maxProperties` for objects that name no properties."""
_LARGEST_INTEGER = 10**15
"""Bound of integers that name none: a small model can write digits for ever."""
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
"""llguidance options. Lenient: a keyword that it does not know is left unenforced, as in every other engine."""
_SUBSCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")

_encode = msgspec.json.Encoder().encode
_Schema = dict[str, Any]


def call_grammar(tools: Sequence[UpstreamTool], string_chars: int) -> str:
    """A grammar of exactly one call of one of the tools; strings without a limit get `string_chars`."""
    calls = " | ".join(f"call_{index}" for index in range(len(tools)))
    rules = ["%llguidance {}", f"start: {calls}"]
    for index, tool in enumerate(tools):
        frame = f'{{"name": {_text(tool.upstream_name)}, "arguments": '
        schema = capped(_decode_schema(tool.parameters), string_chars)
        schema["x-guidance"] = _SPACING
        rules.append(f'call_{index}: {_text(frame)} arguments_{index} "}}"')
        rules.append(f"arguments_{index}: %json {_encode(schema).decode()}")
    return "\n".join(rules) + "\n"


def call_schema(tools: Sequence[UpstreamTool], string_chars: int) -> _Schema:
    """The same as a JSON Schema, for the server's own converter: the fallback for a schema that llguidance refuses."""
    branches = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool.upstream_name},
                "arguments": capped(_decode_schema(tool.parameters), string_chars),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def answer_members(text: TextSettings | None, string_chars: int, *, may_use_grammar: bool) -> dict[str, object]:
    """The body's members that hold an answer to `text.format`; none for plain text.

    A json_schema goes through llama.cpp's own converter, which refuses a schema that it cannot enforce, with limits on
    what has none. A json_object is held by a grammar of ours where the server allows one: its own has no limits.
    """
    wanted = text.format if text is not None else None
    if wanted is None or wanted.type == "text":
        return {}
    if wanted.type == "json_object":
        return {"grammar": object_grammar(string_chars)} if may_use_grammar else {}
    if isinstance(wanted.schema, UnsetType):
        return {}
    schema = capped(_decode_schema(bytes(wanted.schema)), string_chars)
    made = {"name": wanted.name or "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": made}}


def object_grammar(string_chars: int) -> str:
    """A grammar of any JSON object that comes to an end: two levels deep, few members, short strings."""
    leaf = [{"type": "string", "maxLength": max(string_chars // OBJECT_MEMBERS, 32)}]
    leaf += [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]
    inner: list[_Schema] = [
        {"type": "array", "maxItems": OBJECT_MEMBERS, "items": {"anyOf": leaf}},
        {"type": "object", "maxProperties": OBJECT_MEMBERS, "additionalProperties": {"anyOf": leaf}},
    ]
    schema = {
        "type": "object",
        "maxProperties": OBJECT_MEMBERS,
        "additionalProperties": {"anyOf": [*leaf, *inner]},
        "x-guidance": _SPACING,
    }
    return f"%llguidance {{}}\nstart: %json {_encode(schema).decode()}\n"


def capped(schema: _Schema, string_chars: int) -> _Schema:
    """The schema with a limit on everything that has none; what the author limited stays as it is."""
    made = dict(schema)
    clamp_numbers(made)
    for key in _SUBSCHEMAS:
        if isinstance(made.get(key), dict):
            inner = cast("_Schema", made[key])
            made[key] = {name: _capped_any(each, string_chars) for name, each in inner.items()}
    for key in _SCHEMA_LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_capped_any(each, string_chars) for each in cast("list[object]", made[key])]
    kinds = _kinds(made)
    if "string" in kinds and not made.keys() & {"maxLength", "pattern", "format", "enum", "const"}:
        made["maxLength"] = string_chars
    if "integer" in kinds and not made.keys() & {"enum", "const", "multipleOf"}:
        _cap_integer(made)
    if "array" in kinds:
        _cap_array(made, string_chars)
    if "object" in kinds:
        _cap_object(made, string_chars)
    return made


def _capped_any(schema: object, string_chars: int) -> object:
    return capped(cast("_Schema", schema), string_chars) if isinstance(schema, dict) else schema


def _kinds(schema: _Schema) -> set[str]:
    kind: object = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return {each for each in cast("list[object]", kind) if isinstance(each, str)}
    return {"object"} if "properties" in schema else {"array"} if "items" in schema else set()


def _cap_integer(schema: _Schema) -> None:
    if not schema.keys() & {"minimum", "exclusiveMinimum"}:
        schema["minimum"] = -_LARGEST_INTEGER
    if not schema.keys() & {"maximum", "exclusiveMaximum"}:
        schema["maximum"] = _LARGEST_INTEGER


def _cap_array(schema: _Schema, string_chars: int) -> None:
    least = schema.get("minItems")
    usual = max(string_chars // _CHARS_PER_ARRAY_ITEM, 16, least if isinstance(least, int) else 0)
    limit = schema.setdefault("maxItems", usual)
    share = max(string_chars // max(limit if isinstance(limit, int) else usual, 1), 16)
    schema["items"] = _capped_any(schema.get("items", {"type": "string"}), share)


def _cap_object(schema: _Schema, string_chars: int) -> None:
    if "properties" in schema or "allOf" in schema or "anyOf" in schema:
        schema.setdefault("additionalProperties", False)
        return
    schema.setdefault("maxProperties", OBJECT_MEMBERS)
    share = max(string_chars // OBJECT_MEMBERS, 16)
    schema["additionalProperties"] = _capped_any(schema.get("additionalProperties", {"type": "string"}), share)
    if schema["additionalProperties"] is True:
        schema["additionalProperties"] = {"type": "string", "maxLength": share}


def _decode_schema(parameters: bytes) -> _Schema:
    schema = msgspec.json.decode(parameters or b"{}")
    made: _Schema = cast("_Schema", schema) if isinstance(schema, dict) else {}
    if "type" not in made and not made.keys() & {"anyOf", "oneOf", "allOf", "$ref"}:
        made["type"] = "object"
    return made


def _text(text: str) -> str:
    """A JSON string, which is also a Lark string."""
    return _encode(text).decode()


_KNOWN_BYTES = 16 * 1024
"""Larger schemas are looked at each time, so that what is known stays small."""
_LARGEST = 2**63 - 1
_LARGEST_COUNT = 2**31 - 1
"""Of lengths and of numbers of items."""
_UPPER, _LOWER = frozenset(("maximum", "exclusiveMaximum")), frozenset(("minimum", "exclusiveMinimum"))
_UPPER_COUNTS = frozenset(("maxLength", "maxItems", "maxProperties", "maxContains"))
_LOWER_COUNTS = frozenset(("minLength", "minItems", "minProperties", "minContains"))
_LITERALS = frozenset(("enum", "const"))
_ANNOTATIONS = frozenset(("default", "examples", "example"))

_LARGE = re.compile(rb"[0-9]{10}|[0-9][eE]\+?[0-9]")
"""In a schema that has none of these no number is too large."""


def schema_fault(schema: bytes) -> str | None:
    """What of the schema cannot be enforced, as a sentence without its subject; None if all can."""
    return _known_fault(schema) if len(schema) <= _KNOWN_BYTES else _find_fault(schema)


def _find_fault(schema: bytes) -> str | None:
    if _LARGE.search(schema) is None:
        return None
    for key, number in _numbers(msgspec.json.decode(schema), ""):
        if _is_out_of_range(key, number):
            return f"has a `{key}` of {_short(number)}, which is beyond what the embedded model can be held to"
    return None


_known_fault = lru_cache(maxsize=256)(_find_fault)
"""An agent sends the same tools with every turn."""


def clamp_numbers(schema: dict[str, Any]) -> None:
    """Narrows upper bounds that are too large to what can be enforced, and lower ones that are too small; an answer within
    the narrower bounds is within the author's."""
    for key in schema.keys() & (_UPPER | _LOWER):
        bound: object = schema[key]
        if _is_number(bound) and abs(bound) > _LARGEST and (isinstance(bound, int) or schema.get("type") == "integer"):
            schema[key] = _LARGEST if bound > 0 else -_LARGEST
    for key in schema.keys() & _UPPER_COUNTS:
        count: object = schema[key]
        if _is_number(count) and count > _LARGEST_COUNT:
            del schema[key]  # no limit, so it gets ours


def _numbers(value: object, key: str) -> Iterator[tuple[str, int | float]]:
    """Every number with the keyword that it belongs to."""
    if _is_number(value):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in cast("dict[str, object]", value).items():
            yield from _numbers(inner, key if key in _LITERALS | _ANNOTATIONS else name)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _numbers(inner, key)


def _is_out_of_range(key: str, number: float) -> bool:
    if not _is_double(number):
        return True
    if key in _UPPER:
        return number < -_LARGEST
    if key in _LOWER:
        return number > _LARGEST
    if key in _LOWER_COUNTS:
        return number > _LARGEST_COUNT
    is_literal = key in _LITERALS or key == "multipleOf"
    return is_literal and isinstance(number, int) and abs(number) > _LARGEST


def _is_double(number: float) -> bool:
    try:
        float(number)
    except OverflowError:
        return False
    return True


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(number: float) -> str:
    text = str(number)
    return text if len(text) <= 32 else f"{text[:16]}… ({len(text)} digits)"
