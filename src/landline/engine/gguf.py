"""What a GGUF file says about its model before anything is loaded: name, context window, chat template.

Layout (GGUF version 2 and 3, little endian): magic, version u32, tensor count u64, entry count u64, then entries of
key string, value type u32, value. Only the metadata at the front is read; the weights are not touched.
"""

import mmap
import struct
from pathlib import Path

import msgspec

_STRING = 8
_ARRAY = 9
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class GgufHead(msgspec.Struct, frozen=True):
    """The metadata of a model file that Landline acts on."""

    architecture: str
    name: str | None
    context_tokens: int | None
    """The window that the model was trained for."""
    chat_template: str | None
    """Jinja source of the model's own template."""


class NotGgufError(ValueError):
    """The file is not a GGUF file that can be read."""


def read_gguf_head(path: Path) -> GgufHead:
    """Reads the metadata. Raises `NotGgufError` for any other file, OSError when it cannot be opened."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise NotGgufError(f"{path} is not a GGUF file: it does not begin with the letters GGUF.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _head(data)
            except (struct.error, UnicodeDecodeError, KeyError, IndexError) as error:
                raise NotGgufError(f"{path} has GGUF metadata that cannot be read: {error!r}.") from error


def _head(data: mmap.mmap) -> GgufHead:
    (version,) = _U32.unpack_from(data, 4)
    if version not in (2, 3):
        raise NotGgufError(f"Expected GGUF version 2 or 3, the file has version {version}.")
    (entry_count,) = _U64.unpack_from(data, 16)
    values: dict[str, str | int | float | bool] = {}
    at = 24
    for _ in range(entry_count):
        key, at = _string(data, at)
        (kind,) = _U32.unpack_from(data, at)
        at += 4
        if kind == _ARRAY:
            at = _skip_array(data, at)
        elif kind == _STRING:
            values[key], at = _string(data, at)
        else:
            values[key] = _SCALARS[kind].unpack_from(data, at)[0]
            at += _SCALARS[kind].size
    architecture = str(values.get("general.architecture", ""))
    context = values.get(f"{architecture}.context_length")
    name = values.get("general.name")
    template = values.get("tokenizer.chat_template")
    return GgufHead(
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        context_tokens=context if isinstance(context, int) else None,
        chat_template=template if isinstance(template, str) else None,
    )


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = _U64.unpack_from(data, at)
    end = at + 8 + length
    if end > len(data):
        raise IndexError("a string runs past the end of the file")
    return data[at + 8 : end].decode(), end


def _skip_array(data: mmap.mmap, at: int) -> int:
    (kind,) = _U32.unpack_from(data, at)
    (count,) = _U64.unpack_from(data, at + 4)
    at += 12
    if kind != _STRING:
        return at + count * _SCALARS[kind].size
    read_length = _U64.unpack_from
    for _ in range(count):
        at += 8 + read_length(data, at)[0]
    return at
