"""What HTTP endpoints are made of: the query and the body of a request, read within bounds, and whole answers in JSON.

Bodies may be compressed (gzip, deflate, br, zstd) and are inflated within bounds as well. Unknown query parameters are
ignored, wrong ones are named in the error.
"""

import asyncio
import io
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol, TypeVar, cast
from urllib.parse import parse_qs

import brotli
import msgspec
import zstandard
from starlette.types import Receive, Scope, Send

from landline.stores.store import Page
from landline.wire.errors import ApiError, api_error, error_body

Header = tuple[bytes, bytes]


async def reply_json(scope: Scope, send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Sends one JSON body and ends the answer. A server without the extension for that can only refuse a handshake (403)."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    start = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    prefix = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{prefix}.start", "status": status, "headers": start})
    await send({"type": f"{prefix}.body", "body": body})


async def reply_error(scope: Scope, send: Send, error: ApiError, headers: Iterable[Header] = ()) -> None:
    """Sends `{"error": {message, type, param, code}}` with the error's own status and headers."""
    own = [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await reply_json(scope, send, error.status, msgspec.json.encode(error_body(error)), [*own, *headers])


ChoiceT = TypeVar("ChoiceT", bound=str)

MAX_PAGE = 100
"""Responses reference, `limit`."""
_ORDERS: dict[str, Literal["asc", "desc"]] = {"asc": "asc", "desc": "desc"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Query:
    """One request's query parameters; of a repeated one the last counts."""

    def __init__(self, scope: Scope) -> None:
        text: str = scope["query_string"].decode("latin-1")
        self._values = {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}

    def text(self, name: str) -> str | None:
        return self._values.get(name)

    def number(self, name: str, *, least: int, most: int | None = None) -> int | ApiError | None:
        value = self._values.get(name)
        if value is None:
            return None
        number = int(value) if value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20 else None
        if number is None or number < least or (most is not None and number > most):
            bounds = f"from {least} to {most}" if most is not None else f"of {least} or more"
            return _wrong(name, f"a whole number {bounds}", value)
        return number

    def flag(self, name: str) -> bool | ApiError:
        """Absent is false."""
        value = self._values.get(name, "false")
        flag = _BOOLEANS.get(value.lower())
        return flag if flag is not None else _wrong(name, "true or false", value)

    def choice(self, name: str, choices: Mapping[str, ChoiceT]) -> ChoiceT | ApiError | None:
        """One of a few words."""
        value = self._values.get(name)
        if value is None or value in choices:
            return None if value is None else choices[value]
        return _wrong(name, "one of " + ", ".join(f"`{word}`" for word in choices), value)


class RetrieveQuery(msgspec.Struct, frozen=True):
    """What `GET /v1/responses/{id}` asks for."""

    stream: bool
    starting_after: int
    """Events numbered higher are wanted; -1 for all."""


def read_retrieve_query(scope: Scope) -> RetrieveQuery | ApiError:
    """`include`, `include_obfuscation` and unknown parameters are accepted and change nothing."""
    query = Query(scope)
    stream = query.flag("stream")
    starting_after = query.number("starting_after", least=0)
    obfuscation = query.flag("include_obfuscation")
    for value in (stream, starting_after, obfuscation):
        if isinstance(value, ApiError):
            return value
    if starting_after is not None and not stream:
        message = "Expected `stream=true` with `starting_after`: it counts events."
        return api_error("invalid_value", message, param="starting_after")
    return RetrieveQuery(bool(stream), starting_after if isinstance(starting_after, int) else -1)


def read_page(scope: Scope) -> Page | ApiError:
    """`limit`, `order` and `after` of a list; `include` is accepted and changes nothing."""
    query = Query(scope)
    limit = query.number("limit", least=1, most=MAX_PAGE)
    if isinstance(limit, ApiError):
        return limit
    order = query.choice("order", _ORDERS)
    if isinstance(order, ApiError):
        return order
    return Page(
        limit=limit if limit is not None else Page().limit, order=order or Page().order, after=query.text("after")
    )


def _wrong(name: str, expected: str, value: str) -> ApiError:
    shown = value if len(value) <= 80 else f"{value[:80]}…"
    return api_error("invalid_value", f"Expected `{name}` to be {expected}; got {shown!r}.", param=name)


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
