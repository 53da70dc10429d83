"""`/monitor`: a page that shows live what Landline saves, and the state behind it as JSON and as server-sent events.

Nothing is fetched from elsewhere, and nothing is computed while nobody looks.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import files
from typing import get_args

import msgspec
from starlette.types import Receive, Scope, Send

from landline.monitor.feed import Feed, FeedWatch
from landline.monitor.state import PAGE_MAX, Change, Shown, Snapshot, Sort, View
from landline.server.edge import Edge
from landline.server.endpoint import Query, reply_error, reply_json
from landline.server.exchange import answer_while_wanted
from landline.server.server_info import Answer
from landline.server.sse_stream import HEADERS
from landline.wire.errors import ApiError, api_error

EVENT_EVERY_S = 0.5
"""How often a watcher is told of changes at most: as often as an eye follows numbers."""
EVENTS_PER_S = 20
"""To all watchers together: the more of them there are, the less often each is told, so that pages left open somewhere take
no more than some 5 % of a core from the turns (`benchmarks/monitor_cost.py`)."""
FIND_MAX_CHARS = 100
_TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]
_NO_STORE = [(b"cache-control", b"no-store")]
_SORTS: dict[str, Sort] = {name: name for name in get_args(Sort)}
_SHOWN: dict[str, Shown] = {name: name for name in get_args(Shown)}


def monitor_answers(edge: Edge, feed: Feed) -> dict[str, Answer]:
    """Path below `/monitor` → what answers a GET there."""
    page = {file.name: file.read_bytes() for file in files("landline.monitor").joinpath("page").iterdir()}
    return {
        "": _file("index.html", page.pop("index.html")),
        **{f"/{name}": _file(name, body) for name, body in page.items()},
        "/": _redirect_home,
        "/state": _state(edge, feed),
        "/sessions/{session_id:path}": _session(edge, feed),
        "/events": _events(edge, feed),
    }


def _file(name: str, body: bytes) -> Answer:
    kind = _TYPES[name.rpartition(".")[2]]
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *_PAGE_HEADERS]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})

    return answer


async def _redirect_home(scope: Scope, receive: Receive, send: Send) -> None:
    """The page's own links are relative to `/monitor`, wherever that is mounted."""
    headers = [(b"location", b"../monitor"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 308, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _state(edge: Edge, feed: Feed) -> Answer:
    """`GET /monitor/state?sessions=N&offset=N&sort=…&show=…&find=…&session=ID`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        view = read_view(scope)
        if isinstance(view, ApiError):
            return await reply_error(scope, send, view)
        snapshot = feed.snapshot(view, _tenant(edge, scope))
        return await reply_json(scope, send, 200, msgspec.json.encode(snapshot), _NO_STORE)

    return answer


def _session(edge: Edge, feed: Feed) -> Answer:
    """`GET /monitor/sessions/{id}`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        session_id: str = scope["path_params"]["session_id"]
        detail = feed.detail(session_id, _tenant(edge, scope))
        if detail is None:
            error = api_error("not_found", f"No session {session_id!r} is remembered here.")
            return await reply_error(scope, send, error)
        return await reply_json(scope, send, 200, msgspec.json.encode(detail), _NO_STORE)

    return answer


class Audience:
    """Those who watch at the moment."""

    def __init__(self) -> None:
        self._watchers = 0

    @property
    def pause_s(self) -> float:
        """Between two events of one watcher."""
        return max(EVENT_EVERY_S, self._watchers / EVENTS_PER_S)

    @contextmanager
    def joined(self) -> Generator[None]:
        """While one more watches."""
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1


def _events(edge: Edge, feed: Feed) -> Answer:
    """`GET /monitor/events`, with the parameters of `/monitor/state`: a `snapshot`, then each `change`."""
    audience = Audience()

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        view = read_view(scope)
        if isinstance(view, ApiError):
            return await reply_error(scope, send, view)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            return await send({"type": "http.response.body", "body": b""})
        watch = feed.watch(view, _tenant(edge, scope))

        async def answer(send: Send) -> None:
            with audience.joined():
                await _tell(watch, edge, audience, send)

        return await answer_while_wanted(answer, receive, send, edge.drain)

    return endpoint


async def _tell(watch: FeedWatch, edge: Edge, audience: Audience, send: Send) -> None:
    """Tells of changes until the server stops."""
    stopping = asyncio.Event()
    edge.drain.begun.subscribe(stopping.set)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await _say(send, _record(watch.first))
        silence_s = 0.0
        while not stopping.is_set():
            pause_s = audience.pause_s
            try:
                await asyncio.wait_for(stopping.wait(), pause_s)
            except TimeoutError:
                change = watch.change()
                silence_s += pause_s
                if change is None and silence_s >= edge.sse_silence_s:
                    change = watch.still()
                if change is not None:
                    silence_s = 0.0
                    await _say(send, _record(change))
    finally:
        edge.drain.begun.unsubscribe(stopping.set)
    await send({"type": "http.response.body", "body": b"event: stopping\ndata: {}\n\n"})


async def _say(send: Send, record: bytes) -> None:
    await send({"type": "http.response.body", "body": record, "more_body": True})


def _record(told: Snapshot | Change) -> bytes:
    name = b"snapshot" if isinstance(told, Snapshot) else b"change"
    return b"event: " + name + b"\ndata: " + msgspec.json.encode(told) + b"\n\n"


def _tenant(edge: Edge, scope: Scope) -> str | None:
    """Whose sessions are shown: those of the key that the request came with; all while there are no keys."""
    return edge.tenant_of(scope) or None


def read_view(scope: Scope) -> View | ApiError:
    """The parameters of `/monitor/state` and `/monitor/events`."""
    query = Query(scope)
    sessions = query.number("sessions", least=0, most=PAGE_MAX)
    offset = query.number("offset", least=0)
    sort = query.choice("sort", _SORTS)
    show = query.choice("show", _SHOWN)
    for value in (sessions, offset, sort, show):
        if isinstance(value, ApiError):
            return value
    given = {"sessions": sessions, "offset": offset, "sort": sort, "show": show, "session": query.text("session")}
    given["find"] = (query.text("find") or "")[:FIND_MAX_CHARS]
    return msgspec.convert({name: value for name, value in given.items() if value is not None}, View)
