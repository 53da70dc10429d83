"""A fault of this server in one turn ends that turn, with `server_error` and where its reason is logged; nothing else."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect

import landline.server.account
import landline.server.sse_stream
import landline.server.websocket
import landline.session.session
from landline.ledger import Ledger
from landline.routing.router import Router
from landline.session.composer import Composer
from landline.session.session import Session
from landline.stores.memory import MemoryStore
from landline.turns.passes import Passes
from landline.turns.prefixes import PrefixIndex
from landline.turns.prepare import Preparer
from landline.turns.running import RunningTurn
from support.servers.state import DEADLINE_S, StateServer, state_server

POISON = "poison"
"""The turn in whose text it stands is the one that breaks."""
FAULT = "an arm fell off"
BEFORE = [
    (Preparer, "prepare"),
    (PrefixIndex, "adopt"),
    (Composer, "__init__"),
    (Passes, "__init__"),
    (RunningTurn, "_ask"),
    (MemoryStore, "lock_conversation"),
]
DURING = [
    (Composer, "open"),
    (Composer, "feed"),
    (Composer, "close"),
    (Composer, "answer_steers"),
    (MemoryStore, "begin_response"),
    (MemoryStore, "finish_response"),
]
AFTER = [(PrefixIndex, "remember"), (Router, "remember"), (MemoryStore, "finish_response")]
STEPS = pytest.mark.parametrize(
    ("owner", "name"), [*BEFORE[:-1], *DURING], ids=lambda each: each if isinstance(each, str) else each.__name__
)


def is_poisoned(*values: object) -> bool:
    return any(POISON in _shown(value) for value in values)


def _shown(value: object) -> str:
    for name in ("_turn", "turn"):
        value = getattr(value, name, value)
    return repr(getattr(value, "request", value))


def break_step(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, when: Callable[..., bool] = is_poisoned
) -> None:
    """The step raises in the turn that is poisoned."""
    real = getattr(owner, name)

    def step(*args: Any, **kwargs: Any) -> Any:
        if when(*args, *kwargs.values()):
            raise RuntimeError(FAULT)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, step)


def traces(logs: list[Any]) -> list[Any]:
    return [entry for entry in logs if entry.get("exc_info")]


def create(text: str, **fields: object) -> dict[str, object]:
    return {"model": "m", "input": text, "instructions": text, **fields}


def check_error(error: dict[str, Any], logs: list[Any]) -> None:
    assert error["code"] == "server_error"
    assert FAULT not in error["message"]
    [entry] = traces(logs)
    assert entry["request_id"] in error["message"]
    assert entry["request_id"].startswith("req_")


async def next_event(line: ClientConnection) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(line.recv(), DEADLINE_S))


async def lane_events(line: ClientConnection, lane: str) -> list[dict[str, Any]]:
    events = [await next_event(line)]
    while events[-1].get("stream_id") != lane or events[-1]["type"] not in (
        "response.completed",
        "response.failed",
        "error",
    ):
        events.append(await next_event(line))
    return [event for event in events if event.get("stream_id") == lane]


def socket_url(server: StateServer) -> str:
    return server.url.replace("http", "ws") + "/responses"


@STEPS
async def test_http_answers_500_and_goes_on(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    break_step(monkeypatch, owner, name)
    async with state_server() as server:
        with capture_logs() as logs:
            status, answer = await server.ask("POST", "/responses", create(POISON))
        assert status == 500
        check_error(answer["error"], logs)
        assert (await server.create("fine"))["status"] == "completed"


@STEPS
async def test_event_stream_ends_as_a_failed_one(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    break_step(monkeypatch, owner, name)
    async with state_server() as server:
        with capture_logs() as logs:
            async with server.client.post(f"{server.url}/responses", json=create(POISON, stream=True)) as answer:
                body = await asyncio.wait_for(answer.text(), DEADLINE_S)
        if answer.status == 500:
            check_error(json.loads(body)["error"], logs)
            return
        records = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
        assert records[-1] == "[DONE]"
        events = [json.loads(record) for record in records[:-1]]
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        check_error(events[-2]["error"], logs)
        assert events[-1]["response"]["error"]["code"] == "server_error"
        assert [event["sequence_number"] for event in events] == list(range(len(events)))


@STEPS
async def test_socket_goes_on_and_other_lanes_notice_nothing(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    break_step(monkeypatch, owner, name)
    async with state_server() as server, connect(socket_url(server)) as line:
        with capture_logs() as logs:
            await line.send(
                json.dumps({"type": "response.create", **create("slow one", user="slow", stream_id="good")})
            )
            await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
            await line.send(json.dumps({"type": "response.create", **create(POISON, stream_id="bad")}))
            await line.send(json.dumps({"type": "response.create", **create("behind it", stream_id="bad")}))
            broken = await lane_events(line, "bad")
            failed = broken[-1]
            check_error(failed["error"] if failed["type"] == "error" else failed["response"]["error"], logs)
            if failed["type"] == "error":
                assert (failed["status"], len(broken)) == (500, 1)
            else:
                assert [event["sequence_number"] for event in broken] == list(range(len(broken)))
            server.target.permit()
            ended = {event["stream_id"]: event["type"] for event in await _two_ends(line)}
        assert ended == {"good": "response.completed", "bad": "response.completed"}
        assert len(traces(logs)) == 1


async def _two_ends(line: ClientConnection) -> list[dict[str, Any]]:
    ends: list[dict[str, Any]] = []
    while len(ends) < 2:
        event = await next_event(line)
        if event["type"] in ("response.completed", "response.failed", "error"):
            ends.append(event)
    return ends


@pytest.mark.parametrize(
    ("owner", "name"),
    [step for step in [*BEFORE[:-1], *DURING] if step != (Composer, "open")],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_background_response_ends_as_failed(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, stream: bool
) -> None:
    break_step(monkeypatch, owner, name)
    async with state_server() as server:
        with capture_logs() as logs:
            body = create(POISON, background=True, stream=stream)
            async with server.client.post(f"{server.url}/responses", json=body) as answer:
                text = await asyncio.wait_for(answer.text(), DEADLINE_S)
            if stream and answer.status == 200:
                assert text.rstrip().endswith("[DONE]")
                assert "response.failed" in text
            elif answer.status == 200:
                response_id = json.loads(text)["id"]
                while (await server.ask("GET", f"/responses/{response_id}"))[1]["status"] in ("queued", "in_progress"):
                    if (owner, name) == (MemoryStore, "finish_response"):
                        await server.edge.background.wait_until_idle()
                        break  # what cannot be saved stays as it was
                    await asyncio.sleep(0)
            else:
                assert json.loads(text)["error"]["code"] == "server_error"
        assert len(traces(logs)) == 1
        assert (await server.create("fine"))["status"] == "completed"


@pytest.mark.parametrize(
    ("owner", "name"), AFTER[:2], ids=lambda each: each if isinstance(each, str) else each.__name__
)
async def test_fault_behind_the_answer_reaches_no_turn(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    broken: list[object] = []

    def once(*_: object) -> bool:
        broken.append(_)
        return len(broken) == 1

    break_step(monkeypatch, owner, name, when=once)
    async with state_server() as server, connect(socket_url(server)) as line:
        with capture_logs() as logs:
            for text in (POISON, "fine"):
                await line.send(json.dumps({"type": "response.create", **create(text, stream_id="a")}))
                assert (await lane_events(line, "a"))[-1]["type"] == "response.completed"
        assert len(traces(logs)) == 1


EDGE_STEPS: list[tuple[Any, str]] = [
    (landline.server.websocket, "encode_event"),
    (Session, "update_turn"),
    (landline.session.session, "admit"),
    (landline.server.websocket, "Account"),
    (Ledger, "begin_turn"),
    (Session, "receive_frame"),
]


@pytest.mark.parametrize(
    ("owner", "name"), EDGE_STEPS, ids=lambda each: each if isinstance(each, str) else each.__name__
)
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_fault_at_the_sockets_edge_ends_its_turn_only(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int
) -> None:
    calls: list[object] = []

    def this_time(*_: object) -> bool:
        calls.append(_)
        return len(calls) == after + 1

    async with state_server() as server, connect(socket_url(server)) as line:
        slow = create("slow one", user="slow", stream_id="good")
        await line.send(json.dumps({"type": "response.create", **slow}))
        await asyncio.wait_for(server.target.started.acquire(), DEADLINE_S)
        assert (await next_event(line))["stream_id"] == "good"
        break_step(monkeypatch, owner, name, when=this_time)
        with capture_logs() as logs:
            errors: list[dict[str, Any]] = []
            for _ in range(after + 2):
                await line.send(json.dumps({"type": "response.create", **create("x", stream_id="bad")}))
                while (event := await next_event(line))["type"] not in (
                    "response.completed",
                    "response.failed",
                    "error",
                ):
                    pass
                if event["type"] != "response.completed":
                    errors.append(event["error"] if event["type"] == "error" else event["response"]["error"])
            server.target.permit()
            assert (await lane_events(line, "good"))[-1]["type"] == "response.completed"
        [error] = errors
        check_error(error, logs)


async def test_fault_in_encoding_a_stream_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def second(*_: object) -> bool:
        calls.append(_)
        return len(calls) == 2

    break_step(monkeypatch, landline.server.sse_stream, "sse_records", when=second)
    async with state_server() as server:
        with capture_logs() as logs:
            async with server.stream("POST", "/responses", create("x", stream=True, user="slow")) as stream:
                events = [await stream.until("response.created"), await stream.until("response.in_progress")]
                server.target.permit()
                events += await stream.rest()
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        check_error(events[-2]["error"], logs)


async def test_turn_that_cannot_be_measured_is_entered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    break_step(monkeypatch, landline.server.account, "measure_turn")
    async with state_server() as server:
        with capture_logs() as logs:
            assert (await server.create(POISON, instructions=POISON))["status"] == "completed"
            assert (await server.create("fine"))["status"] == "completed"
        assert len(traces(logs)) == 1
