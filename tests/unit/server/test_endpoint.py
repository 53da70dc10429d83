import asyncio
import gzip
import json
import zlib
from collections.abc import Sequence

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Scope

from landline.server import endpoint
from landline.server.endpoint import ClientGoneError, read_body, reply_error
from landline.wire.errors import ApiError, api_error


async def said(scope: Scope) -> list[Message]:
    """What an error sends."""
    messages: list[Message] = []

    async def send(message: Message):
        messages.append(message)

    await reply_error(scope, send, api_error("server_shutting_down", "Elsewhere."))
    return messages


@pytest.mark.parametrize(
    ("scope", "prefix"),
    [
        ({"type": "http"}, "http.response"),
        ({"type": "websocket", "extensions": {"websocket.http.response": {}}}, "websocket.http.response"),
    ],
)
async def test_an_error_is_json_with_its_status_and_headers(scope: Scope, prefix: str):
    start, body = await said(scope)
    assert (start["type"], start["status"], body["type"]) == (f"{prefix}.start", 503, f"{prefix}.body")
    assert (b"retry-after", b"1") in start["headers"]
    assert json.loads(body["body"])["error"]["code"] == "server_shutting_down"


@pytest.mark.parametrize("scope", [{"type": "websocket"}, {"type": "websocket", "extensions": {}}])
async def test_a_server_that_cannot_answer_a_handshake_refuses_it(scope: Scope):
    assert await said(scope) == [{"type": "websocket.close"}]


BODY = b'{"input":"' + b"hello " * 40_000 + b'"}'


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
    "": bytes,
}


async def read(
    data: bytes,
    coding: str = "",
    *,
    max_bytes: int = 10_000_000,
    chunk: int = 65_536,
    headers: Sequence[tuple[bytes, bytes]] = (),
):
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)] or [b""]
    messages = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]

    async def receive():
        return messages.pop(0)

    all_headers = [*headers, *([(b"content-encoding", coding.encode())] if coding else [])]
    return await read_body({"type": "http", "headers": all_headers}, receive, max_bytes=max_bytes)


@pytest.mark.parametrize("coding", ENCODERS)
async def test_every_coding_is_read(coding: str):
    assert await read(ENCODERS[coding](BODY), coding) == BODY


@pytest.mark.parametrize("coding", ENCODERS)
async def test_a_body_that_shrinks_very_well_is_read_whole(coding: str):
    data = bytes(3_000_000)
    assert await read(ENCODERS[coding](data), coding) == data


async def test_deflate_without_its_wrapper_is_read():
    assert await read(_raw_deflate(BODY), "deflate") == BODY


async def test_gzip_of_several_members_is_read():
    assert await read(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip") == b"one two"


async def test_zstd_of_several_frames_is_read():
    assert await read(zstandard.compress(b"one ") + zstandard.compress(b"two"), "zstd") == b"one two"


async def test_a_large_body_is_inflated_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint, "THREAD_BYTES", 10)
    assert await read(gzip.compress(BODY), "gzip") == BODY


@given(data=st.binary(max_size=5000), coding=st.sampled_from(sorted(ENCODERS)), chunk=st.integers(1, 700))
def test_any_split_gives_the_same_body(data: bytes, coding: str, chunk: int):
    assert asyncio.run(read(ENCODERS[coding](data), coding, chunk=chunk)) == data


@pytest.mark.parametrize("coding", ["compress", "gzip, zstd", "gzip, gzip"])
async def test_unknown_and_chained_codings_are_refused(coding: str):
    error = await read(BODY, coding)
    assert isinstance(error, ApiError)
    assert (error.code, error.status) == ("unsupported_media_type", 415)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_a_bomb_is_refused_without_being_inflated(coding: str, monkeypatch: pytest.MonkeyPatch):
    bomb = ENCODERS[coding](bytes(5_000_000))
    error = await read(bomb, coding, max_bytes=100_000)
    assert isinstance(error, ApiError)
    assert error.code == "payload_too_large"


@pytest.mark.parametrize("coding", sorted(ENCODERS))
async def test_a_body_of_just_the_limit_is_read(coding: str):
    data = b"a" * 1000
    assert await read(ENCODERS[coding](data), coding, max_bytes=1000) == data
    assert isinstance(await read(ENCODERS[coding](data), coding, max_bytes=999), ApiError)


async def test_a_declared_size_over_the_limit_is_refused_before_reading():
    async def receive():
        raise AssertionError("nothing may be read")

    scope = {"type": "http", "headers": [(b"content-length", b"1001")]}
    error = await read_body(scope, receive, max_bytes=1000)
    assert isinstance(error, ApiError)
    assert error.code == "payload_too_large"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
async def test_a_broken_body_is_refused(coding: str):
    error = await read(b"\x00not compressed at all", coding)
    assert isinstance(error, ApiError)
    assert error.code == "invalid_value"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_a_body_that_ends_early_is_refused(coding: str):
    error = await read(ENCODERS[coding](BODY)[:-12], coding)
    assert isinstance(error, ApiError)
    assert error.code == "invalid_value"


async def test_a_body_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(endpoint, "READ_TIMEOUT_S", 0.01)
    error = await read_body({"type": "http", "headers": []}, never, max_bytes=1000)
    assert isinstance(error, ApiError)
    assert error.status == 408


async def test_a_client_that_leaves_is_told_apart():
    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGoneError):
        await read_body({"type": "http", "headers": []}, receive, max_bytes=1000)
