"""What was sent to an upstream that never answered is counted to the byte, as what was answered is."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import pytest

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Prompt
from landline.upstream import HttpDeadlines, HttpTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.http_reply import LARGE_BODY_BYTES
from landline.upstream.target import Reply, batches_of
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent
from support.conversations.chat import create, lineage, message

ANSWER = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WAIT_S = 10
SIZES = pytest.mark.parametrize("size_bytes", [10, 4 * LARGE_BODY_BYTES])


class Upstream:
    """Reads requests and does with each, in their order, what it is told."""

    def __init__(self, *deeds: str) -> None:
        self.read_bytes = 0
        self.written_bytes = 0
        self.was_asked = asyncio.Semaphore(0)
        self._deeds = list(deeds)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing() and self._deeds:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.read_bytes += len(head) + len(await reader.readexactly(length))
            self.was_asked.release()
            await getattr(self, self._deeds.pop(0))(writer)

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
        self.written_bytes += len(data)
        writer.write(data)
        await writer.drain()

    async def close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def stay_silent(self, writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()


@asynccontextmanager
async def target_at(upstream: Upstream, read_idle_s: float = WAIT_S) -> AsyncGenerator[HttpTarget]:
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    target = HttpTarget(TargetEndpoint("up", url, deadlines=HttpDeadlines(read_idle_s=read_idle_s)), ChatCompletions())
    await target.open()
    try:
        yield target
    finally:
        await target.close()
        server.close()


def prompt(size_bytes: int) -> Prompt:
    history = lineage([[message("user", "x" * size_bytes)]])
    return Prompt(history=history, request=create(), model="m", response_id="resp_1")


async def collect(reply: Reply) -> list[ModelEvent]:
    async with aclosing(batches_of(reply)) as batches:
        return [event async for batch in batches for event in batch]


@SIZES
async def test_a_connection_that_is_closed_without_an_answer(size_bytes: int) -> None:
    upstream = Upstream("close")
    async with target_at(upstream) as target:
        asked = target.ask(prompt(size_bytes))
        assert isinstance((await collect(asked))[0], Failed)
    assert asked.traffic.sent_bytes == upstream.read_bytes > size_bytes
    assert (asked.traffic.received_bytes, asked.traffic.requests) == (0, 1)


@SIZES
async def test_a_kept_connection_that_is_closed_without_an_answer(size_bytes: int) -> None:
    upstream = Upstream("answer", "close")
    async with target_at(upstream) as target:
        before, asked = target.ask(prompt(10)), target.ask(prompt(size_bytes))
        assert await collect(before) == [Accepted(), Finished()]
        assert isinstance((await collect(asked))[0], Failed)
    assert before.traffic.sent_bytes + asked.traffic.sent_bytes == upstream.read_bytes > size_bytes
    assert before.traffic.received_bytes + asked.traffic.received_bytes == upstream.written_bytes
    assert asked.traffic.requests == 1


@SIZES
async def test_a_client_that_goes_while_the_upstream_is_silent(size_bytes: int) -> None:
    upstream = Upstream("stay_silent")
    async with target_at(upstream) as target:
        asked = target.ask(prompt(size_bytes))
        running = asyncio.create_task(collect(asked))
        await asyncio.wait_for(upstream.was_asked.acquire(), WAIT_S)
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled()
    assert asked.traffic.sent_bytes == upstream.read_bytes > size_bytes


async def test_an_upstream_that_is_silent_for_too_long() -> None:
    upstream = Upstream("stay_silent")
    async with target_at(upstream, read_idle_s=0.05) as target:
        asked = target.ask(prompt(10))
        assert isinstance((await collect(asked))[0], Failed)
    assert asked.traffic.sent_bytes == upstream.read_bytes > 0
