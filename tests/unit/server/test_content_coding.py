"""Compressed HTTP answers: what is chosen, what arrives, and that nothing waits."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landline.compression_budget import CompressionBudget
from landline.server.content_coding import CODINGS, MIN_BODY_BYTES, THREAD_BYTES, ContentCoding, choose_coding

JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


def decoder(coding: str):
    """What reads a stream as a client does: bytes in, what they say out, at once."""
    if coding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    return zstandard.ZstdDecompressor().decompressobj().decompress


def answering(*parts: bytes, headers: Sequence[tuple[bytes, bytes]], status: int = 200):
    """An application that sends these parts, each in a message of its own."""

    async def app(scope: Scope, receive: Receive, send: Send):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for part in parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": parts[-1]})

    return app


async def ask(app: ASGIApp, accepted: str | None, *, budget: CompressionBudget | None = None, method: str = "GET"):
    """The head's headers and the parts that leave for one request."""
    sent = []

    async def send(message: Message):
        sent.append(message)

    async def receive():
        return {"type": "http.request"}

    scope = {"type": "http", "method": method, "headers": [(b"accept-encoding", accepted.encode())]}
    await ContentCoding(app, budget or CompressionBudget())(scope, receive, send)
    return dict(sent[0]["headers"]), [message["body"] for message in sent[1:]]


def whole(body: bytes):
    return answering(body, headers=[JSON, (b"content-length", str(len(body)).encode())])


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("GZIP", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("gzip;q=0", None),
        ("*", "zstd"),
        ("*;q=0", None),
        ("*, zstd;q=0", "gzip"),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("br", None),
        ("gzip;q=nonsense", None),
    ],
)
def test_the_client_chooses_the_coding(accepted: str, chosen: str | None):
    assert choose_coding(accepted) == chosen


@given(st.text(max_size=60))
def test_whatever_is_accepted_can_be_read(accepted: str):
    assert choose_coding(accepted) in (None, *CODINGS)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size_bytes", [MIN_BODY_BYTES, 40_000, THREAD_BYTES + 1])
async def test_a_body_arrives_whole_with_its_size(coding: str, size_bytes: int):
    body = json.dumps("a b c " * size_bytes)[:size_bytes].encode()
    headers, [coded] = await ask(whole(body), coding)
    assert (headers[b"content-encoding"], headers[b"vary"]) == (coding.encode(), b"accept-encoding")
    assert headers[b"content-length"] == str(len(coded)).encode()
    assert len(coded) < size_bytes / 5
    assert decoder(coding)(coded) == body


@pytest.mark.parametrize(
    ("body", "accepted", "method"),
    [(b"x" * (MIN_BODY_BYTES - 1), "gzip", "GET"), (b"x" * 5000, "", "GET"), (b"x" * 5000, "gzip", "HEAD")],
)
async def test_small_bodies_unasked_ones_and_heads_stay_as_they_are(body: bytes, accepted: str, method: str):
    headers, parts = await ask(whole(body), accepted, method=method)
    assert parts == [body]
    assert b"content-encoding" not in headers
    assert headers[b"content-length"] == str(len(body)).encode()


@pytest.mark.parametrize("headers", [[(b"content-type", b"image/png")], [JSON, (b"content-encoding", b"br")], []])
async def test_what_does_not_shrink_is_left_alone(headers: list[tuple[bytes, bytes]]):
    app = answering(b"x" * 5000, headers=[*headers, (b"content-length", b"5000")])
    assert await ask(app, "gzip") == (dict([*headers, (b"content-length", b"5000")]), [b"x" * 5000])


@pytest.mark.parametrize("coding", CODINGS)
@given(
    events=st.lists(st.binary(min_size=1, max_size=500) | st.just(b"data: the same\n\n" * 300), min_size=1, max_size=20)
)
def test_every_write_of_a_stream_can_be_read_at_once(coding: str, events: list[bytes]):
    headers, parts = asyncio.run(ask(answering(*events, headers=[EVENTS]), coding))
    assert headers[b"content-encoding"] == coding.encode()
    assert b"content-length" not in headers
    read = decoder(coding)
    assert [read(part) for part in parts] == events


def test_a_stream_repeats_itself_for_next_to_nothing():
    event = b"data: " + bytes(range(32, 127)) * 200 + b"\n\n"
    _, parts = asyncio.run(ask(answering(event, event, b"data: [DONE]\n\n", headers=[EVENTS]), "gzip"))
    assert len(parts[1]) < len(event) / 50
    assert gzip.decompress(b"".join(parts)) == event * 2 + b"data: [DONE]\n\n"


async def test_a_stream_is_counted_while_it_runs():
    budget = CompressionBudget()
    used = []

    async def app(scope: Scope, receive: Receive, send: Send):
        await send({"type": "http.response.start", "status": 200, "headers": [EVENTS]})
        used.append(budget.used_bytes)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ask(app, "zstd", budget=budget)
    assert used == [CODINGS["zstd"].size_bytes]
    assert budget.used_bytes == 0


async def test_without_memory_a_stream_stays_plain():
    events = [b"data: a\n\n", b"data: [DONE]\n\n"]
    headers, parts = await ask(answering(*events, headers=[EVENTS]), "gzip", budget=CompressionBudget(1000))
    assert (b"content-encoding" in headers, parts) == (False, events)
