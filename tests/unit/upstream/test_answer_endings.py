"""An answer ends when it is whole, whatever its server does with the connection; what only looks alive is silent."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from landline.dialects.anthropic import Anthropic
from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.dialect import Dialect, Prompt
from landline.dialects.gemini import Gemini
from landline.dialects.responses import Responses
from landline.upstream import HttpDeadlines, HttpTarget, line_socket
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.websocket import ResponsesSocketTarget
from landline.wire.model_events import Failed, Finished, ModelEvent, TextDelta, UsageReported
from support.conversations.chat import create, lineage, message
from support.turns.reply import stream_of

WAIT_S = 10
QUICK = HttpDeadlines(ending_s=0.05, counted_s=0.01)
PATIENT = HttpDeadlines(ending_s=WAIT_S, counted_s=0.01)
STERN = HttpDeadlines(read_idle_s=0.2, ending_s=0.05)
PROMPT = Prompt(history=lineage([[message("user", "Ahoy")]]), request=create(), model="m", response_id="resp_1")
SSE = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
COMMENT = b": still here\n\n"


def sse(*records: object) -> list[bytes]:
    return [b"data: " + json.dumps(record).encode() + b"\n\n" for record in records]


def chat(delta: dict[str, object], finish_reason: str | None = None, **members: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **members}


def gemini(text: str | None, finish_reason: str | None = None, **members: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}] if text else []}}
    if finish_reason is not None:
        candidate["finishReason"] = finish_reason
    return {"candidates": [candidate], **members}


CHAT_USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
MESSAGES = (
    {"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Aye"}},
    {"type": "content_block_stop", "index": 0},
)
RESPONSE = {"id": "r", "object": "response", "status": "completed", "output": []}
PINGS = {
    "comment": COMMENT,
    "blank line": b"\n",
    "ping event": b'event: ping\ndata: {"type": "ping"}\n\n',
    "keepalive event": b'data: {"type": "keepalive", "sequence_number": 7}\n\n',
    "record of nothing": b"data: {}\n\n",
    "empty data": b"data: \n\n",
}
EMPTY_CHUNKS = {
    "no choices": b'data: {"choices":[]}\n\n',
    "empty delta": b'data: {"choices":[{"index":0,"delta":{}}]}\n\n',
    "empty content": b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
}


class Upstream:
    """Answers every request with the same head and pieces; then it pings, or keeps silent, until its peer is gone."""

    def __init__(self, pieces: Sequence[bytes], *, head: str = SSE, ping: bytes = b"") -> None:
        self.head = head
        self.pieces = pieces
        self.ping = ping
        self.requests = 0
        self.gone = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        self.requests += 1
        writer.write(f"HTTP/1.1 200 OK\r\n{self.head}\r\n".encode())
        for piece in self.pieces:
            await self._write(writer, piece)
        pinging = asyncio.create_task(self._keep_pinging(writer))
        with contextlib.suppress(ConnectionError):  # reset if pings were not read
            await reader.read()
        pinging.cancel()
        writer.close()
        self.gone.set()

    async def _keep_pinging(self, writer: asyncio.StreamWriter) -> None:
        while self.ping:
            await self._write(writer, self.ping)
            await asyncio.sleep(0.005)

    async def _write(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        is_chunked = "chunked" in self.head
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        await writer.drain()


@asynccontextmanager
async def target_of(
    upstream: Upstream, dialect: Dialect, deadlines: HttpDeadlines = QUICK
) -> AsyncGenerator[HttpTarget]:
    server = await asyncio.start_server(upstream.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = HttpTarget(TargetEndpoint("slow", f"http://127.0.0.1:{port}/v1", deadlines=deadlines), dialect)
    await target.open()
    try:
        yield target
    finally:
        await target.close()
        server.close()


async def ask(upstream: Upstream, dialect: Dialect, deadlines: HttpDeadlines = QUICK) -> list[ModelEvent]:
    """The events of one turn, whose connection is given up behind it."""
    async with asyncio.timeout(WAIT_S / 2), target_of(upstream, dialect, deadlines) as target:
        async with aclosing(stream_of(target, PROMPT)) as batches:
            events = [event async for batch in batches for event in batch]
        await upstream.gone.wait()
    return events


CASES: dict[str, tuple[Dialect, list[bytes]]] = {
    "chat": (ChatCompletions(), sse(chat({"content": "Aye"}), chat({}, "stop"))),
    "chat with usage": (ChatCompletions(), sse(chat({"content": "Aye"}), chat({}, "stop"), CHAT_USAGE)),
    "chat with usage beside the end": (
        ChatCompletions(),
        sse(chat({"content": "Aye"}), chat({}, "stop", usage=CHAT_USAGE["usage"])),
    ),
    "chat that calls": (
        ChatCompletions(),
        sse(
            chat({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]}),
            chat({}, "tool_calls"),
        ),
    ),
    "chat cut behind its end": (
        ChatCompletions(),
        [*sse(chat({"content": "Aye"}, "stop")), b'data: {"choices":[],"us'],
    ),
    "messages": (
        Anthropic(),
        sse(*MESSAGES, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
    ),
    "messages without usage": (
        Anthropic(),
        sse(*MESSAGES, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    ),
    "gemini": (Gemini(), sse(gemini("Aye"), gemini(None, "STOP", usageMetadata={"promptTokenCount": 3}))),
    "gemini without usage": (Gemini(), sse(gemini("Aye", "STOP"))),
    "gemini with usage behind": (Gemini(), sse(gemini("Aye", "STOP"), {"usageMetadata": {"promptTokenCount": 3}})),
    "responses": (
        Responses(),
        sse({"type": "response.created", "response": RESPONSE}, {"type": "response.completed", "response": RESPONSE}),
    ),
    "chat as one object": (
        ChatCompletions(),
        [json.dumps({"choices": [{"message": {"content": "Aye"}, "finish_reason": "stop"}]}).encode()],
    ),
    "messages as one object": (
        Anthropic(),
        [
            json.dumps(
                {"type": "message", "content": [{"type": "text", "text": "Aye"}], "stop_reason": "end_turn"}
            ).encode()
        ],
    ),
    "gemini as an array": (Gemini(), [json.dumps([gemini("Aye"), gemini(None, "STOP")]).encode(), b"\n"]),
    "responses as one object": (Responses(), [json.dumps(RESPONSE)[:20].encode(), json.dumps(RESPONSE)[20:].encode()]),
}


@pytest.mark.parametrize("ping", [b"", COMMENT], ids=["silent", "commenting"])
@pytest.mark.parametrize("case", CASES)
async def test_an_answer_that_is_whole_ends_though_its_stream_stays_open(case: str, ping: bytes) -> None:
    dialect, pieces = CASES[case]
    if pieces[0][:1] in (b"{", b"["):
        ping = ping and b" \n"
    elif not pieces[-1].endswith(b"\n"):
        ping = b""
    events = await ask(Upstream(pieces, ping=ping), dialect)
    assert events[-1] == Finished()
    if "responses" not in case and "calls" not in case:
        assert TextDelta("Aye") in events


@pytest.mark.parametrize("head", ["", "Content-Length: 5000\r\n"], ids=["until the close", "too long a length"])
async def test_a_whole_body_of_json_ends_however_its_length_is_told(head: str) -> None:
    dialect, pieces = CASES["chat as one object"]
    assert (await ask(Upstream(pieces, head=head), dialect))[-1] == Finished()


async def test_a_body_of_json_that_pauses_is_read_on() -> None:
    _, [body] = CASES["chat as one object"]
    upstream = Upstream([body[:40]])

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio.get_running_loop().call_later(0.1, lambda: writer.write(b"%x\r\n%b\r\n" % (len(body) - 40, body[40:])))
        await Upstream.answer(upstream, reader, writer)

    upstream.answer = answer_late
    assert TextDelta("Aye") in await ask(upstream, ChatCompletions())


@pytest.mark.parametrize(
    "late",
    [
        CHAT_USAGE,
        chat({"content": " aye"}),
        chat({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}]}, "tool_calls"),
    ],
    ids=["usage", "text", "a call"],
)
async def test_what_comes_soon_behind_the_ending_counts(late: object) -> None:
    pieces = sse(chat({"content": "Aye"}, "stop"), late)
    events = await ask(Upstream(pieces), ChatCompletions())
    assert events[-1] == Finished()
    assert len(events) > 3


async def test_an_ending_that_more_followed_is_believed_later() -> None:
    """Gateways that write a finish reason into every chunk are read to the end of their stream."""
    upstream = Upstream(sse(*(chat({"content": "word "}, "stop") for _ in range(5))))
    last = sse(chat({"content": "end"}, "stop"))[0]

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asyncio.get_running_loop().call_later(0.1, lambda: writer.write(b"%x\r\n%b\r\n" % (len(last), last)))
        await Upstream.answer(upstream, reader, writer)

    upstream.answer = answer_late
    events = await ask(upstream, ChatCompletions(), HttpDeadlines(ending_s=0.02))
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text == "word " * 5 + "end"


async def test_what_came_while_the_event_loop_was_busy_is_not_too_late() -> None:
    """Its timers are then due together with what it has to read."""
    upstream = Upstream(sse(chat({"content": "Aye"}, "stop")))
    last = sse(chat({"content": " aye"}))[0]

    async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def write_and_hold_up() -> None:
            writer.write(b"%x\r\n%b\r\n" % (len(last), last))
            time.sleep(3 * QUICK.ending_s)

        asyncio.get_running_loop().call_later(QUICK.ending_s / 2, write_and_hold_up)
        await Upstream.answer(upstream, reader, writer)

    upstream.answer = answer_late
    events = await ask(upstream, ChatCompletions())
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Aye aye"


async def test_usage_behind_the_ending_saves_the_wait_for_it() -> None:
    dialect, pieces = CASES["chat with usage"]
    assert UsageReported(3, 2) in await ask(Upstream(pieces), dialect, PATIENT)


async def test_an_error_event_ends_a_relayed_response_that_stays_open() -> None:
    pieces = sse(
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
        {"type": "error", "code": "server_error", "message": "it broke"},
    )
    last = (await ask(Upstream(pieces, ping=COMMENT), Responses()))[-1]
    assert isinstance(last, Failed)
    assert "it broke" in last.error.message


@pytest.mark.parametrize("ping", PINGS)
@pytest.mark.parametrize("dialect", [ChatCompletions(), Anthropic(), Gemini(), Responses()])
async def test_pings_alone_are_silence(dialect: Dialect, ping: str) -> None:
    events = await ask(Upstream([], ping=PINGS[ping]), dialect, STERN)
    assert isinstance(events[-1], Failed)
    assert "sent nothing but keep-alives for 0.2 s" in events[-1].error.message


@pytest.mark.parametrize("ping", EMPTY_CHUNKS)
async def test_chunks_that_say_nothing_are_silence(ping: str) -> None:
    events = await ask(Upstream(sse(chat({"content": "A"})), ping=EMPTY_CHUNKS[ping]), ChatCompletions(), STERN)
    assert isinstance(events[-1], Failed)
    assert "keep-alives" in events[-1].error.message


@pytest.mark.parametrize(
    ("dialect", "sign"),
    [
        (ChatCompletions(), sse(chat({"reasoning_content": "hm"}))[0]),
        (ChatCompletions(), sse(chat({"tool_calls": [{"index": 0, "function": {"arguments": " "}}]}))[0]),
        (
            Anthropic(),
            sse({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": " "}})[0],
        ),
        (Gemini(), sse(gemini("hm"))[0]),
        (Responses(), sse({"type": "response.reasoning_summary_text.delta", "delta": "hm"})[0]),
        (ChatCompletions(), b"data: a record that comes in pieces"),
    ],
)
async def test_what_the_model_writes_ends_a_silence(dialect: Dialect, sign: bytes) -> None:
    async with (
        target_of(Upstream([], ping=sign), dialect, STERN) as target,
        aclosing(stream_of(target, PROMPT)) as batches,
    ):
        events: list[ModelEvent] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.6):
                async for batch in batches:
                    events += batch
    assert not any(isinstance(event, Failed) for event in events)


async def test_a_refusal_whose_body_does_not_end_is_told_at_once() -> None:
    upstream = Upstream([b'{"error": {"message": "', b'too many", "code": "rate_limit"}}'])

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        write = writer.write
        writer.write = lambda data: write(bytes(data).replace(b"200 OK", b"429 Too Many"))
        await Upstream.answer(upstream, reader, writer)

    upstream.answer = refuse
    [failed] = await ask(upstream, ChatCompletions())
    assert isinstance(failed, Failed)
    assert failed.error.code == "rate_limit_exceeded"


async def test_keepalive_events_on_a_socket_are_silence_and_hold_up_no_close(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep_alive(request: web.Request) -> web.WebSocketResponse:
        """Sends for as long as it can, and reads nothing, a close neither."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await socket.send_str('{"type": "keepalive", "sequence_number": 1}')
                await asyncio.sleep(0.005)
        return socket

    monkeypatch.setattr(line_socket, "CLOSE_TIMEOUT_S", 0.1)
    app = web.Application()
    app.router.add_get("/v1/responses", keep_alive)
    async with TestServer(app, host="127.0.0.1") as server, asyncio.timeout(WAIT_S):
        target = ResponsesSocketTarget(
            TargetEndpoint("slow", str(server.make_url("/v1")), deadlines=STERN), Responses()
        )
        await target.open()
        async with aclosing(stream_of(target, PROMPT)) as batches:
            [failed] = [event async for batch in batches for event in batch]
        await target.close()
    assert isinstance(failed, Failed)
    assert failed.error.code == "upstream_error"
