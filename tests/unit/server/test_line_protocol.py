"""The socket protocol under a plain ASGI app, with real clients on a loopback port."""

import asyncio
import json
import zlib
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from landline.compression_budget import CompressionBudget, StepName
from landline.server.connection import wire_of
from landline.server.drain import Drain
from landline.server.lifecycle import LineServer, ServeSettings
from landline.server.outbox import TEXT_FRAMES
from support.compression_budgets import short_of_memory
from support.servers.byte_relay import ByteRelay

LIMIT_BYTES = 50_000


class RecordingApp:
    """Accepts every socket and puts what it receives into a queue."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.received: asyncio.Queue[Message] = asyncio.Queue()
        self._echoes = echoes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            self.received.put_nowait(message)
            if message["type"] == "websocket.disconnect":
                return
            if self._echoes:
                await send({"type": "websocket.send", "text": message["text"]})

    async def disconnect_code(self) -> object:
        while True:
            message = await asyncio.wait_for(self.received.get(), 10)
            if message["type"] == "websocket.disconnect":
                return message["code"]


@asynccontextmanager
async def serving(app: ASGIApp, *, compression: CompressionBudget | None = None, **settings: Any):
    started = asyncio.get_running_loop().create_future()
    server = LineServer(
        app,
        Drain(),
        ServeSettings(port=0, max_message_bytes=LIMIT_BYTES, drain_grace_s=0.0, **settings),
        compression=compression,
        on_started=lambda *bound: started.set_result(bound),
    )
    task = asyncio.create_task(server.run())
    try:
        yield (await started)[1]
    finally:
        server.stop()
        await task


async def test_a_cut_is_reported_as_1006():
    app = RecordingApp()
    async with serving(app) as port:
        line = await connect(f"ws://127.0.0.1:{port}")
        line.transport.abort()
        assert await app.disconnect_code() == 1006


async def test_an_end_of_stream_without_close_frame_is_a_cut():
    app = RecordingApp()
    async with serving(app) as port:
        line = await connect(f"ws://127.0.0.1:{port}")
        line.transport.close()
        assert await app.disconnect_code() == 1006


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
async def test_a_close_frame_is_reported_with_its_code(code: int):
    app = RecordingApp()
    async with serving(app) as port:
        async with connect(f"ws://127.0.0.1:{port}") as line:
            await line.close(code)
        assert await app.disconnect_code() == code


async def test_a_close_frame_without_code_is_no_cut():
    app = RecordingApp()
    async with serving(app) as port, connect(f"ws://127.0.0.1:{port}") as line:
        line.transport.write(Frame(Opcode.CLOSE, b"").serialize(mask=True))
        assert await app.disconnect_code() == 1005


async def test_deflate_is_granted_with_the_full_window_and_takeover():
    async with serving(RecordingApp()) as port, connect(f"ws://127.0.0.1:{port}") as line:
        header = line.response.headers["Sec-WebSocket-Extensions"]
        (extension,) = line.protocol.extensions
    assert isinstance(extension, PerMessageDeflate)
    assert header == "permessage-deflate; client_max_window_bits=15"
    assert extension.local_max_window_bits == extension.remote_max_window_bits == 15
    assert not extension.local_no_context_takeover
    assert not extension.remote_no_context_takeover


async def test_a_bare_offer_is_granted():
    head = (
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    async with serving(RecordingApp()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert b"sec-websocket-extensions: permessage-deflate\r\n" in answer.lower()


async def test_nothing_is_compressed_that_was_not_offered():
    async with serving(RecordingApp()) as port, connect(f"ws://127.0.0.1:{port}", compression=None) as line:
        assert "Sec-WebSocket-Extensions" not in line.response.headers


async def test_a_repeated_frame_costs_next_to_nothing_both_ways():
    app = RecordingApp(echoes=True)
    text = "".join(chr(33 + number * 7919 % 89) for number in range(10_000))
    async with serving(app) as port:
        with ByteRelay(port) as relay:
            async with connect(f"ws://127.0.0.1:{relay.port}", ping_interval=None) as line:
                sizes = []
                for _ in range(2):
                    await line.send(text)
                    assert await line.recv() == text
                    sizes.append((len(relay.connections[0].sent), len(relay.connections[0].received)))
    (sent_once, received_once), (sent_twice, received_twice) = sizes
    assert sent_twice - sent_once < 200
    assert received_twice - received_once < 200


@pytest.mark.parametrize("step", ["15_bits", "12_bits", "10_bits", "per_message", "none"])
async def test_a_websockets_client_gets_along_with_every_step(step: StepName):
    budget = short_of_memory(step)
    held_before = budget.used_bytes
    app = RecordingApp(echoes=True)
    async with serving(app, compression=budget) as port:
        async with connect(f"ws://127.0.0.1:{port}") as line:
            for text in ("a" * 20_000, "b", "a" * 20_000):
                await line.send(text)
                assert await line.recv() == text
            assert budget.sockets["client", step] >= 1
            assert (budget.used_bytes > held_before) == (step != "none")
        assert await app.disconnect_code() == 1000
    assert budget.used_bytes == held_before


@pytest.mark.parametrize("step", ["15_bits", "12_bits", "10_bits", "per_message", "none"])
async def test_an_aiohttp_client_gets_along_with_every_step(step: StepName):
    budget = short_of_memory(step)
    async with (
        serving(RecordingApp(echoes=True), compression=budget) as port,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/", compress=15) as line,
    ):
        assert bool(line.compress) == (step != "none")
        for text in ("a" * 20_000, "b", "a" * 20_000):
            await line.send_str(text)
            assert await line.receive_str(timeout=10) == text


@pytest.mark.parametrize("step", ["15_bits", "per_message", "none"])
async def test_many_texts_of_one_message_arrive_one_by_one(step: StepName):
    texts = ["a" * 20_000, "", "ü", "a" * 20_000, "b" * 70_000]

    class Sender(RecordingApp):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                assert TEXT_FRAMES in scope["extensions"]
                await receive()
                await send({"type": "websocket.accept"})
                await send({"type": TEXT_FRAMES, "frames": [text.encode() for text in texts]})
                await send({"type": "websocket.send", "text": "last"})
                await receive()
                return
            await super().__call__(scope, receive, send)

    async with (
        serving(Sender(), compression=short_of_memory(step)) as port,
        connect(f"ws://127.0.0.1:{port}") as line,
    ):
        assert [await line.recv() for _ in range(len(texts) + 1)] == [*texts, "last"]


async def test_texts_for_a_client_that_left_raise_an_os_error():
    raised = asyncio.get_running_loop().create_future()

    class Sender(RecordingApp):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                while (await receive())["type"] != "websocket.disconnect":
                    pass
                try:
                    await send({"type": TEXT_FRAMES, "frames": [b"late"]})
                except OSError as error:
                    raised.set_result(error)
                return
            await super().__call__(scope, receive, send)

    async with serving(Sender()) as port:
        async with connect(f"ws://127.0.0.1:{port}"):
            pass
        assert isinstance(await asyncio.wait_for(raised, 10), OSError)


async def test_memory_is_given_back_however_a_socket_ends():
    budget = CompressionBudget()
    app = RecordingApp()
    async with serving(app, compression=budget) as port:
        closed, cut, refused = [await connect(f"ws://127.0.0.1:{port}", max_size=None) for _ in range(3)]
        assert budget.sockets["client", "15_bits"] == 3
        await closed.close()
        cut.transport.abort()
        await refused.send("x" * (LIMIT_BYTES + 1))
        await refused.wait_closed()
        assert [await app.disconnect_code() for _ in range(3)]
    assert budget.used_bytes == 0
    assert not any(budget.sockets.values())


async def test_a_refused_upgrade_holds_no_memory():
    async def refusing(scope: Scope, receive: Receive, send: Send):
        if scope["type"] == "lifespan":
            return await RecordingApp()(scope, receive, send)
        await receive()
        await send({"type": "websocket.close"})
        return None

    budget = CompressionBudget()
    async with serving(refusing, compression=budget) as port:
        with pytest.raises(InvalidStatus):
            await connect(f"ws://127.0.0.1:{port}")
    assert (budget.used_bytes, sum(budget.sockets.values())) == (0, 0)


@pytest.mark.parametrize(
    ("budget", "offered", "words"),
    [
        (CompressionBudget(), "deflate", "deflate, 15-bit window"),
        (CompressionBudget(0), "deflate", "none (memory is short)"),
        (CompressionBudget(), None, "none offered by the client"),
        (CompressionBudget(0), None, "none offered by the client"),
    ],
)
async def test_the_scope_tells_what_was_agreed(budget: CompressionBudget, offered: str | None, words: str):
    told = []

    async def telling(scope: Scope, receive: Receive, send: Send):
        if scope["type"] == "websocket":
            told.append(wire_of(scope).compression)
        return await RecordingApp()(scope, receive, send)

    async with serving(telling, compression=budget) as port, connect(f"ws://127.0.0.1:{port}", compression=offered):
        assert told == [words]


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_an_oversize_frame_is_answered_and_then_closed(compression: str | None):
    app = RecordingApp()
    async with serving(app) as port:
        async with connect(f"ws://127.0.0.1:{port}", compression=compression) as line:
            await line.send("x" * (LIMIT_BYTES + 1))
            frame = json.loads(await line.recv())
            with pytest.raises(ConnectionClosed) as closed:
                await line.recv()
        assert (frame["type"], frame["status"], frame["error"]["code"]) == ("error", 400, "payload_too_large")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert await app.disconnect_code() == 1009


async def test_a_client_still_uploading_reads_the_error_too():
    async with (
        serving(RecordingApp()) as port,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"http://127.0.0.1:{port}/", compress=0) as line,
    ):
        await line.send_str("x" * 8_000_000)
        frame = await line.receive_json(timeout=10)
        closing = await line.receive(timeout=10)
    assert frame["error"]["code"] == "payload_too_large"
    assert (closing.type, closing.data) == (aiohttp.WSMsgType.CLOSE, 1009)


async def test_a_fragmented_oversize_message_is_refused():
    async with serving(RecordingApp()) as port, connect(f"ws://127.0.0.1:{port}") as line:
        await line.send("x" * 20_000 for _ in range(3))
        assert json.loads(await line.recv())["error"]["code"] == "payload_too_large"


async def test_a_message_of_just_the_limit_is_taken():
    app = RecordingApp(echoes=True)
    async with serving(app) as port, connect(f"ws://127.0.0.1:{port}") as line:
        await line.send("x" * LIMIT_BYTES)
        assert len(await line.recv()) == LIMIT_BYTES


async def test_a_bomb_is_refused():
    compressor = zlib.compressobj(9, wbits=-15)
    bomb = compressor.compress(bytes(40_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    async with serving(RecordingApp()) as port, connect(f"ws://127.0.0.1:{port}") as line:
        line.protocol.extensions[0].encode = lambda frame: Frame(Opcode.TEXT, bomb[:-4], rsv1=True)
        await line.send("x")
        assert json.loads(await line.recv())["error"]["code"] == "payload_too_large"
        with pytest.raises(ConnectionClosed) as closed:
            await line.recv()
    assert len(bomb) < LIMIT_BYTES
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_text_that_is_no_utf8_ends_the_connection():
    async with serving(RecordingApp()) as port, connect(f"ws://127.0.0.1:{port}", compression=None) as line:
        line.transport.write(Frame(Opcode.TEXT, b"\xff").serialize(mask=True))
        with pytest.raises(ConnectionClosed) as closed:
            await line.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


async def test_messages_before_a_refused_one_still_arrive():
    app = RecordingApp()
    async with serving(app) as port, connect(f"ws://127.0.0.1:{port}", compression=None) as line:
        first, second = Frame(Opcode.TEXT, b"one"), Frame(Opcode.TEXT, b"x" * (LIMIT_BYTES + 1))
        line.transport.write(first.serialize(mask=True) + second.serialize(mask=True)[:1000])
        assert (await asyncio.wait_for(app.received.get(), 10))["text"] == "one"
        assert await app.disconnect_code() == 1009


async def test_bytes_that_are_no_frame_end_the_connection():
    app = RecordingApp()
    async with serving(app) as port, connect(f"ws://127.0.0.1:{port}", compression=None) as line:
        line.transport.write(b"\xff\xff\xff\xff\xff\xff")
        with pytest.raises(ConnectionClosed) as closed:
            await line.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1002
        assert await app.disconnect_code() == 1002


async def test_the_server_pings_and_a_peer_that_answers_stays():
    app = RecordingApp(echoes=True)
    async with serving(app, ping_interval_s=0.01, ping_timeout_s=5.0) as port:
        with ByteRelay(port) as relay:
            async with connect(f"ws://127.0.0.1:{relay.port}", ping_interval=None, compression=None) as line:
                while bytes(relay.connections[0].received).count(b"\x89\x04") < 3:
                    await line.send("x")
                    await line.recv()
            assert await app.disconnect_code() == 1000


async def test_a_peer_that_answers_no_ping_is_given_up():
    app = RecordingApp()
    async with serving(app, ping_interval_s=0.01, ping_timeout_s=0.05) as port:
        line = await connect(f"ws://127.0.0.1:{port}", ping_interval=None)
        line.transport.pause_reading()
        assert await app.disconnect_code() == 1006
        line.transport.abort()


@pytest.mark.parametrize(
    "name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions"]
)
async def test_an_upgrade_with_a_header_that_is_not_utf_8_is_refused_and_closed(name: str):
    headers = {"Sec-WebSocket-Version": b"13", "Sec-WebSocket-Key": b"c2l4dGVlbiBieXRlcy4uLg==", name: b"caf\xe9 \xff"}
    lines = b"".join(b"%s: %s\r\n" % (each.encode(), value) for each, value in headers.items())
    async with serving(RecordingApp()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        offer = b"Host: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        writer.write(b"GET / HTTP/1.1\r\n" + offer + lines + b"\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert "caf\ufffd".encode() in answer
