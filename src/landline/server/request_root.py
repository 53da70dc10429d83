"""The root of every request: its id, and the answer when this server is at fault."""

import asyncio
from functools import partial

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landline.server.drain import shutdown_error
from landline.server.edge import Edge
from landline.server.replies import reply_error
from landline.server.wire_count import WireCount, wire_of
from landline.stores.store import StoreUnavailableError
from landline.turns.faults import server_fault
from landline.turns.record import store_unavailable

REQUEST_ID = "landline.request_id"
"""The scope's key for the id that the client reads in `x-request-id`."""
ANSWER_HEADERS = "landline.answer_headers"
"""The scope's key for headers that every answer to the request has, whoever gives it."""
CLOSE_SERVER_ERROR = 1011
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
        request_id = self._edge.new_id("req")
        expired = self._edge.drain.expired
        abort = partial(_abort_later, asyncio.current_task(), self._edge.drain.abort_s)
        if scope["type"] == "http":
            expired.subscribe(abort)
        scope[REQUEST_ID] = request_id
        is_started = False
        wire = wire_of(scope)
        if late_bytes := wire.begin_request():
            self._edge.ledger.add_overhead(late_bytes, 0)

        async def send_with_id(message: Message) -> None:
            nonlocal is_started
            if not is_started and message["type"] in _STARTS:
                is_started = True
                own = [(b"x-request-id", request_id.encode()), *scope.get(ANSWER_HEADERS, ())]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not expired.is_set or is_started or scope["type"] != "http":
                raise
            await reply_error(scope, send_with_id, shutdown_error())
        except StoreUnavailableError:  # an outage, which the store logs once
            if not is_started:
                await reply_error(scope, send_with_id, store_unavailable("What is stored cannot be reached now."))
        except Exception:  # noqa: BLE001  # the root of the connection's task
            _log.exception("request_broke", request_id=request_id, path=scope["path"])
            if not is_started:
                await reply_error(scope, send_with_id, server_fault(request_id))
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": CLOSE_SERVER_ERROR, "reason": "server error"})
        finally:
            expired.unsubscribe(abort)
            wire.requests -= 1
            if not wire.is_line:
                self._settle(wire)
                wire.when_lost(partial(self._settle, wire))
        return None

    def _settle(self, wire: WireCount) -> None:
        """Counts what is no turn's, unless it may still be that of a request under way."""
        if not wire.requests:
            self._edge.ledger.add_overhead(wire.take_received(), wire.take_sent())


def _abort_later(task: asyncio.Task[object] | None, wait_s: float) -> None:
    """The grace is over: what does not end soon is cancelled."""
    if task is not None:
        asyncio.get_running_loop().call_later(wait_s, task.cancel)
