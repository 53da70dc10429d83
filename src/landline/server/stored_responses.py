"""`/v1/responses/{id}`: retrieve, stream again, delete, cancel, list the input. What another tenant stored is not found."""

from collections.abc import AsyncGenerator
from functools import partial

import msgspec
from starlette.types import Receive, Scope, Send

from landline.server.edge import Edge
from landline.server.endpoint import read_page, read_retrieve_query, reply_error, reply_json
from landline.server.exchange import answer_while_wanted, ends_by_itself
from landline.server.server_info import Answer
from landline.server.sse_stream import stream_records
from landline.stores.store import StoredResponse
from landline.wire.errors import ApiError, api_error
from landline.wire.resources import list_items


def retrieve_response(edge: Edge) -> Answer:
    """`GET /v1/responses/{id}`; with `stream=true` the events of a background response, again and then live."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        query = read_retrieve_query(scope)
        if isinstance(query, ApiError):
            return await reply_error(scope, send, query)
        stored = await _load(edge, scope)
        if isinstance(stored, ApiError):
            return await reply_error(scope, send, stored)
        if query.stream:
            batches = _replay(edge, edge.tenant_of(scope), stored, query.starting_after)
            if isinstance(batches, ApiError):
                return await reply_error(scope, send, batches)
            follow = partial(stream_records, batches)
            return await answer_while_wanted(follow, receive, send, edge.drain, give_up=ends_by_itself)
        running = edge.background.find(edge.tenant_of(scope), stored.response_id) if _is_running(stored) else None
        body = msgspec.json.encode(running) if running is not None else stored.body
        return await reply_json(scope, send, 200, body)

    return answer


def delete_response(edge: Edge) -> Answer:
    """`DELETE /v1/responses/{id}`; a background response that still runs is cancelled first."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        tenant, response_id = edge.tenant_of(scope), await _response_id(edge, scope)
        await edge.background.cancel(tenant, response_id)
        edge.background.forget_events(tenant, response_id)
        if not await edge.store.delete_response(tenant, response_id):
            return await reply_error(scope, send, _not_found(response_id))
        deleted = {"id": response_id, "object": "response", "deleted": True}
        return await reply_json(scope, send, 200, msgspec.json.encode(deleted))

    return answer


def cancel_response(edge: Edge) -> Answer:
    """`POST /v1/responses/{id}/cancel`; answered with the final response, however often it is asked."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        stored = await _load(edge, scope)
        if isinstance(stored, ApiError):
            return await reply_error(scope, send, stored)
        if not stored.is_background:
            message = "Cannot cancel a synchronous response: only one created with `background` can be cancelled."
            return await reply_error(scope, send, api_error("invalid_value", message, param="response_id"))
        if _is_running(stored):
            if not await edge.background.cancel(edge.tenant_of(scope), stored.response_id):
                return await reply_error(scope, send, _runs_elsewhere(stored))
            stored = await _load(edge, scope)
            if isinstance(stored, ApiError):
                return await reply_error(scope, send, stored)
        return await reply_json(scope, send, 200, stored.body)

    return answer


def list_input_items(edge: Edge) -> Answer:
    """`GET /v1/responses/{id}/input_items`: what the client sent with this response, not what came before."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        page = read_page(scope)
        if isinstance(page, ApiError):
            return await reply_error(scope, send, page)
        response_id = await _response_id(edge, scope)
        found = await edge.store.list_input(edge.tenant_of(scope), response_id, page)
        if found is None:
            return await reply_error(scope, send, _not_found(response_id))
        listing = list_items(found.items, has_more=found.has_more)
        return await reply_json(scope, send, 200, msgspec.json.encode(listing))

    return answer


def _replay(
    edge: Edge, tenant: str, stored: StoredResponse, starting_after: int
) -> AsyncGenerator[list[bytes], None] | ApiError:
    batches = edge.background.follow(tenant, stored.response_id, after=starting_after, silence_s=edge.sse_silence_s)
    if batches is not None:
        return batches
    if stored.is_background and _is_running(stored):
        return _runs_elsewhere(stored)
    message = (
        f"Response {stored.response_id!r} cannot be streamed: only one created with both `background` and `stream` can, "
        "and only until a while after its end. Retrieve it without `stream`."
    )
    return api_error("invalid_value", message, param="stream")


async def _load(edge: Edge, scope: Scope) -> StoredResponse | ApiError:
    response_id = await _response_id(edge, scope)
    return await edge.store.load_response(edge.tenant_of(scope), response_id) or _not_found(response_id)


def _is_running(stored: StoredResponse) -> bool:
    return stored.status in ("queued", "in_progress")


async def _response_id(edge: Edge, scope: Scope) -> str:
    """The id that the path names; its response is in the store by now if it has begun."""
    response_id: str = scope["path_params"]["response_id"]
    await edge.runner.bring(response_id)
    return response_id


def _not_found(response_id: str) -> ApiError:
    return api_error("not_found", f"Response with id '{response_id}' not found.", param="response_id")


def _runs_elsewhere(stored: StoredResponse) -> ApiError:
    message = f"Response {stored.response_id!r} runs in another server process, which this one cannot reach; try again."
    return api_error("response_elsewhere", message, param="response_id")
