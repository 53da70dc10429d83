"""What a GGUF file says about its model before anything is loaded: name, context window, chat template, recommended
sampling, and the shape of its KV cache.

Layout (GGUF version 2 and 3, little endian): magic, version u32, tensor count u64, entry count u64, then entries of
key string, value type u32, value. Only the metadata at the front is read; the weights are not touched.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from landline.wire.responses import AS_THE_API_SAYS, Sampling

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
_WHOLE_NUMBERS = frozenset((0, 1, 2, 3, 4, 5, 10, 11))
_MOST_LAYERS = 1024
"""Longer arrays belong to the tokenizer."""
_KV_VALUE_BYTES = 2
_Value = str | int | float | bool | list[int]
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
    sampling: Sampling = AS_THE_API_SAYS
    """What the file recommends. llama.cpp takes the rest of `general.sampling.*` (`top_k`, `min_p` …) by itself."""
    kv_token_bytes: int | None = None
    """What one token of context takes in the KV cache, at 16 bits a value. An upper bound: layers that see only a window
    keep less. None where the file does not tell."""


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
    values: dict[str, _Value] = {}
    at = 24
    for _ in range(entry_count):
        key, at = _string(data, at)
        (kind,) = _U32.unpack_from(data, at)
        at += 4
        if kind == _ARRAY:
            values[key], at = _array(data, at)
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
        sampling=_sampling(values),
        kv_token_bytes=_kv_token_bytes(values, architecture),
    )


def _sampling(values: Mapping[str, _Value]) -> Sampling:
    """Values that a request could not have are not taken."""
    temperature = _number(values.get("general.sampling.temp"))
    top_p = _number(values.get("general.sampling.top_p"))
    return Sampling(
        temperature=temperature if temperature is not None and 0 <= temperature <= 2 else None,
        top_p=top_p if top_p is not None and 0 <= top_p <= 1 else None,
    )


def _number(value: _Value | None) -> float | None:
    """As it was meant: 0.6 is stored in 32 bits, which reads as 0.6000000238418579."""
    return float(f"{value:.7g}") if isinstance(value, int | float) and not isinstance(value, bool) else None


def _kv_token_bytes(values: Mapping[str, _Value], architecture: str) -> int | None:
    """Every layer keeps a key and a value for each of its KV heads, whose number a hybrid model gives layer by layer."""
    layers = values.get(f"{architecture}.block_count")
    width = values.get(f"{architecture}.embedding_length")
    heads = _most(values.get(f"{architecture}.attention.head_count"))
    kv_heads = values.get(f"{architecture}.attention.head_count_kv", heads)
    if not isinstance(layers, int) or not isinstance(width, int) or not heads:
        return None
    key = values.get(f"{architecture}.attention.key_length", width // heads)
    value = values.get(f"{architecture}.attention.value_length", width // heads)
    if not isinstance(key, int) or not isinstance(value, int):
        return None
    in_all = sum(kv_heads) if isinstance(kv_heads, list) else layers * _most(kv_heads)
    return in_all * (key + value) * _KV_VALUE_BYTES


def _most(value: _Value | None) -> int:
    """The largest of a number a layer, or the one number; 0 for none."""
    if isinstance(value, list):
        return max(value, default=0)
    return int(value) if isinstance(value, int) else 0


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = _U64.unpack_from(data, at)
    end = at + 8 + length
    if end > len(data):
        raise IndexError("a string runs past the end of the file")
    return data[at + 8 : end].decode(), end


def _array(data: mmap.mmap, at: int) -> tuple[list[int], int]:
    """The whole numbers of a short array, such as one a layer, and where it ends; of any other only where it ends."""
    (kind,) = _U32.unpack_from(data, at)
    (count,) = _U64.unpack_from(data, at + 4)
    at += 12
    if kind != _STRING:
        form = _SCALARS[kind]
        end = at + count * form.size
        is_kept = kind in _WHOLE_NUMBERS and count <= _MOST_LAYERS
        return [form.unpack_from(data, place)[0] for place in range(at, end, form.size)] if is_kept else [], end
    read_length = _U64.unpack_from
    for _ in range(count):
        at += 8 + read_length(data, at)[0]
    return [], at
