"""One stateless request over HTTP, its answer read as server-sent events."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

import aiohttp
import msgspec

from landline.agent.answer import AnswerReader, Ending
from landline.agent.failures import Cut, decode_failure, unreachable
from landline.wire.errors import ApiError
from landline.wire.sse import SseDecoder

_HEADERS = {"content-type": "application/json", "accept": "text/event-stream"}
_REST_TIMEOUT_S = 1.0
"""A server that leaves the body open after its terminal event costs the next turn a new connection, not a wait."""


class HttpWire:
    """POST with `stream: true`; connections are kept by the client session."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, idle_timeout_s: float) -> None:
        self._http = http
        self._url = url
        self._idle_timeout_s = idle_timeout_s
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=idle_timeout_s)

    async def exchange(self, body: bytes, on_event: Callable[[str | None], None]) -> Ending:
        """Sends one request and reads to the end of its response."""
        try:
            async with self._http.post(self._url, data=body, headers=_HEADERS, timeout=self._timeout) as response:
                if response.status >= 400:
                    return decode_failure(await response.read(), status=response.status, headers=response.headers)
                if response.content_type == "application/json":
                    return _whole(await response.read(), on_event)
                return await _read_events(response.content, on_event)
        except aiohttp.ClientConnectorError as error:
            return unreachable(self._url, error)
        except TimeoutError:
            return Cut(f"nothing came for {self._idle_timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Cut(str(error) or type(error).__name__)


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_MODELS: msgspec.json.Decoder[_Models] = msgspec.json.Decoder(_Models)


async def fetch_first_model(http: aiohttp.ClientSession, base_url: str) -> str | ApiError | Cut:
    """The first name the server lists under `/models`: what to ask for when nobody named a model."""
    try:
        async with http.get(f"{base_url}/models", timeout=aiohttp.ClientTimeout(total=30.0)) as response:
            body = await response.read()
            if response.status >= 400:
                return decode_failure(body, status=response.status, headers=response.headers)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return unreachable(base_url, error)
    try:
        models = _MODELS.decode(body).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Cut(f"{base_url}/models is not a list of models; name one with --model")
    return models[0].id if models else Cut(f"{base_url} lists no model; name one with --model")


async def _read_events(stream: aiohttp.StreamReader, on_event: Callable[[str | None], None]) -> Ending:
    decoder = SseDecoder()
    reader = AnswerReader()
    async for chunk in stream.iter_any():
        _feed(reader, decoder.feed(chunk), on_event)
        if reader.ending is not None:
            await _read_rest(stream)
            return reader.ending
    _feed(reader, decoder.end(), on_event)
    return reader.ending or Cut("the stream ended before the response did")


def _feed(reader: AnswerReader, records: Iterable[bytes], on_event: Callable[[str | None], None]) -> None:
    for data in records:
        if data == b"[DONE]" or reader.ending is not None:
            return
        on_event(reader.feed(data))


async def _read_rest(stream: aiohttp.StreamReader) -> None:
    """Reads what follows the terminal event (`[DONE]`, the end of the body): only then can the connection be kept."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_REST_TIMEOUT_S):
            while not stream.at_eof():
                await stream.readany()


def _whole(body: bytes, on_event: Callable[[str | None], None]) -> Ending:
    reader = AnswerReader()
    on_event(reader.feed_whole(body))
    return reader.ending or Cut("the response was empty")
