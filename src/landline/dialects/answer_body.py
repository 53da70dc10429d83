"""The body of an answer as records, whether the server streamed it or not."""

from collections.abc import Iterator

from landline.wire.sse import SseDecoder


class AnswerBody:
    """Fed in any split. An event stream gives its payloads; one JSON object is kept until the end.

    Some servers and gateways answer a request for a stream with a whole object, others with an error as one.
    """

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self.whole: bytes | None = b""
        """The start of the body until it is known to be a stream, then None; all of it if it is one JSON object."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads that the chunk completes."""
        if self.whole is not None:
            self.whole += chunk
            start = self.whole.lstrip()
            if not start or start[:1] == b"{":
                return
            chunk, self.whole = self.whole, None
        yield from self._sse.feed(chunk)

    def end(self) -> Iterator[bytes]:
        """What an unterminated last record holds, or the whole object."""
        if self.whole is None:
            yield from self._sse.end()
        elif self.whole.strip():
            yield self.whole
