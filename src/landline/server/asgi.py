"""The ASGI application: which path and method leads where."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from landline.server.content_coding import ContentCoding
from landline.server.context import compact_window, count_input_tokens
from landline.server.conversations import Conversations
from landline.server.edge import Edge
from landline.server.endpoint import reply_error
from landline.server.foreign_paths import GEMINI_VERBS, reply_not_found
from landline.server.http import CreateEndpoint
from landline.server.middleware import Gate, RequestRoot, SamePath
from landline.server.monitor import monitor_answers
from landline.server.server_info import (
    Answer,
    describe_api,
    list_models,
    read_model,
    report_health,
    report_readiness,
    show_metrics,
    welcome,
)
from landline.server.stored_responses import cancel_response, delete_response, list_input_items, retrieve_response
from landline.server.websocket import SocketEndpoint
from landline.wire.errors import api_error

RESPONSES_PATHS = ("/v1/responses", "/responses", "/codex/responses", "/v1/codex/responses")
"""Clients append `/responses` to a base URL with or without `/v1`; pi appends `/codex/responses`."""

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def create_asgi(edge: Edge, *, lifespan: Lifespan | None = None) -> Starlette:
    """The application over the given parts; it mounts in any ASGI server with the `websocket.http.response` extension."""
    create = Methods({"POST": CreateEndpoint(edge), "GET": _ask_for_upgrade})
    socket = SocketEndpoint(edge)
    routes: list[BaseRoute] = [Route(path, create) for path in RESPONSES_PATHS]
    routes += [WebSocketRoute(path, socket) for path in RESPONSES_PATHS]
    conversations = Conversations(edge)
    routes.append(Route("/", Methods({"GET": welcome(has_monitor=edge.monitor is not None)})))
    for prefix in ("/v1", ""):
        for verb in GEMINI_VERBS:
            foreign = Methods({"POST": reply_not_found})
            routes.append(Route(f"{prefix}/models/{{model_id:path}}:{verb}", foreign, methods=["POST"]))
        routes.append(Route(f"{prefix}/openapi.json", Methods({"GET": describe_api})))
        routes.append(Route(f"{prefix}/models", Methods({"GET": list_models(edge)})))
        routes.append(Route(f"{prefix}/models/{{model_id:path}}", Methods({"GET": read_model(edge)})))
        routes.append(Route(f"{prefix}/responses/compact", Methods({"POST": compact_window(edge)})))
        routes.append(Route(f"{prefix}/responses/input_tokens", Methods({"POST": count_input_tokens(edge)})))
        routes += _stored_routes(f"{prefix}/responses/{{response_id}}", edge)
        routes += _conversation_routes(f"{prefix}/conversations", conversations)
    routes.append(Route("/health", Methods({"GET": report_health})))
    routes.append(Route("/ready", Methods({"GET": report_readiness(edge)})))
    if edge.metrics is not None:
        routes.append(Route("/metrics", Methods({"GET": show_metrics(edge.metrics)})))
    if edge.monitor is not None:
        answers = monitor_answers(edge, edge.monitor)
        routes += [Route(f"/monitor{path}", Methods({"GET": answer})) for path, answer in answers.items()]
    middleware = [Middleware(RequestRoot, edge=edge), Middleware(Gate, access=edge.access)]
    if edge.http_compression is not None:
        middleware.append(Middleware(ContentCoding, budget=edge.http_compression))
    middleware.append(Middleware(SamePath))
    app = Starlette(routes=routes, middleware=middleware, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = reply_not_found
    return app


def _stored_routes(path: str, edge: Edge) -> list[BaseRoute]:
    """Must come after the fixed paths below `/responses`."""
    one = Methods({"GET": retrieve_response(edge), "DELETE": delete_response(edge)})
    return [
        Route(path, one),
        Route(f"{path}/cancel", Methods({"POST": cancel_response(edge)})),
        Route(f"{path}/input_items", Methods({"GET": list_input_items(edge)})),
    ]


def _conversation_routes(path: str, conversations: Conversations) -> list[BaseRoute]:
    each = f"{path}/{{conversation_id}}"
    one = Methods({"GET": conversations.retrieve, "POST": conversations.update, "DELETE": conversations.delete})
    items = Methods({"GET": conversations.list_items, "POST": conversations.add_items})
    item = Methods({"GET": conversations.retrieve_item, "DELETE": conversations.delete_item})
    return [
        Route(path, Methods({"POST": conversations.create})),
        Route(each, one),
        Route(f"{each}/items", items),
        Route(f"{each}/items/{{item_id}}", item),
    ]


class Methods:
    """One path's methods; another one is a 405 that names them."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self._allowed = ", ".join(answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        answer = self.answers.get(method)
        if answer is not None:
            return await answer(scope, receive, send)
        error = api_error(
            "method_not_allowed", f"Expected {self._allowed} on {scope['path']!r}; got {scope['method']!r}."
        )
        return await reply_error(scope, send, error, [(b"allow", self._allowed.encode())])


async def _ask_for_upgrade(scope: Scope, receive: Receive, send: Send) -> None:
    error = api_error("websocket_upgrade_required", "Expected a WebSocket upgrade, or POST; a plain GET has no answer.")
    await reply_error(scope, send, error, [(b"upgrade", b"websocket")])
