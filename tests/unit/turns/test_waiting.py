"""Waits that can be ended early, by a silence or by somebody."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from landline.turns.waiting import InterruptibleWait

SHORT_S = 0.01
LONG_S = 30.0


async def _never() -> str:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody ends it")


async def _turns(count: int) -> str:
    """Work that takes so many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
    return "done"


def _soon(call: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_soon(call)


@pytest.mark.parametrize("patience_s", [None, LONG_S])
async def test_gives_what_the_work_gives(patience_s: float | None) -> None:
    waits = InterruptibleWait()
    assert [await waits.wait(_turns(count), patience_s) for count in (0, 1, 2)] == ["done"] * 3
    waits.close()


async def test_ends_work_that_takes_longer_than_the_patience() -> None:
    waits = InterruptibleWait()
    ended: list[str] = []

    async def work() -> None:
        try:
            await _never()
        finally:
            ended.append("cancelled")

    assert await waits.wait(work(), SHORT_S) is None
    assert ended == ["cancelled"]
    waits.close()


async def test_each_wait_has_the_whole_patience() -> None:
    """The timer of an earlier wait does not end a later one."""
    waits = InterruptibleWait()
    for _ in range(4):
        assert await waits.wait(asyncio.sleep(0.15, "done"), 0.2) == "done"
    assert await waits.wait(_never(), SHORT_S) is None, "a shorter patience than the timer that runs"
    waits.close()


async def test_an_interrupted_wait_gives_none_and_the_next_one_works() -> None:
    waits = InterruptibleWait()
    for _ in range(3):
        _soon(waits.interrupt)
        _soon(waits.interrupt)
        assert await waits.wait(_never(), LONG_S) is None
        assert await waits.wait(_turns(3), LONG_S) == "done"
    waits.close()


async def test_nothing_is_interrupted_while_nothing_waits() -> None:
    waits = InterruptibleWait()
    waits.interrupt()
    assert await waits.wait(_turns(2), None) == "done"


async def test_a_fault_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise TimeoutError

    waits = InterruptibleWait()
    with pytest.raises(TimeoutError):
        await waits.wait(work(), LONG_S)
    waits.close()


@pytest.mark.parametrize("is_interrupted", [False, True])
async def test_a_cancelled_task_is_cancelled_even_if_its_wait_is_interrupted_too(is_interrupted: bool) -> None:
    waits = InterruptibleWait()

    async def wait(work: Awaitable[str]) -> str | None:
        return await waits.wait(work, LONG_S)

    task = asyncio.create_task(wait(_never()))
    await asyncio.sleep(0)
    if is_interrupted:
        waits.interrupt()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    waits.close()


async def test_an_interrupted_task_does_not_count_as_cancelled() -> None:
    waits = InterruptibleWait()
    task = asyncio.current_task()
    assert task is not None
    _soon(waits.interrupt)
    await waits.wait(_never(), None)
    assert task.cancelling() == 0
    async with asyncio.timeout(LONG_S):
        assert await _turns(2) == "done"
