"""What scripted model servers have in common: a thread of its own, scenarios by model name, steps in order, streams that
pause or break off where the script says so."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from aiohttp import web

from support.fakes.scenario import WAIT_S, Received, Scenario
from support.scripts.chat import Answer, Step


class OutOfStepsError(Exception):
    """The scenario's script has no step for this request."""


class ScriptedServer:
    """The routes of one vendor's API, served in a thread with its own loop."""

    def __init__(
        self,
        routes: Iterable[web.RouteDef],
        continues: Callable[[Received, Received], None] | None = None,
        name_model: Callable[[int], str] = "scripted-{}".format,
        port: int = 0,
    ) -> None:
        self.port = port
        self.default: Scenario | None = None
        """Answers models that no scenario names."""
        self._routes = list(routes)
        self._continues = continues
        self._name_model = name_model
        self._scenarios: dict[str, Scenario] = {}
        self._model_numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: Future[int] = Future()
        self._stopped = asyncio.Event()

    @property
    def models(self) -> Sequence[str]:
        return list(self._scenarios)

    def find(self, model: str | None) -> Scenario | None:
        """The scenario that answers under this model name."""
        return self._scenarios.get(model or "", self.default)

    def scenario(self, steps: Sequence[Step] | Callable[[Received], Step], model: str | None = None) -> Scenario:
        """Opens a scenario, under a new model name if none is given."""
        name = model or self._name_model(next(self._model_numbers))
        made = Scenario(name, steps, loop=self._loop, continues=self._continues)
        self._scenarios[name] = made
        return made

    def start(self) -> None:
        self._thread.start()
        self.port = self._ready.result(WAIT_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(WAIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_routes(self._routes)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self._ready.set_result(runner.addresses[0][1])
        await self._stopped.wait()
        await runner.cleanup()


def take_step(
    scenario: Scenario, body: dict[str, Any], headers: Mapping[str, str]
) -> tuple[Received, Callable[[], Step]]:
    """Records a request. The second value gives its step, or raises OutOfStepsError: call it once the request is checked."""
    received = Received(body, {name.lower(): value for name, value in headers.items()})
    number = len(scenario.received)
    scenario.change(lambda: scenario.received.append(received))

    def choose() -> Step:
        if callable(scenario.steps):
            return scenario.steps(received)
        if number >= len(scenario.steps):
            raise OutOfStepsError(f"the script has {len(scenario.steps)} steps, this is request {number + 1}")
        return scenario.steps[number]

    return received, choose


async def write_stream(
    request: web.Request, scenario: Scenario, received: Received, step: Answer, records: Iterable[bytes]
) -> web.StreamResponse:
    """The records as server-sent events; `pause_after` and `cut_after` count them."""
    try:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for index, record in enumerate(records):
            if index == step.pause_after:
                await scenario.releases.acquire()
            if index == step.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(record)
        await response.write_eof()
    except (asyncio.CancelledError, ConnectionResetError):
        scenario.change(lambda: setattr(received, "was_aborted", True))
        raise
    return response
