"""The monitor page as tests open it: on its console nothing may be complained of, and it may ask one origin only."""

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from support.servers.monitored_edge import MonitoredEdge
from support.servers.running import RunningServer

NARROW = 360
LIVE = "#link[data-state=live]"


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on whose console nothing may be complained of, and that may ask one origin only."""
    complaints: list[str] = []
    origins: set[str] = set()

    def note_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def note_request(request: Request) -> None:
        origins.add("/".join(request.url.split("/")[:3]))

    made = context.new_page()
    made.on("console", note_console)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", note_request)
    yield made
    assert complaints == []
    assert len(origins) == 1, origins


@pytest.fixture
def three() -> Iterator[MonitoredEdge]:
    with MonitoredEdge(sessions=3) as made:
        yield made


def address(server: RunningServer) -> str:
    return server.base_url.removesuffix("/v1")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        return reply.read().decode()


def state_of(url: str) -> dict[str, Any]:
    return json.loads(get(f"{url}/monitor/state"))


def metric(url: str, name: str, **labels: str) -> float:
    """The sum of a family's samples that have these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in get(f"{url}/metrics").splitlines() if re.match(rf"{name}(_total)?[{{ ]", line)]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted))


def number(page: Page, name: str) -> float:
    return float(page.locator(f"#{name}").get_attribute("value") or "nan")


def open_page(page: Page, url: str, path: str = "") -> None:
    page.goto(f"{url}/monitor{path}")
    page.wait_for_selector(LIVE)


def overflow(page: Page) -> int:
    """Pixels that the document is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
