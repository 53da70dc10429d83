"""uvicorn's HTTP protocol with what clients of all ages need.

Unusable offers of another protocol are ignored, HTTP/1.0 is answered without chunks, a client that has only ended its own
side still gets its answer, and the target of a request may be a whole URL, as of a client that takes us for a proxy.
"""

import asyncio
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, cast

import httptools
import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from landline.server.connection import WIRE, BatchedTransport
from landline.server.endpoint import Header
from landline.wire.errors import api_error, error_body

PROBE_DELAYS_S = (0.05, 0.2, 1.0, 5.0, 15.0, 30.0, 60.0)
"""Between two bytes that ask a half-closed client whether it is still there; the first one is written at once. A client
that is gone answers it by a reset, which the second one meets."""
_ANSWER_BEGIN = b"HTTP/1.1 "
"""The bytes that every answer begins with; more of them than probes, so that each probe can write the next one."""
_OLD_VERSIONS = ("0.9", "1.0")

_Offer = Literal["", "websocket", "ignored"]


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it ends or a WebSocket upgrade hands its transport on.

    Differences from uvicorn 0.54: writes of one step leave together, and bytes are counted; an offer of another protocol than
    WebSocket (`h2c` of curl and of Java's HttpClient), or where WebSocket cannot begin, is ignored with its body read;
    HTTP/1.0 gets no chunks and no 100, and keeps its connection where it asked for that; the end of the client's side ends
    only what it had not yet asked for; bytes that are no HTTP get our error.
    """

    parser: httptools.HttpRequestParser

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._batched = BatchedTransport(transport, self.loop)
        self._wire = self._batched.wire
        self._offer: _Offer = ""
        self._is_in_body = False
        self._answering: RequestResponseCycle | None = None
        """The newest request that the application works on; those behind it wait."""
        self._is_ending = False
        """Whether no request is taken any more: the client's side has ended, or the server stops."""
        self._probe_timer: asyncio.TimerHandle | None = None
        super().connection_made(self._batched)

    def data_received(self, data: bytes) -> None:
        self._wire.received_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Expected a request of HTTP/1.1 or HTTP/1.0 in plain text; this is none.")
        upload = self._wire.upload
        if upload.is_timing or (self._is_in_body and _is_sent_in_one_go(self.headers)):
            upload.note_read(len(data), is_partial=self._is_in_body)

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The client has ended its side: because it has nothing more to say, or because it is gone.

        TCP does not tell which, so what was asked for is answered, and the answer's first bytes are written one by one to
        find out: see the decision on half-closed connections. Returns whether our side stays open.
        """
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()
        current = self._answering
        if current is None or current.response_complete or current.more_body:
            return False
        self._is_ending = True
        last = self.pipeline[0][0] if self.pipeline else current
        last.keep_alive = False
        self._probe(iter(PROBE_DELAYS_S))
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._probe_timer is not None:
            self._probe_timer.cancel()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        self._wire.end()

    def shutdown(self) -> None:
        self._is_ending = True
        super().shutdown()

    def on_message_begin(self) -> None:
        """A request begins: its scope tells the connection's count."""
        super().on_message_begin()
        self._offer = ""
        self.scope[WIRE] = self._wire  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        """Starts the request, unless its body is not read yet because of an offer: then it begins anew without that."""
        self.url, self.headers[:] = split_target(self.url, self.headers)
        if self.parser.should_upgrade():
            self._offer = "websocket" if self._can_become_socket() else "ignored"
        if self._offer == "ignored":
            return
        if self._offer == "websocket":
            self.headers[:] = [header for header in self.headers if header[0] not in (b"connection", b"upgrade")]
            self.headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        self._is_in_body = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        is_answered = getattr(self.cycle, "response_complete", False)  # None before the first request
        if is_answered and not self._wire.requests:
            self._wire.late_bytes += len(body)

    def on_message_complete(self) -> None:
        self._is_in_body = False
        if self._offer != "ignored":
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers bytes that are no request, and closes."""
        body = msgspec.json.encode(error_body(api_error("invalid_value", msg)))
        headers = [*self.server_state.default_headers, (b"content-type", b"application/json")]
        headers += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[400] + lines + b"\r\n" + body)
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return self._offer == "websocket"

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        if cycle.scope["http_version"] in _OLD_VERSIONS:
            app = functools.partial(self._answer_old_version, cast("ASGIApp", app), cycle)
        super()._start_asgi_task(cycle, app)

    async def _answer_old_version(
        self, app: ASGIApp, cycle: RequestResponseCycle, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """The application for one request of HTTP/1.0, which knows neither chunks nor 100 (RFC 9112 §6.1, RFC 9110
        §10.1.1). An answer of unknown size ends with the connection; one of known size leaves it open on request."""
        cycle.waiting_for_100_continue = False
        is_sized = True

        async def send_unchunked(message: Message) -> None:
            nonlocal is_sized
            if message["type"] == "http.response.start":
                is_sized = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                if not is_sized:
                    cycle.chunked_encoding = False
                elif b"keep-alive" in _tokens(scope["headers"], b"connection") and not self._is_ending:
                    cycle.keep_alive = True
                    message = {**message, "headers": [*message["headers"], (b"connection", b"keep-alive")]}
            elif not is_sized:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unchunked)

    def _feed(self, data: bytes) -> None:
        """Parses what came. The parser reads no body behind an offer (llhttp 9), so a request whose offer is ignored is
        given to a new one without it, and then what follows its head."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if self._offer == "websocket":
                    return self.handle_websocket_upgrade()
                if self.parser.get_method() == b"CONNECT":
                    return self.send_400_response("Expected a request for this server; it is no proxy.")
                data = self._head_without_offer() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            else:
                return None

    def _can_become_socket(self) -> bool:
        """RFC 6455 §4.1: a GET of HTTP/1.1 with a key. RFC 9110 §7.8: what HTTP/1.0 offers is ignored."""
        return (
            self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and b"websocket" in _tokens(self.headers, b"upgrade")
            and any(name == b"sec-websocket-key" for name, _ in self.headers)
            and self._should_upgrade_to_ws()
        )

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _probe(self, delays_s: Iterator[float]) -> None:
        """Writes a byte that the answer has in any case: the next one of its status line, or a leading zero of the next
        chunk's size. Where neither can be, the answer's own bytes must do."""
        cycle = self._answering
        if cycle is None or cycle.response_complete or self.transport.is_closing():
            return
        if not cycle.response_started:
            at = self._batched.ahead_bytes
            self._batched.write_ahead(_ANSWER_BEGIN[at : at + 1])
        elif cycle.chunked_encoding:
            self.transport.write(b"0")
        delay_s = next(delays_s, None)
        if delay_s is not None:
            self._probe_timer = self.loop.call_later(delay_s, self._probe, delays_s)


def _tokens(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """The members of a header that is a list, in lower case, however many lines it has."""
    values = b",".join(value for each, value in headers if each == name)
    return [token.strip().lower() for token in values.split(b",")]


def _is_sent_in_one_go(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client had the whole body when it began to send, and does not wait for a 100 in between."""
    names = {name for name, _ in headers}
    return b"content-length" in names and b"expect" not in names


_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)([^#]*)", re.DOTALL)


def split_target(target: bytes, headers: list[Header]) -> tuple[bytes, list[Header]]:
    """The path and query of the target, and the headers with the URL's host among them.

    The host of the URL counts. `Host` must be the same (RFC 9112 §3.2), so another one is kept beside it: the request is
    then refused for its two hosts.
    """
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target, headers
    host, path = absolute.groups()
    if not any(name == b"host" and value.lower() == host.lower() for name, value in headers):
        headers = [*headers, (b"host", host)]
    return path if path.startswith(b"/") else b"/" + path, headers
