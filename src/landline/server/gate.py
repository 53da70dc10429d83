"""The gate in front of every path: refuses what `Access` does not admit, and answers the browsers of pages that it allows.

It reads headers only, before anything else of a request is read and before a socket is accepted.
"""

import re
import time

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from landline.server.access import Access, Verdict
from landline.server.replies import Header, reply_error
from landline.server.request_root import ANSWER_HEADERS, REQUEST_ID
from landline.server.seldom import Seldom
from landline.wire.errors import ApiError

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

_log = structlog.get_logger(__name__)


class Gate:
    """ASGI middleware within `RequestRoot`, which adds the headers that are noted in the scope to whatever is answered."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._seldom = Seldom(LOG_EVERY_S, time.monotonic)

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

    def _answer_headers(self, verdict: Verdict) -> list[Header]:
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
