"""ResponsesSocketTarget against a strict server: what is sent where, and what the client hears of it."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import unused_port

from byte_relay import ByteRelay
from chat_history import message, output
from fake_responses_server import (
    AZURE,
    OPENAI,
    VERCEL,
    XAI,
    CutLine,
    Fail,
    FakeResponses,
    Manners,
    Received,
    Reply,
    Silence,
    Step,
)
from landline.dialects.responses import Responses, ResponsesFlags
from landline.upstream.http import HttpDeadlines
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.websocket import ResponsesSocketTarget
from landline.wire.errors import ApiError
from landline.wire.model_events import Accepted, Failed, Finished, Relayed, UsageReported
from target_turns import Conversation, Told, prompt_of

WAIT_S = 10
LANES = SocketSettings(lanes=16)
KEY = "sk-secret-0123456789"


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def target_at(
    base_url: str,
    settings: SocketSettings | None = None,
    *,
    flags: ResponsesFlags | None = None,
    clock: Clock | None = None,
    deadlines: HttpDeadlines | None = None,
) -> AsyncGenerator[ResponsesSocketTarget]:
    target = ResponsesSocketTarget(
        "up",
        base_url,
        Responses(flags),
        api_key=KEY,
        settings=settings,
        clock=clock or Clock(),
        deadlines=deadlines,
    )
    await target.open()
    try:
        yield target
    finally:
        await target.close()


@asynccontextmanager
async def upstream(
    *steps: Step,
    manners: Manners = AZURE,
    settings: SocketSettings | None = None,
    flags: ResponsesFlags | None = None,
    clock: Clock | None = None,
    deadlines: HttpDeadlines | None = None,
    **options: Any,
) -> AsyncGenerator[tuple[FakeResponses, ResponsesSocketTarget]]:
    """A server that plays the steps, and a target of its sockets."""
    async with (
        FakeResponses(*steps, manners=manners, key=KEY, **options).serving() as fake,
        target_at(fake.base_url, settings, flags=flags, clock=clock, deadlines=deadlines) as target,
    ):
        yield fake, target


def sent(fake: FakeResponses) -> list[tuple[int | None, str | None, int]]:
    """Of each create: its socket, the response that it continues, and how many items it has."""
    return [(each.socket, each.parent_id, len(each.body["input"])) for each in fake.received]


def answers(count: int) -> list[Step]:
    return [Reply(f"answer {number}") for number in range(1, count + 1)]


def error_of(told: Told) -> ApiError:
    assert told.error is not None
    return told.error


def paused(_received: Received) -> Step:
    return Reply("hi", pause_after=1)


async def test_each_turn_sends_only_what_is_new_on_one_socket() -> None:
    async with upstream(*answers(3)) as (fake, target):
        client = Conversation(target)
        for text in ("one", "two", "three"):
            told = await client.ask(text)
            assert told.error is None
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, "resp_2", 1)]
    assert len(fake.upgrades) == 1
    fake.assert_conversation()


async def test_a_turn_comes_through_as_it_was_told() -> None:
    async with upstream(Reply("Hello.", reasoning="Thinking.", is_strange=True)) as (fake, target):
        told = await Conversation(target).ask("hi", include=["reasoning.encrypted_content"])
    assert told.ended is not None
    assert [item.raw in fake.events_sent[-1] for item in told.ended.output] == [True, True, True]
    events = [event for batch in told.batches for event in batch]
    assert [event.kind for event in events if isinstance(event, Relayed)] == [
        json.loads(data)["type"] for data in fake.events_sent
    ]
    assert isinstance(events[-2], UsageReported)
    assert events[-1] == Finished()


async def test_history_with_calls_and_reasoning_is_whole_upstream() -> None:
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    steps = [Reply(calls=[("f", "{}"), ("f", '{"a":1}')], reasoning="Let me see."), Reply("done")]
    async with upstream(*steps) as (fake, target):
        client = Conversation(target, tools=tools, include=["reasoning.encrypted_content"])
        told = await client.ask("go")
        calls = [item["call_id"] for item in told.output if item["type"] == "function_call"]
        await client.ask([output(call_id) for call_id in calls])
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 2)]
    fake.assert_conversation()


@pytest.mark.parametrize("options", [{"is_terminal_only": True}, {"omits_output": True}], ids=str)
async def test_output_told_only_once_is_known_in_the_next_turn(options: dict[str, Any]) -> None:
    async with upstream(Reply("one", **options), Reply("two")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1)]
    fake.assert_conversation()


async def test_an_incomplete_response_is_continued() -> None:
    async with upstream(Reply("cut sh", incomplete="max_output_tokens"), Reply("go on")) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1)]


async def test_a_full_history_request_is_recognised_without_a_client_connection() -> None:
    async with upstream(*answers(3)) as (fake, target):
        client = Conversation(target, line_id=None)
        for text in "abc":
            await client.ask(text)
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, "resp_2", 1)]


async def test_conversations_have_sockets_of_their_own() -> None:
    async with upstream(*answers(4)) as (fake, target):
        left, right = Conversation(target, line_id="left"), Conversation(target, line_id="right")
        for client in (left, right, left, right):
            await client.ask(f"from {client.line_id}")
    assert sent(fake) == [(0, None, 1), (1, None, 1), (0, "resp_1", 1), (1, "resp_2", 1)]


async def test_a_fork_goes_in_full_where_there_are_no_lanes() -> None:
    async with upstream(*answers(4)) as (fake, target):
        main = Conversation(target)
        await main.ask("a")
        side = main.fork("side")
        await main.ask("b")
        await side.ask("c")
        await main.ask("d")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (1, None, 3), (0, "resp_2", 1)]


async def test_a_fork_goes_as_one_on_a_lane_of_the_same_socket() -> None:
    async with upstream(*answers(5), manners=OPENAI, settings=LANES) as (fake, target):
        main = Conversation(target)
        await main.ask("a")
        side = main.fork("side")
        await side.ask("b")
        await main.ask("c")
        await side.ask("d")
        await main.ask("e")
    parents = [(each.lane, each.parent_id, len(each.body["input"])) for each in fake.received]
    assert parents == [
        ("lane_1", None, 1),
        ("lane_2", "resp_1", 1),
        ("lane_1", "resp_1", 1),
        ("lane_2", "resp_2", 1),
        ("lane_1", "resp_3", 1),
    ]
    assert len(fake.upgrades) == 1


async def test_a_parent_that_moved_on_is_not_forked() -> None:
    async with upstream(*answers(3), manners=OPENAI, settings=LANES) as (fake, target):
        main = Conversation(target)
        await main.ask("a")
        side = main.fork("side")
        await main.ask("b")
        await side.ask("c")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, None, 3)]
    assert [each.refused for each in fake.received] == [None] * 3


async def test_lanes_of_a_client_run_at_once_on_one_socket() -> None:
    def choose(received: Received) -> Step:
        return Reply(received.conversation[-1]["content"][0]["text"], pause_after=2)

    async with upstream(manners=OPENAI, settings=LANES, choose=choose) as (fake, target):
        clients = [Conversation(target, lane=str(number)) for number in range(16)]
        for text in ("x", "y"):
            turns = [asyncio.create_task(client.ask(f"{text} {client.lane}")) for client in clients]
            await asyncio.to_thread(fake.wait_for_creates, 16 if text == "x" else 32)
            for _ in clients:
                fake.release()
            for client, told in zip(clients, await asyncio.gather(*turns), strict=True):
                assert told.output[0]["content"][0]["text"] == f"{text} {client.lane}"
    assert len(fake.upgrades) == 1
    assert all(each.parent_id is not None and len(each.body["input"]) == 1 for each in fake.received[16:])
    assert len({each.lane for each in fake.received}) == 16


async def test_a_seventeenth_turn_waits_for_a_lane() -> None:
    settings = SocketSettings(lanes=16, max_sockets=1)
    async with upstream(manners=OPENAI, settings=settings, choose=paused) as (fake, target):
        turns = [asyncio.create_task(Conversation(target, lane=str(number)).ask("hi")) for number in range(17)]
        await asyncio.to_thread(fake.wait_for_creates, 16)
        assert len(fake.received) == 16
        for _ in turns:
            fake.release()
        assert [told.error for told in await asyncio.gather(*turns)] == [None] * 17
    assert len(fake.upgrades) == 1


async def test_turns_beyond_the_sockets_wait_in_order() -> None:
    settings = SocketSettings(max_sockets=1)
    async with upstream(settings=settings, choose=paused) as (fake, target):
        turns = [
            asyncio.create_task(Conversation(target, line_id=str(number)).ask(f"turn {number}")) for number in range(4)
        ]
        for _ in turns:
            fake.release()
        await asyncio.gather(*turns)
    assert [each.conversation[-1]["content"][0]["text"] for each in fake.received] == [f"turn {n}" for n in range(4)]
    assert len(fake.upgrades) == 1


async def test_tenants_never_share_a_socket() -> None:
    settings = SocketSettings(max_sockets=1, lanes=16)
    async with upstream(*answers(4), manners=OPENAI, settings=settings) as (fake, target):
        ours = Conversation(target, tenant="a")
        await ours.ask("the secret")
        await Conversation(target, tenant="b", history=ours.history).ask("go on")
        assert target.open_sockets == 1
    assert sent(fake) == [(0, None, 1), (1, None, 3)]


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


async def test_a_warm_up_is_passed_on_and_continued() -> None:
    async with upstream(*answers(1)) as (fake, target):
        client = Conversation(target)
        told = await client.ask("a", generate=False)
        assert told.error is None
        assert told.ended is not None
        assert told.ended.response.usage is not None
        assert told.ended.response.usage.input_tokens == 10
        await client.ask([])
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 0)]
    assert [each.is_warm_up for each in fake.received] == [True, False]


async def test_a_warm_up_is_answered_here_if_the_upstream_knows_none() -> None:
    async with upstream(*answers(1), flags=ResponsesFlags(warm_up="skip")) as (fake, target):
        client = Conversation(target)
        told = await client.ask("a", generate=False)
        assert told.batches == [[Accepted(), UsageReported(0, 0), Finished()]]
        await client.ask([])
    assert sent(fake) == [(0, None, 1)]


async def test_xai_keeps_the_instructions_of_a_chain() -> None:
    flags = ResponsesFlags(instructions_with_previous="omit")
    async with upstream(*answers(4), manners=XAI, flags=flags) as (fake, target):
        client = Conversation(target)
        await client.ask("a", instructions="Be brief.")
        await client.ask("b", instructions="Be brief.")
        await client.ask("c", instructions="Be long.")
        await client.ask("d", instructions="Be long.")
    assert [(each.parent_id, "instructions" in each.body) for each in fake.received] == [
        (None, True),
        ("resp_1", False),
        (None, True),
        ("resp_3", False),
    ]
    assert [each.instructions for each in fake.received] == ["Be brief."] * 2 + ["Be long."] * 2
    fake.assert_conversation()


async def test_errors_without_type_or_status_are_understood() -> None:
    flags = ResponsesFlags(instructions_with_previous="omit")
    async with upstream(*answers(2), manners=XAI, flags=flags) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        fake.forgets = True
        assert (await client.ask("b")).error is None
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1), (0, None, 3)]


async def test_vercel_serves_one_model_a_socket_and_closes_after_errors() -> None:
    settings = SocketSettings(has_one_model=True)
    async with upstream(*answers(3), manners=VERCEL, settings=settings) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b", model="other")
        fake.forgets = True
        told = await client.ask("c", model="other")
    assert told.error is None
    assert sent(fake) == [(0, None, 1), (1, None, 3), (1, "resp_2", 1), (2, None, 5)]


async def test_the_model_may_change_on_a_socket() -> None:
    async with upstream(*answers(2)) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b", model="other")
    assert sent(fake) == [(0, None, 1), (0, "resp_1", 1)]


@pytest.mark.parametrize("status", [404, 405, 426])
async def test_turns_go_over_http_for_a_while_where_sockets_are_refused(status: int) -> None:
    clock = Clock()
    settings = SocketSettings(http_fallback_s=60)
    async with upstream(*answers(3), upgrade_status=status, settings=settings, clock=clock) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b")
        assert len(fake.upgrades) == 1
        fake.upgrade_status = None
        clock.now += 60
        await client.ask("c")
    assert [each.transport for each in fake.received] == ["http", "http", "websocket"]
    fake.assert_conversation()


async def test_a_frame_over_the_limit_goes_over_http_and_the_chain_goes_on() -> None:
    settings = SocketSettings(max_frame_bytes=20_000)
    async with upstream(*answers(3), settings=settings) as (fake, target):
        client = Conversation(target)
        await client.ask("a")
        await client.ask("b" * 20_000)
        await client.ask("c")
    assert [(each.transport, each.parent_id, len(each.body["input"])) for each in fake.received] == [
        ("websocket", None, 1),
        ("http", None, 3),
        ("http", None, 5),
    ]
    fake.assert_conversation()


async def test_a_socket_that_closes_for_a_large_frame_is_followed_by_http() -> None:
    async with upstream(*answers(1), manners=Manners(has_lanes=False, max_frame_bytes=10_000)) as (fake, target):
        told = await Conversation(target).ask("b" * 20_000)
    assert told.error is None
    assert [each.transport for each in fake.received] == ["http"]


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


async def test_tokens_are_counted_over_http() -> None:
    async with upstream() as (_fake, target):
        client = Conversation(target)
        assert await target.count_tokens(prompt_of(client.turn("a"))) == 10


@pytest.mark.parametrize("options", [{}, {"cut_after": 3}], ids=str)
async def test_a_closed_target_takes_no_turns(options: dict[str, Any]) -> None:
    async with upstream(Reply("one", **options)) as (_fake, target):
        await Conversation(target).ask("a")
    told = await Conversation(target).ask("b")
    assert error_of(told).code == "upstream_unavailable"
    assert target.open_sockets == 0


async def test_repeated_tools_cost_next_to_nothing_on_the_wire() -> None:
    """Context takeover with a wide window, in both directions' terms: only the upstream leg's own bytes are counted."""
    words = [f"word{number * 7919 % 10007}" for number in range(2500)]
    tools = [{"type": "function", "name": "f", "description": " ".join(words), "parameters": {"type": "object"}}]
    sizes: list[int] = []
    async with FakeResponses(*answers(6), manners=AZURE).serving() as fake:
        with ByteRelay(fake.port) as relay:
            async with target_at(relay.base_url) as target:
                client = Conversation(target, tools=tools)
                for number in range(6):
                    told = await client.ask(f"turn {number}")
                    assert told.error is None
                    sizes.append(relay.sent_bytes)
            head = bytes(relay.connections[0].sent.partition(b"\r\n\r\n")[0]).decode()
    assert "permessage-deflate; client_max_window_bits" in head
    assert "no_context_takeover" not in head
    payload = len(fake.received[1].raw)
    assert payload > 20_000
    for before, after in itertools.pairwise(sizes):
        assert after - before < payload / 50, sizes


async def test_a_failure_tells_no_secrets() -> None:
    error = {"code": "invalid_value", "message": f"Your key {KEY} may not."}
    async with upstream(Fail({"type": "error", "status": 400, "error": error})) as (_fake, target):
        told = await Conversation(target).ask("a")
    assert KEY not in error_of(told).message
    assert isinstance(told.batches[-1][-1], Failed)
