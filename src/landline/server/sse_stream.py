"""Responses as server-sent event streams: a turn's updates, or the kept events of a background response."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

from starlette.types import Scope, Send

from landline.server.endpoint import reply_error
from landline.session.turn import TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.turns.parts import ListenerGoneError
from landline.wire.sse import DONE, sse_records

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_STILL_THERE = b": still there\n\n"
"""A comment: clients skip it, and it has no sequence number."""


class EventStream:
    """Answers a turn with one record per event and `[DONE]`; with a plain HTTP error if the response was never created."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._is_started = False

    async def hear(self, update: TurnUpdate) -> None:
        match update:
            case TurnRefused(error):
                await reply_error(self._scope, self._send, error)
                return
            case TurnProgressed(events):
                records = sse_records(events)
            case TurnEnded(events):
                records = sse_records(events, update.error)
            case _:
                assert_never(update)
        try:
            if not self._is_started:
                self._is_started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            for _, record in records:
                await self._send({"type": "http.response.body", "body": record, "more_body": True})
            if isinstance(update, TurnEnded):
                await self._send({"type": "http.response.body", "body": DONE})
        except OSError as error:
            raise ListenerGoneError from error

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        await self.hear(ended)


async def stream_records(batches: AsyncGenerator[list[bytes], None], send: Send) -> None:
    """Answers with the records of a background response and `[DONE]`; an empty batch is said as a comment."""
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    async with aclosing(batches):
        async for batch in batches:
            for record in batch or (_STILL_THERE,):
                await send({"type": "http.response.body", "body": record, "more_body": True})
    await send({"type": "http.response.body", "body": DONE})
