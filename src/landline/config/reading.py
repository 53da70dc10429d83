"""Reads a parsed TOML table into settings and finds every problem on the way, not only the first."""

from collections.abc import Mapping
from typing import cast

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from landline.config.describe import expectation, shown
from landline.config.problems import Problem, did_you_mean, join_path
from landline.config.profiling import fill_in
from landline.config.settings import Config

_SECTIONS = ("server", "limits", "store", "sealing", "background", "prefixes", "monitor")


def read_config(table: Mapping[str, object]) -> Config | list[Problem]:
    """The settings that the file's table describes, or every reason why it describes none."""
    problems: list[Problem] = []
    config = _read(Config, table, "", problems)
    return problems if problems else cast("Config", config)


def _read(annotation: object, value: object, path: str, problems: list[Problem]) -> object:
    """The value as the annotated type; what is wrong is added to `problems` and makes the result meaningless."""
    kind = inspect.type_info(annotation)
    match kind:
        case inspect.StructType():
            return _read_struct(kind.cls, value, path, problems)
        case inspect.DictType() if isinstance(value, dict):
            element = cast("tuple[object, object]", getattr(annotation, "__args__", ()))[1]
            entries = cast("dict[str, object]", value)
            return {key: _read(element, entry, join_path(path, key), problems) for key, entry in entries.items()}
        case inspect.UnionType(types=members) if all(isinstance(member, inspect.StructType) for member in members):
            structs = [member.cls for member in members if isinstance(member, inspect.StructType)]
            return _read_tagged(structs, value, path, problems)
        case _:
            return _read_plain(annotation, value, path, problems)


def _read_plain(annotation: object, value: object, path: str, problems: list[Problem]) -> object:
    try:
        return msgspec.convert(value, cast("type[object]", annotation))
    except msgspec.ValidationError:
        problems.append(Problem(path, f"expected {expectation(annotation)}, got {shown(value)}"))
        return None


def _read_struct(cls: type[msgspec.Struct], value: object, path: str, problems: list[Problem]) -> object:
    if not isinstance(value, dict):
        problems.append(Problem(path, f"expected a table, got {shown(value)}"))
        return None
    table = cast("dict[str, object]", value)
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    tag_field = cls.__struct_config__.tag_field
    found = len(problems)
    for key in [key for key in table if key not in fields and key != tag_field]:
        problems.append(Problem(join_path(path, key), f"unknown key{_hint(key, path, fields)}"))
    values: dict[str, object] = {}
    for key, field in fields.items():
        if key in table:
            values[field.name] = _read(field.type, table[key], join_path(path, key), problems)
        elif field.required:
            problems.append(Problem(join_path(path, key), f"missing; expected {expectation(field.type)}"))
    return cls(**values) if len(problems) == found else None


def _hint(key: str, path: str, fields: Mapping[str, FieldInfo]) -> str:
    """Where the key belongs: in another section by that very name, or a near name in this one."""
    elsewhere = [section for section in _SECTIONS if section != path and key in _keys_of(section)]
    return f"; it belongs in `[{elsewhere[0]}]`" if elsewhere else did_you_mean(key, fields)


def _keys_of(section: str) -> set[str]:
    cls = next(field.type for field in msgspec.structs.fields(Config) if field.name == section)
    return {field.encode_name for field in msgspec.structs.fields(cast("type[msgspec.Struct]", cls))}


def _read_tagged(structs: list[type[msgspec.Struct]], value: object, path: str, problems: list[Problem]) -> object:
    """One member of the union of targets, chosen by its tag (`dialect`), completed by its profile."""
    if not isinstance(value, dict):
        problems.append(Problem(path, f"expected a table, got {shown(value)}"))
        return None
    table = fill_in(cast("dict[str, object]", value), path)
    if isinstance(table, Problem):
        problems.append(table)
        return None
    by_tag = {str(cls.__struct_config__.tag): cls for cls in structs}
    tag_field = str(structs[0].__struct_config__.tag_field)
    tag = table.get(tag_field)
    if isinstance(tag, str) and tag in by_tag:
        return _read_struct(by_tag[tag], table, path, problems)
    expected = f"one of {', '.join(f'`{name}`' for name in sorted(by_tag))}"
    problems.append(Problem(join_path(path, tag_field), _wrong_tag(tag, expected, by_tag)))
    return None


def _wrong_tag(tag: object, expected: str, by_tag: Mapping[str, type[msgspec.Struct]]) -> str:
    if tag is None:
        return f"missing; expected {expected}"
    if isinstance(tag, str):
        return f"expected {expected}, got {shown(tag)}" + did_you_mean(tag, by_tag).partition("; known here")[0]
    return f"expected {expected}, got {shown(tag)}"
