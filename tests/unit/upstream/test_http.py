"""HttpTarget against a small server on loopback."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.upstream import HttpDeadlines, HttpTarget
from landline.upstream.endpoint import Endpoint
from landline.upstream.http_reply import ERROR_BODY_BYTES, LARGE_BODY_BYTES
from landline.upstream.upload import PIECE_BYTES
from landline.wire.errors import ApiError
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, TextDelta, UsageReported
from support.conversations.chat import create, lineage, message
from support.turns.reply import stream_of

KEY = "sk-secret-0123456789"
TEXT = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
STOP = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
WAIT_S = 10

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(handler: Handler) -> AsyncGenerator[str]:
    """The base URL of a server whose chat completions are answered by the handler."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app, host="127.0.0.1", handler_cancellation=True) as server:
        yield str(server.make_url("/v1"))


@asynccontextmanager
async def target_at(
    base_url: str, flags: ChatCompletionsFlags | None = None, deadlines: HttpDeadlines | None = None
) -> AsyncGenerator[HttpTarget]:
    target = HttpTarget(
        Endpoint("fake", base_url, api_key=KEY, headers={"X-Extra": "1"}, deadlines=deadlines or HttpDeadlines()),
        ChatCompletions(flags),
    )
    await target.open()
    try:
        yield target
    finally:
        await target.close()


def prompt(text: str = "hi", **fields: object) -> Prompt:
    return Prompt(history=lineage([[message("user", text)]]), request=create(**fields), model="m", response_id="resp_1")


async def collect(target: HttpTarget, asked: Prompt | None = None) -> list[ModelEvent]:
    async with aclosing(stream_of(target, asked or prompt())) as batches:
        return [event async for batch in batches for event in batch]


async def ask(handler: Handler, **options: Any) -> list[ModelEvent]:
    async with serve(handler) as base_url, target_at(base_url) as target:
        return await collect(target, prompt(**options) if options else None)


def answering(*chunks: bytes, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **(headers or {})})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return answer


def refusing(status: int, body: object, headers: dict[str, str] | None = None) -> Handler:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    return refuse


def error_in(events: list[ModelEvent]) -> ApiError:
    assert isinstance(events[-1], Failed), events
    return events[-1].error


async def test_a_turn_is_accepted_streamed_and_finished() -> None:
    assert await ask(answering(TEXT, TEXT, STOP, DONE)) == [Accepted(), TextDelta("Hi"), TextDelta("Hi"), Finished()]


async def test_accepted_comes_with_the_headers_before_any_text() -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.wait_for(go_on.wait(), WAIT_S)
        await response.write(TEXT + STOP + DONE)
        return response

    async with (
        serve(answer) as base_url,
        target_at(base_url) as target,
        aclosing(stream_of(target, prompt())) as batches,
    ):
        assert await anext(batches) == [Accepted()]
        go_on.set()
        assert await anext(batches) == [TextDelta("Hi"), Finished()]


async def test_each_read_is_a_batch_as_it_comes() -> None:
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(TEXT)
        await asyncio.wait_for(go_on.wait(), WAIT_S)
        await response.write(STOP + DONE)
        return response

    async with (
        serve(answer) as base_url,
        target_at(base_url) as target,
        aclosing(stream_of(target, prompt())) as batches,
    ):
        come = await anext(batches)
        if len(come) == 1:  # the text may come in one packet with the headers, or behind them
            come = [*come, *await anext(batches)]
        assert come == [Accepted(), TextDelta("Hi")]
        go_on.set()
        assert await anext(batches) == [Finished()]


async def test_the_request_carries_key_headers_and_affinity() -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await answering(STOP, DONE)(request)

    async with serve(answer) as base_url, target_at(base_url + "/") as target:
        await collect(target, Prompt(history=None, request=create(), model="m", affinity_key="lane"))
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert seen[0].headers["X-Extra"] == "1"
    assert seen[0].headers["X-Session-Id"] == "lane"
    assert seen[0].headers["User-Agent"].startswith("landline/")


async def test_a_configured_authorization_replaces_the_key() -> None:
    seen: list[list[str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.getall("Authorization"))
        return await answering(STOP, DONE)(request)

    async with serve(answer) as base_url:
        target = HttpTarget(
            Endpoint("fake", base_url, api_key=KEY, headers={"authorization": "Basic eA=="}), ChatCompletions()
        )
        await target.open()
        await collect(target)
        await target.close()
    assert seen == [["Basic eA=="]]


@pytest.mark.parametrize("size_bytes", [2 * LARGE_BODY_BYTES, PIECE_BYTES, 2 * PIECE_BYTES + 1])
async def test_large_requests_arrive_whole(size_bytes: int) -> None:
    text = "x" * size_bytes
    sizes: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        sizes.append(len((await request.json())["messages"][0]["content"]))
        assert request.content_length is not None
        return await answering(STOP, DONE)(request)

    async with serve(answer) as base_url, target_at(base_url) as target:
        assert await collect(target, prompt(text)) == [Accepted(), Finished()]
    assert sizes == [len(text)]


@pytest.mark.parametrize("chunks", [(), (TEXT,)])
async def test_closing_the_generator_aborts_the_upstream_request(chunks: tuple[bytes, ...]) -> None:
    aborted = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await answering(*chunks)(request)
        return await _until_aborted(response, aborted)

    async with serve(answer) as base_url, target_at(base_url) as target:
        batches = stream_of(target, prompt())
        come: list[ModelEvent] = []
        while len(come) < 1 + len(chunks):
            come += await anext(batches)
        await batches.aclose()
        await asyncio.wait_for(aborted.wait(), WAIT_S)


async def test_cancelling_before_the_headers_aborts_the_upstream_request() -> None:
    arrived, aborted = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        arrived.set()
        return await _until_aborted(web.Response(), aborted)

    async with serve(answer) as base_url, target_at(base_url) as target:
        task = asyncio.create_task(collect(target))
        await asyncio.wait_for(arrived.wait(), WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(aborted.wait(), WAIT_S)


async def _until_aborted(response: web.StreamResponse, aborted: asyncio.Event) -> web.StreamResponse:
    """Waits until the client goes away, which cancels the handler."""
    try:
        await asyncio.Event().wait()
    finally:
        aborted.set()
    return response


async def _ask_until_finished(target: HttpTarget) -> None:
    """As the runner does: stops at the ending and closes."""
    async with aclosing(stream_of(target, prompt())) as batches:
        async for batch in batches:
            if isinstance(batch[-1], Finished):
                return


async def test_connections_are_kept_for_the_next_turn() -> None:
    peers: list[object] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        peers.append(request.transport and request.transport.get_extra_info("peername"))
        return web.Response(body=TEXT + STOP + DONE)

    async with serve(answer) as base_url, target_at(base_url) as target:
        for _ in range(3):
            await _ask_until_finished(target)
    assert len(peers) == 3
    assert len(set(peers)) == 1


async def test_no_turn_carries_a_cookie_that_another_was_given() -> None:
    came: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        came.append(request.headers.get("Cookie"))
        return web.Response(body=TEXT + STOP + DONE, headers={"Set-Cookie": "route=1; Path=/"})

    async with serve(answer) as base_url, target_at(base_url.replace("127.0.0.1", "localhost")) as target:
        for _ in range(2):
            await collect(target)
    assert came == [None, None]


async def test_a_connection_whose_body_ends_after_the_answer_is_kept_too() -> None:
    ports: list[int] = []
    left = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        response = await answering(TEXT, STOP, DONE)(request)
        await asyncio.wait_for(left.wait(), WAIT_S)
        return response

    async with serve(answer) as base_url, target_at(base_url) as target:
        await _ask_until_finished(target)
        left.set()
        for _ in range(5):
            await _ask_until_finished(target)
    assert ports[0] in ports[1:]


class KeptConnections:
    """A server on blocking sockets, so that a test decides what it does before the client's event loop sees any of it."""

    def __init__(self) -> None:
        self.read_bytes = 0
        """Of requests that were not answered."""
        self.answered = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> "KeptConnections":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def answer(self) -> socket.socket:
        """Answers the first request of the next connection."""
        connection, _ = self._listener.accept()
        connection.settimeout(WAIT_S)
        self._read(connection)
        body = STOP + DONE
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.answered += 1
        return connection

    def break_off(self, connection: socket.socket) -> None:
        """Reads a request and closes instead of answering it."""
        self.read_bytes += self._read(connection)
        connection.close()

    def reset(self, connection: socket.socket) -> None:
        """The same, but the client is told of it by a reset."""
        self.read_bytes += self._read(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def _read(self, connection: socket.socket) -> int:
        """Reads a request; its bytes."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        missing = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        while missing > 0:
            missing -= len(connection.recv(65536))
        return len(data)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("size_bytes", [2, 4 * LARGE_BODY_BYTES])
def test_a_connection_that_was_closed_before_the_request_is_replaced_without_a_word(
    size_bytes: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def ask_twice() -> None:
        with KeptConnections() as server:
            async with target_at(server.base_url) as target:
                first = asyncio.create_task(collect(target))
                kept = await asyncio.to_thread(server.answer)
                assert await first == [Accepted(), Finished()]
                second = asyncio.create_task(collect(target, prompt("x" * size_bytes)))
                kept.close()  # the event loop does not see it before the request is written
                (await asyncio.to_thread(server.answer)).close()
                assert await second == [Accepted(), Finished()]
        assert server.answered == 2

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("size_bytes", [2, 4 * LARGE_BODY_BYTES])
@pytest.mark.parametrize("end", [KeptConnections.break_off, KeptConnections.reset])
def test_a_request_that_may_have_been_read_is_not_sent_again(
    end: Callable[[KeptConnections, socket.socket], None],
    size_bytes: int,
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask_twice() -> None:
        with KeptConnections() as server:
            async with target_at(server.base_url) as target:
                first = asyncio.create_task(collect(target))
                kept = await asyncio.to_thread(server.answer)
                assert await first == [Accepted(), Finished()]
                second = asyncio.create_task(collect(target, prompt("x" * size_bytes)))
                await asyncio.to_thread(end, server, kept)
                events = await second
        assert len(events) == 1
        assert error_in(events).code == "upstream_unavailable"
        assert "closed the connection before it answered" in error_in(events).message
        assert (server.answered, server.read_bytes > 0) == (1, True)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(ask_twice())


async def test_a_new_connection_that_closes_is_not_tried_again() -> None:
    connections = 0

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, target_at(f"http://127.0.0.1:{port}/v1") as target:
        events = await collect(target)
    assert len(events) == 1
    assert error_in(events).code == "upstream_unavailable"
    assert connections == 1


async def test_a_refused_connection_says_which_target() -> None:
    port = unused_port()
    async with target_at(f"http://127.0.0.1:{port}/v1") as target:
        events = await collect(target)
    assert len(events) == 1
    error = error_in(events)
    assert (error.code, error.status) == ("upstream_unavailable", 503)
    assert "'fake'" in error.message
    assert "Connection refused" in error.message


async def test_an_unknown_host_says_so() -> None:
    async with target_at("http://nowhere.invalid/v1") as target:
        error = error_in(await collect(target))
    assert error.code == "upstream_unavailable"
    assert "nowhere.invalid" in error.message


async def test_plain_http_where_tls_is_wanted_says_so() -> None:
    async with serve(answering(STOP)) as base_url, target_at(base_url.replace("http:", "https:")) as target:
        error = error_in(await collect(target))
    assert error.code == "upstream_unavailable"
    assert "TLS" in error.message


async def test_a_wrong_url_is_an_error_of_the_turn() -> None:
    async with target_at("http://[::1/v1") as target:
        assert error_in(await collect(target)).code == "upstream_unavailable"


async def test_a_rate_limit_is_a_lone_failure_with_its_wait() -> None:
    events = await ask(refusing(429, {"error": {"message": "slow down"}}, {"Retry-After": "2"}))
    assert len(events) == 1
    assert (error_in(events).code, error_in(events).retry_after_s) == ("rate_limit_exceeded", 2.0)


@pytest.mark.parametrize(("header", "sent"), [("x-api-key", KEY), ("api-key", KEY), ("Authorization", f"Bearer {KEY}")])
def test_the_key_goes_alone_in_any_header_but_authorization(header: str, sent: str) -> None:
    assert Endpoint("up", "", KEY, header, {"X-Extra": "1"}).sent_headers == {"X-Extra": "1", header: sent}


def test_a_configured_header_replaces_the_key_whatever_its_case() -> None:
    assert Endpoint("up", "", KEY, "x-api-key", {"X-Api-Key": "mine"}).sent_headers == {"X-Api-Key": "mine"}


async def test_the_key_is_in_no_error() -> None:
    for handler in (
        refusing(403, {"error": {"message": f"{KEY} may not"}}),
        refusing(400, {"error": {"message": f"bad {KEY}x"}}),
        answering(b'data: {"error":{"message":"bad ' + KEY.encode() + b'"}}\n\n'),
    ):
        assert KEY not in error_in(await ask(handler)).message


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    error = error_in(await ask(redirect))
    assert error.code == "upstream_error"
    assert "redirect" in error.message


async def test_of_an_endless_refusal_only_the_start_is_read() -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * ERROR_BODY_BYTES)
        except ConnectionError:
            return response

    assert error_in(await ask(refuse)).code == "upstream_error"


async def test_a_cut_after_text_is_a_failure() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await answering(TEXT)(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    events = await ask(answer)
    assert events[:2] == [Accepted(), TextDelta("Hi")]
    assert error_in(events).code == "upstream_error"
    assert "'fake'" in error_in(events).message


async def test_a_cut_after_the_finish_is_none() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await answering(TEXT, STOP)(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    assert await ask(answer) == [Accepted(), TextDelta("Hi"), Finished()]


async def test_a_body_that_ends_early_is_a_failure() -> None:
    assert error_in(await ask(answering(TEXT))).code == "upstream_error"


async def test_compressed_answers_are_read() -> None:
    body = gzip.compress(TEXT + STOP + DONE)
    handler = answering(body[:30], body[30:], headers={"Content-Encoding": "gzip"})
    assert await ask(handler) == [Accepted(), TextDelta("Hi"), Finished()]


async def test_broken_compression_is_a_failure() -> None:
    handler = answering(b"no gzip at all", headers={"Content-Encoding": "gzip"})
    assert error_in(await ask(handler)).code == "upstream_error"


@pytest.mark.parametrize("chunks", [(), (TEXT,)])
async def test_silence_is_a_failure_after_the_deadline(chunks: tuple[bytes, ...]) -> None:
    release = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = await answering(*chunks)(request) if chunks else web.StreamResponse()
        await asyncio.wait_for(release.wait(), WAIT_S)
        return response

    deadlines = HttpDeadlines(read_idle_s=0.05)
    async with serve(answer) as base_url, target_at(base_url, deadlines=deadlines) as target:
        events = await collect(target)
        release.set()
    assert error_in(events).code == "upstream_error"
    assert "sent nothing for 0.05 s" in error_in(events).message


async def test_a_warm_up_costs_no_request() -> None:
    async with target_at(f"http://127.0.0.1:{unused_port()}/v1") as target:
        events = await collect(target, prompt(generate=False))
    assert events == [Accepted(), UsageReported(0, 0), Finished()]


async def test_a_warm_up_prefills_by_flag() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
    flags = ChatCompletionsFlags(warm_up="prefill")
    async with serve(answering(TEXT, STOP, usage, DONE)) as base_url, target_at(base_url, flags) as target:
        assert await collect(target, prompt(generate=False)) == [Accepted(), UsageReported(5, 1), Finished()]


async def test_what_the_dialect_cannot_say_is_refused_without_a_request() -> None:
    async with target_at(f"http://127.0.0.1:{unused_port()}/v1") as target:
        events = await collect(target, prompt(tool_choice="required"))
    assert len(events) == 1
    assert error_in(events).param == "tool_choice"


async def test_a_target_is_ready_while_it_is_open() -> None:
    target = HttpTarget(Endpoint("fake", "http://127.0.0.1:1/v1"), ChatCompletions())
    assert not target.is_ready()
    assert error_in(await collect(target)).code == "upstream_unavailable"
    await target.open()
    assert target.is_ready()
    await target.close()
    await target.close()
    assert not target.is_ready()
