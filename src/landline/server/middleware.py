"""The middleware around every route, outermost first: `RequestRoot`, `Gate`, `SamePath`.

`RequestRoot` gives a request its id and answers when this server is at fault. `Gate` refuses what `Access` does not admit,
and answers the browsers of pages that it allows; it reads headers only, before anything else of a request is read and
before a socket is accepted. `SamePath` makes a path with a slash at its end the same path, for every route, and without a
redirect, which few clients follow with a POST and none with a WebSocket.
"""

import asyncio
import re
import time
from functools import partial

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landline.server.access import Access, AccessVerdict
from landline.server.connection import WireCount, wire_of
from landline.server.drain import shutdown_error
from landline.server.edge import Edge
from landline.server.endpoint import Header, reply_error
from landline.server.log_throttle import LogThrottle
from landline.stores.store import StoreUnavailableError
from landline.turns.record import store_unavailable
from landline.turns.running import server_fault
from landline.wire.errors import CLOSE_SERVER_ERROR, ApiError

REQUEST_ID = "landline.request_id"
"""The scope's key for the id that the client reads in `x-request-id`."""
ANSWER_HEADERS = "landline.answer_headers"
"""The scope's key for headers that every answer to the request gets, whichever part gives it."""
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

_log = structlog.get_logger(__name__)


class RequestRoot:
    """ASGI middleware around everything: adds `x-request-id` and `ANSWER_HEADERS`, answers for a store that is away and for
    a fault of ours, and counts what of the connection belongs to no turn."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        scope[REQUEST_ID] = self._edge.new_id("req")
        expired = self._edge.drain.expired
        abort = partial(_abort_later, asyncio.current_task(), self._edge.drain.abort_s)
        if scope["type"] == "http":
            expired.subscribe(abort)
        wire = wire_of(scope)
        if late_bytes := wire.begin_request():
            self._edge.ledger.add_overhead(late_bytes, 0)
        try:
            await self._answer(scope, receive, _MarkedAnswer(scope, send))
        finally:
            expired.unsubscribe(abort)
            wire.requests -= 1
            if not wire.is_line:
                self._settle(wire)
                # And again: what comes behind the answer (the rest of a body, the end) is only known then.
                wire.when_lost(partial(self._settle, wire))
        return None

    async def _answer(self, scope: Scope, receive: Receive, answer: "_MarkedAnswer") -> None:
        """Runs the application; what it raises is answered in its place, if it has not begun to answer itself."""
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            if not self._edge.drain.expired.is_set or answer.is_started or scope["type"] != "http":
                raise
            await reply_error(scope, answer.send, shutdown_error())
        except (
            StoreUnavailableError
        ):  # an outage, which the store logs once: a log entry for each request would hide it
            if not answer.is_started:
                error = store_unavailable("What is stored cannot be reached now.")
                await reply_error(scope, answer.send, error)
        except Exception:  # noqa: BLE001  # the root of the connection's task
            _log.exception("request_broke", request_id=scope[REQUEST_ID], path=scope["path"])
            if not answer.is_started:
                await reply_error(scope, answer.send, server_fault(scope[REQUEST_ID]))
            elif scope["type"] == "websocket":
                await answer.send({"type": "websocket.close", "code": CLOSE_SERVER_ERROR, "reason": "server error"})

    def _settle(self, wire: WireCount) -> None:
        """Counts bytes outside of turns as overhead, unless another request on the connection is active: they may be its
        own."""
        if not wire.requests:
            self._edge.ledger.add_overhead(wire.take_received(), wire.take_sent())


class _MarkedAnswer:
    """One answer on its way to the client: its head gets `x-request-id` and `ANSWER_HEADERS`."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.is_started = False
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        if not self.is_started and message["type"] in _STARTS:
            self.is_started = True
            own = [(b"x-request-id", self._scope[REQUEST_ID].encode()), *self._scope.get(ANSWER_HEADERS, ())]
            message["headers"] = [*message.get("headers", ()), *own]
        await self._send(message)


def _abort_later(task: asyncio.Task[object] | None, wait_s: float) -> None:
    """The grace is over: what does not end soon is cancelled."""
    if task is not None:
        asyncio.get_running_loop().call_later(wait_s, task.cancel)


PREFLIGHT_AGE_S = 7200
"""For how long a browser need not ask again: the most that Chromium takes."""
LOG_EVERY_S = 10.0
"""A page can be refused a thousand times a second; the log says so this often, with how many it left out."""
_METHODS = b"GET, HEAD, POST, DELETE"
_USUAL_HEADERS = b"authorization, content-type"
_EXPOSED = b"x-request-id, retry-after, allow"
_HEADER_NAMES = re.compile(rb"[!#$%&'*+.^_`|~A-Za-z0-9, \t-]{1,4096}")
_VARY_ORIGIN = (b"vary", b"origin")
_VARY_PREFLIGHT = (b"vary", b"origin, access-control-request-method, access-control-request-headers")


class Gate:
    """ASGI middleware within `RequestRoot`, which adds the headers that are noted in the scope to whatever is answered."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._seldom = LogThrottle(LOG_EVERY_S, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        verdict = self._access.judge(scope)
        scope[ANSWER_HEADERS] = self._answer_headers(verdict)
        if verdict.error is not None:
            self._log(verdict.error, scope)
            return await _refuse(verdict.error, scope, receive, send)
        if verdict.is_preflight:
            return await _answer_preflight(scope, send)
        return await self._app(scope, receive, send)

    def _answer_headers(self, verdict: AccessVerdict) -> list[Header]:
        """Without allowed origins, answers do not depend on the origin, and no cache need know of it."""
        if verdict.origin is None:
            return [_VARY_ORIGIN] if self._access.origins else []
        allowed = (b"access-control-allow-origin", verdict.origin.encode("latin-1"))
        if verdict.is_preflight:
            return [allowed, _VARY_PREFLIGHT]
        return [allowed, (b"access-control-expose-headers", _EXPOSED), _VARY_ORIGIN]

    def _log(self, error: ApiError, scope: Scope) -> None:
        left_out = self._seldom.ask()
        if left_out is not None:
            path, request_id = scope["path"], scope[REQUEST_ID]
            _log.warning(
                "request_refused",
                request_id=request_id,
                path=path,
                code=error.code,
                reason=error.message,
                left_out=left_out,
            )


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """An HTTP answer, also to an upgrade; ASGI servers that can give none there answer a close by 403."""
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            return await send({"type": "websocket.close"})
    return await reply_error(scope, send, error)


async def _answer_preflight(scope: Scope, send: Send) -> None:
    """Allows what an allowed page asks for: what it then sends is checked like any other request."""
    asked = dict(scope["headers"])
    names = asked.get(b"access-control-request-headers", b"")
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", names if _HEADER_NAMES.fullmatch(names) else _USUAL_HEADERS),
        (b"access-control-max-age", str(PREFLIGHT_AGE_S).encode()),
    ]
    if asked.get(b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


_PAGE = "/monitor/"
"""The one exception is redirected: the links of the page are relative to `/monitor`."""


class SamePath:
    """ASGI middleware around the router."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope["path"].endswith("/"):
            scope = _without_slash(scope)
        await self._app(scope, receive, send)


def _without_slash(scope: Scope) -> Scope:
    root: str = scope.get("root_path", "")
    below = scope["path"].removeprefix(root)
    path = below.rstrip("/")
    if not path or below == _PAGE:
        return scope
    return {**scope, "path": scope["path"][: len(scope["path"]) - len(below)] + path}
