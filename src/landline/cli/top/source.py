"""Where `landline top` reads: `/monitor/state` once, or `/monitor/events` as long as they come."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit

import aiohttp
import msgspec
from msgspec.structs import replace

from landline.monitor.state import Change, SessionDetail, SessionPage, Snapshot, View
from landline.wire.sse import SseDecoder

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 60.0
"""The server sends something every 25 s; after a longer silence the connection counts as lost."""
_TURNS_KEPT = 200

_SNAPSHOT: msgspec.json.Decoder[Snapshot] = msgspec.json.Decoder(Snapshot)
_CHANGE: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)


class NoMonitorError(Exception):
    """The URL has no monitor; the message says what is there instead."""


class Source:
    """One server's monitor."""

    def __init__(self, url: str) -> None:
        self.base_url = base_of(url)

    async def state(self, view: View) -> bytes:
        """`/monitor/state` as it came. Raises `NoMonitorError`."""
        async with self._answer("state", view, total_s=SILENCE_TIMEOUT_S) as answer:
            try:
                return await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise NoMonitorError(f"the connection to {self.base_url} was lost: {_reason(error)}") from error

    async def watch(self, view: View) -> AsyncGenerator[Snapshot, None]:
        """Everything, whenever something changed. Ends never; raises `NoMonitorError` when the connection is lost."""
        decoder = SseDecoder()
        known: Snapshot | None = None
        async with self._answer("events", view, total_s=None) as answer:
            try:
                async for chunk in answer.content.iter_any():
                    for data in decoder.feed(chunk):
                        known = _SNAPSHOT.decode(data) if known is None else _changed(known, data)
                        yield known
            except (aiohttp.ClientError, TimeoutError) as error:
                raise NoMonitorError(_reason(error)) from error
            except msgspec.ValidationError as error:
                raise NoMonitorError("the server is stopping, or of another version") from error
        raise NoMonitorError("the server closed the connection")

    @asynccontextmanager
    async def _answer(
        self, path: str, view: View, *, total_s: float | None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_TIMEOUT_S)
        url = f"{self.base_url}/monitor/{path}"
        async with aiohttp.ClientSession(timeout=timeout) as http:
            try:
                answer = await http.get(url, params=_query(view), allow_redirects=False)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise NoMonitorError(f"nothing answers at {self.base_url}: {_reason(error)}") from error
            async with answer:
                _check(answer, self.base_url)
                yield answer


def base_of(url: str) -> str:
    """The server's root, from whatever of its URLs was given: with or without a scheme, `/v1` or `/monitor`.

    Raises `NoMonitorError` if it is not the URL of a server.
    """
    parts = _parts(url if "://" in url else f"http://{url}")
    if parts is None:
        raise NoMonitorError(f"expected the URL of a server, as in http://127.0.0.1:8080; got {url!r}")
    path = parts.path.rstrip("/")
    for known in ("/v1", "/monitor"):
        path = path.removesuffix(known)
    return f"{parts.scheme}://{parts.netloc}{path}"


def _parts(url: str) -> SplitResult | None:
    """None if it is not the URL of a server, including unclosed brackets and ports that are not numbers."""
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_server else None


def decode_state(body: bytes) -> Snapshot:
    """Raises `NoMonitorError`."""
    try:
        return _SNAPSHOT.decode(body)
    except msgspec.DecodeError as error:
        raise NoMonitorError(f"the server's state is not understood, it may be of another version: {error}") from error


def _query(view: View) -> dict[str, str]:
    default = View()
    fields = {name: getattr(view, name) for name in View.__struct_fields__}
    return {name: str(value) for name, value in fields.items() if value != getattr(default, name)}


def _check(answer: aiohttp.ClientResponse, base_url: str) -> None:
    kind = answer.content_type
    if answer.status == 200 and kind in ("application/json", "text/event-stream"):
        return
    if answer.status == 404 and kind == "application/json":
        raise NoMonitorError(
            f"{base_url} shows no monitor: it is switched off (`[monitor] enabled`), or what answers is older"
        )
    raise NoMonitorError(f"what answers at {base_url} is no Landline: status {answer.status}, {kind or 'no type'}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number and number > 0 else str(error.os_error)
    return str(error) or type(error).__name__


def _changed(known: Snapshot, data: bytes) -> Snapshot:
    """What was known, with a change."""
    change = _CHANGE.decode(data)
    return replace(
        known,
        at=change.at,
        totals=change.totals or known.totals,
        sessions=_merge(known.sessions, change.sessions) if change.sessions is not None else known.sessions,
        targets=known.targets if change.targets is None else change.targets,
        choices=known.choices if change.choices is None else change.choices,
        models=known.models if change.models is None else change.models,
        session=_continue(known.session, change.session) if change.session is not None else known.session,
    )


def _merge(known: SessionPage, changed: SessionPage) -> SessionPage:
    rows = {row.id: row for row in (*known.rows, *changed.rows)}
    return replace(changed, rows=[rows[session_id] for session_id in changed.ids if session_id in rows])


def _continue(known: SessionDetail | None, changed: SessionDetail) -> SessionDetail:
    turns = [*(known.turns if known is not None else ()), *changed.turns]
    return replace(changed, turns=turns[-_TURNS_KEPT:])
