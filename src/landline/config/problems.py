"""What is wrong with a configuration, as values and in words. All problems of a file are found before any is reported."""

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec
from msgspec import inspect


class Problem(msgspec.Struct, frozen=True):
    """One thing that the user has to change."""

    path: str
    """The key as TOML writes it (`server.port`, `models."gpt-5".targets`); "" for the file as a whole."""
    message: str
    """What was expected, what came, what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def join_path(path: str, key: str) -> str:
    """The path of `key` inside `path`, quoted where TOML wants it."""
    bare = key.replace("-", "").replace("_", "")
    name = key if bare.isascii() and bare.isalnum() else f'"{key}"'
    return f"{path}.{name}" if path else name


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """`; did you mean `port`?` for a near miss, else the list of what is known."""
    names = sorted(known)
    near = get_close_matches(key, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known here: {', '.join(f'`{name}`' for name in names)}" if names else ""


_SHOWN_CHARACTERS = 80


def expectation(annotation: object) -> str:
    """What a value of this type looks like in TOML: `a whole number from 0 to 65535`."""
    return _describe(inspect.type_info(annotation))


def shown(value: object) -> str:
    """The value as the user wrote it, cut to a line; a table is only named, it may be long."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _describe(kind: inspect.Type) -> str:  # noqa: PLR0911 - a table of kinds
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "a whole number" + _bounds(kind)
        case inspect.FloatType():
            return "a number" + _bounds(kind)
        case inspect.StrType():
            return "a non-empty string" if kind.min_length else "a string"
        case inspect.LiteralType():
            return "one of " + ", ".join(f"`{value}`" for value in sorted(map(str, kind.values)))
        case inspect.ListType(item_type=inspect.FloatType() as item):
            return f"a list of numbers{_bounds(item)}"
        case inspect.ListType():
            return f"a list of strings{_at_least(kind.min_length)}"
        case inspect.VarTupleType(item_type=inspect.LiteralType() as item):
            return f"a list of {_describe(item).removeprefix('one of ')}"
        case inspect.VarTupleType():
            return "a list of strings"
        case inspect.DictType():
            return "a table of strings" if isinstance(kind.value_type, inspect.StrType) else "a table"
        case inspect.UnionType():
            members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
            return " or ".join(dict.fromkeys(_describe(member) for member in members))
        case _:
            return "a table"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    least, most = kind.ge, kind.le
    if kind.gt is not None:
        return f" over {kind.gt:g}"
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f", {least:g} or more"
    return f", {most:g} or less" if most is not None else ""


def _at_least(count: int | None) -> str:
    return f", at least {count}" if count else ""
