"""`POST /v1/responses`: one turn, answered as JSON or as an event stream; a background one is answered when it is queued."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import assert_never

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.account import Account, client_of
from landline.server.connection import wire_of
from landline.server.edge import Edge
from landline.server.endpoint import ClientGoneError, read_body, reply_error, reply_json
from landline.server.exchange import answer_while_wanted, ends_by_itself
from landline.server.headers import note_trace, trace_of
from landline.server.middleware import REQUEST_ID
from landline.server.sse_stream import stream_records, stream_turn
from landline.session.admission import admit
from landline.session.meter import Meter
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
        turn = body if isinstance(body, ApiError) else self._admit(body, scope)
        if isinstance(turn, ApiError):
            await reply_error(scope, send, turn)
            return
        account = Account(self._edge.ledger, turn, wire_of(scope))
        if turn.request.background is True:
            answer, give_up = self._answer_queued, ends_by_itself
        else:
            answer, give_up = self._answer, partial(self._edge.runner.give_up, turn.response_id)
        await answer_while_wanted(
            partial(answer, account, scope), receive, send, self._edge.drain, account, give_up=give_up
        )

    def _admit(self, body: bytes, scope: Scope) -> Turn | ApiError:
        meter = Meter(client=client_of(scope), request_id=scope.get(REQUEST_ID, ""), started_at=time.monotonic())
        request = decode_create(body)
        if isinstance(request, ApiError):
            return request
        meter.transport = "background" if request.background is True else "http"
        edge = self._edge
        if edge.continues_traces:
            note_trace(meter, trace_of(scope))
        turn = admit(
            request,
            response_id=edge.new_id("resp"),
            now=edge.clock(),
            tenant=edge.tenant_of(scope),
            body=body,
            meter=meter,
        )
        if isinstance(turn, Turn):
            meter.wire_in_bytes = wire_of(scope).take_received()
        return turn

    async def _answer(self, account: Account, scope: Scope, send: Send) -> None:
        turn = account.turn
        async with aclosing(self._edge.runner.run(turn)) as updates:
            if turn.request.stream is True:
                await stream_turn(turn, updates, scope, send)
            else:
                await _reply_whole(updates, account, scope, send)

    async def _answer_queued(self, account: Account, scope: Scope, send: Send) -> None:
        """The turn goes on when its creator was answered, or is gone: both hold its account."""
        edge, turn = self._edge, account.turn
        account.hold()
        queued = await edge.background.start(turn, on_ended=account.release)
        if isinstance(queued, ApiError):
            await reply_error(scope, send, queued)
            return
        batches = edge.background.follow(turn.tenant, turn.response_id, after=-1, silence_s=edge.sse_silence_s)
        if batches is not None:
            await stream_records(batches, send)
        else:
            await reply_json(scope, send, 200, msgspec.json.encode(queued))


async def _reply_whole(updates: AsyncGenerator[TurnUpdate, None], account: Account, scope: Scope, send: Send) -> None:
    """Answers with the final response object; a failed one is an HTTP error."""
    async for update in updates:
        match update:
            case TurnProgressed():
                account.show()
            case TurnRefused(error):
                return await reply_error(scope, send, error)
            case TurnEnded(error=error):
                if error is not None:
                    return await reply_error(scope, send, error)
                return await reply_json(scope, send, 200, update.body)
            case _:
                assert_never(update)
    raise RuntimeError("the turn ended without a last update")
