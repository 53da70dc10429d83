"""The monitor page holds its shape, with however many sessions and whatever their names are."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from landline.ledger import ByteCounts
from support.clients.browser import chromium
from support.clients.monitor_page import NARROW, context, open_page, overflow, page, state_of, three
from support.servers.monitored_edge import MonitoredEdge

__all__ = ["chromium", "context", "page", "three"]

pytestmark = pytest.mark.client


@pytest.fixture(params=[0, 3, 3000])
def edge(request: pytest.FixtureRequest) -> Iterator[MonitoredEdge]:
    with MonitoredEdge(sessions=request.param) as made:
        yield made


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


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_lanes_can_be_told_apart(page: Page, three: MonitoredEdge, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for lane in ("main", "sub.agent-1", "sub.agent-2"):
        three.do(lambda agents, lane=lane: agents.turn("sess_00001", lane=lane, target="gpu1", outcome="completed"))
    open_page(page, three.url)
    link = page.locator("#list a").nth(1)
    expect(page.locator("#list .kind").nth(1)).to_have_text("4 lanes")
    is_cut = "(node) => node.scrollWidth > node.clientWidth"
    assert not link.evaluate(is_cut)
    link.click()
    newest = page.locator("#session .turn:not(.titles) .target").first
    expect(newest).to_have_text("gpu1, lane sub.agent-2")
    assert not newest.evaluate(is_cut)


def test_failures_are_seen_on_a_phone(page: Page, three: MonitoredEdge) -> None:
    page.set_viewport_size({"width": NARROW, "height": 800})
    for _ in range(12):
        three.do(lambda agents: agents.turn("sess_00001", outcome="failed"))
    open_page(page, three.url)
    failures = page.locator("#list").get_by_text(re.compile(r"^1\d failed$"))
    expect(failures).to_be_visible()
    assert failures.evaluate("(node) => node.getBoundingClientRect().width") > 40
    assert overflow(page) <= 0


def test_it_can_be_printed(page: Page, three: MonitoredEdge) -> None:
    """What colours say is printed too, and dark is for screens."""
    open_page(page, three.url)
    for _ in range(2):
        page.locator("#theme").click()
    assert page.locator(":root").get_attribute("data-theme") == "dark"
    page.emulate_media(media="print")
    style = "(node) => [getComputedStyle(node).colorScheme, getComputedStyle(node).printColorAdjust]"
    assert page.locator("#would-bar").evaluate(style) == ["light", "exact"]
    expect(page.locator("#list .row").first).to_be_visible()
    for control in ("#theme", "#filter", "#skip", "#link"):
        expect(page.locator(control)).to_be_hidden()


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


def test_names_show_what_they_hide(page: Page, three: MonitoredEdge) -> None:
    """Text in a model's name that turns what follows around, or that nobody sees."""
    three.do(lambda agents: agents.turn("sess_00001", model="\u202elive\x1b[2J<b>x</b>", lane="\u2066lane"))
    open_page(page, three.url)
    expect(page.locator("#list")).to_contain_text("\ufffdlive\ufffd[2J<b>x</b>")
    expect(page.locator("#models")).to_contain_text("\ufffdlive\ufffd[2J<b>x</b>")
    open_page(page, three.url, "#session=sess_00001")
    expect(page.locator("#session .turn:not(.titles) .target").first).to_contain_text("\ufffdlane")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", page.locator("html").inner_text())


def test_what_cost_more_than_it_saved_is_said_in_bytes(page: Page) -> None:
    """A single turn over HTTP: thousands of percent of next to nothing would only frighten."""
    with MonitoredEdge() as edge:
        edge.do(lambda agents: agents.turn("sess_1", bytes=ByteCounts(uploaded=563, payload_in=49, stateless=49)))
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


def test_an_unknown_session_is_said_to_be_unknown(page: Page, three: MonitoredEdge) -> None:
    open_page(page, three.url, "#session=nobody")
    expect(page.locator("#session")).to_contain_text("not known any more")
