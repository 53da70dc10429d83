"""A turn as a server-sent event stream."""

from collections.abc import AsyncGenerator
from typing import assert_never

import msgspec
from starlette.types import Scope, Send

from landline.server.replies import reply_error
from landline.session.turn import TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.wire.errors import ApiError
from landline.wire.events import ResponseFailed, ServerEvent, encode_event, error_event, event_type
from landline.wire.sse import DONE, encode_sse

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


async def stream_turn(updates: AsyncGenerator[TurnUpdate, None], scope: Scope, send: Send) -> None:
    """Answers with one record per event and `[DONE]`; with a plain HTTP error if the response was never created."""
    is_started = False
    async for update in updates:
        match update:
            case TurnRefused(error):
                await reply_error(scope, send, error)
                return
            case TurnProgressed(events):
                pass
            case TurnEnded(events):
                events = _with_error_event(events, update.error)
            case _:
                assert_never(update)
        if not is_started:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            is_started = True
        for event in events:
            record = encode_sse(event_type(event), encode_event(event))
            await send({"type": "http.response.body", "body": record, "more_body": True})
        if isinstance(update, TurnEnded):
            await send({"type": "http.response.body", "body": DONE})
            return
    raise RuntimeError("the turn ended without a last update")


def _with_error_event(events: list[ServerEvent], error: ApiError | None) -> list[ServerEvent]:
    """A failed response says its error before `response.failed` (Open Responses: streaming errors)."""
    if error is None:
        return events
    failed = events[-1]
    assert isinstance(failed, ResponseFailed)
    number = failed.sequence_number
    return [
        *events[:-1],
        error_event(error, sequence_number=number),
        msgspec.structs.replace(failed, sequence_number=number + 1),
    ]
