"""Decodes records of an answer that the strict decoder refused: converts or drops members of the wrong type.

Also joins UTF-16 surrogate pairs that a server split between two records. Used by the stream decoders, only for records
that are odd, so that the others cost nothing.
"""

import json
import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import inspect

_type_info = cache(inspect.type_info)
_NOTHING: Any = object()
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False, 0)
_PYTHON: dict[type[inspect.Type], tuple[type, ...]] = {
    inspect.StrType: (str,),
    inspect.IntType: (int,),
    inspect.FloatType: (float,),
    inspect.BoolType: (bool,),
    inspect.ListType: (list,),
    inspect.StructType: (dict,),
}
_NAMES: dict[type[inspect.Type], str] = {
    inspect.StrType: "a string",
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.BoolType: "a boolean",
    inspect.ListType: "an array",
    inspect.StructType: "an object",
}
_INTEGER = re.compile(r"\s*[-+]?\d{1,18}(\.0*)?\s*")
_JSON_TEXTS = ("partial_json", "input")
"""String members that hold JSON; some servers send the JSON value itself."""
_TEXTS = ("text", "content", "summary", "thinking")
"""Members in which an object may have its text."""
Path = tuple[str | int | None, ...]
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""A surrogate pair, a lone surrogate, or any other escape in a JSON string."""
_LONE = re.compile("[\ud800-\udfff]")
_GROWING = frozenset(
    (
        "arguments",
        "content",
        "delta",
        "input",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "summary",
        "text",
        "thinking",
    )
)
"""Members whose text continues in the next record."""
_WHOLE = frozenset(("args", "arguments", "input"))
"""Objects that are never split: nothing in them continues."""
_KINDS = ("type", "index", "thought")
"""Members that identify the text beside them."""


class UnreadableError(Exception):
    """A record that cannot be decoded and cannot be skipped; the text says what was expected and what came."""


class LenientReader:
    """Rewrites the odd records of one answer so that the strict decoder accepts them.

    Numbers in strings, numeric identifiers and single elements in place of lists are converted. Any other member of the
    wrong type is dropped, unless it is among the needed ones and not empty.
    """

    def __init__(self, kind: type[msgspec.Struct], needed: frozenset[str]) -> None:
        """`kind` defines the members that are read and their types; all others are kept unchanged."""
        self._kind = kind
        self._needed = needed
        self.is_waiting = False
        """Whether the next record must come here too: a low surrogate is missing."""
        self._surrogates = SurrogateJoiner()
        self._oddities: dict[str, None] = {}

    @property
    def oddities(self) -> tuple[str, ...]:
        """Oddities so far: members and types, never content."""
        return tuple(self._oddities)

    def read(self, payload: bytes) -> bytes | None:
        """The record in the form that the strict decoder accepts; None if nothing is left of it.

        Raises UnreadableError.
        """
        record = _decode(payload)
        if not isinstance(record, dict):
            if isinstance(record, list) and record:
                raise UnreadableError("expected an object, got an array")
            self._note("a record", record, "an object")
            return None
        fitted = self._fit(cast("dict[str, Any]", record), _type_info(self._kind), "")
        mended = self._surrogates.mend(fitted)
        self.is_waiting = self._surrogates.is_waiting
        return _encode(mended)

    def end(self) -> Iterator[bytes]:
        """Records with U+FFFD for high surrogates whose low surrogate never came."""
        self.is_waiting = False
        yield from map(_encode, list(self._surrogates.end()))

    def _fit(self, value: Any, kind: inspect.Type, path: str) -> Any:
        """The value converted to the type, or `_NOTHING`."""
        match kind:
            case inspect.UnionType():
                return self._fit_any(value, kind.types, path)
            case inspect.StructType():
                return self._fit_struct(value, kind, path)
            case inspect.ListType():
                elements = cast("list[Any]", value if isinstance(value, list) else [value])
                if not isinstance(value, list) and not _is_element(value, kind.item_type):
                    return _NOTHING
                return self._fit_list(elements, kind, path)
            case inspect.RawType() | inspect.AnyType():
                return value
            case _:
                return _fit_plain(value, kind, path)

    def _fit_any(self, value: Any, kinds: tuple[inspect.Type, ...], path: str) -> Any:
        """The value as the first type that matches it, else as the first type that it converts to."""
        if value is None:
            return None if any(isinstance(kind, inspect.NoneType) for kind in kinds) else _NOTHING
        ordered = sorted(kinds, key=lambda kind: not isinstance(value, _PYTHON.get(type(kind), ())))
        fitted = (self._fit(value, kind, path) for kind in ordered if not isinstance(kind, inspect.NoneType))
        return next((each for each in fitted if each is not _NOTHING), _NOTHING)

    def _fit_struct(self, value: Any, kind: inspect.StructType, path: str) -> Any:
        names = [field.encode_name for field in kind.fields]
        if isinstance(value, str) and value and path.endswith("[]") and "text" in names:
            return {"text": value}
        if not isinstance(value, dict):
            return _NOTHING
        members = cast("dict[str, Any]", value)
        fitted = dict(members)
        for field in kind.fields:
            name = field.encode_name
            if name not in members:
                if field.required:
                    return _NOTHING
                continue
            made = self._fit(members[name], field.type, f"{path}.{name}" if path else name)
            if made is _NOTHING:
                del fitted[name]
                self._leave_out(members[name], field.type, name, f"{path}.{name}" if path else name)
                if field.required:
                    return _NOTHING
            else:
                fitted[name] = made
        return fitted

    def _fit_list(self, elements: list[Any], kind: inspect.ListType, path: str) -> list[Any]:
        name = path.rpartition(".")[2]
        fitted: list[Any] = []
        for each in elements:
            made = self._fit(each, kind.item_type, f"{path}[]")
            if made is _NOTHING:
                self._leave_out(each, kind.item_type, name.removesuffix("[]"), f"{path}[]")
            else:
                fitted.append(made)
        return fitted

    def _leave_out(self, value: Any, kind: inspect.Type, name: str, path: str) -> None:
        """Drops a member that is not needed, or that is empty. Raises UnreadableError for any other."""
        if name in self._needed and value not in _EMPTY:
            raise UnreadableError(f"expected `{path}` to be {_kind_name(kind)}, got {_value_name(value)}")
        if value is not None:
            self._note(f"`{path}`", value, _kind_name(kind))

    def _note(self, what: str, value: Any, expected: str) -> None:
        self._oddities[f"{what} is {_value_name(value)} in place of {expected}"] = None


class SurrogateJoiner:
    """Joins surrogate pairs across the records of one answer; a lone surrogate becomes U+FFFD."""

    def __init__(self) -> None:
        self._waiting: dict[Path, tuple[str, dict[str, Any]]] = {}
        """High surrogates by path, each with the record that it ended."""

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def mend(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record without lone surrogates. A high surrogate at the end of a text that may continue waits for the next record."""
        return cast("dict[str, Any]", self._mend(record, (_index_of(record),), record))

    def end(self) -> Iterator[dict[str, Any]]:
        """For every surrogate that still waits, a record with U+FFFD in its place."""
        for path, (_, record) in self._waiting.items():
            yield _only(record, path[1:])
        self._waiting.clear()

    def _mend(self, value: Any, path: Path, record: dict[str, Any]) -> Any:
        match value:
            case str():
                return self._join(value, path, record)
            case dict():
                members = cast("dict[str, Any]", value)
                return {
                    _LONE.sub("\ufffd", name): self._mend(each, (*path, name), record) for name, each in members.items()
                }
            case list():
                elements = cast("list[Any]", value)
                return [self._mend(each, (*path, _place_of(each, at)), record) for at, each in enumerate(elements)]
            case _:
                return value

    def _join(self, text: str, path: Path, record: dict[str, Any]) -> str:
        if not text:
            return text
        high, _ = self._waiting.pop(path, ("", record))
        text = (high + text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        if "\ud800" <= text[-1] <= "\udbff" and path[-1] in _GROWING and not _WHOLE.intersection(path[:-1]):
            self._waiting[path] = text[-1], record
            text = text[:-1]
        return _LONE.sub("\ufffd", text)


def _is_element(value: Any, kind: inspect.Type) -> bool:
    """Whether the value is a single element without its array: an object that has any of the members."""
    if not isinstance(value, dict) or not isinstance(kind, inspect.StructType):
        return False
    return any(field.encode_name in value for field in kind.fields)


def _decode(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8", "replace").strip("\ufeff \t\r\n"), strict=False)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON ({error})") from error


def _encode(record: Any) -> bytes:
    return json.dumps(_finite(record), ensure_ascii=False, separators=(",", ":")).encode()


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinities, which JSON cannot express."""
    match value:
        case dict():
            return {name: _finite(each) for name, each in cast("dict[str, Any]", value).items()}
        case list():
            return [_finite(each) for each in cast("list[Any]", value)]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _fit_plain(value: Any, kind: inspect.Type, path: str) -> Any:
    """Converts strings, numbers and booleans."""
    match kind:
        case inspect.StrType():
            if isinstance(value, dict | list) and path.endswith(_JSON_TEXTS):
                return json.dumps(value, separators=(",", ":"))
            return _text_of(value)
        case inspect.BoolType():
            return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower(), _NOTHING)
        case inspect.IntType() | inspect.FloatType():
            number = _number_of(value)
            if number is _NOTHING or isinstance(kind, inspect.FloatType):
                return number
            return int(number) if number == int(number) else _NOTHING
        case inspect.NoneType():
            return None if value is None else _NOTHING
        case _:
            return value


def _number_of(value: Any) -> Any:
    match value:
        case bool():
            return _NOTHING
        case int():
            return value
        case float() if math.isfinite(value):
            return value
        case str() if _INTEGER.fullmatch(value):
            return int(value.partition(".")[0])
        case _:
            return _NOTHING


def _text_of(value: Any) -> Any:
    """The text that a value is or holds."""
    match value:
        case bool():
            return _NOTHING
        case str():
            return value
        case int() | float():
            return str(value)
        case dict():
            members = cast("dict[str, Any]", value)
            texts = [members[name] for name in _TEXTS if isinstance(members.get(name), str)]
            return texts[0] if texts else _NOTHING
        case list():
            texts = [_text_of(each) for each in cast("list[Any]", value)]
            return "".join(texts) if texts and _NOTHING not in texts else _NOTHING
        case _:
            return _NOTHING


def _kind_name(kind: inspect.Type) -> str:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    names = [_NAMES[type(each)] for each in kinds if type(each) in _NAMES]
    return " or ".join(names) or "something else"


def _value_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _index_of(value: Any) -> int | None:
    index = cast("dict[str, Any]", value).get("index") if isinstance(value, dict) else None
    return index if isinstance(index, int) else None


def _place_of(value: Any, at: int) -> int:
    index = _index_of(value)
    return at if index is None else index


def _only(value: Any, path: Path) -> Any:
    """The record reduced to the path of one text, which becomes U+FFFD."""
    if not path:
        return "\ufffd"
    step, *rest = path
    if isinstance(value, list):
        elements = enumerate(cast("list[Any]", value))
        return [_only(each, tuple(rest)) for at, each in elements if _place_of(each, at) == step]
    members = cast("dict[str | int | None, Any]", value)
    kinds = {name: members[name] for name in _KINDS if name in members}
    return {**kinds, step: _only(members[step], tuple(rest))}


def replace_lone_surrogates(payload: bytes) -> bytes:
    """The JSON with U+FFFD for escaped lone surrogates; all other bytes unchanged."""
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found[1] is not None else found[0], payload)
