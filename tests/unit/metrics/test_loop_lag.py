"""A loop that is held up is seen to be late."""

import asyncio
import time

from landline.metrics.counts import Histogram
from landline.metrics.loop_lag import LAG_BUCKETS_S, watch_loop_lag


class Noticed(Histogram):
    """Says when something was observed."""

    def __init__(self) -> None:
        super().__init__(LAG_BUCKETS_S)
        self.values: list[float] = []
        self.seen = asyncio.Event()

    def observe(self, value: float) -> None:
        super().observe(value)
        self.values.append(value)
        self.seen.set()


async def test_lag_is_how_long_something_held_the_loop_up() -> None:
    lags = Noticed()
    watching = asyncio.create_task(watch_loop_lag(lags, nap_s=0.001))
    await lags.seen.wait()
    lags.seen.clear()
    lags.values.clear()
    time.sleep(0.05)  # noqa: ASYNC251  # the fault itself
    await lags.seen.wait()
    watching.cancel()
    assert lags.values[0] >= 0.045
    assert lags.read().buckets[-1] == ("+Inf", 2)
