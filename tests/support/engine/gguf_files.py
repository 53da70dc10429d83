"""GGUF files with metadata and no weights, for tests."""

import struct
from pathlib import Path

Value = str | int | float | bool | list[str] | list[int]


def write_gguf(path: Path, metadata: dict[str, Value], version: int = 3) -> Path:
    """Writes a file that has this metadata; returns its path."""
    body = b"GGUF" + struct.pack("<IQQ", version, 0, len(metadata))
    for key, value in metadata.items():
        body += _string(key) + _tagged(value)
    path.write_bytes(body + bytes(32))
    return path


def _tagged(value: Value) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case str():
            return struct.pack("<I", 8) + _string(value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case list():
            return struct.pack("<I", 9) + _array(value)


def _array(values: list[str] | list[int]) -> bytes:
    if all(isinstance(value, str) for value in values):
        return struct.pack("<IQ", 8, len(values)) + b"".join(_string(str(value)) for value in values)
    return struct.pack("<IQ", 5, len(values)) + struct.pack(f"<{len(values)}i", *values)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()
