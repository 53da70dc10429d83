"""Background turns without a server: what `start` answers, slots, aborts and faults."""

import asyncio
from collections.abc import AsyncGenerator

from landline.session.composer import Composer
from landline.session.turn import Turn, TurnProgressed, TurnRefused, TurnUpdate
from landline.stores.events import EventLog
from landline.turns.background import BackgroundSettings, BackgroundTurns
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Finished
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import Response
from support.turns.scripted import Script, ScriptRunner

DEADLINE_S = 10


def turn(number: int = 1, *, tenant: str = "t", stream: bool = True) -> Turn:
    body = b'{"model":"m","input":"hi","background":true,"stream":' + (b"true" if stream else b"false") + b"}"
    request = decode_create(body)
    assert isinstance(request, CreateRequest)
    return Turn(response_id=f"resp_{number}", request=request, history=None, created_at=1.0, tenant=tenant)


def composed(made: Turn) -> Composer:
    return Composer(made, model="m", new_id=lambda prefix: f"{prefix}_1")


async def whole(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
    composer = composed(made)
    yield TurnProgressed(composer.open_queued())
    yield TurnProgressed(composer.begin())
    composer.feed([Finished()])
    yield composer.close(2.0)


def background(script: Script, **settings: int) -> tuple[BackgroundTurns, ScriptRunner, EventLog]:
    runner, log = ScriptRunner(script), EventLog()
    return BackgroundTurns(log, BackgroundSettings(**settings)), runner, log


async def test_start_answers_with_the_queued_response_and_the_turn_goes_on() -> None:
    turns, runner, log = background(whole)
    response = await turns.start(runner.start(turn()))
    assert isinstance(response, Response)
    assert response.status == "queued"
    await turns.wait_until_idle()
    assert turns.find("t", "resp_1") is None
    assert log.follow("t", "resp_1", after=-1, silence_s=1) is not None


async def test_turn_that_is_not_streamed_keeps_no_events() -> None:
    turns, runner, log = background(whole)
    await turns.start(runner.start(turn(stream=False)))
    await turns.wait_until_idle()
    assert (log.size_bytes, log.follow("t", "resp_1", after=-1, silence_s=1)) == (0, None)


async def test_refusal_is_the_answer() -> None:
    error = api_error("model_not_found", "no")

    async def refuse(_: Turn) -> AsyncGenerator[TurnUpdate, None]:
        yield TurnRefused(error)

    turns, runner, _ = background(refuse)
    assert await turns.start(runner.start(turn())) is error
    await turns.wait_until_idle()


async def test_only_its_tenant_finds_or_cancels_a_running_turn() -> None:
    release = asyncio.Event()

    async def waiting(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        yield TurnProgressed(composed(made).open_queued())
        await release.wait()

    turns, runner, _ = background(waiting)
    await turns.start(runner.start(turn()))
    assert turns.find("other", "resp_1") is None
    assert not await turns.cancel("other", "resp_1")
    assert not await turns.cancel("t", "resp_2")
    assert turns.find("t", "resp_1") is not None
    assert runner.stopped == []
    release.set()
    assert await turns.cancel("t", "resp_1")
    assert runner.stopped == ["resp_1"]


async def test_bug_before_the_announcement_reaches_the_creator_and_later_ones_end_the_turn() -> None:
    async def broken(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        if made.response_id == "resp_2":
            yield TurnProgressed(composed(made).open_queued())
        raise LookupError("bug")

    turns, runner, log = background(broken)
    refused = await turns.start(runner.start(turn(1)))
    assert isinstance(refused, ApiError)
    assert refused.code == "server_error"
    assert isinstance(await turns.start(runner.start(turn(2))), Response)
    await turns.wait_until_idle()
    following = log.follow("t", "resp_2", after=-1, silence_s=DEADLINE_S)
    assert following is not None
    records = [record async for batch in following for record in batch]
    assert [record.partition(b"\n")[0] for record in records[2:]] == [b"event: error", b"event: response.failed"]


async def test_slots_are_free_again_after_every_kind_of_ending() -> None:
    async def various(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        async for update in whole(made):
            yield update
            if made.response_id == "resp_2":
                raise LookupError("bug")

    turns, runner, _ = background(various, max_running=1, max_queued=2)
    started = [await turns.start(runner.start(turn(number))) for number in (1, 2, 3)]
    assert all(isinstance(each, Response) for each in started)
    await turns.wait_until_idle()
    assert isinstance(await turns.start(runner.start(turn(4))), Response)
    await turns.wait_until_idle()


async def test_abort_ends_turns_that_wait_that_run_and_that_never_took_a_step() -> None:
    closed: list[str] = []

    async def endless(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        try:
            yield TurnProgressed(composed(made).open_queued())
            await asyncio.Event().wait()
        finally:
            closed.append(made.response_id)

    turns, runner, _ = background(endless, max_running=1)
    await turns.start(runner.start(turn(1)))
    await turns.start(runner.start(turn(2)))
    starting = asyncio.create_task(turns.start(runner.start(turn(3))))
    await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE_S):
        await turns.close()
        await asyncio.wait({starting})
    assert starting.cancelled()
    assert sorted(closed) == ["resp_1", "resp_2"]


async def test_creator_that_is_cancelled_does_not_end_the_turn() -> None:
    release = asyncio.Event()

    async def slow_to_prepare(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        await release.wait()
        async for update in whole(made):
            yield update

    turns, runner, log = background(slow_to_prepare)
    starting = asyncio.create_task(turns.start(runner.start(turn())))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait({starting})
    release.set()
    await asyncio.wait_for(turns.wait_until_idle(), DEADLINE_S)
    assert log.size_bytes > 0


async def test_too_many_turns_are_refused_with_a_wait() -> None:
    async def endless(made: Turn) -> AsyncGenerator[TurnUpdate, None]:
        yield TurnProgressed(composed(made).open_queued())
        await asyncio.Event().wait()

    turns, runner, _ = background(endless, max_running=1, max_queued=0)
    await turns.start(runner.start(turn(1)))
    refused = await turns.start(runner.start(turn(2)))
    assert isinstance(refused, ApiError)
    assert (refused.code, refused.retry_after_s) == ("rate_limit_exceeded", 1.0)
    await turns.close()
