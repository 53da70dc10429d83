"""How late the event loop is: what holds it up holds up every turn."""

import asyncio

from landline.metrics.counts import Histogram

NAP_S = 0.5
LAG_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


async def watch_loop_lag(lags: Histogram, *, nap_s: float = NAP_S) -> None:
    """Observes how much longer than asked for a short sleep takes, again and again; cancel it to end it."""
    loop = asyncio.get_running_loop()
    while True:
        slept_at = loop.time()
        await asyncio.sleep(nap_s)
        lags.observe(max(loop.time() - slept_at - nap_s, 0.0))
