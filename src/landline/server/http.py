"""`POST /v1/responses`: one turn, answered as JSON or as an event stream; a background one is answered when it is queued."""

import time
from functools import partial
from typing import assert_never

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.account import Account, client_of
from landline.server.connection import wire_of
from landline.server.edge import Edge
from landline.server.endpoint import ClientGoneError, read_body, reply_error, reply_json
from landline.server.exchange import answer_while_wanted, ends_by_itself
from landline.server.headers import NO_TRACE, trace_of
from landline.server.middleware import REQUEST_ID
from landline.server.sse_stream import EventStream, stream_records
from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Arrival, Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
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
        edge, running = self._edge, self._edge.runner.start(turn)
        trace = trace_of(scope) if edge.continues_traces else NO_TRACE
        account = Account(edge.ledger, running, wire_of(scope), trace=trace)
        account.take_request()
        if turn.request.background is True:
            answer, give_up = self._answer_queued, ends_by_itself
        else:
            answer, give_up = self._answer, running.give_up
        await answer_while_wanted(partial(answer, account, scope), receive, send, edge.drain, account, give_up=give_up)

    def _admit(self, body: bytes, scope: Scope) -> Turn | ApiError:
        started_at = time.monotonic()
        request = decode_create(body, min_output_tokens=self._edge.limits.min_output_tokens)
        if isinstance(request, ApiError):
            return request
        edge = self._edge
        arrival = Arrival(
            transport="background" if request.background is True else "http",
            request_id=scope.get(REQUEST_ID, ""),
            client=client_of(scope),
            started_at=started_at,
        )
        tenant = edge.tenant_of(scope)
        origin = CreateOrigin(tenant=tenant, body=body, arrival=arrival, known_items=edge.item_memo.of(tenant))
        return admit(request, response_id=edge.new_id("resp"), now=edge.clock(), origin=origin)

    async def _answer(self, account: Account, scope: Scope, send: Send) -> None:
        running = account.running
        is_streamed = running.turn.request.stream is True
        await running.run(EventStream(scope, send) if is_streamed else _WholeAnswer(account, scope, send))

    async def _answer_queued(self, account: Account, scope: Scope, send: Send) -> None:
        """The turn goes on when its creator was answered, or is gone: both hold its account."""
        edge, turn = self._edge, account.running.turn
        account.hold()
        queued = await edge.background.start(account.running, on_ended=account.release)
        if isinstance(queued, ApiError):
            await reply_error(scope, send, queued)
            return
        batches = edge.background.follow(turn.tenant, turn.response_id, after=-1, silence_s=edge.sse_silence_s)
        if batches is not None:
            await stream_records(batches, send)
        else:
            await reply_json(scope, send, 200, msgspec.json.encode(queued))


class _WholeAnswer:
    """Answers a turn with the final response object; a failed one is an HTTP error."""

    def __init__(self, account: Account, scope: Scope, send: Send) -> None:
        self._account = account
        self._scope = scope
        self._send = send

    async def hear(self, update: TurnUpdate) -> None:
        match update:
            case TurnProgressed():
                self._account.show()
            case TurnRefused(error) | TurnEnded(error=ApiError() as error):
                await reply_error(self._scope, self._send, error)
            case TurnEnded():
                await reply_json(self._scope, self._send, 200, update.body)
            case _:
                assert_never(update)

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        await self.hear(ended)
