"""`POST /v1/responses/compact` and `/input_tokens`: questions about a context. Nothing is stored."""

import time
from functools import partial
from typing import assert_never

import msgspec
from msgspec import Raw
from starlette.types import Receive, Scope, Send

from landline.server.account import Account, client_of
from landline.server.connection import wire_of
from landline.server.edge import Edge
from landline.server.endpoint import ClientGoneError, read_body, reply_error, reply_json
from landline.server.exchange import answer_while_wanted
from landline.server.headers import NO_TRACE, trace_of
from landline.server.middleware import REQUEST_ID
from landline.server.server_info import Answer
from landline.session.admission import CreateOrigin, admit
from landline.session.compaction import retained_messages
from landline.session.turn import Arrival, Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import CreateRequest, decode_create, is_null
from landline.wire.resources import CompactedWindow, InputTokens, retained_message


def compact_window(edge: Edge) -> Answer:
    """`POST /v1/responses/compact`: the conversation given, as the window to go on with."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        turn = await _read_turn(edge, scope, receive)
        if isinstance(turn, ApiError):
            return await reply_error(scope, send, turn)
        if turn is not None:
            running = edge.runner.start(msgspec.structs.replace(turn, is_compaction=True))
            trace = trace_of(scope) if edge.continues_traces else NO_TRACE
            account = Account(edge.ledger, running, wire_of(scope), trace=trace)
            account.take_request()

            async def answer(send: Send) -> None:
                await running.run(_WindowAnswer(edge, scope, send))

            await answer_while_wanted(answer, receive, send, edge.drain, account, give_up=running.give_up)
        return None

    return endpoint


class _WindowAnswer:
    """Answers a turn that compacts with the window that it made."""

    def __init__(self, edge: Edge, scope: Scope, send: Send) -> None:
        self._edge = edge
        self._scope = scope
        self._send = send

    async def hear(self, update: TurnUpdate) -> None:
        match update:
            case TurnProgressed():
                pass
            case TurnRefused(error):
                await reply_error(self._scope, self._send, error)
            case TurnEnded():
                window = update.error or _window(update, self._edge)
                if isinstance(window, ApiError):
                    await reply_error(self._scope, self._send, window)
                else:
                    await reply_json(self._scope, self._send, 200, msgspec.json.encode(window))
            case _:
                assert_never(update)

    async def hear_fault(self, ended: TurnRefused | TurnEnded) -> None:
        await self.hear(ended)


def count_input_tokens(edge: Edge) -> Answer:
    """`POST /v1/responses/input_tokens`: how many tokens the model would read for this request."""

    async def answer(turn: Turn, scope: Scope, send: Send) -> None:
        count = await edge.runner.count_tokens(turn)
        if isinstance(count, ApiError):
            return await reply_error(scope, send, count)
        return await reply_json(scope, send, 200, msgspec.json.encode(InputTokens(count)))

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        turn = await _read_turn(edge, scope, receive, may_have_conversation=True)
        if isinstance(turn, ApiError):
            return await reply_error(scope, send, turn)
        if turn is not None:
            await answer_while_wanted(partial(answer, turn, scope), receive, send, edge.drain)
        return None

    return endpoint


async def _read_turn(
    edge: Edge, scope: Scope, receive: Receive, *, may_have_conversation: bool = False
) -> Turn | ApiError | None:
    """The turn that the body describes; None if its client is gone."""
    try:
        body = await read_body(scope, receive, max_bytes=edge.limits.max_frame_bytes)
    except ClientGoneError:
        return None
    arrival = Arrival(request_id=scope.get(REQUEST_ID, ""), client=client_of(scope), started_at=time.monotonic())
    if isinstance(body, ApiError):
        return body
    request = decode_create(body, min_output_tokens=edge.limits.min_output_tokens)
    if isinstance(request, ApiError):
        return request
    if not may_have_conversation and not is_null(request.conversation):
        message = "Expected `input` or `previous_response_id`: a conversation is not compacted here."
        return api_error("unsupported_parameter", message, param="conversation")
    request = _only_reading(request, keeps_conversation=may_have_conversation)
    tenant = edge.tenant_of(scope)
    origin = CreateOrigin(tenant=tenant, body=body, arrival=arrival, known_items=edge.item_memo.of(tenant))
    return admit(request, response_id=edge.new_id("resp"), now=edge.clock(), origin=origin)


def _only_reading(request: CreateRequest, *, keeps_conversation: bool) -> CreateRequest:
    """The request without what concerns an answer, its delivery or its storage."""
    is_stored = None if keeps_conversation and not is_null(request.conversation) else False
    return msgspec.structs.replace(
        request, store=is_stored, stream=None, background=None, generate=None, context_management=None, metadata=None
    )


def _window(ended: TurnEnded, edge: Edge) -> CompactedWindow | ApiError:
    """The user messages and their compaction. An upstream that compacts itself was asked for one, as any turn may ask
    (`compaction_trigger`), and the messages are kept here: so one way serves every target."""
    usage = ended.response.usage
    if ended.response.status != "completed" or usage is None:
        return api_error("server_error", "The compaction was stopped before it was complete.")
    if [item.type for item in ended.output] != ["compaction"]:
        message = "Expected the target to answer with one compaction; it may not know `compaction_trigger`."
        return api_error("upstream_error", message)
    [compaction] = ended.output
    kept = retained_messages(compaction, ended.history)
    messages = [retained_message(item, item_id=edge.new_id("msg")) for item in kept]
    return CompactedWindow(
        id=ended.response.id,
        created_at=ended.response.created_at,
        output=[*messages, Raw(compaction.raw)],
        usage=usage,
    )
