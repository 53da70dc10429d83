"""`POST /v1/responses`: one turn, answered as JSON or as an event stream; a background one is answered when it is queued."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import assert_never

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.bodies import ClientGoneError, read_body
from landline.server.edge import Edge
from landline.server.exchange import answer_while_wanted
from landline.server.replies import reply_error, reply_json
from landline.server.sse_stream import stream_records, stream_turn
from landline.session.admission import admit
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.wire.errors import ApiError
from landline.wire.requests import decode_create


class CreateEndpoint:
    """A session of one turn; it ends with its connection unless it runs in the background."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, max_bytes=self._edge.limits.max_frame_bytes)
        except ClientGoneError:
            return
        turn = body if isinstance(body, ApiError) else self._admit(body, self._edge.tenant_of(scope))
        if isinstance(turn, ApiError):
            await reply_error(scope, send, turn)
            return
        answer = self._answer_queued if turn.request.background is True else self._answer
        await answer_while_wanted(partial(answer, turn, scope), receive, send, self._edge.drain)

    def _admit(self, body: bytes, tenant: str) -> Turn | ApiError:
        request = decode_create(body)
        if isinstance(request, ApiError):
            return request
        response_id, now = self._edge.new_id("resp"), self._edge.clock()
        return admit(request, response_id=response_id, now=now, tenant=tenant, body=body)

    async def _answer(self, turn: Turn, scope: Scope, send: Send) -> None:
        async with aclosing(self._edge.runner.run(turn)) as updates:
            if turn.request.stream is True:
                await stream_turn(updates, scope, send)
            else:
                await _reply_whole(updates, scope, send)

    async def _answer_queued(self, turn: Turn, scope: Scope, send: Send) -> None:
        edge = self._edge
        queued = await edge.background.start(turn)
        if isinstance(queued, ApiError):
            await reply_error(scope, send, queued)
            return
        batches = edge.background.follow(turn.tenant, turn.response_id, after=-1, silence_s=edge.sse_silence_s)
        if batches is not None:
            await stream_records(batches, send)
        else:
            await reply_json(scope, send, 200, msgspec.json.encode(queued))


async def _reply_whole(updates: AsyncGenerator[TurnUpdate, None], scope: Scope, send: Send) -> None:
    """Answers with the final response object; a failed one is an HTTP error."""
    async for update in updates:
        match update:
            case TurnProgressed():
                pass
            case TurnRefused(error):
                return await reply_error(scope, send, error)
            case TurnEnded(error=error):
                if error is not None:
                    return await reply_error(scope, send, error)
                return await reply_json(scope, send, 200, update.body)
            case _:
                assert_never(update)
    raise RuntimeError("the turn ended without a last update")
