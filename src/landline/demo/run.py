"""The course of the demo: a server, a shaped line for each run, the two runs, what they show, and the server left open."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from landline.agent import Endpoint
from landline.agent.answer import ModelAnswer
from landline.agent.connection import Exchange, Transport
from landline.app import App, build_app
from landline.config import Config, Problem
from landline.demo.options import DemoOptions, demo_config, describe, limits
from landline.demo.screen import RunFigures, Screen, verdict
from landline.ledger import Entry
from landline.server.lifecycle import EXIT_FORCED, LineServer, ServeSettings, bind, serve
from landline.terminal import one_line
from landline.workload import (
    Replay,
    ShapedLink,
    Task,
    make_task,
    model_s,
    recorded_profile,
    replay_task,
    scripted_turns,
)

_REFRESH_S = 0.1
_DRAIN_S = 1.0
_UPSTREAM_OUTPUT_TOKENS = 1024
"""The most that a real model may write in a turn: it shall call a tool, not tell a story."""
_RUNS: tuple[tuple[Transport, str, str], ...] = (
    ("http", "HTTP, full history", "yellow"),
    ("ws", "line (WebSocket)", "cyan"),
)


def run_demo(options: DemoOptions, console: Console, folder: Path) -> int | list[Problem]:
    """Runs the demo; its exit status, or what is wrong with the options. `folder` is for the transcript.

    Raises OSError when the port cannot be bound.
    """
    tasks = [make_task(recorded_profile(), options.calls, seed=seed) for seed, _ in enumerate(_RUNS)]
    transcript = folder / "transcript.jsonl"
    transcript.write_bytes(scripted_turns(tasks[0], options.pace))
    config = demo_config(options, transcript, os.environ)
    if not isinstance(config, Config):
        return config
    with bind("127.0.0.1", options.port) as listener:
        app = build_app(config, say_turn=_say_nothing)
        demo = Demo(options, tasks, Screen(console, tasks[0].full_history_bytes))
        app.drain.begun.subscribe(demo.give_up)
        server = LineServer(
            app.asgi,
            app.drain,
            ServeSettings(drain_grace_s=_DRAIN_S),
            listener=listener,
            compression=app.compression,
            on_started=lambda _, port: demo.begin(port, server),
        )
        status = serve(server, _opened(app, demo))
    return demo.status if demo.status is not None else status or EXIT_FORCED


def _say_nothing(_: Entry) -> None:
    """The log line of a turn would be written across the screen."""


@contextlib.asynccontextmanager
async def _opened(app: App, demo: "Demo") -> AsyncGenerator[None]:
    async with app.opened():
        try:
            yield
        finally:
            await demo.end()


class _Run:
    """One of the two runs while it lasts."""

    def __init__(self, name: str, colour: str, turns: int, link: ShapedLink) -> None:
        self._name = name
        self._colour = colour
        self._turns = turns
        self._link = link
        self._turn = 0
        self._started: float | None = None
        self.replay: Replay | None = None

    def begin(self) -> None:
        self._started = time.perf_counter()

    def count_turn(self, turn: Exchange) -> None:
        self._turn += isinstance(turn.ending, ModelAnswer)

    def figures(self) -> RunFigures:
        so_far_s = time.perf_counter() - self._started if self._started is not None else 0.0
        return RunFigures(
            name=self._name,
            colour=self._colour,
            turn=self._turn,
            turns=self._turns,
            sent_bytes=self._link.sent_bytes,
            received_bytes=self._link.received_bytes,
            elapsed_s=so_far_s if self.replay is None else self.replay.total_s,
            is_over=self.replay is not None,
        )


class Demo:
    """Begins when the server listens."""

    def __init__(self, options: DemoOptions, tasks: Sequence[Task], screen: Screen) -> None:
        """A task for each run: the same sizes, and other text, so that no cache knows one run's from the other's."""
        self._options = options
        self._tasks = tasks
        self._screen = screen
        self._running: asyncio.Task[None] | None = None
        self.status: int | None = None
        """Of the process; None until both runs are over."""

    def begin(self, port: int, server: LineServer) -> None:
        self._running = asyncio.create_task(self._run(port, server))

    def give_up(self) -> None:
        """What still runs ends now, without a word about what it came to."""
        if self._running is not None:
            self._running.cancel()

    async def end(self) -> None:
        """Raises what went wrong in the demo itself."""
        self.give_up()
        if self._running is not None:
            await asyncio.wait({self._running})
            if not self._running.cancelled():
                self._running.result()

    async def _run(self, port: int, server: LineServer) -> None:
        try:
            monitor_url = f"http://127.0.0.1:{port}/monitor"
            self._screen.open(*describe(self._options, self._tasks[0], monitor_url), "")
            try:
                runs = await self._run_both(port)
            finally:
                self._screen.stop()
            self.status = self._conclude(runs, monitor_url)
        finally:
            if self.status is None or not self._options.waits:
                server.stop()

    async def _run_both(self, port: int) -> list[_Run]:
        """Each on a line of its own: they share neither rate nor connection."""
        async with contextlib.AsyncExitStack() as stack:
            links = [await stack.enter_async_context(ShapedLink(self._options.shape, port)) for _ in _RUNS]
            runs = [
                _Run(name, colour, task.turns, link)
                for (_, name, colour), task, link in zip(_RUNS, self._tasks, links, strict=True)
            ]
            replays = [
                partial(self._replay, transport, task, link, run)
                for (transport, _, _), task, link, run in zip(_RUNS, self._tasks, links, runs, strict=True)
            ]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._show(runs))
                for replay in replays:
                    running = group.create_task(replay())
                    if not self._options.together:
                        await running
            return runs

    async def _replay(self, transport: Transport, task: Task, link: ShapedLink, run: _Run) -> None:
        run.begin()
        run.replay = await replay_task(
            task,
            Endpoint(base_url=link.base_url, transport=transport),
            self._options.model,
            max_output_tokens=None if self._options.upstream is None else _UPSTREAM_OUTPUT_TOKENS,
            on_turn=run.count_turn,
        )

    async def _show(self, runs: list[_Run]) -> None:
        while not all(run.replay is not None for run in runs):
            self._screen.show([run.figures() for run in runs])
            await asyncio.sleep(_REFRESH_S)

    def _conclude(self, runs: list[_Run], monitor_url: str) -> int:
        full, line = figures = [run.figures() for run in runs]
        self._screen.close(figures)
        problems = [
            problem for (transport, _, _), run in zip(_RUNS, runs, strict=True) for problem in _problems(transport, run)
        ]
        if problems:
            self._screen.say(*problems, "")
        else:
            is_scripted = self._options.upstream is None
            script_s = model_s(self._tasks[0], self._options.pace) if is_scripted else None
            self._screen.say(verdict(full, line, script_s), "", *limits(self._options), "")
        if self._options.waits:
            self._screen.say(f"Both, turn by turn, until Ctrl-C: {monitor_url}")
        return 1 if problems else 0


def _problems(transport: Transport, run: _Run) -> list[str]:
    """Why a run's figures cannot be compared with the other's: it failed, was retried, or fell back to another transport."""
    replay = run.replay
    assert replay is not None
    name = run.figures().name
    if replay.failure is not None:
        return [f"{name} failed in turn {len(replay.turns)}: {one_line(replay.failure)}"]
    if replay.transport != transport:
        return [f"{name} ended over another transport, so there is nothing to compare."]
    return [f"{name} was not in one piece: {one_line(note)}" for turn in replay.turns for note in turn.notes]
