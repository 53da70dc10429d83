"""Where in the file a key belongs that stands where nobody knows it."""

from collections.abc import Iterator
from typing import cast

import msgspec
from msgspec import inspect

from landline.config.settings import Config, ModelSettings
from landline.config.targets import TargetSettings

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
