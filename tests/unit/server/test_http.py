import asyncio
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import brotli
import pytest
import zstandard
from structlog.testing import capture_logs

from landline.session.limits import Limits
from landline.session.turn import Turn, TurnProgressed, TurnRefused
from landline.wire.errors import api_error
from landline.wire.model_events import Failed, Finished, TextDelta
from support.servers.edge import RunningEdge, answering, composed, create, running_edge, saying

DEADLINE_S = 10
BROKEN = answering([TextDelta("a"), Failed(api_error("upstream_error", "It broke."))])


async def post(edge: RunningEdge, path: str = "/v1/responses", **request: Any):
    """Status, headers and body of one POST."""
    async with aiohttp.ClientSession() as http, http.post(edge.http_url + path, **request) as answer:
        return answer.status, answer.headers, await answer.read()


def records(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Event name and data of every record but the closing `[DONE]`, which must be there."""
    *events, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    lines = [event.split("\n") for event in events]
    assert all(len(each) == 2 for each in lines)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


def refusing(code: str, message: str = "No.", **more: Any):
    async def script(turn: Turn):
        yield TurnRefused(api_error(code, message, **more))

    return script


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/codex/responses", "/v1/codex/responses?beta=true"])
async def test_a_create_is_answered_by_the_whole_response(path: str):
    async with running_edge(saying("he", "llo")) as edge:
        status, headers, body = await post(edge, path, json=create())
    response = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert headers["x-request-id"].startswith("req_")
    assert (response["object"], response["status"]) == ("response", "completed")
    assert response["output"][0]["content"][0]["text"] == "hello"


async def test_a_stream_says_every_event_under_its_name_and_then_done():
    async with running_edge(saying("he", "llo")) as edge:
        status, headers, body = await post(edge, json=create(stream=True))
    events = records(body)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"].startswith("req_")
    assert all(name == data["type"] for name, data in events)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert events[-1][1]["response"]["output"][0]["content"][0]["text"] == "hello"


async def test_events_leave_as_they_come():
    release = asyncio.Event()

    async def script(turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        await release.wait()
        composer.feed([Finished()])
        yield composer.close(time.time())

    async with (
        running_edge(script) as edge,
        aiohttp.ClientSession() as http,
        http.post(f"{edge.http_url}/v1/responses", json=create(stream=True)) as answer,
    ):
        first = await asyncio.wait_for(answer.content.readline(), DEADLINE_S)
        release.set()
        rest = await answer.read()
    assert first == b"event: response.created\n"
    assert rest.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refused_turn_is_a_plain_http_error(stream: bool):
    async with running_edge(refusing("rate_limit_exceeded", "Slow down.", retry_after_s=2)) as edge:
        status, headers, body = await post(edge, json=create(stream=stream))
    assert (status, headers["content-type"], headers["retry-after"]) == (429, "application/json", "2")
    assert json.loads(body) == {
        "error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    }


async def test_a_stream_that_fails_says_error_then_failed_then_done():
    async with running_edge(BROKEN) as edge:
        status, _, body = await post(edge, json=create(stream=True))
    events = records(body)
    assert status == 200
    assert [name for name, _ in events[-2:]] == ["error", "response.failed"]
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    assert events[-2][1]["error"]["code"] == "upstream_error"
    assert events[-1][1]["response"]["error"]["code"] == "upstream_error"


async def test_a_failed_turn_without_stream_is_an_http_error():
    async with running_edge(BROKEN) as edge:
        status, _, body = await post(edge, json=create())
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_error")


async def test_an_incomplete_response_is_no_error():
    async with running_edge(answering([TextDelta("a"), Finished("max_output_tokens")])) as edge:
        status, _, body = await post(edge, json=create())
    assert (status, json.loads(body)["status"]) == (200, "incomplete")


async def test_a_warm_up_is_taken():
    async with running_edge(saying()) as edge:
        status, _, body = await post(edge, json=create(generate=False))
        assert edge.runner.started[0].request.is_warm_up
    assert (status, json.loads(body)["output"]) == (200, [])


async def test_a_stream_id_in_a_body_is_ignored():
    async with running_edge(saying("hi")) as edge:
        status, _, body = await post(edge, json=create(stream=True, stream_id="lane"))
    assert status == 200
    assert all("stream_id" not in data for _, data in records(body))


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"background": True, "store": False}, "invalid_value", "background"),
        ({"conversation": "conv_1", "store": False}, "invalid_value", "store"),
        ({"temperature": "hot"}, "invalid_value", "temperature"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], code: str, param: str, stream: bool):
    async with running_edge(saying("hi")) as edge:
        status, _, body = await post(edge, json=create(stream=stream, **fields))
        assert edge.runner.started == []
    error = json.loads(body)["error"]
    assert (status, error["code"], error["param"]) == (400, code, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"model=demo&input=hi"])
async def test_a_body_that_is_no_json_object_is_refused(body: bytes):
    async with running_edge(saying("hi")) as edge:
        status, _, answer = await post(edge, data=body)
    assert status == 400
    assert json.loads(answer)["error"]["code"] in ("invalid_json", "invalid_value")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_json_is_read_whatever_its_content_type_says(content_type: str):
    async with running_edge(saying("hi")) as edge:
        status, _, _ = await post(edge, data=json.dumps(create()), headers={"content-type": content_type})
    assert status == 200


@pytest.mark.parametrize(
    ("coding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstandard.compress)]
)
async def test_compressed_bodies_are_read(coding: str, encode: Callable[[bytes], bytes]):
    async with running_edge(saying("hi")) as edge:
        body = encode(json.dumps(create("x" * 200_000)).encode())
        status, _, _ = await post(edge, data=body, headers={"content-encoding": coding})
        assert len(edge.runner.started[0].history.items[0].raw) > 200_000
    assert status == 200


async def test_an_unknown_coding_is_refused():
    async with running_edge(saying("hi")) as edge:
        status, _, body = await post(edge, data=b"x", headers={"content-encoding": "compress"})
    assert (status, json.loads(body)["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("is_declared", [True, False])
async def test_an_oversize_body_is_refused(is_declared: bool):
    async def chunks():
        for _ in range(30):
            yield b"x" * 100_000

    async with running_edge(saying("hi"), limits=Limits(max_frame_bytes=100_000)) as edge:
        status, _, body = await post(edge, data=b"x" * 3_000_000 if is_declared else chunks())
    assert (status, json.loads(body)["error"]["code"]) == (400, "payload_too_large")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
async def test_the_least_output_tokens_are_a_setting(path: str):
    async with running_edge(saying("hi"), limits=Limits(min_output_tokens=2)) as edge:
        refused, _, body = await post(edge, path=path, json=create(max_output_tokens=1))
        allowed, _, _ = await post(edge, path=path, json=create(max_output_tokens=2))
    assert (refused, json.loads(body)["error"]["message"]) == (400, "Expected `int` >= 2 at `max_output_tokens`.")
    assert allowed != 400


@pytest.mark.parametrize("stream", [True, False])
async def test_a_turn_is_aborted_when_its_client_disconnects(stream: bool):
    has_begun = asyncio.Event()

    async def script(turn: Turn):
        yield TurnProgressed(composed(turn).open())
        has_begun.set()
        await asyncio.Event().wait()

    async with running_edge(script) as edge:
        posting = asyncio.create_task(post(edge, json=create(stream=stream)))
        await asyncio.wait_for(has_begun.wait(), DEADLINE_S)
        posting.cancel()
        await asyncio.wait_for(edge.runner.ended.wait(), DEADLINE_S)
        assert edge.runner.open_count == 0


async def test_a_turn_that_was_answered_may_put_its_things_away():
    has_put_away = asyncio.Event()

    async def script(turn: Turn):
        try:
            composer = composed(turn)
            composer.open()
            composer.feed([Finished()])
            yield composer.close(time.time())
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            has_put_away.set()

    async with running_edge(script) as edge:
        assert (await post(edge, json=create()))[0] == 200
        await asyncio.wait_for(has_put_away.wait(), DEADLINE_S)


async def test_a_fault_of_ours_is_a_server_error():
    async def script(turn: Turn):
        raise ValueError("a fault of ours")
        yield

    with capture_logs() as logs:
        async with running_edge(script) as edge:
            status, headers, body = await post(edge, json=create())
    assert (status, json.loads(body)["error"]["code"]) == (500, "server_error")
    (broke,) = [log for log in logs if log["log_level"] == "error"]
    assert broke["request_id"] == headers["x-request-id"]


async def test_a_fault_in_the_middle_of_a_stream_ends_it_as_failed():
    async def script(turn: Turn):
        yield TurnProgressed(composed(turn).open())
        raise ValueError("a fault of ours")

    with capture_logs() as logs:
        async with (
            running_edge(script) as edge,
            aiohttp.ClientSession() as http,
            http.post(f"{edge.http_url}/v1/responses", json=create(stream=True)) as answer,
        ):
            body = await answer.text()
    assert [line.partition(": ")[2] for line in body.splitlines() if line.startswith("event: ")][-2:] == [
        "error",
        "response.failed",
    ]
    assert body.endswith("data: [DONE]\n\n")
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["turn_broke"]


async def test_one_connection_serves_many_requests():
    async with running_edge(saying("hi")) as edge, aiohttp.ClientSession() as http:
        for stream in (True, False, True):
            async with http.post(f"{edge.http_url}/v1/responses", json=create(stream=stream)) as answer:
                assert answer.status == 200
                await answer.read()
        assert len(http.connector._conns) == 1
