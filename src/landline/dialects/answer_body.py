"""Splits the body of an answer into records, whether the server streamed it or not; first step of every stream decoder."""

from codecs import BOM_UTF8
from collections.abc import Iterator

import msgspec
from msgspec import Raw

from landline.dialects.dialect import Progress
from landline.wire.readable import UNREADABLE
from landline.wire.sse import SseDecoder


class AnswerBody:
    """Is fed the body in any split. An event stream yields its payloads; a JSON body is kept until the end.

    Some servers and gateways answer a request for a stream with one object or an array of records, or with an error object.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        """The body counts bytes of incomplete records here; the decoder that reads the records notes their content."""
        self._sse = SseDecoder()
        self._held: list[bytes] | None = []
        """The body until it is known to be an event stream, then None."""
        self._is_json = False

    @property
    def whole(self) -> bytes | None:
        """The body so far unless it is an event stream; None if it is one."""
        return b"".join(self._held) if self._held is not None else None

    @property
    def is_stream(self) -> bool:
        return self._held is None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads that the chunk completes."""
        if self._held is not None:
            self._held.append(chunk)
            begun = b"" if self._is_json else b"".join(self._held)
            if begun and len(begun) < len(BOM_UTF8) and BOM_UTF8.startswith(begun):
                return
            begun = begun.removeprefix(BOM_UTF8)
            self._is_json = self._is_json or begun.lstrip()[:1] in (b"{", b"[")
            if self._is_json and not chunk.isspace():
                self.progress.note()
            if self._is_json or not begun.strip():
                self._held = [begun] if begun else self._held
                return
            chunk, self._held = begun, None
        payloads = self._sse.feed(chunk)
        if self._sse.is_growing:
            self.progress.note()
        yield from payloads

    def is_whole(self) -> bool:
        """Whether a JSON body is complete. This decodes it: ask only when no more bytes come."""
        return self._is_json and is_json(self.whole or b"")

    def end(self) -> Iterator[bytes]:
        """An unterminated last record, or the whole JSON body (the elements of an array).

        A record that was truncated after the answer's end is dropped: the answer is complete without it.
        """
        whole = self.whole
        if whole is None:
            yield from (record for record in self._sse.end() if not self.progress.is_finished or is_json(record))
        elif whole.strip():
            yield from _elements_of(whole)


def is_json(text: bytes) -> bool:
    """Whether the text is a complete object or array; one that is nested too deep to decode counts as complete."""
    if text.rstrip()[-1:] not in (b"}", b"]"):
        return False
    try:
        msgspec.json.decode(text, type=Raw)
    except msgspec.DecodeError:
        return False
    except RecursionError:
        return True
    return True


def _elements_of(body: bytes) -> Iterator[bytes]:
    try:
        yield from (bytes(record) for record in msgspec.json.decode(body, type=list[Raw]))
    except UNREADABLE:
        yield body


def as_utf8(payload: bytes) -> bytes:
    """The payload with U+FFFD for invalid UTF-8, which msgspec skips in strings that it does not decode; clients would fail."""
    if payload.isascii():
        return payload
    try:
        payload.decode()
    except UnicodeDecodeError:
        return payload.decode("utf-8", "replace").encode()
    return payload
