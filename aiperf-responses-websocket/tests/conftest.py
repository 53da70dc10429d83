"""What several tests need: the planned server."""

from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import serve

from .planned_server import PlannedServer


@pytest.fixture
async def server() -> AsyncIterator[PlannedServer]:
    made = PlannedServer()
    async with serve(made.handle, "127.0.0.1", 0) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        made.url = f"ws://127.0.0.1:{port}/v1/responses"
        yield made
