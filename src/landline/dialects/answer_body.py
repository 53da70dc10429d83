"""The body of an answer as records, whether the server streamed it or not."""

from codecs import BOM_UTF8
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from landline.wire.readable import UNREADABLE
from landline.wire.sse import SseDecoder


class AnswerBody:
    """Fed in any split. An event stream gives its payloads; a body of JSON is kept until the end.

    Some servers and gateways answer a request for a stream with a whole object or an array of records, others with an
    error as one.
    """

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._held: list[bytes] | None = []
        """The body until it is known to be a stream, then None."""
        self._is_json = False

    @property
    def whole(self) -> bytes | None:
        """The body if it is no stream, as far as it is known; None if it is one."""
        return b"".join(self._held) if self._held is not None else None

    @property
    def is_stream(self) -> bool:
        return self._held is None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads that the chunk completes."""
        if self._held is not None:
            self._held.append(chunk)
            if self._is_json:
                return
            body = b"".join(self._held)
            if len(body) < len(BOM_UTF8) and BOM_UTF8.startswith(body):
                return
            body = body.removeprefix(BOM_UTF8)
            self._is_json = body.lstrip()[:1] in (b"{", b"[")
            if self._is_json or not body.strip():
                self._held = [body]
                return
            chunk, self._held = body, None
        yield from self._sse.feed(chunk)

    def end(self) -> Iterator[bytes]:
        """What an unterminated last record holds, or the whole body: of an array its elements."""
        whole = self.whole
        if whole is None:
            yield from self._sse.end()
        elif whole.strip():
            yield from _elements_of(whole)


def _elements_of(body: bytes) -> Iterator[bytes]:
    try:
        yield from (bytes(record) for record in msgspec.json.decode(body, type=list[Raw]))
    except UNREADABLE:
        yield body


def as_utf8(payload: bytes) -> bytes:
    """The payload with characters in place of bytes that are no UTF-8: JSON readers pass over them, clients do not."""
    if payload.isascii():
        return payload
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace").encode()
    return payload
