"""Request bodies: read within bounds, and inflated within bounds (gzip, deflate, br, zstd)."""

import asyncio
import io
import zlib
from collections.abc import Callable
from typing import Protocol, cast

import brotli
import zstandard
from starlette.types import Receive, Scope

from landline.wire.errors import ApiError, api_error

READ_TIMEOUT_S = 60.0
"""Silence after which an unfinished body is given up."""
THREAD_BYTES = 64 * 1024
"""A larger compressed body is inflated off the event loop."""
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""RFC 9659: the window that a zstd content coding may ask for."""
_CHUNK_BYTES = 256 * 1024
_BROTLI_ERROR = cast(type[Exception], brotli.error)  # pyright: ignore[reportUnknownMemberType]


class _BrotliInflater(Protocol):
    """What is used of `brotli.Decompressor`, which comes without types."""

    def process(self, data: bytes, output_buffer_limit: int) -> bytes: ...

    def is_finished(self) -> bool: ...


class ClientGoneError(Exception):
    """The client went away before its request was complete."""


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int) -> bytes | ApiError:
    """The request's body, decoded; wrong, slow and oversize ones come back as errors. Raises ClientGoneError."""
    codings = _codings(scope)
    if len(codings) > 1 or (codings and codings[0] not in _INFLATERS):
        known = ", ".join(_INFLATERS)
        came = ", ".join(codings)
        return api_error("unsupported_media_type", f"Expected at most one content encoding of {known}; got {came!r}.")
    if _declared_bytes(scope) > max_bytes:
        return _too_large(max_bytes)
    body = await _read(receive, max_bytes)
    if isinstance(body, ApiError) or not codings:
        return body
    if len(body) > THREAD_BYTES:
        return await asyncio.to_thread(_inflate, codings[0], body, max_bytes)
    return _inflate(codings[0], body, max_bytes)


async def _read(receive: Receive, max_bytes: int) -> bytes | ApiError:
    chunks: list[bytes] = []
    size_bytes = 0
    while True:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                message = await receive()
        except TimeoutError:
            return api_error("request_timeout", f"Expected the rest of the body within {READ_TIMEOUT_S:g} s.")
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            return _too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inflate(coding: str, data: bytes, max_bytes: int) -> bytes | ApiError:
    try:
        inflated = _INFLATERS[coding](data, max_bytes)
    except (zlib.error, _BROTLI_ERROR, zstandard.ZstdError, EOFError) as error:
        return api_error("invalid_value", f"Expected a body in the {coding!r} encoding; it is broken: {error}.")
    return inflated if len(inflated) <= max_bytes else _too_large(max_bytes)


def _inflate_gzip(data: bytes, max_bytes: int) -> bytes:
    return _inflate_zlib(data, max_bytes, zlib.MAX_WBITS | 16)


def _inflate_deflate(data: bytes, max_bytes: int) -> bytes:
    """RFC 9110 §8.4.1.2 wants the zlib wrapper, but some senders leave it out."""
    has_wrapper = len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
    return _inflate_zlib(data, max_bytes, zlib.MAX_WBITS if has_wrapper else -zlib.MAX_WBITS)


def _inflate_zlib(data: bytes, max_bytes: int, window_bits: int) -> bytes:
    """Up to one byte over the limit; a gzip body may have several members."""
    output = io.BytesIO()
    while data and output.tell() <= max_bytes:
        inflater = zlib.decompressobj(window_bits)
        output.write(inflater.decompress(data, max_bytes + 1 - output.tell()))
        if not inflater.eof and output.tell() <= max_bytes:
            raise EOFError("it ends early")
        data = inflater.unused_data
    return output.getvalue()


def _inflate_brotli(data: bytes, max_bytes: int) -> bytes:
    inflater = cast(_BrotliInflater, brotli.Decompressor())  # pyright: ignore[reportUnknownMemberType]
    output = io.BytesIO()
    while not inflater.is_finished() and output.tell() <= max_bytes:
        chunk = inflater.process(data, output_buffer_limit=_CHUNK_BYTES)
        if not chunk and not inflater.is_finished():
            raise EOFError("it ends early")
        output.write(chunk)
        data = b""
    return output.getvalue()


def _inflate_zstd(data: bytes, max_bytes: int) -> bytes:
    inflater = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    output = io.BytesIO()
    with inflater.stream_reader(data, read_across_frames=True) as reader:
        while output.tell() <= max_bytes and (chunk := reader.read(_CHUNK_BYTES)):
            output.write(chunk)
    return output.getvalue()


_INFLATERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _inflate_gzip,
    "x-gzip": _inflate_gzip,
    "deflate": _inflate_deflate,
    "br": _inflate_brotli,
    "zstd": _inflate_zstd,
}


def _codings(scope: Scope) -> list[str]:
    """The content codings in the order in which they were applied, `identity` left out."""
    values = b",".join(value for name, value in scope["headers"] if name == b"content-encoding")
    codings = [coding.strip().lower() for coding in values.decode("latin-1").split(",")]
    return [coding for coding in codings if coding and coding != "identity"]


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0


def _too_large(max_bytes: int) -> ApiError:
    return api_error(
        "payload_too_large", f"Expected a body of at most {max_bytes} bytes, decompressed; this one is larger."
    )
