"""Server-sent events: encodes events as records, and decodes a stream that is fed in any split."""

from collections.abc import Iterable, Sequence

import msgspec

from landline.wire.errors import ApiError
from landline.wire.events import (
    RelayedEvent,
    ResponseFailed,
    ServerEvent,
    encode_event,
    error_event,
    event_sequence,
    event_type,
)

DONE = b"data: [DONE]\n\n"
Record = tuple[int, bytes]
"""A sequence number and one whole record."""


def encode_sse(event_type: str, data: bytes) -> bytes:
    """One complete record; it must leave in one write, because some readers reset per network read."""
    return b"event: " + event_type.encode() + b"\ndata: " + data + b"\n\n"


class SseDecoder:
    """Bytes in, `data` payloads out (WHATWG event stream: LF, CR or CRLF lines, comments, multi-line data)."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._skip_lf = False
        self.is_growing = False
        """Whether the latest chunk added to an incomplete record; comments do not count."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payload of every record that the chunk completes."""
        if self._skip_lf and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._skip_lf = False
        buffer = self._rest + chunk
        if b"\r" in buffer:
            self._skip_lf = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = buffer.split(b"\n")
        self._rest = lines.pop()
        payloads: list[bytes] = []
        data = self._data
        known_lines = len(data)
        for line in lines:
            if not line:
                if data:
                    payloads.append(b"\n".join(data))
                    data, known_lines = [], 0
            elif line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
        self._data = data
        self.is_growing = len(data) > known_lines or self._rest.startswith(b"data:")
        return payloads

    def end(self) -> list[bytes]:
        """The payload of an unterminated last record; some servers close without the blank line."""
        return self.feed(b"\n\n")


def sse_records(events: Sequence[ServerEvent], error: ApiError | None = None) -> list[Record]:
    """One record an event. `error` is that of a failed response, whose last event is `response.failed`: an `error` event
    is inserted before that (Open Responses: streaming errors)."""
    return [
        (event_sequence(event)[0], encode_sse(event_type(event), encode_event(event)))
        for event in (_with_error_event(events, error) if error is not None else events)
    ]


def _with_error_event(events: Sequence[ServerEvent], error: ApiError) -> Iterable[ServerEvent]:
    failed = events[-1]
    assert isinstance(failed, ResponseFailed | RelayedEvent)
    number = failed.sequence_number
    yield from events[:-1]
    yield error_event(error, sequence_number=number)
    yield msgspec.structs.replace(failed, sequence_number=number + 1)
