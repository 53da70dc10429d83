"""Takes the pictures of the monitor page in docs/images, from a live run: real turns of openai's client through Landline.

Run it by `make screenshots`; it needs Debian's chromium (`apt-get install chromium`).
"""

import random
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from support.clients.browser import open_chromium
from support.clients.live_agent import LiveAgent, source_text
from support.fakes.chat import FakeChatServer
from support.fakes.scenario import Received, Scenario
from support.scripts.chat import Answer, Call
from support.servers.running import RunningServer

IMAGES = Path(__file__).resolve().parent / "images"
AGENT_TURNS = (26, 19, 14, 9, 5, 3)
MODEL = "coder"
SIZES = {1280: 900, 360: 780}
_CONFIG = """
[store]
url = "memory"
[targets.gpu1]
dialect = "chat_completions"
base_url = "{}"
[targets.gpu2]
dialect = "chat_completions"
base_url = "{}"
[models."*"]
targets = ["gpu1", "gpu2"]
[models."*".price]
input = 2.0
cached = 0.2
output = 10.0
"""


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, live_server() as server, running_agents(server) as over:
        url = f"{server.base_url.removesuffix('/v1')}/monitor"
        browser = open_chromium(playwright)
        pages = [_open(browser, url, width) for width in SIZES]
        while not over.is_set():
            pages[0].wait_for_timeout(100)
        for width, page in zip(SIZES, pages, strict=True):
            page.get_by_label("Sort by").select_option("saved")
            _keep(page, f"monitor-{width}")
            page.locator("#list a").first.click()
            page.locator("#session .turn").nth(1).wait_for()
            page.mouse.move(0, 0)
            _keep(page, f"session-{width}")
        pages[0].emulate_media(color_scheme="light")
        _save(pages[0].locator("#session .turns"), "turns-1280-light")
        browser.close()


def _open(browser: Browser, url: str, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": SIZES[width]})
    page.goto(url)
    page.wait_for_selector("#link[data-state=live]")
    return page


def _keep(page: Page, name: str) -> None:
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(700)
        _save(page, f"{name}-{scheme}")


def _save(shown: Page | Locator, name: str) -> None:
    path = IMAGES / f"{name}.png"
    shown.screenshot(path=path)
    print(f"docs/images/{path.name}: {path.stat().st_size // 1000} kB")


@contextmanager
def live_server() -> Generator[RunningServer]:
    """A Landline over two model servers that take their time, as models do."""
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeChatServer()) for _ in range(2)]
        for fake in fakes:
            _let_think(fake)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = _CONFIG.format(*(fake.base_url for fake in fakes))
        yield stack.enter_context(RunningServer(config, folder))


def _let_think(fake: FakeChatServer) -> None:
    draw = random.Random(fake.base_url)

    def choose(received: Received) -> Answer:
        number = sum(message["role"] == "tool" for message in received.messages)
        threading.Timer(draw.uniform(0.2, 1.4), scenario.release).start()
        time.sleep(draw.uniform(0.02, 0.12))
        return Answer(calls=(Call("read_file", {"path": f"src/part_{number}.py", "limit": 200}),), pause_after=2)

    scenario = fake.scenario(choose, model=MODEL)
    assert isinstance(scenario, Scenario)


@contextmanager
def running_agents(server: RunningServer) -> Generator[threading.Event]:
    """Agents that work at the same time; the event is set when all but the first have gone, its line still open."""
    over, leave = threading.Event(), threading.Event()

    def work(turns: int, delay_s: float, is_last: bool) -> None:
        time.sleep(delay_s)
        with LiveAgent(server.base_url, MODEL) as agent:
            for number in range(turns):
                agent.turn(source_text(number, lines=20 + (17 * number + turns) % 90))
            if is_last:
                over.set()
            leave.wait(120)

    longest = max(AGENT_TURNS)
    threads = [
        threading.Thread(target=work, args=(turns, 24.0 * (1 - turns / longest), turns == longest))
        for turns in AGENT_TURNS
    ]
    for thread in threads:
        thread.start()
    yield over
    leave.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
