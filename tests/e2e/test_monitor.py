"""The monitor page in a real browser: it moves with the turns, agrees with the numbers behind it, and asks nobody else."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from landline.ledger import Times, TokenCost
from support.clients.browser import chromium
from support.clients.live_agent import LiveAgent, call_tools, source_text
from support.clients.monitor_page import LIVE, address, context, get, metric, number, open_page, page, state_of, three
from support.fakes.chat import FakeChatServer
from support.scripts.chat import Refused
from support.servers.monitored_edge import MonitoredEdge
from support.servers.running import RunningServer

__all__ = ["chromium", "context", "page", "three"]

pytestmark = pytest.mark.client

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
[models."*".price]
input = 2.0
cached = 0.2
output = 10.0
"""


@pytest.fixture
def landline(fake_chat: FakeChatServer, tmp_path: Path) -> Iterator[RunningServer]:
    """A Landline for one test, because its totals are compared."""
    with RunningServer(_CONFIG.format(content="false", base_url=fake_chat.base_url), tmp_path) as server:
        yield server


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
    assert number(page, "would") == totals["stateless_bytes"] == metric(url, "landline_stateless_bytes")
    cost = totals["cost"]
    assert number(page, "paid") == cost["paid_usd"] == metric(url, "landline_paid_dollars") > 0
    assert cost["cache_saved_usd"] == metric(url, "landline_cache_saved_dollars")
    expect(page.locator("#paid-hint")).to_contain_text("caching saved $")
    assert number(page, "turns") == totals["turns"] == metric(url, "landline_turns")
    assert number(page, "saved-bytes") == totals["stateless_bytes"] - totals["uploaded_bytes"] > 0
    share = 100 * totals["saved_bytes"] / totals["stateless_bytes"]
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
    assert shown == [detail["row"]["stateless_bytes"], detail["payload_bytes"], detail["row"]["uploaded_bytes"]]
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


def test_money_is_shown_once_a_model_has_a_price(page: Page) -> None:
    with MonitoredEdge() as edge:
        open_page(page, edge.url)
        edge.do(lambda agents: agents.turn("sess_1", cost=TokenCost()))
        expect(page.locator("#turns")).to_have_attribute("value", "1")
        expect(page.locator("#paid")).to_have_text("\u2013")
        expect(page.locator("#paid-hint")).to_have_text("no prices")
        edge.do(lambda agents: agents.turn("sess_1", cost=TokenCost(1, 41_000_000_000, -250_000_000_000)))
        expect(page.locator("#paid")).to_have_text("$0.0410")
        expect(page.locator("#paid-hint")).to_have_text("caching cost $0.250 more")
        page.locator("#list a").click()
        expect(page.locator("#session .facts").first).to_contain_text("paid $0.0410, caching cost $0.250 more")


def test_time_is_shown_once_a_connection_was_measured(page: Page) -> None:
    with MonitoredEdge() as edge:
        open_page(page, edge.url)
        edge.do(lambda agents: agents.turn("sess_1", times=Times(total=1.0)))
        expect(page.locator("#turns")).to_have_attribute("value", "1")
        expect(page.locator("#time")).to_have_text("\u2013")
        expect(page.locator("#time-hint")).to_have_text("not measured")
        edge.do(lambda agents: agents.turn("sess_1", times=Times(total=1.0, saved=2.5)))
        expect(page.locator("#time")).to_have_text("2.50 s")
        expect(page.locator("#time-hint")).to_have_text("in uploads of 1 turn")
        page.locator("#list a").click()
        expect(page.locator("#session .facts").first).to_contain_text("2.50 s saved in uploads")


def test_uptime_is_the_servers_whatever_the_clock_here_says(page: Page, three: MonitoredEdge) -> None:
    """The made-up server's clock is years behind."""
    open_page(page, three.url)
    expect(page.locator("#uptime")).to_have_text(re.compile(r"^up \d\d? s$"))


def test_uptime_is_there_with_the_first_numbers(page: Page, three: MonitoredEdge) -> None:
    page.clock.install()
    page.clock.pause_at(time.time() + 1)
    page.goto(f"{three.url}/monitor")
    page.wait_for_selector(LIVE)
    expect(page.locator("#uptime")).to_have_text(re.compile(r"^up \d\d? s$"), timeout=2_000)


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


def test_a_session_that_the_server_forgot_is_shown_no_more(context: BrowserContext) -> None:
    page = context.new_page()
    with MonitoredEdge(sessions=3) as edge:
        port = edge.port
        open_page(page, edge.url, "#session=sess_00001")
        expect(page.locator("#session h3").first).to_be_visible()
    with MonitoredEdge(port=port, sessions=1) as edge:
        expect(page.locator("#session")).to_contain_text("not known any more")
        expect(page.locator("#session h3").first).to_be_hidden()
        expect(page.locator("#session .facts").first).to_have_text(" ")
        edge.do(lambda agents: (agents.open("sess_00001"), agents.turn("sess_00001")))
        expect(page.locator("#session .facts").first).to_contain_text("1 turn")
        expect(page.locator("#session h3").first).to_be_visible()


def test_a_server_that_falls_silent_is_gone_too(page: Page, three: MonitoredEdge) -> None:
    """Its network went away, or its machine sleeps: nothing closes the connection."""
    page.clock.install()
    open_page(page, three.url)
    page.clock.run_for(59_000)
    expect(page.locator(LIVE)).to_be_attached()
    page.clock.pause_at(time.time() + 120)
    expect(page.locator("#gone")).to_be_visible()
    page.clock.run_for(1_000)
    expect(page.locator(LIVE)).to_be_attached()


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
