"""A Landline edge with its monitor over a made-up ledger, in a thread: for tests that block, like a browser's."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from support.ledger.synthetic import MadeUpAgents
from support.servers.edge import RunningEdge, running_edge, saying

ResultT = TypeVar("ResultT")


class MonitoredEdge:
    """A context manager; `agents` are to be touched by `do` only, because they live in the server's thread."""

    def __init__(self, *, sessions: int = 0, turns: int = 12, port: int = 0) -> None:
        self.agents = MadeUpAgents()
        self.agents.run(sessions, turns)
        self._port = port
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        return self._edge.http_url

    @property
    def port(self) -> int:
        return self._edge.port

    def do(self, work: Callable[[MadeUpAgents], ResultT]) -> ResultT:
        """Runs the work in the server's loop."""

        async def in_loop() -> ResultT:
            return work(self.agents)

        return asyncio.run_coroutine_threadsafe(in_loop(), self._loop).result(20)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        async with running_edge(saying("hi"), monitor=self.agents.feed(), port=self._port) as edge:
            self._edge: RunningEdge = edge
            self._started.set()
            await self._over.wait()
