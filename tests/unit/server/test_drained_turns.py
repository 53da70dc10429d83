"""What clients are told when a drain's grace is over: every request has an ending, on every transport."""

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from landline.stores.memory import MemoryStore
from support.servers.edge import read_until_closed
from support.servers.state import DEADLINE_S, StateServer, state_server

SLOW: dict[str, object] = {"model": "m", "input": "hi", "user": "slow"}
MUTE: dict[str, object] = {"model": "m", "input": "hi", "user": "mute"}


class FrozenStore(MemoryStore):
    """Answers no question about responses."""

    async def load_response(self, tenant: str, response_id: str):
        await asyncio.Event().wait()

    async def load_history(self, tenant: str, response_id: str):
        await asyncio.Event().wait()


async def start(
    server: StateServer, path: str, body: dict[str, object]
) -> asyncio.Task[tuple[int, str | None, dict[str, Any]]]:
    """Asks, and returns when the model is at work; the task's result is status, `retry-after` and body."""

    async def ask() -> tuple[int, str | None, dict[str, Any]]:
        async with server.client.post(server.url + path, json=body) as answer:
            return answer.status, answer.headers.get("retry-after"), await answer.json()

    asking = asyncio.create_task(ask())
    await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
    return asking


def line_to(server: StateServer):
    return connect(server.url.replace("http", "ws", 1) + "/responses")


def create_frame(body: dict[str, object], **fields: object) -> str:
    return json.dumps({"type": "response.create", **body, **fields})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", SLOW),
        ("/responses", MUTE),
        ("/responses", MUTE | {"stream": True}),
        ("/responses/compact", MUTE),
    ],
)
async def test_an_http_request_without_an_answer_gets_503_and_a_wait(path: str, body: dict[str, Any]):
    async with state_server() as server:
        asking = await start(server, path, body)
        server.line.stop()
        status, wait, answer = await asyncio.wait_for(asking, DEADLINE_S)
    assert (status, wait, answer["error"]["code"]) == (503, "1", "server_shutting_down")
    assert answer["error"]["type"] == "service_unavailable_error"


async def test_an_event_stream_ends_in_error_failed_and_done():
    async with state_server() as server, server.stream("POST", "/responses", SLOW | {"stream": True}) as stream:
        await stream.until("response.in_progress")
        server.target.permit(1)
        await stream.until("response.output_text.delta")
        server.line.stop()
        events = await stream.rest()
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["code"] == events[-1]["response"]["error"]["code"] == "server_shutting_down"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one "


async def test_a_stream_of_a_background_response_ends_incomplete_and_done():
    async with (
        state_server() as server,
        server.stream("POST", "/responses", SLOW | {"background": True, "stream": True}) as stream,
    ):
        await stream.until("response.in_progress")
        server.line.stop()
        assert [event["type"] for event in await stream.rest()][-1] == "response.incomplete"


async def test_turns_of_a_socket_fail_before_it_is_closed():
    async with state_server() as server, line_to(server) as line:
        await line.send(create_frame(SLOW))
        await line.send(create_frame(MUTE, stream_id="other"))
        await line.send(create_frame(SLOW, stream_id="other"))
        for _ in range(2):
            await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        server.line.stop()
        frames: list[dict[str, Any]] = []
        types, code = await read_until_closed(line, frames)
    assert code == 1001
    assert types.count("response.failed") == 1
    errors = [frame for frame in frames if frame["type"] == "error"]
    assert [(frame["stream_id"], frame["status"]) for frame in errors] == [("other", 503)] * 2
    assert all(frame["headers"] == {"retry-after": "1"} for frame in errors)


async def test_a_turn_that_is_still_being_prepared_is_refused():
    async with state_server(FrozenStore()) as server, line_to(server) as line:
        await line.send(create_frame(SLOW, previous_response_id="resp_elsewhere"))
        await asyncio.wait_for(await line.ping(), DEADLINE_S)
        server.line.stop()
        frames: list[dict[str, Any]] = []
        assert await read_until_closed(line, frames) == (["error"], 1001)
    assert frames[0]["error"]["code"] == "server_shutting_down"


async def test_a_request_that_hangs_elsewhere_gets_503_too():
    async with state_server(FrozenStore()) as server:
        server.edge.drain.abort_s = 0.05
        hanging = asyncio.create_task(server.error("GET", "/responses/resp_1"))
        await server.ask("GET", "/models")
        server.line.stop()
        status, code, _ = await asyncio.wait_for(hanging, DEADLINE_S)
    assert (status, code) == (503, "server_shutting_down")


async def test_a_body_that_never_comes_gets_503_too():
    async with state_server() as server:
        server.edge.drain.abort_s = 0.05
        host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        await server.ask("GET", "/models")
        server.line.stop()
        answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "server_shutting_down"
