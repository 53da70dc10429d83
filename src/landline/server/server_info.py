"""The small endpoints about the server itself: models, health, readiness, metrics, and the API's description."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from starlette.types import Receive, Scope, Send

from landline import __version__
from landline.metrics.exposition import collect, encode
from landline.metrics.families import MetricSources
from landline.server.edge import Edge
from landline.server.endpoint import reply_error, reply_json
from landline.server.openapi import encoded_document
from landline.wire.errors import api_error, error_body

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


def welcome(*, has_monitor: bool) -> Answer:
    """`GET /`: leads to the monitor; without one, says what is where."""
    places = {
        "responses": "/v1/responses",
        "models": "/v1/models",
        "description": "/v1/openapi.json",
        "health": "/health",
        "ready": "/ready",
    }
    body = msgspec.json.encode({"object": "landline", "version": __version__, "paths": places})

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if has_monitor:
            await reply_json(scope, send, 307, body, [(b"location", b"monitor"), (b"cache-control", b"no-store")])
        else:
            await reply_json(scope, send, 200, body)

    return answer


def list_models(edge: Edge) -> Answer:
    """`GET /v1/models`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        listing = {"object": "list", "data": list(edge.list_models())}
        await reply_json(scope, send, 200, msgspec.json.encode(listing))

    return answer


def read_model(edge: Edge) -> Answer:
    """`GET /v1/models/{id}`; an id may contain slashes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        model_id = scope["path_params"]["model_id"]
        for model in edge.list_models():
            if model.id == model_id:
                return await reply_json(scope, send, 200, msgspec.json.encode(model))
        message = f"The model {model_id!r} does not exist on this server."
        return await reply_error(scope, send, api_error("model_not_found", message, param="model"))

    return answer


async def report_health(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /health`: the process is up."""
    await reply_json(scope, send, 200, b'{"status":"ok"}')


async def describe_api(scope: Scope, receive: Receive, send: Send) -> None:
    """`GET /v1/openapi.json`."""
    await reply_json(scope, send, 200, encoded_document())


def report_readiness(edge: Edge) -> Answer:
    """`GET /ready`: whether a turn can start now, and if not, why."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        reasons = list(edge.list_troubles())
        if edge.drain.begun.is_set:
            reasons.append("the server is shutting down")
        store_trouble = await edge.store.check()
        if store_trouble is not None:
            reasons.append(store_trouble)
        if not reasons:
            return await reply_json(scope, send, 200, b'{"status":"ready"}')
        code = "store_unavailable" if reasons == [store_trouble] else "server_is_overloaded"
        error = api_error(code, f"Not ready: {'; '.join(reasons)}.")
        body = msgspec.json.encode({"status": "not_ready", "reasons": reasons, **error_body(error)})
        return await reply_json(scope, send, error.status, body)

    return answer


def show_metrics(sources: MetricSources) -> Answer:
    """Answers a scrape. The text is made in another thread, because a large one takes longer than turns should wait."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        exposition = await asyncio.to_thread(encode, collect(sources), accept)
        headers = [
            (b"content-type", exposition.content_type.encode()),
            (b"content-length", str(len(exposition.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": exposition.body if scope["method"] == "GET" else b""})

    return answer
