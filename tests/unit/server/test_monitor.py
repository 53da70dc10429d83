import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from importlib.resources import files
from typing import Any

import aiohttp
import msgspec
import pytest

from landline.monitor.state import Change, SessionDetail, Snapshot
from landline.server.monitor import EVENT_EVERY_S, EVENTS_PER_S, Audience
from support.ledger.synthetic import MadeUpAgents
from support.servers.edge import RunningEdge, running_edge, saying

PAGE = files("landline.monitor").joinpath("page")


@pytest.fixture
def agents() -> MadeUpAgents:
    agents = MadeUpAgents()
    agents.run(3, 4)
    return agents


@pytest.fixture
async def edge(agents: MadeUpAgents) -> AsyncIterator[RunningEdge]:
    async with running_edge(saying("hi"), monitor=agents.feed()) as running:
        yield running


@pytest.fixture
async def http(edge: RunningEdge) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(edge.http_url) as session:
        yield session


async def read_event(reply: aiohttp.ClientResponse) -> tuple[str, Any]:
    record = (await reply.content.readuntil(b"\n\n")).decode()
    name, data = re.fullmatch(r"event: (\w+)\ndata: (.*)\n\n", record, re.S).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return name, json.loads(data)


async def test_page_may_load_nothing_from_elsewhere(http: aiohttp.ClientSession) -> None:
    reply = await http.get("/monitor")
    assert reply.status == 200
    assert reply.content_type == "text/html"
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


async def test_every_file_that_the_page_names_is_there(http: aiohttp.ClientSession) -> None:
    html = await (await http.get("/monitor")).text()
    for name in {*re.findall(r'(?:src|href)="(monitor/[^"]+)"', html), "monitor/state"}:
        reply = await http.get(f"/{name}")
        assert reply.status == 200, name
    for file in PAGE.iterdir():
        for name in re.findall(r'from "\./([^"]+)"', file.read_text()):
            reply = await http.get(f"/monitor/{name}")
            assert reply.content_type == "text/javascript", name


def test_page_names_no_other_origin() -> None:
    for file in PAGE.iterdir():
        addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", file.read_text())
        assert [each for each in addresses if "www.w3.org" not in each] == [], file.name


async def test_trailing_slash_leads_home(http: aiohttp.ClientSession) -> None:
    reply = await http.get("/monitor/")
    assert reply.url.path == "/monitor"


async def test_page_can_be_switched_off() -> None:
    async with running_edge(saying("hi")) as edge, aiohttp.ClientSession(edge.http_url) as http:
        for path in ("/monitor", "/monitor/state", "/monitor/events", "/monitor/sessions/x"):
            assert (await http.get(path)).status == 404


async def test_state_is_the_view_that_was_asked_for(http: aiohttp.ClientSession, agents: MadeUpAgents) -> None:
    reply = await http.get("/monitor/state", params={"sessions": 2, "sort": "turns", "session": "sess_00001"})
    state = msgspec.json.decode(await reply.read(), type=Snapshot)
    assert len(state.sessions.rows) == 2
    assert state.sessions.known == 3
    assert state.totals.uploaded_bytes == agents.ledger.process.bytes.wire_in
    assert state.session is not None
    assert state.session.row.id == "sess_00001"
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("query", ["sort=name", "sessions=-1", "sessions=201", "offset=x", "show=some"])
@pytest.mark.parametrize("path", ["state", "events"])
async def test_wrong_parameters_name_themselves(http: aiohttp.ClientSession, path: str, query: str) -> None:
    reply = await http.get(f"/monitor/{path}?{query}")
    assert reply.status == 400
    assert (await reply.json())["error"]["param"] == query.partition("=")[0]


async def test_one_session_is_shown_with_its_turns(http: aiohttp.ClientSession, agents: MadeUpAgents) -> None:
    reply = await http.get("/monitor/sessions/sess_00002")
    detail = msgspec.json.decode(await reply.read(), type=SessionDetail)
    session = agents.ledger.session("sess_00002")
    assert session is not None
    assert [turn.response_id for turn in detail.turns] == [entry.response_id for entry in session.turns]


async def test_unknown_session_is_not_found(http: aiohttp.ClientSession) -> None:
    assert (await http.get("/monitor/sessions/nobody")).status == 404


async def test_events_are_a_snapshot_and_then_what_changes(http: aiohttp.ClientSession, agents: MadeUpAgents) -> None:
    async with http.get("/monitor/events?sessions=10") as reply:
        assert reply.content_type == "text/event-stream"
        name, data = await read_event(reply)
        assert name == "snapshot"
        assert msgspec.convert(data, Snapshot).sessions.known == 3
        agents.turn("sess_00001")
        name, data = await read_event(reply)
        assert name == "change"
        change = msgspec.convert(data, Change)
        assert change.totals is not None
        assert change.sessions is not None
        assert [row.id for row in change.sessions.rows] == ["sess_00001"]
        assert "choices" in data
        assert "session" not in data


async def test_a_watcher_is_told_that_nothing_happens(agents: MadeUpAgents) -> None:
    """Scripts on a page hear events, not comments: without any, a dead connection looks like a quiet server."""
    async with (
        running_edge(saying("hi"), monitor=agents.feed(), sse_silence_s=0.01) as edge,
        aiohttp.ClientSession(edge.http_url) as http,
        http.get("/monitor/events") as reply,
    ):
        await read_event(reply)
        assert await read_event(reply) == ("change", {"at": agents.now})


async def test_a_watcher_does_not_hold_up_a_server_that_stops(agents: MadeUpAgents) -> None:
    async with running_edge(saying("hi"), monitor=agents.feed(), drain_grace_s=60.0) as edge:
        async with aiohttp.ClientSession(edge.http_url) as http, http.get("/monitor/events") as reply:
            await read_event(reply)
            edge.server.stop()
            assert await read_event(reply) == ("stopping", {})
            assert await reply.content.read() == b""
        assert await asyncio.wait_for(edge.serving, 10) == 0


def test_many_watchers_are_told_less_often_and_so_no_more_together() -> None:
    audience = Audience()
    for watchers in (1, 10, 11, 500):
        with ExitStack() as stack:
            for _ in range(watchers):
                stack.enter_context(audience.joined())
            assert watchers / audience.pause_s <= EVENTS_PER_S
            assert (audience.pause_s == EVENT_EVERY_S) == (watchers <= 10)
    assert audience.pause_s == EVENT_EVERY_S


async def test_a_watcher_among_many_is_told_later(http: aiohttp.ClientSession, agents: MadeUpAgents) -> None:
    began = asyncio.get_running_loop().time()
    async with AsyncExitStack() as stack:
        replies = [await stack.enter_async_context(http.get("/monitor/events")) for _ in range(30)]
        await read_event(replies[-1])
        agents.turn("sess_00001")
        assert (await read_event(replies[-1]))[0] == "change"
        assert asyncio.get_running_loop().time() - began >= len(replies) / EVENTS_PER_S


async def test_nobody_is_told_anything_after_leaving(http: aiohttp.ClientSession, edge: RunningEdge) -> None:
    async with http.get("/monitor/events") as reply:
        await read_event(reply)
        assert len(asyncio.all_tasks()) > 0
        telling = [task for task in asyncio.all_tasks() if "_events" in repr(task.get_coro())]
        assert telling != []
    await asyncio.wait(telling, timeout=10)
    assert all(task.done() for task in telling)


async def test_the_head_of_the_events_is_an_answer_that_ends(edge: RunningEdge) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"HEAD /monitor/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
    writer.write(b"HEAD /monitor/state HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    answers = await asyncio.wait_for(reader.read(), 10)
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    writer.close()


async def test_api_tells_how_to_ask_for_other_methods(http: aiohttp.ClientSession) -> None:
    reply = await http.post("/monitor/state")
    assert reply.status == 405
    assert reply.headers["allow"] == "GET"
