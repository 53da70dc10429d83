"""Responses as server-sent event streams: a turn's updates, or the kept events of a background response."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

from starlette.types import Scope, Send

from landline.server.endpoint import reply_error
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.turns.faults import broken_end, note_fault
from landline.wire.sse import DONE, sse_records

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_STILL_THERE = b": still there\n\n"
"""A comment: clients skip it, and it has no sequence number."""


async def stream_turn(turn: Turn, updates: AsyncGenerator[TurnUpdate, None], scope: Scope, send: Send) -> None:
    """Answers with one record per event and `[DONE]`; with a plain HTTP error if the response was never created. A fault of
    ours on the way ends the stream as it ends every failed response."""
    told = _Told()
    try:
        await _stream(told, updates, scope, send)
    except OSError:
        raise  # the client is gone
    except Exception:
        if not told.next_number:
            raise
        error = note_fault(turn)
        ended = broken_end(turn, error, next_number=told.next_number)
        if isinstance(ended, TurnEnded):
            for _, record in sse_records(ended.events, error):
                await send({"type": "http.response.body", "body": record, "more_body": True})
        await send({"type": "http.response.body", "body": DONE})


class _Told:
    """How far a stream has come."""

    next_number = 0
    """Of the next event; 0 before the first."""


async def _stream(told: _Told, updates: AsyncGenerator[TurnUpdate, None], scope: Scope, send: Send) -> None:
    async for update in updates:
        match update:
            case TurnRefused(error):
                await reply_error(scope, send, error)
                return
            case TurnProgressed(events):
                records = sse_records(events)
            case TurnEnded(events):
                records = sse_records(events, update.error)
            case _:
                assert_never(update)
        if not told.next_number:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        for number, record in records:
            await send({"type": "http.response.body", "body": record, "more_body": True})
            told.next_number = number + 1
        if isinstance(update, TurnEnded):
            await send({"type": "http.response.body", "body": DONE})
            return
    raise RuntimeError("the turn ended without a last update")


async def stream_records(batches: AsyncGenerator[list[bytes], None], send: Send) -> None:
    """Answers with the records of a background response and `[DONE]`; an empty batch is said as a comment."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    async with aclosing(batches):
        async for batch in batches:
            for record in batch or (_STILL_THERE,):
                await send({"type": "http.response.body", "body": record, "more_body": True})
    await send({"type": "http.response.body", "body": DONE})
