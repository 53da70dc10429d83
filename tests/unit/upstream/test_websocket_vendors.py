"""ResponsesSocketTarget with vendors' manners: xAI's, Vercel's, and servers without sockets or with small frames."""

import pytest

from landline.dialects.responses import ResponsesFlags
from landline.upstream.socket_settings import SocketSettings
from support.fakes.responses import (
    VERCEL,
    XAI,
    Manners,
)
from support.turns.socket_target import (
    Clock,
    answers,
    sent,
    upstream,
)
from support.turns.target import Conversation


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
