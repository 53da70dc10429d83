"""The monitor page in a real browser: it moves with the turns, agrees with the numbers behind it, and asks nobody else."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from browser import chromium
from chat_script import Refused
from fake_chat_server import FakeChatServer
from landline.ledger import ByteCounts
from live_agent import LiveAgent, call_tools, source_text
from monitored_edge import MonitoredEdge
from running_server import RunningServer

__all__ = ["chromium"]

pytestmark = pytest.mark.client

NARROW = 360
LIVE = "#link[data-state=live]"
SECRET = "xylophone-7261"
_CONFIG = """
[store]
url = "memory"
[monitor]
content = {content}
[targets.fake]
dialect = "chat_completions"
base_url = "{base_url}"
[models."*"]
targets = ["fake"]
"""

_FAINT_TEXTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const channels = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = ([r, g, b, a], ground) => [r, g, b].map((each, place) => each * a / 255 + ground[place] * (1 - a / 255));
    const light = (colour) => {
        const [r, g, b] = colour.map((each) => each / 255).map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        const parent = text.parentElement;
        if (!text.data.trim() || !parent.checkVisibility() || parent.closest("noscript, .unseen, .skip, [disabled]")) continue;
        let [ground, opacity] = [[255, 255, 255], 1];
        const around = [];
        for (let at = parent; at; at = at.parentElement) around.unshift(getComputedStyle(at));
        for (const style of around) {
            ground = over(channels(style.backgroundColor), ground);
            opacity *= parseFloat(style.opacity);
        }
        const style = getComputedStyle(parent);
        const own = channels(parent.closest("svg") ? style.fill : style.color);
        const ink = over([...own.slice(0, 3), own[3] * opacity], ground);
        const [high, low] = [light(ink), light(ground)].sort((one, other) => other - one);
        const contrast = (high + 0.05) / (low + 0.05);
        if (contrast < 4.5) faint.push(`${text.data.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
    return faint;
}"""
"""The texts that are seen with a contrast of less than 4.5 to 1."""


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


@pytest.fixture(params=[0, 3, 3000])
def edge(request: pytest.FixtureRequest) -> Iterator[MonitoredEdge]:
    with MonitoredEdge(sessions=request.param) as made:
        yield made


@pytest.fixture
def three() -> Iterator[MonitoredEdge]:
    with MonitoredEdge(sessions=3) as made:
        yield made


@pytest.fixture
def landline(fake_chat: FakeChatServer, tmp_path: Path) -> Iterator[RunningServer]:
    """A Landline for one test, because its totals are compared."""
    with RunningServer(_CONFIG.format(content="false", base_url=fake_chat.base_url), tmp_path) as server:
        yield server


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


def test_numbers_move_with_the_turns_and_agree(page: Page, fake_chat: FakeChatServer, landline: RunningServer) -> None:
    url = address(landline)
    scenario = fake_chat.scenario(call_tools)
    open_page(page, url)
    expect(page.locator("#empty")).to_contain_text("No session yet")
    expect(page.locator("#empty")).to_contain_text(f"{landline.base_url}/responses")
    with LiveAgent(landline.base_url, scenario.model) as agent:
        uploads: list[float] = []
        for turn in range(1, 5):
            agent.turn(source_text(turn))
            expect(page.locator("#turns")).to_have_attribute("value", str(turn))
            uploads.append(number(page, "uploaded"))
        expect(page.locator("#lines")).to_have_attribute("value", "1")
        expect(page.locator("#list .row")).to_have_count(1)
    assert uploads == sorted(set(uploads))
    expect(page.locator("#lines")).to_have_attribute("value", "0")
    totals = state_of(url)["totals"]
    assert number(page, "uploaded") == totals["uploaded_bytes"] == metric(url, "landline_wire_bytes", direction="in")
    assert (
        number(page, "downloaded") == totals["downloaded_bytes"] == metric(url, "landline_wire_bytes", direction="out")
    )
    assert number(page, "would") == totals["would_have_been_bytes"] == metric(url, "landline_stateless_bytes")
    assert number(page, "turns") == totals["turns"] == metric(url, "landline_turns")
    assert number(page, "saved-bytes") == totals["would_have_been_bytes"] - totals["uploaded_bytes"] > 0
    share = 100 * totals["saved_bytes"] / totals["would_have_been_bytes"]
    assert page.locator("#saved-share").text_content() == f"{share:.1f} %"  # a thin space


def test_a_session_shows_its_turns_and_where_its_bytes_went(
    page: Page, fake_chat: FakeChatServer, landline: RunningServer
) -> None:
    scenario = fake_chat.scenario(call_tools)
    open_page(page, address(landline))
    with LiveAgent(landline.base_url, scenario.model) as agent:
        agent.turn()
        page.locator("#list .row", has_text=scenario.model).get_by_role("link").click()
        expect(page.locator("#session .turn:not(.titles)")).to_have_count(1)
        agent.turn(source_text(1))
        expect(page.locator("#session .turn:not(.titles)")).to_have_count(2)
    expect(page.locator("#session .facts").first).to_contain_text("closed")
    assert (page.locator(".columns-chart .sent").get_attribute("d") or "").count("z") == 2
    assert (page.locator(".columns-chart .would").get_attribute("d") or "").count("z") == 2
    shown = page.locator("#session-bytes .measure data").evaluate_all("all => all.map((each) => Number(each.value))")
    detail = json.loads(get(f"{address(landline)}/monitor/sessions/{page.url.partition('session=')[2]}"))
    assert shown == [detail["row"]["would_have_been_bytes"], detail["payload_bytes"], detail["row"]["uploaded_bytes"]]
    page.go_back()
    expect(page.locator("#sessions")).to_be_visible()
    expect(page.locator("#session")).to_be_hidden()


def test_a_failed_turn_is_shown_as_such(page: Page, fake_chat: FakeChatServer, landline: RunningServer) -> None:
    scenario = fake_chat.scenario([Refused(400, "no such thing")])
    body = json.dumps({"model": scenario.model, "input": "Hello", "stream": False}).encode()
    open_page(page, address(landline))
    before = state_of(address(landline))["totals"]["failed_turns"]
    with pytest.raises(urllib.request.HTTPError):
        urllib.request.urlopen(
            urllib.request.Request(
                f"{landline.base_url}/responses", data=body, headers={"content-type": "application/json"}
            )
        )
    expect(page.locator("#turns-hint")).to_contain_text(f"{before + 1} failed")


@pytest.mark.parametrize("content", ["false", "true"])
def test_what_was_said_is_shown_only_if_the_settings_say_so(
    page: Page, fake_chat: FakeChatServer, tmp_path: Path, content: str
) -> None:
    config = _CONFIG.format(content=content, base_url=fake_chat.base_url)
    with RunningServer(config, tmp_path) as server:
        scenario = fake_chat.scenario(call_tools)
        open_page(page, address(server))
        with LiveAgent(server.base_url, scenario.model) as agent:
            agent.turn()
            agent.turn(f"The word is {SECRET}.")
        page.locator("#list a").click()
        expect(page.locator("#session .turn:not(.titles)")).to_have_count(2)
        session_id = page.url.partition("session=")[2]
        told = get(f"{address(server)}/monitor/sessions/{session_id}") + page.content()
        assert (SECRET in told) == (content == "true")
        assert page.locator(".said").count() == (1 if content == "true" else 0)


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_page_never_scrolls_sideways(page: Page, edge: MonitoredEdge, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    open_page(page, edge.url)
    assert overflow(page) <= 0
    if page.locator("#list a").count():
        page.locator("#list a").first.click()
        expect(page.locator("#session .turn:not(.titles)").first).to_be_visible()
        assert overflow(page) <= 0


def test_list_shows_one_page_of_however_many_sessions(page: Page, edge: MonitoredEdge) -> None:
    known = edge.do(lambda agents: len(agents.ledger.sessions()))
    open_page(page, edge.url)
    expect(page.locator("#list .row")).to_have_count(min(known, 25))
    expect(page.locator("#lines")).to_have_attribute("value", str(known))
    expect(page.locator("#empty")).to_be_visible(visible=known == 0)
    expect(page.locator("#pager")).to_be_visible(visible=known > 25)


def test_long_names_do_not_widen_the_page(page: Page, three: MonitoredEdge) -> None:
    page.set_viewport_size({"width": NARROW, "height": 780})
    for number in range(30):
        name = f"{number}{'l' * 254}"
        three.do(lambda agents, name=name: agents.turn("sess_00001", lane=name, model="m" * 5000, error_code="e" * 200))
    open_page(page, three.url)
    assert overflow(page) <= 0
    page.locator("#list a").nth(1).click()
    expect(page.locator("#session .lanes")).to_contain_text("and 11 more")
    assert overflow(page) <= 0


def test_many_sessions_can_be_turned_sorted_and_found(page: Page) -> None:
    with MonitoredEdge(sessions=3000, turns=2) as edge:
        edge.do(lambda agents: agents.turn("sess_00042", model="an odd model"))
        open_page(page, edge.url)
        first = page.locator("#list .name a").first
        expect(first).to_have_text("sess_02999")
        page.get_by_role("button", name="Next page of sessions").click()
        expect(first).to_have_text("sess_02974")
        expect(page.locator("#range")).to_have_text("26–50 of 3,000")  # noqa: RUF001  # a dash between numbers
        page.get_by_label("Sort by").select_option("turns")
        expect(page.locator("#range")).to_contain_text("1–25")  # noqa: RUF001
        turns = page.locator("#list .turns data").evaluate_all("all => all.map((each) => Number(each.value))")
        assert turns == sorted(turns, reverse=True)
        page.get_by_role("searchbox").fill("odd model")
        expect(page.locator("#list .row")).to_have_count(1)
        expect(first).to_have_text("sess_00042")
        page.get_by_role("searchbox").fill("nobody is called so")
        expect(page.locator("#no-match")).to_be_visible()


def test_everything_is_reached_by_keyboard_and_seen_to_be(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    seen: list[str] = []
    for _ in range(9):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
                const at = document.activeElement;
                const styles = [getComputedStyle(at), getComputedStyle(at, "::after")];
                const name = at.getAttribute("aria-label") || at.labels?.[0]?.textContent.trim() || at.textContent.trim();
                return [name, styles.some((each) => each.outlineStyle !== "none" && parseFloat(each.outlineWidth) > 0)];
            }"""
        )
        assert outline, name
        seen.append(name)
    expected = ["Skip to", "Landline", "Theme:", "Find sessions", "not ended", "Sort by", "sess_00002", "sess_00001"]
    assert [name[: len(start)] for name, start in zip(seen, expected, strict=False)] == expected
    page.keyboard.press("Enter")
    expect(page.locator("#session-title")).to_be_focused()
    expect(page.locator("#session-title")).to_have_text("sess_00000")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#sessions")).to_be_visible()
    expect(page.locator("#list a").last).to_be_focused()


def test_skip_link_leads_past_the_totals(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_every_control_and_picture_has_a_name(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.locator("#list a").first.click()
    expect(page.locator("#session .turn:not(.titles)").first).to_be_visible()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, svg[role=img]")].filter((each) =>
            !(each.getAttribute("aria-label") || each.labels?.[0]?.textContent.trim() || each.textContent.trim()))
            .map((each) => each.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    snapshot = page.locator("main").aria_snapshot()
    for role in ("region", "table", "columnheader", "complementary"):
        assert role in snapshot, snapshot


def test_what_only_colours_and_bars_show_is_also_text(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    expect(page.locator("#list").get_by_text("open", exact=True)).to_have_count(3)
    page.locator("#list a").first.click()
    times = page.locator("#session .turn:not(.titles) .time").first
    expect(times).to_contain_text(re.compile(r"queued .* first token after .* all "))
    tables = page.get_by_role("table", name="Turns").or_(page.get_by_role("table", name="Sessions"))
    inside = tables.evaluate_all("(all) => all.flatMap((each) => [...each.children]).map((each) => each.role)")
    assert set(inside) == {"rowgroup"}


def test_a_row_that_moves_keeps_the_focus(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.get_by_label("Sort by").select_option("changed")
    last = page.locator("#list a").last
    name = last.text_content() or ""
    last.focus()
    three.do(lambda agents: agents.turn(name))
    expect(page.locator("#list a").first).to_have_text(name)
    expect(page.locator("#list a").first).to_be_focused()


def test_names_show_what_they_hide(page: Page, three: MonitoredEdge) -> None:
    """Text in a model's name that turns what follows around, or that nobody sees."""
    three.do(lambda agents: agents.turn("sess_00001", model="\u202elive\x1b[2J<b>x</b>", lane="\u2066lane"))
    open_page(page, three.url)
    expect(page.locator("#list")).to_contain_text("\ufffdlive\ufffd[2J<b>x</b>")
    expect(page.locator("#models")).to_contain_text("\ufffdlive\ufffd[2J<b>x</b>")
    open_page(page, three.url, "#session=sess_00001")
    expect(page.locator("#session .turn:not(.titles) .number").first).to_contain_text("\ufffdlane")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.locator("html").inner_text())


def test_what_cost_more_than_it_saved_is_said_in_bytes(page: Page) -> None:
    """A single turn over HTTP: thousands of percent of next to nothing would only frighten."""
    with MonitoredEdge() as edge:
        edge.do(lambda agents: agents.turn("sess_1", bytes=ByteCounts(wire_in=563, payload_in=49, stateless=49)))
        open_page(page, edge.url)
        expect(page.locator("#saved-share")).to_have_text("\u2212514 B")
        expect(page.locator("#saved-bytes + span")).to_have_text("more; nothing is saved yet")
        expect(page.locator("#list .saved")).to_have_text("\u2212514 B")
        expect(page.locator("#models")).to_contain_text("514 B more1 turn, 563 B of 49 B")
        expect(page.locator("#spoken")).to_have_text("514 B more: uploaded 563 B instead of 49 B, in 1 turn.")
        page.locator("#list a").click()
        expect(page.locator("#session .sentence")).to_have_text("Uploaded 563 B instead of 49 B: 514 B more.")


def test_models_that_are_not_listed_are_counted(page: Page, three: MonitoredEdge) -> None:
    for number in range(20):
        three.do(lambda agents, number=number: agents.turn("sess_00001", model=f"model-{number}"))
    known = len(state_of(three.url)["models"])
    open_page(page, three.url)
    expect(page.locator("#models .entry")).to_have_count(8)
    expect(page.locator("#models")).to_have_attribute("data-rest", f"and {known - 8} more")


def test_uptime_is_the_servers_whatever_the_clock_here_says(page: Page, three: MonitoredEdge) -> None:
    """The made-up server's clock is years behind."""
    open_page(page, three.url)
    expect(page.locator("#uptime")).to_have_text(re.compile(r"^up \d\d? s$"))


def test_another_page_of_sessions_is_said_and_keeps_the_focus(page: Page) -> None:
    with MonitoredEdge(sessions=30, turns=1) as edge:
        open_page(page, edge.url)
        page.get_by_label("Next page").click()
        expect(page.locator("#spoken")).to_have_text("Sessions 26\u201330 of 30")
        expect(page.get_by_label("Previous page")).to_be_focused()  # the other one can do nothing any more
        page.keyboard.press("Enter")
        expect(page.locator("#spoken")).to_have_text("Sessions 1\u201325 of 30")
        expect(page.get_by_label("Next page")).to_be_focused()


def test_the_browsers_own_back_and_forward_go_between_list_and_session(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.locator("#list a").first.click()
    expect(page.locator("#session")).to_be_visible()
    page.go_back()
    expect(page.locator("#sessions")).to_be_visible()
    expect(page.locator("#list a").first).to_be_focused()
    page.go_forward()
    expect(page.locator("#session-title")).to_have_text("sess_00002")
    page.get_by_text("all sessions").click()
    page.go_back()
    expect(page.locator("#session-title")).to_be_visible()


def test_totals_are_spoken_but_not_at_every_change(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    spoken = page.locator("#spoken")
    expect(spoken).to_contain_text("saved: uploaded")
    assert spoken.get_attribute("aria-live") == "polite"
    before = spoken.text_content()
    turns = number(page, "turns")
    three.do(lambda agents: agents.turn("sess_00001"))
    expect(page.locator("#turns")).to_have_attribute("value", str(int(turns) + 1))
    assert spoken.text_content() == before


def test_dark_and_light_follow_the_system_until_one_is_chosen(chromium: Browser, three: MonitoredEdge) -> None:
    with chromium.new_context(color_scheme="dark") as context:
        page = context.new_page()
        open_page(page, three.url)
        assert _brightness(page) < 0.2
        page.emulate_media(color_scheme="light")
        assert _brightness(page) > 0.8
        theme = page.locator("#theme")
        theme.click()
        theme.click()
        expect(theme).to_have_accessible_name("Theme: dark")
        assert _brightness(page) < 0.2
        page.reload()
        page.wait_for_selector(LIVE)
        expect(theme).to_have_accessible_name("Theme: dark")
        assert _brightness(page) < 0.2
        theme.click()
        assert _brightness(page) > 0.8


def test_text_can_be_read_on_its_ground_in_both_themes(page: Page, three: MonitoredEdge) -> None:
    """WCAG AA: 4.5 to 1 for text of this size."""
    open_page(page, three.url)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for text, ground in (("--ink", "--card"), ("--soft", "--card"), ("--soft", "--paper"), ("--sent", "--card")):
            assert _contrast(page, text, ground) >= 4.5, (scheme, text, ground)
        assert _contrast(page, "--bad", "--card") >= 4.5


def test_every_text_on_the_page_can_be_read(page: Page, three: MonitoredEdge) -> None:
    """WCAG AA as it is painted, see-through layers and all: closed sessions, failures and what is small too."""
    three.do(lambda agents: agents.turn("sess_00001", outcome="failed", error_code="upstream_error"))
    three.do(lambda agents: agents.ledger.close_session("sess_00000"))
    open_page(page, three.url)
    expect(page.locator("#list [data-state=ended]")).to_be_visible()
    for path in ("", "#session=sess_00001"):
        open_page(page, three.url, path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(_FAINT_TEXTS) == [], (path, scheme)


def test_nothing_moves_for_who_wants_less_motion(chromium: Browser, three: MonitoredEdge) -> None:
    with chromium.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        open_page(page, three.url)
        moving = page.evaluate(
            """() => [...document.querySelectorAll("*")].filter((each) => {
                const style = getComputedStyle(each);
                return style.animationName !== "none" || style.transitionDuration !== "0s";
            }).length"""
        )
        assert moving == 0


def test_layout_does_not_shift_while_numbers_move(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.evaluate(
        """() => {
            window.shifts = [];
            new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((each) => each.value)))
                .observe({ type: "layout-shift", buffered: true });
        }"""
    )
    for _ in range(4):
        turns = three.do(lambda agents: agents.turn("sess_00001") and agents.ledger.process.turns)
        expect(page.locator("#turns")).to_have_attribute("value", str(turns))
    assert sum(page.evaluate("window.shifts")) < 0.005


def test_policy_stops_scripts_and_requests_of_others(context: BrowserContext, three: MonitoredEdge) -> None:
    page = context.new_page()
    open_page(page, three.url)
    blocked = page.evaluate(
        """async () => {
            const blocked = [];
            document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.intruded = true";
            document.head.append(script);
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:1/pixel.png";
            document.body.append(image);
            await fetch("http://127.0.0.1:1/").catch(() => {});
            document.body.setAttribute("style", "color: red");
            await new Promise((resolve) => setTimeout(resolve));
            return blocked;
        }"""
    )
    assert page.evaluate("window.intruded") is None
    assert {"script-src-elem", "img-src", "connect-src", "style-src-attr"} <= set(blocked)


def test_page_says_that_the_server_is_gone_and_comes_back_with_it(context: BrowserContext) -> None:
    page = context.new_page()
    with MonitoredEdge(sessions=3) as edge:
        port = edge.port
        open_page(page, edge.url)
        turns = number(page, "turns")
    expect(page.locator("#gone")).to_be_visible()
    expect(page.locator("#gone")).to_contain_text("What is shown is from")
    expect(page.locator("#link")).to_have_attribute("data-state", "gone")
    assert number(page, "turns") == turns
    with MonitoredEdge(port=port):
        expect(page.locator(LIVE)).to_be_attached()
        expect(page.locator("#gone")).to_be_hidden()
        expect(page.locator("#turns")).to_have_attribute("value", "0")
        expect(page.locator("#empty")).to_be_visible()


def test_an_unknown_session_is_said_to_be_unknown(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url, "#session=nobody")
    expect(page.locator("#session")).to_contain_text("not remembered any more")


def test_a_hidden_page_lets_go_of_its_stream_and_goes_on_when_it_is_seen(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url)
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(page.locator("#link")).to_have_attribute("data-state", "paused")
    turns = three.do(lambda agents: agents.turn("sess_00001") and agents.ledger.process.turns)
    page.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator("#turns")).to_have_attribute("value", str(turns))


def test_what_came_while_nobody_looked_is_no_peak_of_one_second(page: Page, three: MonitoredEdge) -> None:
    page.clock.install()
    open_page(page, three.url)
    page.clock.run_for(3_000)
    expect(page.locator("#pulse-peak")).to_have_text("quiet")
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    turns = three.do(lambda agents: agents.turn("sess_00001") and agents.ledger.process.turns)
    page.clock.run_for(60_000)
    page.evaluate("() => { delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator("#turns")).to_have_attribute("value", str(turns))
    page.clock.run_for(3_000)
    expect(page.locator("#pulse-peak")).to_have_text("quiet")
    turns = three.do(lambda agents: agents.turn("sess_00001") and agents.ledger.process.turns)
    expect(page.locator("#turns")).to_have_attribute("value", str(turns))
    page.clock.run_for(3_000)
    expect(page.locator("#pulse-peak")).to_have_text(re.compile("^at most .*/s$"))
    expect(page.locator(LIVE)).to_be_attached()


def _brightness(page: Page) -> float:
    """Of the page's ground, from 0 to 1."""
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(float(each) for each in re.findall(r"[\d.]+", ground)[:3]) / 765


def _contrast(page: Page, text: str, ground: str) -> float:
    """The ratio of two of the stylesheet's colours, as WCAG computes it."""
    return page.evaluate(
        """([text, ground]) => {
            const luminance = (name) => {
                const probe = document.body.appendChild(document.createElement("i"));
                probe.style.setProperty("color", `var(${name})`);
                const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((each) => each / 255);
                probe.remove();
                const linear = parts.map((each) => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
                return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
            };
            const [one, other] = [luminance(text), luminance(ground)].sort((a, b) => b - a);
            return (one + 0.05) / (other + 0.05);
        }""",
        [text, ground],
    )
