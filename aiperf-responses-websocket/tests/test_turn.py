"""A turn's way: which socket and lane, what is sent on it, and what is done when a socket or a response is lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from aiperf_responses_websocket.exchange import RequestFailedError
from aiperf_responses_websocket.lines import Lines
from aiperf_responses_websocket.settings import TransportSettings
from aiperf_responses_websocket.turn import GivenUpError, Turn, TurnRequest

from .planned_server import PlannedServer


class Agent:
    """Conversations that send their full history each turn, as AIPerf's endpoint does."""

    def __init__(self, server: PlannedServer, settings: TransportSettings) -> None:
        self._server = server
        self._settings = settings
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.lines = Lines(settings)

    async def ask(self, text: str, conversation: str = "a", *, give_up_s: float | None = None, **request: Any) -> Turn:
        history = self.histories.setdefault(conversation, [])
        history.append({"role": "user", "content": text})
        made = TurnRequest(
            url=self._server.url,
            headers={"Authorization": "Bearer key"},
            payload={"model": "m", "input": list(history), "max_output_tokens": 99},
            conversation_id=conversation,
            is_first=len(history) == 1,
            **request,
        )
        turn = Turn(self.lines, self._settings, made, None)
        await turn.run(give_up_s=give_up_s)
        history.append({"role": "assistant", "content": "Hi."})
        return turn


@asynccontextmanager
async def agent(server: PlannedServer, **settings: Any) -> AsyncGenerator[Agent]:
    made = Agent(server, TransportSettings(**settings))
    try:
        yield made
    finally:
        await made.lines.close()


def texts(frame: dict[str, Any]) -> list[str]:
    return [item["content"] for item in frame["input"]]


async def test_a_conversation_keeps_its_socket_and_sends_what_is_new(server: PlannedServer) -> None:
    async with agent(server) as made:
        await made.ask("one")
        await made.ask("two")
    assert [texts(frame) for frame in server.frames] == [["one"], ["two"]]
    assert [frame.get("previous_response_id") for frame in server.frames] == [None, "resp_1"]
    assert server.sockets == [1, 1]
    assert server.headers[0]["authorization"] == "Bearer key"


async def test_the_whole_history_is_sent_where_it_is_asked_for(server: PlannedServer) -> None:
    async with agent(server, history="full") as made:
        await made.ask("one")
        await made.ask("two")
    assert texts(server.frames[1]) == ["one", "Hi.", "two"]
    assert "previous_response_id" not in server.frames[1]


async def test_each_conversation_has_a_socket_and_leaves_it_closed(server: PlannedServer) -> None:
    async with agent(server) as made:
        await made.ask("one", "a")
        await made.ask("one", "b")
        assert (server.sockets, made.lines.open_count) == ([1, 2], 2)
        made.lines.release("a")
        assert made.lines.open_count == 1


@pytest.mark.parametrize("word", ["close", "previous_response_not_found", "websocket_connection_limit_reached"])
async def test_a_lost_parent_or_socket_is_answered_with_the_full_history(server: PlannedServer, word: str) -> None:
    async with agent(server) as made:
        await made.ask("one")
        server.plan = [word]
        await made.ask("two")
        await made.ask("three")
    assert [texts(frame) for frame in server.frames] == [["one"], ["two"], ["one", "Hi.", "two"], ["three"]]
    expected = [1, 1, 1, 1] if word == "previous_response_not_found" else [1, 1, 2, 2]
    assert server.sockets == expected


@pytest.mark.parametrize(
    ("word", "code"),
    [("begin_and_close", "connection_lost"), ("fail", "server_error"), ("model_not_found", "model_not_found")],
)
async def test_what_has_begun_or_would_fail_again_is_not_repeated(server: PlannedServer, word: str, code: str) -> None:
    async with agent(server) as made:
        await made.ask("one")
        server.plan = [word]
        with pytest.raises(RequestFailedError) as raised:
            await made.ask("two")
        assert raised.value.code == code
        await made.ask("three")
    assert texts(server.frames[-1]) == ["one", "Hi.", "two", "three"]
    assert len(server.frames) == 3


async def test_a_new_socket_that_is_lost_is_an_error(server: PlannedServer) -> None:
    server.plan = ["close"]
    async with agent(server) as made:
        with pytest.raises(RequestFailedError, match=r".") as raised:
            await made.ask("one")
    assert raised.value.code == "connection_lost"
    assert len(server.frames) == 1


async def test_no_server_is_an_error_with_its_reason(server: PlannedServer) -> None:
    server.url = "ws://127.0.0.1:1/v1/responses"
    async with agent(server) as made:
        with pytest.raises(RequestFailedError) as raised:
            await made.ask("one")
    assert raised.value.code == "connection_failed"


async def test_a_prewarmed_conversation_begins_with_nothing_new(server: PlannedServer) -> None:
    async with agent(server, prewarm=True) as made:
        turn = await made.ask("one")
        await made.ask("two")
    warm_up, first, second = server.frames
    assert (texts(warm_up), warm_up["generate"]) == (["one"], False)
    assert (texts(first), first["previous_response_id"]) == ([], "resp_1")
    assert texts(second) == ["two"]
    assert turn.times.connect_started_ns is None  # the measured time begins after it


async def test_the_warm_up_phase_can_be_prefills(server: PlannedServer) -> None:
    async with agent(server, warmup_phase="prefill") as made:
        await made.ask("one", is_warm_up=True)
        await made.ask("two")
    assert server.frames[0]["generate"] is False
    assert "max_output_tokens" not in server.frames[0]
    assert texts(server.frames[1]) == ["Hi.", "two"]  # a warm-up made no answer of its own


async def test_lanes_share_a_socket_and_are_used_again(server: PlannedServer) -> None:
    async with agent(server, lanes=2) as made:
        await asyncio.gather(*(made.ask("one", conversation) for conversation in "abc"))
        made.lines.release("a")
        await made.ask("one", "d")
    assert sorted(server.sockets) == [1, 1, 1, 2]
    assert sorted(frame["stream_id"] for frame in server.frames) == ["lane-1", "lane-1", "lane-1", "lane-2"]


async def test_a_fork_continues_its_parent_on_a_lane_of_the_same_socket(server: PlannedServer) -> None:
    async with agent(server, lanes=2) as made:
        await made.ask("one", "parent")
        made.histories["child"] = list(made.histories["parent"])
        await made.ask("two", "child", parent_id="parent", root_id="parent")
    assert server.sockets == [1, 1]
    assert (texts(server.frames[1]), server.frames[1]["previous_response_id"]) == (["two"], "resp_1")
    assert server.frames[1]["stream_id"] == "lane-2"


@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_lane_that_was_given_up_is_not_read_again(server: PlannedServer, lanes: int) -> None:
    async with agent(server, lanes=lanes) as made:
        await made.ask("one", "b")
        server.plan = ["hang"]
        with pytest.raises(GivenUpError):
            await made.ask("one", "a", give_up_s=0.05)
        made.lines.abandon(made.lines.seat(server.url, "a"))
        await made.ask("two", "a")
    last, given_up = server.frames[-1], server.frames[-2]
    assert (server.sockets[-1], last.get("stream_id")) != (server.sockets[-2], given_up.get("stream_id"))


async def test_bytes_are_counted_as_they_are_on_the_wire(server: PlannedServer) -> None:
    sizes: dict[bool, int] = {}
    for deflate in (False, True):
        async with agent(server, deflate=deflate) as made:
            turn = await made.ask("word " * 400)
            assert turn.times.sent is not None
            assert turn.exchange is not None
            sizes[deflate] = turn.times.sent.size_bytes
            assert sum(size for _, size in turn.exchange.chunks) > 0
    assert sizes[False] > 2_000
    assert sizes[True] < 400
