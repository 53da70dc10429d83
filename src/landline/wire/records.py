"""A response's events as server-sent records."""

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
from landline.wire.sse import encode_sse

Record = tuple[int, bytes]
"""A sequence number and one whole record."""


def sse_records(events: Sequence[ServerEvent], error: ApiError | None = None) -> list[Record]:
    """One record an event. `error` is that of a failed response, whose last event is `response.failed`: it is said
    before that event, in one of its own (Open Responses: streaming errors)."""
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
