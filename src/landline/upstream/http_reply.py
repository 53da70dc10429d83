"""One turn over HTTP: its request, the reply that is read as it comes in, and every way in which that fails."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import aiohttp
import msgspec
import structlog

from landline import __version__
from landline.dialects.answer_body import is_json
from landline.dialects.dialect import Prompt, RelayingDialect, StreamDecoder, UpstreamRequest
from landline.upstream.answer_reader import AnswerReader, OnlyPingsError
from landline.upstream.counted import (
    ASKING,
    CountedResponse,
    CountingConnector,
    StaleConnectionError,
    on_live_connection,
)
from landline.upstream.oddities import OddityLog
from landline.upstream.redaction import redact, redact_error
from landline.upstream.target import Traffic
from landline.upstream.upload import Upload
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent
from landline.wire.readable import UNREADABLE

ERROR_BODY_BYTES = 64 * 1024
"""How much of a refusal is read; only its message matters."""
LARGE_BODY_BYTES = 64 * 1024
"""Bodies over this are written apart from the request's head; smaller ones in one go with it."""
READ_IDLE_S = 300.0
"""How long nothing of an answer may come where the target's settings say nothing. Our number."""
LINGER_S = 1.0
"""How long a finished answer may take to end its body before its connection is given up."""
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
"""What a connection raises that does not come about, or breaks."""

_log = structlog.stdlib.get_logger(__name__)


class HttpDeadlines(msgspec.Struct, frozen=True):
    """How long each wait on the network may take; a whole answer may take as long as it likes."""

    connect_s: float = 10.0
    """Name resolution, TCP and TLS."""
    read_idle_s: float = READ_IDLE_S
    """From one sign of life to the next, the first one included: a long prompt may take minutes until the first byte.
    Comments, pings and empty chunks are none: servers send them whether or not the model still writes."""
    error_body_s: float = 10.0
    """The body of a refusal."""
    ending_s: float = 1.5
    """From an answer's last sign of life to its end, once it is complete, where its server neither ends the stream nor
    closes it. Chat completions send usage in a record of its own behind the finish reason, mostly in the same write."""
    counted_s: float = 0.25
    """The same once usage came behind the ending as well."""


_DEADLINES = HttpDeadlines()


class ErrorReader(Protocol):
    """`Dialect.decode_error`."""

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError: ...


class HttpServer(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A server that requests are sent to, and what all of them have in common."""

    name: str
    """The target's, for messages and the log."""
    session: aiohttp.ClientSession
    base_url: str
    decode_error: ErrorReader
    oddities: OddityLog
    headers: Mapping[str, str] = {}
    """They replace the request's own, the key among them."""
    secrets: Sequence[str] = ()
    """They never appear in a message."""
    deadlines: HttpDeadlines = _DEADLINES
    is_repeatable: bool = False
    """Whether the server may read a request twice."""


class HttpReply:
    """A reply over HTTP: `[Accepted()]` with the headers of a 2xx unless the answer itself says that, then a batch for each
    piece that is read."""

    def __init__(
        self,
        server: HttpServer,
        request: UpstreamRequest,
        decoder: StreamDecoder,
        *,
        response_id: str = "",
        says_accepted: bool = True,
        traffic: Traffic | None = None,
    ) -> None:
        """`traffic`: of the reply that this one is a part of."""
        self.traffic = traffic or Traffic()
        self._server = server
        self._request = request
        self._decoder = decoder
        self._response_id = response_id
        self._says_accepted = says_accepted
        self._response: CountedResponse | None = None
        """Until it is given up or back."""
        self._reader: AnswerReader | None = None
        """Until the body is over."""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self._response is None

    @property
    def has_more(self) -> bool:
        return self._reader is not None and self._reader.has_more

    async def open(self) -> list[ModelEvent]:
        server = self._server
        if self._request.notes:
            _log.info("left_out", target=server.name, response_id=self._response_id, what=list(self._request.notes))
        try:
            response = self._response = await on_live_connection(self._send, is_repeatable=server.is_repeatable)
        except _BROKEN as error:
            return [Failed(unreachable(server.name, error, server.deadlines))]
        if not 200 <= response.status < 300:
            refused = await _read_refusal(response, server.decode_error, server.name, server.deadlines)
            self._leave()
            return [Failed(redact_error(refused, server.secrets))]
        response.tell(self.traffic)
        response.drop_read_timeout()
        deadlines = server.deadlines
        self._reader = AnswerReader(
            response.content,
            self._decoder,
            silence_s=deadlines.read_idle_s,
            ending_s=deadlines.ending_s,
            counted_s=deadlines.counted_s,
        )
        if not self._says_accepted:
            return await self.read()
        # What came with the headers leaves with the announcement: one write to the client instead of two.
        return [Accepted(), *self._take(self._reader.read_first())]

    async def read(self) -> list[ModelEvent]:
        reader, response = self._reader, self._response
        if reader is None or response is None:
            return []
        broken: ApiError | None = None
        try:
            while data := await reader.read():
                response.tell_received(self.traffic)
                events = self._take(data)
                if events:
                    return events
        except _BROKEN as error:
            broken = broken_off(self._server.name, error, self._server.deadlines)
        events = _decode(self._decoder.end)
        self._leave()
        if broken is not None and events and isinstance(events[-1], Failed):
            events[-1] = Failed(broken)
        return redact(events, self._server.secrets)

    async def close(self) -> None:
        """Closes the connection unless the reply is over, which stops the model."""
        self._leave()

    def _take(self, data: bytes) -> list[ModelEvent]:
        """The events of some bytes; the connection is left with the last of them."""
        events = _decode(self._decoder.feed, data)
        if self._reader is not None:
            self._reader.note(len(data))
        if events and isinstance(last := events[-1], Finished | Failed):
            self._leave(is_whole=isinstance(last, Finished))
        return redact(events, self._server.secrets)

    async def _send(self) -> CountedResponse:
        """Sends the request and waits for the answer's headers."""
        server, request = self._server, self._request
        self.traffic.requests += 1
        body = Upload(request.body) if len(request.body) > LARGE_BODY_BYTES else request.body
        token = ASKING.set(self.traffic)
        try:
            response = await server.session.request(
                request.method,
                server.base_url + request.path,
                data=body,
                headers={**request.headers, **server.headers},
                allow_redirects=False,
            )
        finally:
            ASKING.reset(token)
        assert isinstance(response, CountedResponse)
        return response

    def _leave(self, *, is_whole: bool = False) -> None:
        """Gives the connection up, which stops the model; or back to the pool, if the answer is whole.

        The end of the body may come a moment after the last event. aiohttp keeps the connection when it does.
        """
        response, self._response = self._response, None
        if response is None:
            return
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        response.tell(self.traffic)
        self._server.oddities.tell(self._response_id, self._decoder.oddities)
        if is_whole and not response.closed:
            asyncio.get_running_loop().call_later(LINGER_S, response.close)
        else:
            response.close()


class RelayedReply:
    """The reply of an upstream that announces the response itself; asked once more before that if the dialect can put a
    refused request better."""

    def __init__(self, server: HttpServer, dialect: RelayingDialect, prompt: Prompt, request: UpstreamRequest) -> None:
        self.traffic = Traffic()
        self._server = server
        self._dialect = dialect
        self._prompt = prompt
        self._reply = self._put(request)

    async def open(self) -> list[ModelEvent]:
        batch = await self._reply.open()
        if batch and isinstance(batch[0], Failed):
            again = self._dialect.retry_request(self._prompt, batch[0].error)
            if again is not None:
                _log.info("asked_again", target=self._server.name, response_id=self._prompt.response_id)
                await self._reply.close()
                self._reply = self._put(again)
                return await self._reply.open()
        return batch

    @property
    def has_more(self) -> bool:
        return self._reply.has_more

    async def read(self) -> list[ModelEvent]:
        return await self._reply.read()

    async def close(self) -> None:
        await self._reply.close()

    def _put(self, request: UpstreamRequest) -> HttpReply:
        return HttpReply(
            self._server,
            request,
            self._dialect.open_decoder(self._prompt),
            response_id=self._prompt.response_id,
            says_accepted=False,
            traffic=self.traffic,
        )


def open_session(deadlines: HttpDeadlines) -> aiohttp.ClientSession:
    """A pool of connections for replies. Must be called in the event loop that uses it.

    All clients share it, so it keeps no cookies: one would tie the turns of every client to what an upstream told one of
    them, a load balancer's choice of server for example.
    """
    timeout = aiohttp.ClientTimeout(total=None, connect=deadlines.connect_s, sock_read=deadlines.read_idle_s)
    return aiohttp.ClientSession(
        connector=CountingConnector(keepalive_timeout=60.0),
        response_class=CountedResponse,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        headers={"User-Agent": f"landline/{__version__}"},
    )


def _decode(decode: Callable[..., list[ModelEvent]], *data: bytes) -> list[ModelEvent]:
    """The events; the failed turn of an upstream that sent what no decoder can read, wherever in it that is."""
    try:
        return decode(*data)
    except UNREADABLE as error:
        return [Failed(api_error("upstream_error", f"The target sent an answer that cannot be read: {error}."))]


async def _read_refusal(
    response: aiohttp.ClientResponse, decode_error: ErrorReader, target_name: str, deadlines: HttpDeadlines
) -> ApiError:
    if 300 <= response.status < 400:
        message = f"Target {target_name!r} answered with a redirect ({response.status}). Check its `base_url`."
        return api_error("upstream_error", message)
    body = bytearray()
    with contextlib.suppress(*_BROKEN):
        async with asyncio.timeout(deadlines.error_body_s):
            async for data in response.content.iter_any():
                body += data
                if len(body) > ERROR_BODY_BYTES or is_json(bytes(body)):
                    break  # the connection is given up anyway, whether or not the server ends the body
    try:
        return decode_error(response.status, response.headers, bytes(body))
    except UNREADABLE:
        message = f"Target {target_name!r} answered with status {response.status} and a body that cannot be read."
        return api_error("upstream_error", message)


def unreachable(target_name: str, error: Exception, deadlines: HttpDeadlines) -> ApiError:
    """Why no connection came about."""
    match error:
        case aiohttp.SocketTimeoutError():
            return broken_off(target_name, error, deadlines)
        case aiohttp.ClientConnectorDNSError():
            what = f"its host name {error.host!r} does not resolve"
        case aiohttp.ClientConnectorCertificateError():
            what = "its TLS certificate is not valid here"
        case aiohttp.ClientConnectorSSLError():
            what = "TLS failed"
        case aiohttp.ClientConnectorError():
            reason = os.strerror(error.errno) if error.errno else str(error.os_error)
            what = f"{error.host}:{error.port}: {reason}"
        case TimeoutError():
            what = f"no connection within {deadlines.connect_s:g} s"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | StaleConnectionError():
            what = "it closed the connection before it answered"
        case _:
            what = type(error).__name__
    return api_error("upstream_unavailable", f"Target {target_name!r} cannot be reached: {what}.")


def broken_off(target_name: str, error: Exception, deadlines: HttpDeadlines) -> ApiError:
    """Why an answer that had begun did not end."""
    if isinstance(error, OnlyPingsError):
        message = f"Target {target_name!r} sent nothing but keep-alives for {deadlines.read_idle_s:g} s."
    elif isinstance(error, TimeoutError):
        message = f"Target {target_name!r} sent nothing for {deadlines.read_idle_s:g} s."
    else:
        message = f"Target {target_name!r} broke off its answer."
    return api_error("upstream_error", message)
