"""HTTP answers are compressed for clients that offer it (`Accept-Encoding`): JSON bodies, event streams, pages.

Of a stream each write is one flushed block of zstd or gzip, so an event is read as soon as it would be without
compression. Levels and windows are chosen by `benchmarks/http_compression.py`;
`docs/adr/0013-compress-answers-over-http.md` says why.
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Protocol

import msgspec
import zstandard
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landline.compression_budget import CompressionBudget, deflater_bytes

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


MIN_BODY_BYTES = 1024
"""A smaller body fits into a packet anyway."""
THREAD_BYTES = 256 * 1024
"""A larger body is coded off the event loop."""
KINDS = (b"application/json", b"text/", b"image/svg+xml", b"application/openmetrics-text")
"""Beginnings of the types that shrink."""

Header = tuple[bytes, bytes]


class ContentCoding:
    """ASGI middleware: codes answers as their clients allow, within the memory that the budget has for streams."""

    def __init__(self, app: ASGIApp, budget: CompressionBudget) -> None:
        self._app = app
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "HEAD":
            return await self._app(scope, receive, send)
        answer = _Answer(send, choose_coding(_accepted(scope)), self._budget)
        try:
            return await self._app(scope, receive, answer.send)
        finally:
            answer.close()


class _State(Enum):
    BEFORE_HEAD = auto()
    BEFORE_BODY = auto()
    """The head is held back: it tells the size of the body that comes next."""
    STREAMING = auto()
    PLAIN = auto()


class _Answer:
    """One answer on its way."""

    def __init__(self, send: Send, coding: str | None, budget: CompressionBudget) -> None:
        self._send = send
        self._coding = coding
        self._budget = budget
        self._state = _State.BEFORE_HEAD
        self._head: Message = {}
        self._coder: Coder | None = None
        self._taken_bytes = 0

    async def send(self, message: Message) -> None:
        match self._state:
            case _State.BEFORE_HEAD:
                await self._take_head(message)
            case _State.BEFORE_BODY:
                await self._send_whole(message)
            case _State.STREAMING:
                await self._send_part(message)
            case _State.PLAIN:
                await self._send(message)

    def close(self) -> None:
        """The answer is over, or given up."""
        self._coder = None
        self._budget.give_back(self._taken_bytes)
        self._taken_bytes = 0

    async def _take_head(self, message: Message) -> None:
        self._state = _State.PLAIN
        headers = _AnswerHead(message)
        if not headers.can_be_coded:
            return await self._send(message)
        self._head = headers.add(b"vary", b"accept-encoding")
        if headers.size_bytes is not None and headers.size_bytes >= MIN_BODY_BYTES and self._coding is not None:
            self._state = _State.BEFORE_BODY
            return None
        if headers.size_bytes is None and self._coding is not None and self._take(CODINGS[self._coding].size_bytes):
            self._state = _State.STREAMING
            self._coder = CODINGS[self._coding].start()
            self._head = _AnswerHead(self._head).add(b"content-encoding", self._coding.encode())
        return await self._send(self._head)

    async def _send_whole(self, message: Message) -> None:
        self._state = _State.PLAIN
        if self._coding is not None and not message.get("more_body", False):
            code, body = CODINGS[self._coding].start().end, message.get("body", b"")
            coded = await asyncio.to_thread(code, body) if len(body) > THREAD_BYTES else code(body)
            message = {**message, "body": coded}
            self._head = _AnswerHead(self._head).replace_size(len(coded))
            self._head = _AnswerHead(self._head).add(b"content-encoding", self._coding.encode())
        await self._send(self._head)
        await self._send(message)

    async def _send_part(self, message: Message) -> None:
        assert self._coder is not None
        code = self._coder.put if message.get("more_body", False) else self._coder.end
        await self._send({**message, "body": code(message.get("body", b""))})

    def _take(self, size_bytes: int) -> bool:
        if not self._budget.take(size_bytes):
            return False
        self._taken_bytes = size_bytes
        return True


class _AnswerHead:
    """The headers of an answer's head."""

    def __init__(self, head: Message) -> None:
        self._head = head
        self._headers: list[Header] = list(head.get("headers", ()))
        self._values = dict(self._headers)

    @property
    def can_be_coded(self) -> bool:
        kind = self._values.get(b"content-type", b"")
        return b"content-encoding" not in self._values and kind.startswith(KINDS)

    @property
    def size_bytes(self) -> int | None:
        """Of the body, if that is known."""
        size = self._values.get(b"content-length")
        return int(size) if size is not None else None

    def add(self, name: bytes, value: bytes) -> Message:
        """The head with one more."""
        return {**self._head, "headers": [*self._headers, (name, value)]}

    def replace_size(self, size_bytes: int) -> Message:
        """The head with another size of the body."""
        kept = [(name, value) for name, value in self._headers if name != b"content-length"]
        return {**self._head, "headers": [*kept, (b"content-length", str(size_bytes).encode())]}


def choose_coding(accepted: str) -> str | None:
    """The coding that an `Accept-Encoding` prefers, ours of equals; None for none (RFC 9110 §12.5.3)."""
    weights = _weights(accepted)
    fallback = weights.get("*", 0.0)
    best = max(CODINGS, key=lambda coding: weights.get(coding, fallback))
    weight = weights.get(best, fallback)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weights(accepted: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for entry in accepted.split(","):
        coding, _, parameter = entry.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weights[coding.strip().lower()] = float(value) if name.strip().lower() == "q" else 1.0
        except ValueError:
            weights[coding.strip().lower()] = 0.0
    return weights


def _accepted(scope: Scope) -> str:
    return b",".join(value for name, value in scope["headers"] if name == b"accept-encoding").decode("latin-1")
