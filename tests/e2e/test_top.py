"""`landline top` in a pseudo-terminal, against a real Landline and against a monitor over made-up agents."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from landline.monitor.state import Snapshot
from support.clients.terminal import Terminal
from support.fakes.chat import FakeChatServer, Script
from support.scripts.chat import Answer
from support.servers.monitored_edge import MonitoredEdge
from support.servers.running import RunningServer

LANDLINE = str(Path(sys.executable).parent / "landline")
ALTERNATE_SCREEN = ("\x1b[?1049h", "\x1b[?1049l")
NOBODY = "http://127.0.0.1:1"


def top(url: str, **size: int) -> Terminal:
    return Terminal([LANDLINE, "top", "--url", url], **size)


def run_top(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [LANDLINE, "top", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


async def take_turns(base_url: str, model: str, turns: int) -> None:
    """Over one socket, each turn continuing the one before."""
    previous = None
    async with AsyncOpenAI(base_url=base_url, api_key="none").responses.connect() as line:
        for number in range(turns):
            message = f"question {number} " * 200
            await line.response.create(model=model, input=message, previous_response_id=previous, store=False)
            async for event in line:
                if event.type == "response.completed":
                    previous = event.response.id
                    break


@pytest.fixture
def unused_landline(fake_chat: FakeChatServer, tmp_path: Path) -> Iterator[RunningServer]:
    """A Landline whose first session is the test's: what has ended sinks to the end of a long list."""
    target = f'[targets.fake]\ndialect = "chat_completions"\nbase_url = "{fake_chat.base_url}"\n'
    with RunningServer(target + '[models."*"]\ntargets = ["fake"]\n', tmp_path) as server:
        yield server


@pytest.mark.client
def test_a_real_session_is_found_and_looked_at(unused_landline: RunningServer, scripted: Script) -> None:
    scenario = scripted(*(Answer(f"answer {number}") for number in range(5)))
    with top(unused_landline.base_url) as terminal:
        terminal.wait_for("live")
        asyncio.run(take_turns(unused_landline.base_url, scenario.model, 5))
        screen = terminal.wait_for(lambda screen: scenario.model in screen and "ended" in screen)
        assert "▸ line_" in screen
        terminal.press("\r")
        detail = terminal.wait_for(lambda screen: "session line_" in screen and "    5 █" in screen)
        assert scenario.model in detail
        assert "░" in detail
        terminal.press("q")
        assert terminal.wait() == 0
        assert terminal.settings == terminal.settings_before
    assert all(sequence in terminal.output for sequence in ALTERNATE_SCREEN)


def test_keys_move_sort_and_go_back() -> None:
    with MonitoredEdge(sessions=30) as edge, top(edge.url) as terminal:
        first = terminal.wait_for(lambda screen: "30 sessions, last change first" in screen and "q quit" in screen)
        terminal.press("jj\x1b[B")
        terminal.wait_for(lambda screen: _selected(screen) == _selected(first) + 3)
        terminal.press("\x1b[A")
        terminal.wait_for(lambda screen: _selected(screen) == _selected(first) + 2)
        terminal.press("s")
        terminal.wait_for("most uploaded first")
        terminal.press("a")
        terminal.wait_for("live sessions")
        terminal.press("\r")
        terminal.wait_for("    1 █")
        terminal.press("\x1b")
        terminal.wait_for("live sessions, most uploaded first")
        terminal.press("\x03")
        assert terminal.wait() == 0
        assert terminal.settings == terminal.settings_before


def test_numbers_move_without_a_key() -> None:
    with MonitoredEdge(sessions=2) as edge, top(edge.url) as terminal:
        terminal.wait_for("2 sessions")
        edge.do(lambda agents: agents.open("sess_new"))
        terminal.wait_for(lambda screen: "3 sessions" in screen and "sess_new" in screen)
        terminal.press("gg\r")
        terminal.wait_for("session sess_new")
        edge.do(lambda agents: agents.turn("sess_new"))
        terminal.wait_for("    1 █")


def test_time_goes_on_where_nothing_happens() -> None:
    with MonitoredEdge(sessions=2) as edge, top(edge.url) as terminal:
        terminal.wait_for("up 0 s")
        terminal.wait_for("up 2 s")


def test_it_follows_the_size_of_its_window() -> None:
    with MonitoredEdge(sessions=30) as edge, top(edge.url) as terminal:
        for columns, rows in ((80, 24), (120, 40), (60, 10), (80, 24)):
            terminal.resize(columns, rows)
            screen = terminal.wait_for(lambda screen, size=(columns, rows): _size(screen) == size)
            assert screen.rstrip().endswith("q quit")


def test_a_lost_connection_is_said_and_tried_again() -> None:
    with ExitStack() as first, ExitStack() as later:
        edge = first.enter_context(MonitoredEdge(sessions=1))
        terminal = later.enter_context(top(edge.url))
        terminal.wait_for("1 session")
        first.close()
        terminal.wait_for("connection lost")
        later.enter_context(MonitoredEdge(sessions=4, port=edge.port))
        terminal.wait_for(lambda screen: "live" in screen and "4 sessions" in screen)
        terminal.press("q")
        assert terminal.wait() == 0


def test_once_prints_and_leaves() -> None:
    with MonitoredEdge(sessions=25) as edge:
        printed = run_top("--url", f"{edge.url}/v1", "--once")
        state = run_top("--url", edge.url, "--json")
    assert (printed.returncode, state.returncode) == (0, 0)
    assert printed.stdout.startswith("uploaded ")
    assert "sess_00024" in printed.stdout
    assert "and 5 more sessions" in printed.stdout
    assert "\x1b" not in printed.stdout
    assert set(Snapshot.__struct_fields__) >= set(json.loads(state.stdout)) >= {"totals", "sessions", "targets"}


def test_without_a_terminal_it_prints_once() -> None:
    with MonitoredEdge(sessions=1) as edge:
        assert "sess_00000" in run_top("--url", edge.url).stdout


@pytest.mark.parametrize("flags", [["--once"], ["--json"], []])
def test_without_a_server_it_says_what_to_do(flags: list[str]) -> None:
    done = run_top("--url", NOBODY, *flags)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"landline top: nothing answers at {NOBODY}: connection refused.\n")
    assert "landline serve" in done.stderr


@pytest.mark.parametrize("url", ["http://[::1", "ftp://127.0.0.1", "http://", "http://127.0.0.1:x", ""])
def test_what_is_no_url_of_a_server_is_said(url: str) -> None:
    done = run_top("--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"landline top: expected the URL of a server, as in http://127.0.0.1:8080; got {url!r}."
    )


def test_in_a_terminal_the_error_is_on_the_usual_screen() -> None:
    with top(NOBODY) as terminal:
        assert terminal.wait() == 1
        assert "nothing answers" in terminal.output
        assert ALTERNATE_SCREEN[0] not in terminal.output


def _selected(screen: str) -> int:
    """The line of the cursor; -1 when it is not drawn yet."""
    return next((number for number, line in enumerate(screen.splitlines()) if "▸" in line), -1)


def _size(screen: str) -> tuple[int, int]:
    """Columns and rows, by the bar of the totals, which is as long as the screen is wide."""
    lines = screen.replace("\r", "").split("\n")
    return max(sum(line.count(each) for each in "█░") for line in lines), len(lines)
