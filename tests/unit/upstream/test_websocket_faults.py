"""ResponsesSocketTarget when something goes wrong: lost sockets, forgotten responses, errors, age, turns that are given up."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp.test_utils import unused_port

from landline.upstream.http_reply import HttpDeadlines
from landline.upstream.socket_settings import SocketSettings
from landline.wire.model_events import Failed, Relayed
from support.conversations.chat import message
from support.fakes.responses import (
    OPENAI,
    CutLine,
    Fail,
    FakeResponses,
    Reply,
    Silence,
)
from support.turns.socket_target import (
    KEY,
    LANES,
    WAIT_S,
    Clock,
    answers,
    error_of,
    sent,
    target_at,
    upstream,
)
from support.turns.target import Conversation


async def test_a_forgotten_response_is_followed_by_one_quiet_full_resend() -> None:
    async with upstream(*answers(3)) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        fake.forgets = True
        told = await client.ask("b")
        assert told.error is None
        await client.ask("c")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, None, 3), (0, "resp_2", 1)]
    assert next(event.kind for event in told.batches[0] if isinstance(event, Relayed)) == "response.created"


async def test_a_socket_at_its_limit_is_replaced_by_another() -> None:
    async with upstream(*answers(2), manners=OPENAI, settings=LANES) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        fake.expire_sockets()
        told = await client.ask("b")
        assert told.error is None
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (1, None, 3)]


async def test_a_socket_that_was_cut_between_turns_is_replaced() -> None:
    async with upstream(*answers(2)) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        fake.cut_sockets()
        told = await client.ask("b")
    assert told.error is None
    assert (fake.received[-1].socket, fake.received[-1].parent_id) == (1, None)
    assert fake.received[-1].conversation[-1]["content"][0]["text"] == "b"


async def test_a_cut_before_the_first_event_is_not_noticed() -> None:
    async with upstream(Reply("one"), CutLine(), Reply("two")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        told = await client.ask("b")
    assert told.error is None
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (1, None, 3)]


async def test_a_second_cut_is_told() -> None:
    async with upstream(CutLine(), CutLine()) as (fake, target):
        told = await Conversation(target).ask("a")
    assert told.error is not None
    assert (told.error.code, told.ended) == ("upstream_error", None)
    assert len(fake.received) == 2


async def test_a_cut_after_the_first_event_fails_the_turn() -> None:
    async with upstream(Reply("one"), Reply("two", cut_after=6), Reply("three")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        told = await client.ask("b")
        assert told.error is not None
        assert told.error.code == "upstream_error"
        assert told.ended is not None
        assert len(fake.received) == 2
        assert (await client.ask("b")).error is None
    assert sent(fake)[2] == (1, None, 3)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [(429, "rate_limit_exceeded", "rate_limit_exceeded"), (503, "server_is_overloaded", "server_is_overloaded")],
)
async def test_errors_are_passed_on_with_their_wait(status: int, code: str, expected: str) -> None:
    error = {"type": "rate_limit_error", "code": code, "message": "Slow down."}
    refusal = Fail({"type": "error", "status": status, "error": error, "headers": {"retry-after": "7"}})
    async with upstream(Reply("one"), refusal, Reply("two")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        told = await client.ask("b")
        assert told.error is not None
        assert (told.error.code, told.error.retry_after_s, told.ended) == (expected, 7.0, None)
        await client.ask("b")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, None, 3)], "the failed continuation evicts its parent"


async def test_a_failed_fork_keeps_its_parent() -> None:
    refusal = Fail({"type": "error", "status": 400, "error": {"code": "invalid_value", "message": "No."}})
    async with upstream(Reply("one"), refusal, Reply("two"), manners=OPENAI, settings=LANES) as (fake, target):
        main = Conversation(target)
        await main.ask("a")
        await main.fork("side").ask("b")
        await main.ask("c")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, "resp_1", 1)]


async def test_a_failed_response_is_no_parent() -> None:
    failing = Reply("one", fail_with={"code": "server_error", "message": "Broken."})
    async with upstream(failing, Reply("two")) as (fake, target):
        client = Conversation(target)
        told = await client.ask("a")
        assert told.error is not None
        await client.ask("b")
    assert sent(fake) == [(0, None, 1), (0, None, 1)]


async def test_nothing_follows_on_a_socket_after_an_error_in_mid_response() -> None:
    late = Fail({"type": "error", "error": {"code": "server_error", "message": "Broken."}}, is_late=True)
    async with upstream(late, Reply("two")) as (fake, target):
        client = Conversation(target)
        assert (await client.ask("a")).error is not None
        told = await client.ask("b")
    assert told.error is None
    assert [each.socket for each in fake.received] == [0, 1]


async def test_a_socket_is_retired_by_age_between_turns_only() -> None:
    clock = Clock()
    settings = SocketSettings(max_age_s=100, idle_close_s=1e9)
    steps = [Reply("one"), Reply("two", pause_after=3), Reply("three")]
    async with upstream(*steps, settings=settings, clock=clock) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        clock.now += 99
        turn = asyncio.create_task(client.ask("b"))
        await asyncio.to_thread(fake.wait_for_creates, 2)
        clock.now += 99
        target.close_idle()
        fake.release()
        assert (await turn).error is None
        await client.ask("c")
        assert target.open_sockets == 1
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (1, None, 5)]


async def test_idle_sockets_are_closed() -> None:
    clock = Clock()
    settings = SocketSettings(idle_close_s=50)
    async with upstream(*answers(2), settings=settings, clock=clock) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        clock.now += 49
        target.close_idle()
        assert target.open_sockets == 1
        clock.now += 1
        target.close_idle()
        assert target.open_sockets == 0
        await client.ask("b")
    assert sent(fake) == [(0, None, 1), (1, None, 3)]


async def test_a_wrong_key_is_an_error_of_this_server_and_is_not_told() -> None:
    async with FakeResponses(Reply("no"), key="another").serving() as fake, target_at(fake.base_url) as target:
        told = await Conversation(target).ask("a")
    assert error_of(told).code == "upstream_auth_error"
    assert KEY not in error_of(told).message


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with target_at(f"http://127.0.0.1:{unused_port()}/v1") as target:
        told = await Conversation(target).ask("a")
    assert error_of(told).code == "upstream_unavailable"


async def test_all_turns_on_a_line_hear_that_it_cannot_be_opened() -> None:
    async with target_at(f"http://127.0.0.1:{unused_port()}/v1", LANES) as target:
        turns = [Conversation(target, lane=str(number)).ask("a") for number in range(3)]
        told = await asyncio.gather(*turns)
        assert {error_of(each).code for each in told} == {"upstream_unavailable"}
        assert target.open_sockets == 0


async def test_a_turn_that_is_given_up_while_its_socket_opens_sends_nothing() -> None:
    connected = asyncio.Event()

    class Slow(asyncio.Protocol):
        """Takes connections and answers no upgrade."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            connected.set()

    server = await asyncio.get_running_loop().create_server(Slow, "127.0.0.1", 0)
    async with server, target_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1") as target:
        turn = asyncio.create_task(Conversation(target).ask("a"))
        await asyncio.wait_for(connected.wait(), WAIT_S)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        assert target.open_sockets == 1
    assert target.open_sockets == 0


async def test_silence_fails_the_turn_and_closes_its_socket() -> None:
    deadlines = HttpDeadlines(read_idle_s=0.05)
    async with upstream(Silence(), deadlines=deadlines) as (fake, target):
        told = await Conversation(target).ask("a")
        assert error_of(told).code == "upstream_error"
        await asyncio.to_thread(fake.wait_for_abort)
        assert target.open_sockets == 0


async def test_an_abandoned_turn_closes_its_socket_and_reaches_no_later_one() -> None:
    async with upstream(Reply("one"), Reply("abandoned", pause_after=5), Reply("two")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        async with aclosing(client.stream(client.turn("b"))) as batches:
            await anext(batches)
        await asyncio.to_thread(fake.wait_for_abort)
        told = await client.ask("c")
    assert told.output[0]["content"][0]["text"] == "two"
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (1, None, 3)]


async def test_an_abandoned_lane_is_drained_while_others_run() -> None:
    steps = [Reply("abandoned", pause_after=5), Reply("beside", pause_after=5), Reply("two"), Reply("three")]
    async with upstream(*steps, manners=OPENAI, settings=LANES) as (fake, target):
        main, side = Conversation(target, lane="main"), Conversation(target, lane="side")
        async with aclosing(main.stream(main.turn("a"))) as batches:
            await anext(batches)
            beside = asyncio.create_task(side.ask("b"))
            await asyncio.to_thread(fake.wait_for_creates, 2)
        told = await main.ask("c")
        assert told.output[0]["content"][0]["text"] == "two"
        assert fake.received[-1].lane == "lane_3", "the lane is not free until its turn has ended"
        fake.release()
        fake.release()
        assert (await beside).output[0]["content"][0]["text"] == "beside"
        assert (await side.ask("d")).error is None
    assert len(fake.upgrades) == 1
    assert [each.was_aborted for each in fake.received] == [False] * 4


async def test_a_turn_that_is_given_up_while_it_waits_leaves_no_trace() -> None:
    settings = SocketSettings(max_sockets=1)
    async with upstream(Reply("one", pause_after=1), Reply("two"), settings=settings) as (fake, target):
        first = asyncio.create_task(Conversation(target, line_id="1").ask("a"))
        await asyncio.to_thread(fake.wait_for_creates, 1)
        waiting = asyncio.create_task(Conversation(target, line_id="2").ask("b"))
        third = asyncio.create_task(Conversation(target, line_id="3").ask("c"))
        await asyncio.sleep(0)
        waiting.cancel()
        fake.release()
        assert (await first).error is None
        assert (await third).error is None
    assert len(fake.received) == 2


async def test_reasoning_that_the_upstream_cannot_read_is_left_out_once() -> None:
    strange: dict[str, Any] = {
        "type": "reasoning",
        "id": "rs_x",
        "summary": [],
        "encrypted_content": "gAAAA-of-another",
    }
    async with upstream(*answers(1)) as (fake, target):
        said = [message("user", "a"), strange, message("assistant", "so"), message("user", "b")]
        told = await Conversation(target).ask(said)
    assert told.error is None
    assert [len(each.body["input"]) for each in fake.received] == [4, 3]


@pytest.mark.parametrize("options", [{}, {"cut_after": 3}], ids=str)
async def test_a_closed_target_takes_no_turns(options: dict[str, Any]) -> None:
    async with upstream(Reply("one", **options)) as (_fake, target):
        await Conversation(target).ask("a")
    told = await Conversation(target).ask("b")
    assert error_of(told).code == "upstream_unavailable"
    assert target.open_sockets == 0


async def test_a_failure_tells_no_secrets() -> None:
    error = {"code": "invalid_value", "message": f"Your key {KEY} may not."}
    async with upstream(Fail({"type": "error", "status": 400, "error": error})) as (_fake, target):
        told = await Conversation(target).ask("a")
    assert KEY not in error_of(told).message
    assert isinstance(told.batches[-1][-1], Failed)
