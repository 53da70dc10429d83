"""Reads a parsed TOML table into settings and finds every problem on the way, not only the first.

What cannot be read is replaced by a default, so that `checks` finds the problems between settings as well. A key that is
misplaced gets a hint about the table it belongs to.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import cast

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from landline.config.problems import Problem, did_you_mean, expectation, join_path, shown
from landline.config.profiling import fill_in
from landline.config.settings import Config, ModelSettings, TargetSettings

_TARGET_PATH = "targets."


def place_of(key: str, value: object, path: str) -> str:
    """In words, for a key found in the table at `path`; "" if no other table knows it by that very name."""
    if path and isinstance(value, dict) and key in Config.__struct_fields__:
        return f"it is a table of its own: `[{key}]`"
    sections = [f"`[{name}]`" for name, fields in _sections() if name != path and key in fields]
    if sections:
        return f"it belongs in {_any_of(sections)}"
    if not path.startswith("models.") and key in ModelSettings.__struct_fields__ and key != "targets":
        return 'it belongs in `[models."NAME"]`'
    dialects = [f'`dialect = "{tag}"`' for tag, fields in _dialects() if key in fields]
    if dialects and path.startswith(_TARGET_PATH) and path.count(".") == 1:
        return f"it is a setting of targets with {_any_of(dialects)}"
    if dialects:
        return "it belongs in `[targets.NAME]`"
    nested = [f"`[targets.NAME.{table}]`" for table, fields in _nested() if key in fields]
    return f"it belongs in {_any_of(nested)}" if nested else ""


def _any_of(places: list[str]) -> str:
    *others, last = places
    return f"{', '.join(others)} or {last}" if others else last


def _sections() -> Iterator[tuple[str, set[str]]]:
    """The tables at the top that are named by the settings themselves, with their keys."""
    for field in msgspec.structs.fields(Config):
        if isinstance(inspect.type_info(field.type), inspect.StructType):
            yield field.encode_name, _keys_of(field.type)


def _dialects() -> Iterator[tuple[str, set[str]]]:
    for cls in _target_classes():
        yield str(cls.__struct_config__.tag), _keys_of(cls)


def _nested() -> Iterator[tuple[str, set[str]]]:
    """Tables inside a target's."""
    for cls in _target_classes():
        for field in msgspec.structs.fields(cls):
            if isinstance(inspect.type_info(field.type), inspect.StructType):
                yield field.encode_name, _keys_of(field.type)


def _target_classes() -> tuple[type[msgspec.Struct], ...]:
    return cast("tuple[type[msgspec.Struct], ...]", TargetSettings.__args__)


def _keys_of(cls: object) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(cast("type[msgspec.Struct]", cls))}


class TableReading(msgspec.Struct, frozen=True):
    """What a table came to."""

    config: Config
    """With defaults in place of what is wrong; entries of `targets` and `models` that are no tables, or targets of a
    dialect that is not known, are left out."""
    problems: list[Problem]
    unread: frozenset[str]
    """The names of targets that were left out."""

    def explains(self, problem: Problem) -> bool:
        """Whether a problem that a check found follows from one that was found here."""
        if problem.path == "models":  # nothing is served: models were meant, but are not read
            return bool(get_close_matches("models", [each.path.partition(".")[0] for each in self.problems]))
        return any(problem.path == each.path or problem.path.startswith(f"{each.path}.") for each in self.problems)


MOST = 2**53
"""No number is larger: clocks, buffers and databases take none that is, nor infinity."""


def read_config(table: Mapping[str, object]) -> TableReading:
    """The settings that the file's table describes, as far as it does, and every reason why it does not."""
    problems: list[Problem] = []
    config = cast("Config", _read_struct(Config, table, "", problems))
    targets = table.get("targets")
    names = cast("dict[str, object]", targets) if isinstance(targets, dict) else {}
    return TableReading(config, problems, frozenset(names) - frozenset(config.targets))


def _read(annotation: object, value: object, path: str, problems: list[Problem]) -> object:
    """The value as the annotated type; None if it is wrong, and why is added to `problems`."""
    kind = inspect.type_info(annotation)
    match kind:
        case inspect.StructType():
            return _read_struct(kind.cls, value, path, problems)
        case inspect.DictType() if isinstance(value, dict):
            element = cast("tuple[object, object]", getattr(annotation, "__args__", ()))[1]
            entries = cast("dict[str, object]", value)
            read = {key: _read(element, entry, join_path(path, key), problems) for key, entry in entries.items()}
            return {key: entry for key, entry in read.items() if entry is not None}
        case inspect.UnionType(types=(inspect.StructType() as struct, inspect.NoneType())):
            return _read_struct(struct.cls, value, path, problems)
        case inspect.UnionType(types=members) if all(isinstance(member, inspect.StructType) for member in members):
            structs = [member.cls for member in members if isinstance(member, inspect.StructType)]
            return _read_tagged(structs, value, path, problems)
        case _:
            return _read_plain(annotation, value, path, problems)


def _read_plain(annotation: object, value: object, path: str, problems: list[Problem]) -> object:
    if _is_out_of_reach(value):
        problems.append(Problem(path, f"expected {expectation(annotation)}, and {MOST} at most, got {shown(value)}"))
        return None
    try:
        return msgspec.convert(value, cast("type[object]", annotation))
    except msgspec.ValidationError:
        problems.append(Problem(path, f"expected {expectation(annotation)}, got {shown(value)}"))
        return None


def _is_out_of_reach(value: object) -> bool:
    numbers = cast("list[object]", value) if isinstance(value, list) else [value]
    return any(isinstance(number, int | float) and not abs(number) <= MOST for number in numbers)


def _read_struct(cls: type[msgspec.Struct], value: object, path: str, problems: list[Problem]) -> object:
    if not isinstance(value, Mapping):
        problems.append(Problem(path, f"expected a table, got {shown(value)}"))
        return None
    table = cast("Mapping[str, object]", value)
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    tag_field = cls.__struct_config__.tag_field
    for key in [key for key in table if key not in fields and key != tag_field]:
        problems.append(Problem(join_path(path, key), f"unknown key{_hint(key, table[key], path, fields)}"))
    values: dict[str, object] = {}
    for key, field in fields.items():
        given = None
        if key in table:
            given = _read(field.type, table[key], join_path(path, key), problems)
        elif field.required and not any(each.path == join_path(path, key) for each in problems):
            problems.append(Problem(join_path(path, key), f"missing; expected {expectation(field.type)}"))
        if given is not None or field.required:
            values[field.name] = _blank(field.type) if given is None else given
    return cls(**values)


def _blank(annotation: object) -> object:
    """A placeholder for a required value that is wrong or missing; a problem reports it."""
    return [] if isinstance(inspect.type_info(annotation), inspect.ListType) else ""


def _hint(key: str, value: object, path: str, fields: Mapping[str, FieldInfo]) -> str:
    """Where the key belongs: in another table by that very name, or a near name in this one."""
    place = place_of(key, value, path)
    return f"; {place}" if place else did_you_mean(key, fields)


def _read_tagged(structs: list[type[msgspec.Struct]], value: object, path: str, problems: list[Problem]) -> object:
    """One member of the union of targets, chosen by its tag (`dialect`), completed by its profile."""
    if not isinstance(value, dict):
        problems.append(Problem(path, f"expected a table, got {shown(value)}"))
        return None
    table, problem = fill_in(cast("dict[str, object]", value), path)
    if problem is not None:
        problems.append(problem)
    by_tag = {str(cls.__struct_config__.tag): cls for cls in structs}
    tag_field = str(structs[0].__struct_config__.tag_field)
    tag = table.get(tag_field)
    if isinstance(tag, str) and tag in by_tag:
        return _read_struct(by_tag[tag], table, path, problems)
    if tag is not None or problem is None:
        expected = f"one of {', '.join(f'`{name}`' for name in sorted(by_tag))}"
        problems.append(Problem(join_path(path, tag_field), _wrong_tag(tag, expected, by_tag)))
    for key in [key for key in table if key not in (tag_field, "profile")]:
        problems.extend(_try_dialects(structs, key, table[key], path))
    return None


def _try_dialects(structs: list[type[msgspec.Struct]], key: str, value: object, path: str) -> Iterator[Problem]:
    """What is wrong with a key of a target whatever its dialect, which is not known."""
    fields = {field.encode_name: field for cls in structs for field in msgspec.structs.fields(cls)}
    if key not in fields:
        place = place_of(key, value, path)
        near = did_you_mean(key, fields).partition("; known here")[0]
        yield Problem(join_path(path, key), "unknown key" + (f"; {place}" if place else near))
        return
    found: list[list[Problem]] = []
    for field in [field for cls in structs for field in msgspec.structs.fields(cls) if field.encode_name == key]:
        found.append([])
        _read(field.type, value, join_path(path, key), found[-1])
    if all(found):
        yield from found[0]


def _wrong_tag(tag: object, expected: str, by_tag: Mapping[str, type[msgspec.Struct]]) -> str:
    if tag is None:
        return f"missing; expected {expected}"
    if isinstance(tag, str):
        return f"expected {expected}, got {shown(tag)}" + did_you_mean(tag, by_tag).partition("; known here")[0]
    return f"expected {expected}, got {shown(tag)}"
