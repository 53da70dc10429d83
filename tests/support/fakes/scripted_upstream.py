"""The benchmarks' scripted upstream, in this loop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from landline.bench.upstream import serve_upstream


@asynccontextmanager
async def running_upstream() -> AsyncGenerator[str]:
    """Its base URL."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_upstream("127.0.0.1", 0, ready.set_result))
    try:
        yield f"http://127.0.0.1:{await ready}/v1"
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
