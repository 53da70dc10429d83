"""Says in words what a setting takes: for error messages and for the reference in docs/configuration.md."""

from msgspec import inspect

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


def _describe(kind: inspect.Type) -> str:
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
