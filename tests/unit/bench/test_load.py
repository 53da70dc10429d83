"""The load generator's clients, against the scripted upstream and against servers that fail."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from landline.bench.load import (
    SOCKET,
    WAYS,
    Conversation,
    SocketConnection,
    Turn,
    Way,
    history_of,
    open_conversation,
    open_http,
    open_socket,
    user_message,
)
from landline.bench.processes import BenchError
from landline.bench.upstream import Script
from support.fakes.scripted_upstream import running_upstream

SAY = user_message(Script(words=5).sentence)


class _Recording:
    """A connection that keeps what is asked and answers with a response of that number."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []

    async def ask(self, body: bytes, turn: Turn) -> None:
        self.asked.append(msgspec.json.decode(body))
        output = [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}]
        event = {"type": "response.completed", "response": {"id": f"resp_{len(self.asked)}", "output": output}}
        turn.feed(json.dumps(event).encode(), 1.0)

    def close(self) -> None: ...


@asynccontextmanager
async def server_that_says(answer: bytes) -> AsyncGenerator[str]:
    """The base URL of a server that answers whatever it reads first with these bytes, and closes."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_each_way_takes_turn_after_turn(way: Way) -> None:
    async with running_upstream() as base_url:
        conversation = await open_conversation(base_url, "any", way)
        turns = [await conversation.ask(SAY) for _ in range(3)]
        conversation.close()
    for turn in turns:
        assert turn.deltas == 5
        assert turn.sent_at < turn.first_delta_at <= turn.ended_at
        assert turn.events == turn.deltas + 8


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_a_later_turn_sends_what_its_way_says(way: Way) -> None:
    connection = _Recording()
    conversation = Conversation(connection, "m", way)
    await conversation.ask(user_message("one"), user_message("two"))
    await conversation.ask(user_message("three"))
    first, second = connection.asked
    assert first["input"] == [user_message("one"), user_message("two")]
    assert first["store"] is second["store"] is way.is_stored
    assert ("stream" in first, "type" in first) == (not way.is_socket, way.is_socket)
    if way.sends_all:
        said = [user_message("one"), user_message("two"), {"role": "assistant", "content": "Yes."}]
        assert second["input"] == [*said, user_message("three")]
        assert "previous_response_id" not in second
    else:
        assert second["input"] == [user_message("three")]
        assert second["previous_response_id"] == "resp_1"


async def test_paced_turns_tell_arrivals_and_journeys() -> None:
    async with running_upstream() as base_url:
        conversation = await open_conversation(base_url, "any", SOCKET)
        turn = await conversation.ask(user_message(Script(words=6, per_s=500).sentence), is_paced=True)
        conversation.close()
    assert len(turn.arrivals) == len(turn.journeys_s) == 6
    assert turn.arrivals == sorted(turn.arrivals)
    assert all(0 <= each < turn.duration_s + 1 for each in turn.journeys_s)


async def test_frames_are_read_however_they_are_cut() -> None:
    frames = b"\x81\x1c" + b"response.output_text.delta {" + b"\x01\x09response.\x80\x0bcompleted{}"
    for size in (1, 3, len(frames)):
        connection = SocketConnection("host", "/v1/responses")
        connection.connection_made(_NoTransport())
        connection.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        turn = Turn()
        asking = asyncio.create_task(connection.ask(b"{}", turn))
        await asyncio.sleep(0)
        for start in range(0, len(frames), size):
            connection.data_received(frames[start : start + size])
        await asking
        assert turn.deltas == 1
        assert turn.last == b"response.completed{}"


class _NoTransport(asyncio.Transport):
    """Takes what is written to it."""

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool:
        return False


async def test_a_failed_response_is_an_error_with_its_words() -> None:
    turn = Turn()
    turn.feed(b'{"type":"error","error":{"code":"no_such_model"}}', 1.0)
    turn.settle()
    with pytest.raises(BenchError, match="no_such_model"):
        await turn.done


async def test_a_status_is_an_error_with_its_body() -> None:
    answer = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 4\r\n\r\nlate"
    async with server_that_says(answer) as base_url:
        connection = await open_http(base_url)
        with pytest.raises(BenchError, match="status 503: late"):
            await connection.ask(b"{}", Turn())


async def test_a_stream_without_an_end_is_an_error() -> None:
    answer = b'HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\ndata: {"type":"x"}\n\n  '
    async with server_that_says(answer) as base_url:
        connection = await open_http(base_url)
        with pytest.raises(BenchError, match="the stream ended before the response did"):
            await connection.ask(b"{}", Turn())


async def test_a_server_without_sockets_is_an_error_with_its_status() -> None:
    async with server_that_says(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n") as base_url:
        with pytest.raises(BenchError, match=r"no socket here: HTTP/1\.1 404 Not Found"):
            await open_socket(base_url)


async def test_compression_that_is_not_granted_is_not_used() -> None:
    async with running_upstream() as base_url:
        connection = await open_socket(base_url, deflates=True)
        turn = await Conversation(connection, "scripted", SOCKET).ask(SAY)
        connection.close()
    assert not connection.is_deflated
    assert turn.deltas == 5


async def test_no_server_is_an_error() -> None:
    async with server_that_says(b"") as base_url:
        pass
    with pytest.raises(BenchError, match="cannot reach"):
        await open_http(base_url)
    with pytest.raises(BenchError, match="expected a URL"):
        await open_http("ftp://host/v1")


@pytest.mark.parametrize("size", [10_000, 123_456, 1_000_000])
def test_histories_have_their_size(size: int) -> None:
    messages = history_of(size, "name")
    assert size * 0.93 < len(msgspec.json.encode(messages)) <= size * 1.02
    assert [message["role"] for message in messages[:3]] == ["user", "assistant", "user"]
    assert all("name" in message["content"] for message in messages)
