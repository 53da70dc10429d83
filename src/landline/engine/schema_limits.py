"""What of a JSON Schema llama.cpp cannot take: numbers beyond its integers. Pure.

It reads a number that is no 64-bit integer as a floating-point one: bounds beyond that are lost or turn around without a
word, an `enum` is written as `1e+21`, and what is no double either makes its JSON parser refuse the whole request.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeGuard, cast

import msgspec

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
