"""ResponsesSocketTarget against a strict server: what is sent on which socket and lane, and what it costs."""

import asyncio
import itertools
import json
from typing import Any

import pytest

from landline.dialects.responses import ResponsesFlags
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.target import Traffic
from landline.wire.model_events import Accepted, Finished, Relayed, UsageReported
from support.conversations.chat import output
from support.fakes.responses import (
    AZURE,
    OPENAI,
    FakeResponses,
    Received,
    Reply,
    Step,
)
from support.servers.byte_relay import ByteRelay
from support.turns.socket_target import (
    LANES,
    answers,
    paused,
    sent,
    target_at,
    upstream,
)
from support.turns.target import Conversation, prompt_of


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


async def test_tokens_are_counted_over_http() -> None:
    async with upstream() as (_fake, target):
        client = Conversation(target)
        assert await target.count_tokens(prompt_of(client.turn("a")), Traffic()) == 10


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
