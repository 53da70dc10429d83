import asyncio
import itertools
import json
import time
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from landline.session.limits import Limits
from landline.session.turn import Turn, TurnProgressed, TurnRefused
from landline.wire.errors import api_error
from landline.wire.model_events import Failed, Finished, TextDelta
from support.servers.edge import RunningEdge, answering, composed, create_frame, read_until_closed, running_edge, saying

DEADLINE_S = 10
TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")


async def read_turn(line: ClientConnection) -> list[dict[str, Any]]:
    """Every event up to the turn's end."""
    events = [json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))]
    while events[-1]["type"] not in TERMINAL:
        events.append(json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S)))
    return events


async def send_for_ever(line: ClientConnection, frame: str) -> None:
    while True:
        await line.send(frame)


def text_of(event: dict[str, Any]) -> str:
    return event["response"]["output"][0]["content"][0]["text"]


def waiting_after(*, delta_bytes: int = 1):
    """A script that says one delta and then waits for ever, as a slow model does."""

    async def script(turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open() + composer.feed([TextDelta("x" * delta_bytes)]))
        await asyncio.Event().wait()

    return script


async def test_a_create_is_answered_by_its_events_in_order():
    async with running_edge(saying("he", "llo")) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        events = await read_turn(line)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert text_of(events[-1]) == "hello"


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/codex/responses", "/v1/codex/responses"])
async def test_every_path_of_the_clients_speaks_websocket(path: str):
    async with running_edge(saying("hi")) as edge, connect(f"ws://{edge.host}:{edge.port}{path}?beta=true") as line:
        await line.send(create_frame())
        assert (await read_turn(line))[-1]["type"] == "response.completed"
        assert line.response.headers["x-request-id"].startswith("req_")


async def test_a_turn_continues_one_of_the_same_socket_without_a_store():
    async with running_edge(saying("hi")) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame("first", store=False))
        first = (await read_turn(line))[-1]["response"]["id"]
        await line.send(create_frame("second", store=False, previous_response_id=first))
        assert (await read_turn(line))[-1]["type"] == "response.completed"
    assert len(edge.runner.started[1].history.all_items()) == 3


async def test_lanes_run_side_by_side_and_creates_of_one_lane_one_after_the_other():
    release = asyncio.Event()

    async def script(turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        if turn.stream_id == "slow":
            await release.wait()
        composer.feed([TextDelta("done"), Finished()])
        yield composer.close(time.time())

    async with running_edge(script) as edge, connect(edge.socket_url) as line:
        for lane in ("slow", "slow", "fast"):
            await line.send(create_frame(stream_id=lane))
        ended = []
        while len(ended) < 3:
            event = json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))
            if event["type"] == "response.completed":
                ended.append(event["stream_id"])
                release.set()
    assert ended == ["fast", "slow", "slow"]
    assert [turn.stream_id for turn in edge.runner.started] == ["slow", "fast", "slow"]


async def test_a_binary_frame_is_read_like_a_text_frame():
    async with running_edge(saying("hi")) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame().encode())
        assert (await read_turn(line))[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        ('{"type":"session.update"}', "invalid_event_type"),
        ("[" * 100_000, "invalid_json"),
        ('{"type":"response.create","model":"demo","tools":' + "[" * 100_000, "invalid_json"),
    ],
)
async def test_a_wrong_frame_is_answered_and_the_socket_stays_open(frame: bytes | str, code: str):
    async with running_edge(saying("hi")) as edge, connect(edge.socket_url) as line:
        await line.send(frame)
        (error,) = await read_turn(line)
        assert (error["status"], error["error"]["code"]) == (400, code)
        await line.send(create_frame())
        assert (await read_turn(line))[-1]["type"] == "response.completed"


async def test_a_refused_turn_is_an_error_frame_with_its_wait():
    async def script(turn: Turn):
        yield TurnRefused(api_error("rate_limit_exceeded", "Slow down.", retry_after_s=2))

    async with running_edge(script) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        (error,) = await read_turn(line)
    assert (error["status"], error["headers"]) == (429, {"retry-after": "2"})


async def test_a_failed_turn_ends_in_response_failed_only():
    script = answering([TextDelta("a"), Failed(api_error("upstream_error", "It broke."))])
    async with running_edge(script) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        events = await read_turn(line)
    assert events[-1]["type"] == "response.failed"
    assert all(event["type"] != "error" for event in events)


async def test_response_cancel_stops_the_turn_at_the_runner():
    stopped = asyncio.Event()

    async def script(turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        await stopped.wait()
        composer.stop("cancelled")
        yield composer.close(time.time())

    async with running_edge(script) as edge, connect(edge.socket_url) as line:
        edge.runner.on_stop = stopped.set
        await line.send(create_frame())
        response_id = json.loads(await line.recv())["response"]["id"]
        await line.send(json.dumps({"type": "response.cancel", "response_id": response_id}))
        last = (await read_turn(line))[-1]
    assert edge.runner.stopped == [response_id]
    assert (last["type"], last["response"]["incomplete_details"]) == ("response.incomplete", {"reason": "cancelled"})


async def test_steer_is_answered_by_the_runner_and_its_successor_started():
    steered = asyncio.Event()

    async def script(turn: Turn):
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        if turn.request.previous_response_id is None:
            await steered.wait()
            [(_, answer)] = edge.runner.steer_answers
            yield TurnProgressed(composer.answer_steers([answer]))
        composer.feed([Finished()])
        yield composer.close(time.time())

    async with running_edge(script) as edge, connect(edge.socket_url) as line:
        edge.runner.on_steer = steered.set
        await line.send(create_frame())
        response_id = json.loads(await line.recv())["response"]["id"]
        await line.send(json.dumps({"type": "response.steer", "previous_response_id": response_id, "input": "x"}))
        assert "response.steer.accepted" in [event["type"] for event in await read_turn(line)]
        successor = (await read_turn(line))[-1]["response"]
    assert [target for target, _ in edge.runner.steer_answers] == [response_id]
    assert (successor["previous_response_id"], successor["status"]) == (response_id, "completed")


@pytest.mark.parametrize(("leave", "code"), [("close", 1000), ("cut", 1006)])
async def test_a_turn_is_aborted_when_its_client_goes_away(leave: str, code: int):
    with capture_logs() as logs:
        async with running_edge(waiting_after()) as edge:
            line = await connect(edge.socket_url)
            await line.send(create_frame())
            await line.recv()
            if leave == "close":
                await line.close()
            else:
                line.transport.abort()
            await asyncio.wait_for(edge.runner.ended.wait(), DEADLINE_S)
            assert edge.runner.open_count == 0
    (closed,) = [log for log in logs if log["event"] == "socket_closed"]
    assert (closed["code"], closed["turns"]) == (code, 1)


async def test_pings_are_answered_while_a_turn_runs():
    async with running_edge(waiting_after()) as edge, connect(edge.socket_url, ping_interval=None) as line:
        await line.send(create_frame())
        await line.recv()
        await asyncio.wait_for(await line.ping(), DEADLINE_S)


async def test_a_slow_reader_stalls_its_own_turn_and_nobody_elses():
    said = 0
    is_stalled = asyncio.Event()

    async def script(turn: Turn):
        nonlocal said
        composer = composed(turn)
        yield TurnProgressed(composer.open())
        if turn.request.user == "slow":
            while True:
                stall = asyncio.get_running_loop().call_later(0.2, is_stalled.set)
                yield TurnProgressed(composer.feed([TextDelta("x" * 100_000)]))
                stall.cancel()
                said += 1
                await asyncio.sleep(0)
        composer.feed([TextDelta("quick"), Finished()])
        yield composer.close(time.time())

    async with running_edge(script) as edge:
        slow = await connect(edge.socket_url, ping_interval=None, compression=None, max_queue=1)
        await slow.send(create_frame(user="slow"))
        slow.transport.pause_reading()
        await asyncio.wait_for(is_stalled.wait(), DEADLINE_S)
        said_at_stall = said
        async with connect(edge.socket_url) as quick:
            for _ in range(20):
                await quick.send(create_frame())
                assert text_of((await read_turn(quick))[-1]) == "quick"
        assert said == said_at_stall
        await slow.send(json.dumps({"type": "response.cancel", "response_id": edge.runner.started[0].response_id}))
        await asyncio.wait_for(edge.runner.was_stopped.wait(), DEADLINE_S)
        slow.transport.abort()
        await asyncio.wait_for(edge.runner.all_closed(), DEADLINE_S)


async def test_a_client_that_sends_but_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("landline.server.outbox.OVERFLOW_BYTES", 100_000)
    monkeypatch.setattr("landline.server.line_protocol.LINGER_S", 0.1)
    async with running_edge(saying("hi")) as edge:
        line = await connect(edge.socket_url, ping_interval=None, compression=None)
        line.transport.pause_reading()
        flood = asyncio.create_task(send_for_ever(line, '{"type":"' + "x" * 10_000 + '"}'))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(flood, DEADLINE_S)


async def test_client_that_reads_too_late_is_told_why_it_was_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("landline.server.outbox.OVERFLOW_BYTES", 100_000)
    async with running_edge(saying("hi")) as edge:
        line = await connect(edge.socket_url, ping_interval=None, compression=None)
        line.transport.pause_reading()
        with capture_logs() as logs:
            while not any(each["event"] == "socket_closed" for each in logs):
                await line.send('{"type":"' + "x" * 10_000 + '"}')
        line.transport.resume_reading()
        _, code = await read_until_closed(line)
    assert code == logs[-1]["code"] == 1008


async def test_an_unread_flood_of_turns_is_bounded_by_the_session():
    limits = Limits(max_queued_turns=2)
    async with running_edge(waiting_after(), limits=limits) as edge, connect(edge.socket_url) as line:
        for _ in range(4):
            await line.send(create_frame())
        error = (await read_turn(line))[-1]
    assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_an_idle_socket_is_closed_at_the_age_limit():
    async with running_edge(saying("hi"), limits=Limits(max_age_s=0.05)) as edge, connect(edge.socket_url) as line:
        (error,) = await read_turn(line)
        assert await read_until_closed(line) == ([], 1001)
    assert error["error"]["code"] == "websocket_connection_limit_reached"


@pytest.mark.parametrize("readings", range(1, 9))
async def test_the_age_limit_is_kept_whenever_the_clock_passes_it(readings: int):
    """Timers run a little early: the limit may pass between any two looks at the clock."""
    times = itertools.chain(itertools.repeat(0.0, readings), [0.0499], itertools.repeat(0.0501))
    limits = Limits(max_age_s=0.05)
    async with (
        running_edge(saying("hi"), limits=limits, clock=times.__next__) as edge,
        connect(edge.socket_url) as line,
    ):
        (error,) = await asyncio.wait_for(read_turn(line), DEADLINE_S)
    assert error["error"]["code"] == "websocket_connection_limit_reached"


async def test_a_turn_that_outlives_the_age_grace_is_aborted():
    limits = Limits(max_age_s=0.05, age_grace_s=0.1)
    async with running_edge(waiting_after(), limits=limits) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        types, code = await read_until_closed(line)
        await asyncio.wait_for(edge.runner.all_closed(), DEADLINE_S)
    assert (types[-1], code) == ("error", 1001)


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_turn_that_breaks_ends_and_the_socket_goes_on(is_early: bool):
    async def script(turn: Turn):
        if turn.request.user == "broken":
            if not is_early:
                yield TurnProgressed(composed(turn).open())
            raise ValueError("a fault of ours")
        async for update in saying("hi")(turn):
            yield update

    with capture_logs() as logs:
        async with running_edge(script) as edge, connect(edge.socket_url) as line:
            await line.send(create_frame(user="broken"))
            broken = await read_turn(line)
            await line.send(create_frame())
            assert (await read_turn(line))[-1]["type"] == "response.completed"
    (broke,) = [log for log in logs if log["log_level"] == "error"]
    assert broke["response_id"] == edge.runner.started[0].response_id
    types = [event["type"] for event in broken]
    assert types == (["error"] if is_early else ["response.created", "response.in_progress", "response.failed"])
    error = broken[-1]["error"] if is_early else broken[-1]["response"]["error"]
    assert (error["code"], broke["request_id"] in error["message"]) == ("server_error", True)


async def test_clients_that_come_and_go_leave_nothing_behind():
    async def visit(edge: RunningEdge, number: int) -> None:
        line = await connect(edge.socket_url, ping_interval=None, close_timeout=1)
        for lane in range(number % 4):
            await line.send(create_frame(stream_id=f"lane{lane}"))
        for _ in range(number % 7):
            await asyncio.wait_for(line.recv(), DEADLINE_S)
        if number % 2:
            line.transport.abort()
        else:
            await line.close()

    with capture_logs() as logs:
        async with running_edge(saying(*"many words")) as edge:
            await asyncio.gather(*(visit(edge, number) for number in range(60) if number % 4 or not number % 7))
            await asyncio.wait_for(edge.runner.all_closed(), DEADLINE_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [log["event"] for log in logs if log["log_level"] == "error"] == []
    assert len([log for log in logs if log["event"] == "socket_closed"]) == 48


async def test_an_upgrade_is_answered_426_when_sockets_are_off():
    async with running_edge(saying("hi"), is_socket_enabled=False) as edge, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(edge.socket_url)
        assert refused.value.status == 426
        assert refused.value.headers["upgrade"] == "websocket"
        async with http.get(f"{edge.http_url}/v1/responses", headers=UPGRADE) as answer:
            assert answer.status == 426
            assert (await answer.json())["error"]["code"] == "websocket_upgrade_required"
            assert answer.headers["x-request-id"].startswith("req_")


async def test_an_upgrade_elsewhere_is_answered_404():
    async with (
        running_edge(saying("hi")) as edge,
        aiohttp.ClientSession() as http,
        http.get(f"{edge.http_url}/v1/elsewhere", headers=UPGRADE) as answer,
    ):
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "not_found"


UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
