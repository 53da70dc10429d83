"""Targets behind HTTP: one request a turn, its answer read as it comes in."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import aiohttp
import msgspec
import structlog

from landline import __version__
from landline.dialects.answer_body import is_json
from landline.dialects.dialect import Dialect, Prompt, RelayingDialect, StreamDecoder, UpstreamRequest
from landline.session.meter import Meter
from landline.upstream.answer_reader import AnswerReader, OnlyPingsError
from landline.upstream.counted import (
    ASKING,
    CountedResponse,
    CountingConnector,
    StaleConnectionError,
    on_live_connection,
)
from landline.upstream.counting import Counters, count_by_reading
from landline.upstream.missing_key import MissingKey
from landline.upstream.oddities import OddityLog
from landline.upstream.redaction import redact, redact_error
from landline.upstream.upload import Upload
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, UsageReported
from landline.wire.readable import UNREADABLE

ERROR_BODY_BYTES = 64 * 1024
"""How much of a refusal is read; only its message matters."""
LARGE_BODY_BYTES = 64 * 1024
"""Bodies over this are written apart from the request's head; smaller ones in one go with it."""
READ_IDLE_S = 300.0
"""How long nothing of an answer may come where the target's settings say nothing. Our number."""
BEARER_HEADER = "Authorization"
"""The header that carries a key as `Bearer KEY` (RFC 6750); any other carries the key alone."""
LINGER_S = 1.0
"""How long a finished answer may take to end its body before its connection is given up."""

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


class ErrorReader(Protocol):
    """`Dialect.decode_error`."""

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError: ...


class HttpTarget:
    """A target that a dialect describes and HTTP reaches."""

    def __init__(
        self,
        name: str,
        base_url: str,
        dialect: Dialect,
        *,
        api_key: str | None = None,
        key_header: str = BEARER_HEADER,
        headers: Mapping[str, str] | None = None,
        key_envs: Sequence[str] = (),
        deadlines: HttpDeadlines | None = None,
    ) -> None:
        """`key_envs` are the variables that usually hold the key of this vendor: told where one is missing."""
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._dialect = dialect
        self._relaying = dialect if isinstance(dialect, RelayingDialect) else None
        """The dialect, if it is one that relays; asking a protocol costs too much for every turn."""
        self._headers = with_key(headers or {}, api_key, key_header)
        self._secrets = (api_key,) if api_key else ()
        self._missing_key = MissingKey(name, self._headers, key_header, key_envs)
        self._deadlines = deadlines or HttpDeadlines()
        self._counters = Counters()
        self._oddities = OddityLog(name)
        self._session: aiohttp.ClientSession | None = None

    @property
    def compacts(self) -> bool:
        return self._dialect.compacts

    async def open(self) -> None:
        """Makes the pool of connections; none is opened before the first turn."""
        self._session = open_session(self._deadlines)

    async def close(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def is_ready(self) -> bool:
        return self._session is not None

    async def count_tokens(self, prompt: Prompt) -> int | ApiError:
        """What the server's own counter says; without one, what it reports after it read the prompt, which costs that."""
        requests = self._dialect.count_requests(prompt)
        if isinstance(requests, ApiError):
            return requests
        if self._session is not None:
            count = await self._counters.count(self._session, self._base_url, requests, self._headers)
            if count is not None:
                return count
        return await count_by_reading(self.stream, prompt)

    def stream(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        """Runs one turn. Closing the generator closes the upstream connection, which stops the model."""
        if prompt.request.is_warm_up and not self._dialect.prefills_warm_up:
            return _say([Accepted(), UsageReported(0, 0), Finished()])
        request = self._dialect.build_request(prompt)
        if isinstance(request, ApiError):
            return _say([Failed(request)])
        if self._session is None:
            return _say([Failed(api_error("upstream_unavailable", f"Target {self.name!r} is not open."))])
        if self._relaying is not None:
            return self._relay(self._session, self._relaying, prompt, request)
        return self._send(self._session, prompt, request)

    async def _relay(
        self, session: aiohttp.ClientSession, dialect: RelayingDialect, prompt: Prompt, request: UpstreamRequest
    ) -> AsyncGenerator[list[ModelEvent], None]:
        """One turn whose upstream announces it itself; asked once more if the dialect can put a refused request better."""
        retry: UpstreamRequest | None = None
        async with contextlib.aclosing(self._send(session, prompt, request, says_accepted=False)) as batches:
            is_first = True
            async for batch in batches:
                if is_first and isinstance(batch[0], Failed):
                    retry = dialect.retry_request(prompt, batch[0].error)
                if retry is not None:
                    _log.info("asked_again", target=self.name, response_id=prompt.response_id)
                    break
                is_first = False
                yield batch
        if retry is not None:
            async with contextlib.aclosing(self._send(session, prompt, retry, says_accepted=False)) as batches:
                async for batch in batches:
                    yield batch

    def _send(
        self, session: aiohttp.ClientSession, prompt: Prompt, request: UpstreamRequest, *, says_accepted: bool = True
    ) -> AsyncGenerator[list[ModelEvent], None]:
        if request.notes:
            _log.info("left_out", target=self.name, response_id=prompt.response_id, what=list(request.notes))
        return stream_request(
            session,
            self._base_url,
            msgspec.structs.replace(request, headers={**request.headers, **self._headers}),
            self._dialect.open_decoder(prompt),
            self._decode_error,
            meter=prompt.meter,
            target_name=self.name,
            secrets=self._secrets,
            deadlines=self._deadlines,
            says_accepted=says_accepted,
            on_oddities=partial(self._oddities.tell, prompt.response_id),
        )

    def _decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
        return self._missing_key.explain(self._dialect.decode_error(status, headers, body))


def with_key(headers: Mapping[str, str], api_key: str | None, key_header: str = BEARER_HEADER) -> dict[str, str]:
    """The headers of every request to a target, its key among them unless one of that name is given already."""
    is_given = key_header.lower() in {header.lower() for header in headers}
    if not api_key or is_given:
        return dict(headers)
    is_bearer = key_header.lower() == BEARER_HEADER.lower()
    return {**headers, key_header: f"Bearer {api_key}" if is_bearer else api_key}


def open_session(deadlines: HttpDeadlines) -> aiohttp.ClientSession:
    """A pool of connections for `stream_request`. Must be called in the event loop that uses it.

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


async def stream_request(
    session: aiohttp.ClientSession,
    base_url: str,
    request: UpstreamRequest,
    decoder: StreamDecoder,
    decode_error: ErrorReader,
    *,
    meter: Meter,
    target_name: str,
    secrets: Sequence[str] = (),
    deadlines: HttpDeadlines,
    says_accepted: bool = True,
    on_oddities: Callable[[Sequence[str]], None],
    is_repeatable: bool = False,
) -> AsyncGenerator[list[ModelEvent], None]:
    """One turn over HTTP: `[Accepted()]` with the headers of a 2xx unless the answer itself says that, then one batch a
    network read.

    Whatever fails is a `Failed`. `secrets` never appear in a message. Closing the generator closes the connection. What is
    sent and read is counted on the meter before it is told, that of tries that nobody answered too. `is_repeatable`: whether
    the upstream may read the request twice.
    """
    try:
        response = await _send(session, base_url, request, meter, is_repeatable=is_repeatable)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        yield [Failed(unreachable(target_name, error, deadlines))]
        return
    is_whole = False
    try:
        if not 200 <= response.status < 300:
            error = await _read_refusal(response, decode_error, target_name, deadlines)
            response.tell(meter)
            yield [Failed(redact_error(error, secrets))]
            return
        response.tell(meter)
        if says_accepted:
            yield [Accepted()]
        broken: ApiError | None = None
        reader = _reader_of(response, decoder, deadlines)
        try:
            while data := await reader.read():
                response.tell_received(meter)
                events = _decode(decoder.feed, data)
                reader.note()
                if not events:
                    continue
                is_whole = isinstance(events[-1], Finished)
                yield redact(events, secrets)
                if is_whole or isinstance(events[-1], Failed):
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            broken = broken_off(target_name, error, deadlines)
        finally:
            reader.close()
        events = _decode(decoder.end)
        if broken is not None and events and isinstance(events[-1], Failed):
            events[-1] = Failed(broken)
        yield redact(events, secrets)
    finally:
        response.tell(meter)
        on_oddities(decoder.oddities)
        _leave(response, is_whole=is_whole)


def _decode(decode: Callable[..., list[ModelEvent]], *data: bytes) -> list[ModelEvent]:
    """The events; the failed turn of an upstream that sent what no decoder can read, wherever in it that is."""
    try:
        return decode(*data)
    except UNREADABLE as error:
        return [Failed(api_error("upstream_error", f"The target sent an answer that cannot be read: {error}."))]


async def _say(batch: list[ModelEvent]) -> AsyncGenerator[list[ModelEvent], None]:
    yield batch


async def _send(
    session: aiohttp.ClientSession, base_url: str, request: UpstreamRequest, meter: Meter, *, is_repeatable: bool
) -> CountedResponse:
    """Sends the request and waits for the answer's headers."""

    async def send() -> CountedResponse:
        meter.upstream_requests += 1
        body = Upload(request.body) if len(request.body) > LARGE_BODY_BYTES else request.body
        token = ASKING.set(meter)
        try:
            response = await session.request(
                request.method,
                base_url + request.path,
                data=body,
                headers=request.headers,
                allow_redirects=False,
            )
        finally:
            ASKING.reset(token)
        assert isinstance(response, CountedResponse)
        return response

    return await on_live_connection(send, is_repeatable=is_repeatable)


def _reader_of(response: CountedResponse, decoder: StreamDecoder, deadlines: HttpDeadlines) -> AnswerReader:
    response.drop_read_timeout()
    return AnswerReader(
        response.content,
        decoder,
        silence_s=deadlines.read_idle_s,
        ending_s=deadlines.ending_s,
        counted_s=deadlines.counted_s,
    )


async def _read_refusal(
    response: aiohttp.ClientResponse, decode_error: ErrorReader, target_name: str, deadlines: HttpDeadlines
) -> ApiError:
    if 300 <= response.status < 400:
        message = f"Target {target_name!r} answered with a redirect ({response.status}). Check its `base_url`."
        return api_error("upstream_error", message)
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
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


def _leave(response: aiohttp.ClientResponse, *, is_whole: bool) -> None:
    """Gives the connection up, which stops the model; or back to the pool, if the answer is whole.

    The end of the body may come a moment after the last event. aiohttp keeps the connection when it does.
    """
    if is_whole and not response.closed:
        asyncio.get_running_loop().call_later(LINGER_S, response.close)
    else:
        response.close()


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
