"""HttpTarget against a small server on loopback."""

import asyncio
import gzip
from contextlib import aclosing

import pytest
from aiohttp import web
from aiohttp.test_utils import unused_port

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt
from landline.upstream import HttpDeadlines, HttpTarget
from landline.upstream.answer_reader import FIRST_READ_BYTES, READ_BYTES
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.http_reply import ERROR_BODY_BYTES, LARGE_BODY_BYTES
from landline.upstream.upload import PIECE_BYTES
from landline.wire.model_events import Accepted, Finished, ModelEvent, TextDelta, UsageReported
from support.conversations.chat import create
from support.turns.http_target import (
    DONE,
    KEY,
    STOP,
    TEXT,
    WAIT_S,
    answering,
    ask,
    collect,
    error_in,
    prompt,
    refusing,
    serve,
    target_at,
)
from support.turns.reply import stream_of


async def test_a_turn_is_accepted_streamed_and_finished() -> None:
    assert await ask(answering(TEXT, TEXT, STOP, DONE)) == [Accepted(), TextDelta("Hi"), TextDelta("Hi"), Finished()]


async def test_an_answer_that_comes_whole_is_read_in_pieces_the_first_a_small_one() -> None:
    words = 4 * READ_BYTES // len(TEXT)
    async with (
        serve(answering(TEXT * words + STOP + DONE)) as base_url,
        target_at(base_url) as target,
    ):
        reply = target.ask(prompt())
        batches = [await reply.open()]
        while not isinstance(batches[-1][-1], Finished):
            batches.append(await reply.read())
        assert not reply.has_more
        await reply.close()
    assert [event for batch in batches for event in batch] == [Accepted(), *[TextDelta("Hi")] * words, Finished()]
    first_words = next(batch for batch in batches if TextDelta("Hi") in batch)
    assert len(first_words) <= 1 + FIRST_READ_BYTES // len(TEXT)
    assert all(len(batch) <= 1 + READ_BYTES // len(TEXT) for batch in batches)


async def test_what_has_come_and_was_not_read_is_more() -> None:
    async with serve(answering(TEXT * 1000 + STOP + DONE)) as base_url, target_at(base_url) as target:
        reply = target.ask(prompt())
        assert not reply.has_more
        await reply.open()
        await reply.read()
        assert reply.has_more
        await reply.close()
        assert not reply.has_more


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
            TargetEndpoint("fake", base_url, api_key=KEY, headers={"authorization": "Basic eA=="}), ChatCompletions()
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
    target = HttpTarget(TargetEndpoint("fake", "http://127.0.0.1:1/v1"), ChatCompletions())
    assert not target.is_ready()
    assert error_in(await collect(target)).code == "upstream_unavailable"
    await target.open()
    assert target.is_ready()
    await target.close()
    await target.close()
    assert not target.is_ready()
