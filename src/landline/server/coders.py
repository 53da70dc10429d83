"""Content codings of answers, of which every write can be read at once: zstd and gzip.

Levels and windows are chosen by `benchmarks/http_compression.py`; `docs/adr/0013-compress-answers-over-http.md` says why.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import zstandard

from landline.compression_budget import deflater_bytes

_GZIP_BITS = 15
_GZIP_WRAPPER = 16
"""Added to the window's bits, it makes zlib write gzip (zlib.h, `deflateInit2`)."""
_GZIP_LEVEL = 4
_GZIP_MEMORY_LEVEL = 5
_ZSTD_BITS = 17
_ZSTD = zstandard.ZstdCompressionParameters.from_level(  # pyright: ignore[reportUnknownMemberType]
    1, source_size=1 << _ZSTD_BITS, window_log=_ZSTD_BITS
)
"""A window of 128 KiB: its last event finds what the first ones echo, behind an answer of some length."""


class Coder(Protocol):
    """One answer's body, in order."""

    def put(self, data: bytes) -> bytes:
        """The next write, complete: who has read it can decode all of `data`."""
        ...

    def end(self, data: bytes) -> bytes:
        """The last write."""
        ...


class Coding(msgspec.Struct, frozen=True):
    """A way to code bodies."""

    start: Callable[[], Coder]
    size_bytes: int
    """Memory of one coder, at most."""


class _Gzip:
    def __init__(self) -> None:
        self._coder = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_BITS | _GZIP_WRAPPER, _GZIP_MEMORY_LEVEL)

    def put(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zlib.Z_SYNC_FLUSH)

    def end(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush()


class _Zstd:
    def __init__(self) -> None:
        self._coder = zstandard.ZstdCompressor(compression_params=_ZSTD).compressobj()

    def put(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)


CODINGS: Mapping[str, Coding] = {
    "zstd": Coding(_Zstd, _ZSTD.estimated_compression_context_size()),
    "gzip": Coding(_Gzip, deflater_bytes(_GZIP_BITS, _GZIP_MEMORY_LEVEL)),
}
"""The preferred one first."""
