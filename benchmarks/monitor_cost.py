"""What does the monitor page cost with 2,000 sessions live: a refresh in the browser, and the server that feeds it?

In the browser: Debian's chromium opens the page over a made-up ledger of 2,000 open sockets; 200 of them take a turn between
two refreshes. The page itself measures each refresh (`performance.measure`): from the arrival of the event until the
document is changed ("script"), and until the browser has painted that ("painted", which waits for the next frame, up to
17 ms). Views: the list with every row changing, a list that is searched, and one session with 200 turns.

At the server: a real Landline with 2,000 open sockets in front of an upstream that costs nothing; workers take turns on
them, one socket after the other, as fast as the server lets them. In turn, nobody watches and 10 pages do, their streams
read without a browser so that no browser takes the server's core. One page costs less than a busy machine's noise; so a
tenth of what 10 cost is given as its overhead: of the server's processor time for each turn. What the pages share is shared
(sums, rows that several show); the last number, of one step for one page alone, shares nothing.

    python benchmarks/monitor_cost.py [--windows 16] [--seconds 3]
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from playwright.sync_api import Page, sync_playwright

from landline.bench.processes import started_upstream
from landline.monitor.state import View
from setting import describe_setting, write_result
from support.clients.browser import open_chromium
from support.ledger.synthetic import MadeUpAgents
from support.servers.monitored_edge import MonitoredEdge
from support.servers.running import RunningServer

SESSIONS = 2000
CHANGING = 200
REFRESHES = 40
WORKERS = 24
PAGES = 10
REACH_MS = 100
REACH_SHARE = 0.02
_COLLECT = """() => {
    window.taken = { "landline.refresh": [], "landline.painted": [] };
    new PerformanceObserver((list) => list.getEntries().forEach((each) => window.taken[each.name]?.push(each.duration)))
        .observe({ type: "measure" });
}"""


class Window(msgspec.Struct):
    """Some seconds of load."""

    turns: int
    seconds: float
    processor_s: float
    """Of the server."""
    events: int
    """Told to the watcher."""

    @property
    def cost_ms(self) -> float:
        return 1000 * self.processor_s / self.turns


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--windows", type=int, default=16, help="windows of load with a page, and as many without")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each window")
    options = parser.parse_args()
    refreshes = _measure_browser()
    alone, watched = uvloop.run(_measure_server(options.windows, options.seconds))
    step_ms = _measure_step()
    write_result("monitor_cost", _report(refreshes, alone, watched, step_ms))


def _measure_browser() -> list[str]:
    with sync_playwright() as playwright, MonitoredEdge(sessions=SESSIONS, turns=10) as edge:
        edge.do(lambda agents: [agents.turn("sess_00007") for _ in range(200)])
        browser = open_chromium(playwright)
        rows = [_time_view(browser.new_page(), edge, name) for name in ("list", "search", "session")]
        browser.close()
    return rows


def _time_view(page: Page, edge: MonitoredEdge, name: str) -> str:
    page.goto(f"{edge.url}/monitor" + ("#session=sess_00007" if name == "session" else ""))
    page.wait_for_selector("#link[data-state=live]")
    if name != "session":
        page.get_by_label("Sort by").select_option("changed")
    if name == "search":
        page.get_by_role("searchbox").fill("coder")
    page.evaluate(_COLLECT)
    draw = random.Random(3)
    while page.evaluate("window.taken['landline.painted'].length") < REFRESHES:
        edge.do(lambda agents: _take_turns(agents, draw))
        page.wait_for_timeout(250)
    taken = page.evaluate("window.taken")
    page.close()
    values = [f(taken[part]) for part in ("landline.refresh", "landline.painted") for f in (statistics.median, max)]
    return f"| {name} | " + " | ".join(f"{each:.1f}" for each in values) + " |"


def _take_turns(agents: MadeUpAgents, draw: random.Random) -> None:
    for _ in range(CHANGING):
        agents.turn(f"sess_{draw.randrange(SESSIONS):05d}")
    agents.turn("sess_00007")


async def _measure_server(windows: int, seconds: float) -> tuple[list[Window], list[Window]]:
    with started_upstream() as upstream, tempfile.TemporaryDirectory() as folder:
        config = f"""
[store]
url = "memory"
[targets.costless]
dialect = "chat_completions"
base_url = "{upstream.base_url}"
[models."*"]
targets = ["costless"]
"""
        with RunningServer(config, Path(folder)) as server:
            async with _lines(server) as lines:
                turns = itertools.cycle(lines)
                await _load(server, turns, seconds, events=[])
                alone: list[Window] = []
                watched: list[Window] = []
                for number in range(windows):
                    # Which of a pair comes first changes, so that a machine that slows down favours neither.
                    for is_watched in (number % 2 == 0, number % 2 == 1):
                        if is_watched:
                            watched.append(await _load_watched(server, turns, seconds))
                        else:
                            alone.append(await _load(server, turns, seconds, events=[]))
                return alone, watched


@asynccontextmanager
async def _lines(server: RunningServer) -> AsyncGenerator[list["Line"]]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        url = f"{server.base_url}/responses"
        yield [Line(await http.ws_connect(url, compress=0)) for _ in range(SESSIONS)]


class Line:
    """One agent's socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last: str | None = None

    async def turn(self) -> None:
        fields = {"model": "costless", "input": "And what comes next?", "store": False}
        await self._socket.send_json({"type": "response.create", "previous_response_id": self._last, **fields})
        async for message in self._socket:
            if '"type":"response.completed"' in message.data[:60]:
                self._last = json.loads(message.data)["response"]["id"]
                return
        raise AssertionError("the line was closed")


async def _load(server: RunningServer, turns: "itertools.cycle[Line]", seconds: float, *, events: list[None]) -> Window:
    begun, processor_s = time.perf_counter(), _processor_s(server.process_id)
    counts = await asyncio.gather(*(_work(turns, begun + seconds) for _ in range(WORKERS)))
    return Window(sum(counts), time.perf_counter() - begun, _processor_s(server.process_id) - processor_s, len(events))


def _processor_s(process_id: int) -> float:
    """What a process has used so far (proc(5), `stat`: fields 14 and 15)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _work(turns: "itertools.cycle[Line]", until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        await next(turns).turn()
        count += 1
    return count


async def _load_watched(server: RunningServer, turns: "itertools.cycle[Line]", seconds: float) -> Window:
    events: list[None] = []
    url = f"{server.base_url.removesuffix('/v1')}/monitor/events?sessions=25&sort=changed"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:
        pages = [asyncio.create_task(_read(http, url, events)) for _ in range(PAGES)]
        window = await _load(server, turns, seconds, events=events)
        for page in pages:
            page.cancel()
        await asyncio.wait(pages)
    return window


async def _read(http: aiohttp.ClientSession, url: str, events: list[None]) -> None:
    """One page's stream, as a browser asks for it."""
    async with http.get(url, headers={"accept-encoding": "gzip, deflate, br"}) as reply:
        async for line in reply.content:
            if line.startswith(b"event: change"):
                events.append(None)


def _measure_step() -> float:
    """Milliseconds to find and encode one change in this process."""
    agents = MadeUpAgents()
    agents.run(SESSIONS, 3)
    watch = agents.feed().watch(View(sessions=25, sort="changed"))
    draw, times = random.Random(3), list[float]()
    for _ in range(100):
        _take_turns(agents, draw)
        begun = time.perf_counter()
        msgspec.json.encode(watch.change())
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def _report(refreshes: list[str], alone: list[Window], watched: list[Window], step_ms: float) -> list[str]:
    shares = [(two.cost_ms / one.cost_ms - 1) / PAGES for one, two in zip(alone, watched, strict=True)]
    return [
        "# What the monitor page costs",
        "",
        f"`python benchmarks/monitor_cost.py`: {SESSIONS:,} sessions live. The file's head says exactly what is measured.",
        "",
        *describe_setting("landline", "uvicorn", "uvloop", "msgspec", "playwright"),
        "",
        (
            f"A refresh in the browser, {CHANGING} sessions changed since the last; milliseconds, n = {REFRESHES} for each "
            f"row; to reach: {REACH_MS}:"
        ),
        "",
        "| view | script, median | worst | painted, median | worst |",
        "| --- | --- | --- | --- | --- |",
        *refreshes,
        "",
        f"The server under {WORKERS} turns at a time, medians of {len(alone)} windows each, in turn:",
        "",
        "| pages | processor time a turn, ms | turns/s | events told |",
        "| --- | --- | --- | --- |",
        *(_server_row(name, windows) for name, windows in (("0", alone), (str(PAGES), watched))),
        "",
        (
            f"Overhead of one open page: {100 * statistics.median(shares):+.2f} % of processor time a turn, the median of "
            f"{len(shares)} pairs of windows (quartiles {_percents(shares)}; to reach: {100 * REACH_SHARE:.0f} %). To find and "
            f"encode one change, {CHANGING} sessions changed, takes {step_ms:.2f} ms, twice a second: {step_ms / 5:.2f} % of "
            "one core."
        ),
        "",
        "Not shown: the browser's own load on the machine that it runs on.",
    ]


def _percents(shares: list[float]) -> str:
    low, _, high = statistics.quantiles(shares, n=4)
    return f"{100 * low:+.2f} and {100 * high:+.2f} %"


def _server_row(name: str, windows: list[Window]) -> str:
    rate = statistics.median(each.turns / each.seconds for each in windows)
    cost = statistics.median(each.cost_ms for each in windows)
    return f"| {name} | {cost:.3f} | {rate:.0f} | {sum(each.events for each in windows)} |"


if __name__ == "__main__":
    main()
