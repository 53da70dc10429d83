"""The runner: when a response is announced, how a turn ends, what stops it."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.turn import Turn, TurnEnded, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import PrefixIndex
from landline.turns.runner import TurnMemory, TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import api_error
from landline.wire.events import event_sequence, event_type
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from support.turns.reply import GeneratedReply, updates_of, updates_of_running

Stream = Callable[[Prompt], AsyncGenerator[list[ModelEvent], None]]


class FakeTarget:
    """A target made of one stream function."""

    name = "fake"

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int:
        return 0

    def ask(self, prompt: Prompt) -> GeneratedReply:
        return GeneratedReply(self._stream(prompt))


def runner(stream: Stream, *, prefixes: PrefixIndex | None = None, **settings: Any) -> TurnRunner:
    ids = itertools.count()
    target: Target = FakeTarget(stream)
    router: Router[Target] = Router({"m": [Route(target, "upstream-m")]})
    return TurnRunner(
        router,
        MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(**settings),
        memory=TurnMemory(prefixes=prefixes or PrefixIndex()),
    )


def turn(**fields: object) -> Turn:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    return Turn(response_id="resp_1", request=request, history=None, created_at=1.0)


def names(updates: list[TurnUpdate]) -> list[str]:
    events = [event for update in updates if not isinstance(update, TurnRefused) for event in update.events]
    return [event_type(event).removeprefix("response.") for event in events]


async def test_model_is_asked_for_by_its_upstream_name_and_answers_under_ours() -> None:
    asked: list[str] = []

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        asked.append(prompt.model)
        yield [Accepted(), TextDelta("a"), Finished()]

    updates = [update async for update in updates_of(runner(stream), turn())]
    assert asked == ["upstream-m"]
    assert isinstance(updates[-1], TurnEnded)
    assert updates[-1].response.model == "m"
    assert names(updates)[0] == "created"
    assert names(updates)[-1] == "completed"


async def test_a_lineage_is_remembered_behind_the_answer_even_if_nobody_asks_for_more() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), TextDelta("a"), Finished()]

    index = PrefixIndex()
    updates = updates_of(runner(stream, prefixes=index), turn())
    assert isinstance(await anext(updates), TurnEnded)
    await updates.aclose()
    await asyncio.sleep(0)
    assert index.size_bytes > 0


async def test_upstream_refusal_before_anything_else_is_a_refused_turn() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Failed(api_error("rate_limit_exceeded", "slow", retry_after_s=3))]

    updates = [update async for update in updates_of(runner(stream), turn())]
    assert [type(update) for update in updates] == [TurnRefused]


async def test_response_is_announced_when_the_upstream_accepts() -> None:
    gate = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        await gate.wait()
        yield [Finished()]

    updates = updates_of(runner(stream), turn())
    first = await anext(updates)
    assert names([first]) == ["created", "in_progress"]
    gate.set()
    assert names([update async for update in updates]) == ["completed"]


async def test_response_is_announced_after_a_wait_and_a_later_refusal_fails_it() -> None:
    gate = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        await gate.wait()
        yield [Failed(api_error("server_is_overloaded", "busy"))]

    updates = updates_of(runner(stream, announce_after_s=0.01), turn())
    assert names([await anext(updates)]) == ["created", "in_progress"]
    gate.set()
    last = await anext(updates)
    assert isinstance(last, TurnEnded)
    assert last.error is not None
    assert names([last]) == ["failed"]


async def test_long_silence_sends_keepalives_that_take_sequence_numbers() -> None:
    gate = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        await gate.wait()
        yield [Finished()]

    updates = updates_of(runner(stream, keepalive_s=0.01), turn())
    got = [await anext(updates) for _ in range(3)]
    gate.set()
    got += [update async for update in updates]
    assert names(got)[:4] == ["created", "in_progress", "keepalive", "keepalive"]
    numbers = [
        event_sequence(event)[0] for update in got if not isinstance(update, TurnRefused) for event in update.events
    ]
    assert numbers == list(range(len(numbers)))


async def test_without_keepalives_a_silence_is_only_waited_out() -> None:
    release = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        await release.wait()
        yield [Finished()]

    updates = updates_of(runner(stream, keepalive_s=0.0), turn())
    assert names([await anext(updates)]) == ["created", "in_progress"]
    waiting = asyncio.ensure_future(anext(updates))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    release.set()
    assert names([await waiting]) == ["completed"]


async def test_stopped_turn_ends_incomplete_with_what_was_said() -> None:
    released = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [Accepted(), TextDelta("half")]
            await asyncio.Event().wait()
        finally:
            released.set()

    made = runner(stream).start(turn())
    updates = updates_of_running(made)
    assert isinstance(await anext(updates), TurnProgressed)
    made.stop()
    last = await anext(updates)
    assert isinstance(last, TurnEnded)
    assert last.response.status == "incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "cancelled"
    assert b"half" in bytes(last.response.output[0])
    assert last.history is not None
    await released.wait()
    assert [update async for update in updates] == []


async def test_stop_before_anything_came_still_creates_and_ends_the_response() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        await asyncio.Event().wait()
        yield []

    made = runner(stream).start(turn())
    updates = updates_of_running(made)
    pending = asyncio.ensure_future(anext(updates))
    await asyncio.sleep(0)
    made.stop()
    assert names([await pending]) == ["created", "in_progress", "incomplete"]


async def test_turn_that_the_server_gives_up_fails_with_what_was_said() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), TextDelta("half")]
        await asyncio.Event().wait()

    made = runner(stream).start(turn())
    updates = updates_of_running(made)
    await anext(updates)
    assert not runner(stream).start(turn()).give_up(api_error("server_error", "x"))
    assert made.give_up(api_error("server_shutting_down", "Go elsewhere."))
    last = await anext(updates)
    assert isinstance(last, TurnEnded)
    assert (last.response.status, last.error) == ("failed", api_error("server_shutting_down", "Go elsewhere."))
    assert b"half" in bytes(last.response.output[0])
    assert [update async for update in updates] == []


async def test_turn_that_is_given_up_before_its_announcement_is_refused() -> None:
    asked = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        asked.set()
        await asyncio.Event().wait()
        yield []

    made = runner(stream).start(turn())
    pending = asyncio.ensure_future(anext(updates_of_running(made)))
    await asked.wait()
    assert made.give_up(api_error("server_shutting_down", "Go elsewhere."))
    assert await pending == TurnRefused(api_error("server_shutting_down", "Go elsewhere."))


async def test_closing_the_updates_aborts_the_upstream() -> None:
    released = asyncio.Event()

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        try:
            yield [Accepted()]
            await asyncio.Event().wait()
        finally:
            released.set()

    updates = updates_of(runner(stream), turn())
    await anext(updates)
    await updates.aclose()
    assert released.is_set()


async def test_a_targets_bug_ends_the_turn_and_not_the_runner() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted()]
        raise RuntimeError("bug")

    updates = [update async for update in updates_of(runner(stream), turn())]
    assert isinstance(updates[-1], TurnEnded)
    assert updates[-1].error is not None
    assert updates[-1].error.code == "server_error"
    assert "bug" not in updates[-1].error.message


async def test_stream_without_an_ending_is_an_upstream_error() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        yield [Accepted(), TextDelta("a")]

    updates = [update async for update in updates_of(runner(stream), turn())]
    assert isinstance(updates[-1], TurnEnded)
    assert updates[-1].error is not None
    assert updates[-1].error.code == "upstream_error"


async def test_unknown_model_is_refused_without_asking_anyone() -> None:
    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        raise AssertionError
        yield []

    updates = [update async for update in updates_of(runner(stream), turn(model="other"))]
    assert [type(update) for update in updates] == [TurnRefused]
