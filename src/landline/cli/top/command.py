"""Runs `landline top`: prints once, or follows a server until the user quits."""

import asyncio
import math
import signal
import sys
from collections.abc import Generator
from contextlib import aclosing, contextmanager

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from landline.cli.top.navigation import Key, Navigation, listening
from landline.cli.top.screen import FeedStatus, draw, sessions_table, target_lines, totals_lines
from landline.cli.top.source import NoMonitorError, Source, decode_state
from landline.cli.top.text import line
from landline.monitor.state import Snapshot, View
from landline.terminal import escaped, one_line

ONCE_SESSIONS = 20
_PIPE_COLUMNS = 120
"""How wide a line is where there is no terminal."""
_RETRY_S = (0.5, 1.0, 2.0, 5.0)
"""Waits before a lost connection is tried again; the last one repeats."""


class TopOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline top`."""

    url: str
    once: bool = False
    as_json: bool = False


def run_top(options: TopOptions) -> int:
    """The exit status: 0, or 1 when no server answers. Without a terminal it prints once."""
    is_watched = sys.stdin.isatty() and sys.stdout.isatty() and not options.once and not options.as_json
    try:
        source = Source(options.url)
        if is_watched:
            asyncio.run(Top(source, Console()).run())
        else:
            asyncio.run(_print_once(source, as_json=options.as_json))
    except NoMonitorError as error:
        hint = "Start a server with `landline serve`, or name the one that runs: `landline top --url URL`."
        typer.echo(f"landline top: {one_line(str(error))}.\n{hint}", err=True)
        return 1
    return 0


class Top:
    """The screen of one user. `run` ends when they leave; raises `NoMonitorError` if there was nothing to see."""

    def __init__(self, source: Source, console: Console) -> None:
        self._source = source
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._place = Navigation()
        self._snapshot: Snapshot | None = None
        self._received_at = 0.0
        """When the snapshot came, by the loop's clock."""
        self._age_s = 0.0
        """Seconds since then; stands still while the connection is lost."""
        self._is_loading = False
        """Whether the snapshot is still the answer to an earlier request."""
        self._trouble = ""
        self._is_over = False
        self._moved = asyncio.Event()
        """Set when the user has changed the view, or leaves."""

    async def run(self) -> None:
        self._take(decode_state(await self._source.state(self._place.view)))
        with listening(sys.stdin.fileno(), self._press), self._live, self._signals(), self._clock():
            self._draw()
            while not self._is_over:
                self._moved.clear()
                following = asyncio.create_task(self._follow(self._place.view))
                moving = asyncio.create_task(self._moved.wait())
                await asyncio.wait({following, moving}, return_when=asyncio.FIRST_COMPLETED)
                for task in (following, moving):
                    task.cancel()
                await asyncio.wait({following, moving})
                if not following.cancelled():
                    following.result()

    async def _follow(self, view: View) -> None:
        """Shows the server's snapshots, and reconnects when the connection is lost."""
        tries = 0
        while True:
            try:
                async with aclosing(self._source.watch(view)) as snapshots:
                    async for snapshot in snapshots:
                        self._take(snapshot)
                        tries, self._trouble, self._is_loading = 0, "", False
                        self._draw()
            except NoMonitorError as error:
                await self._wait(_RETRY_S[min(tries, len(_RETRY_S) - 1)], str(error))
                tries += 1

    def _take(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._received_at = asyncio.get_running_loop().time()

    async def _wait(self, wait_s: float, reason: str) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (left_s := until - loop.time()) > 0:
            self._trouble = f"connection lost ({reason}), trying again in {math.ceil(left_s)} s"
            self._draw()
            await asyncio.sleep(min(left_s, 1.0))
        self._trouble = f"connection lost ({reason}), trying again"
        self._draw()

    def _press(self, key: Key) -> None:
        if key is Key.QUIT:
            self._leave()
            return
        assert self._snapshot is not None
        view = self._place.view
        self._place.press(key, self._snapshot)
        if self._place.view != view:
            self._is_loading = True
            self._moved.set()
        self._draw()

    def _leave(self) -> None:
        self._is_over = True
        self._moved.set()

    def _draw(self) -> None:
        assert self._snapshot is not None
        size = self._live.console.size
        if not self._trouble:
            self._age_s = asyncio.get_running_loop().time() - self._received_at
        status = FeedStatus(
            url=self._source.base_url, trouble=self._trouble, is_loading=self._is_loading, age_s=self._age_s
        )
        screen = draw(self._snapshot, self._place, status, width=size.width, height=size.height)
        self._live.update(screen, refresh=True)

    @contextmanager
    def _clock(self) -> Generator[None]:
        """Draws once a second: the uptime changes although nothing else does."""
        task = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if not self._trouble:
                self._draw()

    @contextmanager
    def _signals(self) -> Generator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGINT: self._leave, signal.SIGTERM: self._leave, signal.SIGWINCH: self._draw}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)


async def _print_once(source: Source, *, as_json: bool) -> None:
    body = await source.state(View(sessions=ONCE_SESSIONS, sort="changed"))
    snapshot = decode_state(body)
    if as_json:
        typer.echo(escaped(body.decode()))
        return
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_COLUMNS)
    page, width = snapshot.sessions, console.width
    for text in (*totals_lines(snapshot, width), Text(""), *target_lines(snapshot.targets), Text("")):
        console.print(text)
    console.print(sessions_table(snapshot, page.rows, width=width))
    if page.matching > len(page.rows):
        console.print(line(f"and {page.matching - len(page.rows):,} more sessions", style="dim"))
