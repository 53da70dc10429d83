import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest

from landline.session.turn import Turn, TurnProgressed
from landline.wire.model_events import Finished, TextDelta
from support.servers.edge import RunningEdge, composed, create, running_edge, saying

DEADLINE_S = 10
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAA\r\n"
OFFERS = {
    "h2c": H2C,
    "foo": b"Connection: upgrade\r\nUpgrade: foo\r\n",
    "TLS": b"Upgrade: TLS/1.0, HTTP/2.0\r\nConnection: Upgrade\r\n",
    "websocket on a POST": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "on several lines": b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: IRC/6.9\r\nUpgrade: RTA/x11\r\n",
    "empty": b"Connection: Upgrade\r\nUpgrade: \r\n",
}


class Client:
    """A connection that reads and writes bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        """Ends the client's own side only."""
        self.writer.write_eof()

    async def read_line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), DEADLINE_S)

    async def read_head(self) -> tuple[int, str, dict[str, str]]:
        """Status, version and headers of the next answer."""
        version, status, *_ = (await self.read_line()).decode().split()
        headers: dict[str, str] = {}
        while (line := await self.read_line()) != b"\r\n":
            assert line, "the head broke off"
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return int(status), version, headers

    async def read_answer(self) -> tuple[int, dict[str, str], bytes]:
        """A whole answer, whose size is known, or that ends with the connection or its last chunk."""
        status, _, headers = await self.read_head()
        if "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), DEADLINE_S)
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self.read_line(), 16):
                body += (await asyncio.wait_for(self.reader.readexactly(size + 2), DEADLINE_S))[:-2]
            await self.read_line()
        else:
            body = await self.read_rest()
        return status, headers, body

    async def read_rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


@asynccontextmanager
async def connected(edge: RunningEdge):
    reader, writer = await asyncio.open_connection(edge.host, edge.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def post(text: str, *headers: bytes, version: str = "1.1", chunk_bytes: int = 0, **fields: object) -> bytes:
    """The bytes of one create; with `chunk_bytes`, in chunks of that size."""
    body = json.dumps(create(text, **fields)).encode()
    head = b"POST /v1/responses HTTP/%s\r\nHost: 127.0.0.1\r\n" % version.encode() + b"".join(headers)
    if not chunk_bytes:
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    pieces = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def texts(edge: RunningEdge) -> list[str]:
    return [json.loads(turn.body)["input"] for turn in edge.runner.started]


class Held:
    """A script whose turns are announced and then wait."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def script(self, turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        self.has_begun.set()
        await self.may_end.wait()
        composer.feed([TextDelta("late"), Finished()])
        yield composer.close(0)


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("chunk_bytes", [0, 7])
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_is_read(offer: bytes, chunk_bytes: int):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        for text in ("one", "two"):
            client.send(post(text, offer, chunk_bytes=chunk_bytes))
            status, headers, _ = await client.read_answer()
            assert (status, "upgrade" in headers, headers.get("connection")) == (200, False, None)
        client.send(post("three"))
        assert (await client.read_answer())[0] == 200
        assert texts(edge) == ["one", "two", "three"]


@pytest.mark.parametrize("chunk_bytes", [0, 7])
async def test_an_offer_is_ignored_however_its_bytes_arrive(chunk_bytes: int):
    request = post("piecemeal", H2C, chunk_bytes=chunk_bytes)
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        for at in range(0, len(request), 5):
            client.send(request[at : at + 5])
            await asyncio.sleep(0)
        assert (await client.read_answer())[0] == 200
        assert texts(edge) == ["piecemeal"]


async def test_requests_with_and_without_offers_may_be_sent_ahead():
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(post("1") + post("2", H2C) + post("3", H2C, chunk_bytes=9) + post("4"))
        for _ in range(4):
            assert (await client.read_answer())[0] == 200
        assert texts(edge) == ["1", "2", "3", "4"]


async def test_a_body_that_waits_for_100_is_asked_for_in_spite_of_an_offer():
    head, _, body = post("expected", H2C, b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(head + b"\r\n\r\n")
        assert (await client.read_head())[0] == 100
        client.send(body)
        assert (await client.read_answer())[0] == 200
        assert texts(edge) == ["expected"]


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"HEAD"])
async def test_an_offer_without_a_body_is_ignored_too(method: bytes):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(method + b" /v1/models/demo HTTP/1.1\r\nHost: localhost\r\n" + H2C + b"\r\n" + post("next"))
        status, _, headers = await client.read_head()
        assert status == (405 if method == b"DELETE" else 200)
        if method != b"HEAD":
            await client.reader.readexactly(int(headers["content-length"]))
        assert (await client.read_answer())[0] == 200


@pytest.mark.parametrize("offered", [b"websocket", b"WebSocket", b"h2c, websocket"])
async def test_a_websocket_among_the_offers_is_opened(offered: bytes):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(
            b"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nConnection: HTTP2-Settings\r\nUpgrade: "
            + offered
            + b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert (await client.read_head())[0] == 101


@pytest.mark.parametrize(
    ("version", "key"), [("1.0", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), ("1.1", b"")]
)
async def test_a_websocket_that_cannot_begin_is_asked_to_try_again(version: str, key: bytes):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        head = f"GET /v1/responses HTTP/{version}\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        client.send(head.encode() + key + b"\r\n")
        status, headers, body = await client.read_answer()
    assert (status, headers["upgrade"]) == (426, "websocket")
    assert json.loads(body)["error"]["code"] == "websocket_upgrade_required"


@pytest.mark.parametrize(
    "request_bytes", [b"\x16\x03\x01\x02\x00\x01", b"CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_bytes_that_are_no_request_get_an_error_of_ours(request_bytes: bytes):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(request_bytes)
        status, headers, body = await client.read_answer()
        assert await client.read_rest() == b""
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]["code"] == "invalid_value"


@pytest.mark.parametrize("offer", [b"", H2C])
async def test_a_stream_to_http_1_0_has_no_chunks_and_ends_with_the_connection(offer: bytes):
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(post("old", offer, b"Expect: 100-continue\r\n", version="1.0", stream=True))
        status, headers, body = await client.read_answer()
    assert (status, headers["connection"], "transfer-encoding" in headers) == (200, "close", False)
    assert body.startswith(b"event: response.created\n")
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_whole_answer_to_http_1_0_ends_the_connection():
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(post("old", version="1.0"))
        status, headers, body = await client.read_answer()
        assert await client.read_rest() == b""
    assert (status, headers["connection"], json.loads(body)["status"]) == (200, "close", "completed")


async def test_http_1_0_may_keep_its_connection_for_answers_of_known_size():
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        for _ in range(2):
            client.send(post("old", b"Connection: keep-alive\r\n", version="1.0"))
            status, headers, _ = await client.read_answer()
            assert (status, headers["connection"]) == (200, "keep-alive")
        client.send(post("old", b"Connection: keep-alive\r\n", version="1.0", stream=True))
        status, headers, body = await client.read_answer()
    assert (status, headers["connection"], body.endswith(b"data: [DONE]\n\n")) == (200, "close", True)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("is_late", [True, False])
async def test_a_client_that_ended_its_side_gets_its_answer(stream: bool, version: str, is_late: bool):
    held = Held()
    async with running_edge(held.script) as edge, connected(edge) as client:
        client.send(post("half", b"Connection: keep-alive\r\n", version=version, stream=stream))
        if is_late:
            await asyncio.wait_for(held.has_begun.wait(), DEADLINE_S)
        client.end()
        await asyncio.wait_for(held.has_begun.wait(), DEADLINE_S)
        asyncio.get_running_loop().call_later(0.1, held.may_end.set)
        status, headers, body = await client.read_answer()
        assert await client.read_rest() == b""
    assert status == 200
    assert b"late" in body
    assert body.endswith(b"data: [DONE]\n\n") == stream
    if not (stream and version == "1.1"):
        assert headers["connection"] == "close"


async def test_all_that_was_sent_ahead_is_answered_after_the_end_of_the_clients_side():
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(post("1") + post("2", stream=True) + post("3") + post("4")[:-3])
        client.end()
        for _ in range(3):
            assert (await client.read_answer())[0] == 200
        assert await client.read_rest() == b""
        assert texts(edge) == ["1", "2", "3"]


async def test_a_request_that_can_never_be_whole_is_given_up():
    async with running_edge(saying("hi")) as edge, connected(edge) as client:
        client.send(post("half")[:-3])
        client.end()
        assert await client.read_rest() == b""
        assert edge.runner.started == []


@pytest.mark.parametrize(("version", "stream"), [("1.1", True), ("1.1", False), ("1.0", False)])
async def test_a_client_that_closed_its_connection_cancels_its_turn(stream: bool, version: str):
    held = Held()
    async with running_edge(held.script) as edge, connected(edge) as client:
        client.send(post("gone", version=version, stream=stream))
        await asyncio.wait_for(held.has_begun.wait(), DEADLINE_S)
        if stream:
            await client.read_head()
            await client.read_line()
        client.writer.close()
        await asyncio.wait_for(edge.runner.all_closed(), 2)


async def test_a_client_that_is_gone_cancels_its_turn_though_more_was_sent_ahead():
    held = Held()
    async with running_edge(held.script) as edge, connected(edge) as client:
        client.send(post("running") + post("waiting"))
        await asyncio.wait_for(held.has_begun.wait(), DEADLINE_S)
        client.writer.close()
        await asyncio.wait_for(edge.runner.all_closed(), 2)
        assert texts(edge) == ["running"]
