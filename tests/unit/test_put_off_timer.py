"""A timer whose time is put off rings once, at the last time that it was given."""

import asyncio

from landline.put_off_timer import PutOffTimer

STEP_S = 0.01


class Bell:
    """Counts how often it rang, and when."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.timer = PutOffTimer(self._ring)
        self.rang_at: list[float] = []
        self.has_rung = asyncio.Event()

    def ring_in(self, seconds: float) -> float:
        due_at = self._loop.time() + seconds
        self.timer.put_off(due_at)
        return due_at

    def _ring(self) -> None:
        self.rang_at.append(self._loop.time())
        self.has_rung.set()


async def test_it_rings_at_the_last_time_it_was_given() -> None:
    bell = Bell()
    due_at = 0.0
    for steps in (1, 2, 3, 10):
        due_at = bell.ring_in(steps * STEP_S)
    await bell.has_rung.wait()
    assert len(bell.rang_at) == 1
    assert bell.rang_at[0] >= due_at


async def test_it_rings_sooner_if_that_is_asked_for() -> None:
    bell = Bell()
    bell.ring_in(3600.0)
    bell.ring_in(STEP_S)
    async with asyncio.timeout(60.0):
        await bell.has_rung.wait()


async def test_nothing_rings_while_nobody_waits_and_the_next_wait_is_whole() -> None:
    bell = Bell()
    bell.ring_in(STEP_S)
    bell.timer.rest()
    await asyncio.sleep(3 * STEP_S)
    assert bell.rang_at == []
    due_at = bell.ring_in(STEP_S)
    await bell.has_rung.wait()
    assert bell.rang_at[0] >= due_at


async def test_a_closed_one_does_not_ring() -> None:
    bell = Bell()
    bell.ring_in(STEP_S)
    bell.timer.close()
    await asyncio.sleep(3 * STEP_S)
    assert bell.rang_at == []
