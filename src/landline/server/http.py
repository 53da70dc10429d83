"""`POST /v1/responses`: one turn, answered as JSON or as an event stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import assert_never

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.bodies import ClientGoneError, read_body
from landline.server.edge import Edge
from landline.server.replies import reply_error, reply_json
from landline.server.sse_stream import stream_turn
from landline.session.admission import admit
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.wire.errors import ApiError
from landline.wire.requests import CreateRequest, decode_create


class CreateEndpoint:
    """A session of one turn; it ends with its connection."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, max_bytes=self._edge.limits.max_frame_bytes)
        except ClientGoneError:
            return
        turn = body if isinstance(body, ApiError) else self._admit(decode_create(body))
        if isinstance(turn, ApiError):
            await reply_error(scope, send, turn)
        else:
            await _Exchange(self._edge, turn, scope, send).run(receive)

    def _admit(self, request: CreateRequest | ApiError) -> Turn | ApiError:
        if isinstance(request, ApiError):
            return request
        return admit(request, response_id=self._edge.new_id("resp"), now=self._edge.clock())


class _Exchange:
    """The answer to one request, aborted when its client disconnects or the drain's grace is over."""

    def __init__(self, edge: Edge, turn: Turn, scope: Scope, send: Send) -> None:
        self._edge = edge
        self._turn = turn
        self._scope = scope
        self._send = send
        self._is_answered = False

    async def run(self, receive: Receive) -> None:
        """Returns when the turn is over or aborted."""
        answering = asyncio.create_task(self._answer())
        watching = asyncio.create_task(self._abort_when_gone(receive, answering))
        self._edge.drain.expired.subscribe(answering.cancel)
        try:
            await asyncio.wait({answering})
        finally:
            self._edge.drain.expired.unsubscribe(answering.cancel)
            watching.cancel()
            answering.cancel()
            await asyncio.wait({answering, watching})
        if not answering.cancelled():
            answering.result()

    async def _answer(self) -> None:
        async with aclosing(self._edge.runner.run(self._turn)) as updates:
            if self._turn.request.stream is True:
                await stream_turn(updates, self._scope, self._send)
            else:
                await _reply_whole(updates, self._scope, self._send)
            self._is_answered = True

    async def _abort_when_gone(self, receive: Receive, answering: asyncio.Task[None]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._is_answered:
            # A complete answer reads as a disconnect too; the turn may then still be putting its things away.
            answering.cancel()


async def _reply_whole(updates: AsyncGenerator[TurnUpdate, None], scope: Scope, send: Send) -> None:
    """Answers with the final response object; a failed one is an HTTP error."""
    async for update in updates:
        match update:
            case TurnProgressed():
                pass
            case TurnRefused(error):
                return await reply_error(scope, send, error)
            case TurnEnded(response=response, error=error):
                if error is not None:
                    return await reply_error(scope, send, error)
                return await reply_json(scope, send, 200, msgspec.json.encode(response))
            case _:
                assert_never(update)
    raise RuntimeError("the turn ended without a last update")
