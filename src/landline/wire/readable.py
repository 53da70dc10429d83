"""The one check of JSON from outside, from clients and upstreams: whether all of it can be decoded later.

Much of it is kept as raw bytes (`Raw`), which msgspec only skips: it finds their end, and accepts any number, any bytes in a
string and any depth that its stack allows. Once stored, such JSON would break every later turn that decodes it. So all of it
is decoded once where it comes in, and the result is dropped: of the checks that were tried this is the fastest, as it is one
pass in C (docs/adr/0015-read-all-json-once-where-it-comes-in.md).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

MAX_DEPTH = 200
"""Nesting of arrays and objects. Python code that walks schemas needs up to three stack frames a level, and CPython has
1,000; schemas that people write have some ten levels."""
_COUNTED_BYTES = 100 * MAX_DEPTH
"""A text of this size has some `MAX_DEPTH` brackets: about 100 bytes an object."""
_MAX_PLACES = 8
"""Length of the path in an error; each step decodes the value again."""
_NAME_CHARS = 64
"""Characters of a member's name in an error."""

UNREADABLE: tuple[type[Exception], ...] = (msgspec.DecodeError, UnicodeError, RecursionError)
"""Exceptions of decoding a text that cannot be read; deeply nested text runs out of stack."""

_DECODER = msgspec.json.Decoder()
_MEMBERS: msgspec.json.Decoder[dict[str, Raw]] = msgspec.json.Decoder(dict[str, Raw])
_ELEMENTS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])
_CONTAINERS: dict[type, Callable[[Any], Iterable[Any]]] = {dict: dict[str, Any].values, list: iter}
"""Container type → how to iterate over its values."""
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


class Unreadable(msgspec.Struct, frozen=True):
    """What is wrong with a JSON text, and where."""

    expected: str
    """What was expected and what came."""
    where: str = ""
    """The path of the value, as far as it could be followed; "" for the text as a whole."""
    is_json: bool = False
    """Whether it is valid JSON (RFC 8259) with a value that cannot be represented here."""

    def __str__(self) -> str:
        return f"{self.expected} at `{self.where}`" if self.where else self.expected


def find_unreadable(data: bytes | str | Raw) -> Unreadable | None:
    """What prevents a JSON text from being decoded as a whole; None for nothing.

    Refused: text that is no JSON or no UTF-8, lone surrogates (UTF-8 cannot encode them), numbers that overflow a double or
    have more digits than Python converts, and nesting deeper than `MAX_DEPTH`. Accepted although odd: members of the same
    name, numbers that lose digits as doubles.
    """
    try:
        value: Any = _DECODER.decode(data)
    except UNREADABLE as error:
        return _locate(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data), error)
    return _TOO_DEEP if _has_many_brackets(data) and _is_deep(value) else None


def is_readable_object(data: bytes) -> bool:
    """Whether it is one JSON object that can be read as a whole."""
    return data.lstrip()[:1] == b"{" and find_unreadable(data) is None


_TOO_DEEP = Unreadable(f"Expected arrays and objects at most {MAX_DEPTH} levels deep; they are nested deeper")


def _has_many_brackets(data: bytes | str | Raw) -> bool:
    """Whether a text may be too deep by the number of its brackets, which are not counted in a large one: counting takes two
    passes over all of it, going down the levels only what its objects take."""
    if len(data) > _COUNTED_BYTES:
        return True
    text = data.encode() if isinstance(data, str) else bytes(data)
    return text.count(b"[") + text.count(b"{") > MAX_DEPTH


def _is_deep(value: Any) -> bool:
    """Walks level by level, without recursion, so that it cannot run out of stack."""
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        level = [inner for each in level for inner in _CONTAINERS[type(each)](each) if type(inner) in _CONTAINERS]
        if not level:
            return False
    return True


def _locate(data: bytes, error: Exception) -> Unreadable:
    """Follows the path to the first value that cannot be decoded; slow, but only for refused text."""
    where = ""
    for _ in range(_MAX_PLACES):
        found = next(_broken_values(data), None)
        if found is None:
            break
        place, data, error = found
        where += place if where or place.startswith("[") else place.removeprefix(".")
    return _describe(data, error, where)


def _broken_values(data: bytes) -> Iterator[tuple[str, bytes, Exception]]:
    """The values directly inside that cannot be decoded, each with its path step and error."""
    for place, raw in _values(data):
        try:
            _DECODER.decode(raw)
        except UNREADABLE as error:
            yield place, bytes(raw), error


def _values(data: bytes) -> Iterator[tuple[str, Raw]]:
    try:
        if data.lstrip()[:1] == b"{":
            yield from ((f".{name[:_NAME_CHARS]}", raw) for name, raw in _MEMBERS.decode(data).items())
        elif data.lstrip()[:1] == b"[":
            yield from ((f"[{index}]", raw) for index, raw in enumerate(_ELEMENTS.decode(data)))
    except UNREADABLE:
        return


def _describe(data: bytes, error: Exception, where: str) -> Unreadable:
    match error:
        case RecursionError():
            return msgspec.structs.replace(_TOO_DEEP, where=where)
        case msgspec.ValidationError():
            expected = (
                "Expected a number that a double can hold, or an integer of at most 4,300 digits; got a larger one"
            )
            return Unreadable(expected, where, is_json=True)
        case UnicodeError():
            return Unreadable("Expected UTF-8; other bytes came", where)
        case _:
            half = _LONE_SURROGATE.search(data)
            if half is not None:
                expected = (
                    f"Expected whole characters; the `\\u` escape of byte {half.end() - 6} is half of a surrogate pair"
                )
                return Unreadable(expected, where)
            return Unreadable(f"Expected JSON; it cannot be read: {error}", where)
