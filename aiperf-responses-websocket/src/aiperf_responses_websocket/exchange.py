"""One request and its answer: which frames belong to it, when they came, how it ended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import orjson
from aiperf.common.models import SSEMessage
from aiperf.common.models.record_models import SSEField

Json = dict[str, Any]
OnFirstToken = Callable[[int, SSEMessage], Awaitable[bool]]
_ENDINGS = frozenset(("response.completed", "response.incomplete", "response.failed", "error"))
_UNSEEN = frozenset(("connection_lost", "previous_response_not_found", "websocket_connection_limit_reached"))


class RequestFailedError(Exception):
    """The server, or the loss of its socket, ended a request without a usable response."""

    def __init__(self, code: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        """The API's error code, or `connection_lost`."""
        self.status = status
        self.has_begun = False
        """Whether the response had begun: then it is not asked for again."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the same request, in full and on a sound socket, is the answer that the API's guide gives."""
        return not self.has_begun and self.code in _UNSEEN


class Exchange:
    """Collects the events of one response. `take` is called for each frame, `fail` when no more can come."""

    def __init__(self, *, started_ns: int, on_first_token: OnFirstToken | None = None) -> None:
        self._started_ns = started_ns
        self._on_first_token = on_first_token
        self._ended: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._has_begun = False
        self.messages: list[SSEMessage] = []
        """Every event, as AIPerf's endpoints read those of a stream over HTTP."""
        self.output: list[Json] = []
        """Output items that are done."""
        self.chunks: list[tuple[int, int]] = []
        """When bytes came for it, in ns of the performance counter, and how many."""

    async def response(self) -> Json:
        """The response object of the terminal event. Raises `RequestFailedError`."""
        return await self._ended

    async def take(self, event: Json, text: str, *, perf_ns: int, size_bytes: int) -> None:
        """`size_bytes` are those that came on the socket since its last frame."""
        if self._ended.done():
            return
        message = SSEMessage(perf_ns=perf_ns, packets=[SSEField(name="data", value=text)])
        self.messages.append(message)
        if size_bytes:
            self.chunks.append((perf_ns, size_bytes))
        if self._on_first_token is not None and await self._on_first_token(perf_ns - self._started_ns, message):
            self._on_first_token = None
        kind = event.get("type")
        if kind == "response.created":
            self._has_begun = True
        elif kind == "response.output_item.done":
            self.output.append(_object(event.get("item")))
        elif kind in _ENDINGS:
            self._end(event)

    def fail(self, error: RequestFailedError) -> None:
        if not self._ended.done():
            error.has_begun = self._has_begun
            self._ended.set_exception(error)

    def _end(self, event: Json) -> None:
        response = _object(event.get("response"))
        match event.get("type"):
            case "error":
                self.fail(error_of(event))
            case "response.failed":
                failure = _object(response.get("error"))
                code = str(failure.get("code") or "response_failed")
                self.fail(RequestFailedError(code, str(failure.get("message") or "The response failed.")))
            case _:
                self._ended.set_result(response)


def error_of(event: Json) -> RequestFailedError:
    """The error of an `error` frame; servers nest it in `error` or write it flat."""
    body = _object(event.get("error")) or event
    status = event.get("status", event.get("status_code"))
    code = body.get("code") or body.get("type") or "error"
    return RequestFailedError(
        str(code), str(body.get("message") or code), status=status if isinstance(status, int) else None
    )


def read_event(text: str) -> Json:
    """The event in a frame; empty for what is no JSON object."""
    try:
        return _object(orjson.loads(text))
    except orjson.JSONDecodeError:
        return {}


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}
