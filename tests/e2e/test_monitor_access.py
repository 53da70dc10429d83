"""The monitor page can be used by keyboard, read in light and dark, and followed without seeing it."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from support.clients.browser import chromium
from support.clients.monitor_page import LIVE, context, number, open_page, page, three
from support.servers.monitored_edge import MonitoredEdge

__all__ = ["chromium", "context", "page", "three"]

pytestmark = pytest.mark.client

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
    expected = ["Skip to", "Landline", "Theme:", "Find sessions", "hide closed", "Sort by", "sess_00002", "sess_00001"]
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
    for _ in range(2):
        three.do(lambda agents: agents.turn("sess_00002", outcome="failed"))
    expect(page.locator("#list .turns").first).to_contain_text("2 failed")
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


def test_another_page_of_sessions_is_said_and_keeps_the_focus(page: Page) -> None:
    with MonitoredEdge(sessions=30, turns=1) as edge:
        open_page(page, edge.url)
        page.get_by_label("Next page").click()
        expect(page.locator("#spoken")).to_have_text("Sessions 26\u201330 of 30")
        expect(page.get_by_label("Previous page")).to_be_focused()  # the other one can do nothing any more
        page.keyboard.press("Enter")
        expect(page.locator("#spoken")).to_have_text("Sessions 1\u201325 of 30")
        expect(page.get_by_label("Next page")).to_be_focused()


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


def test_forced_colours_win_over_a_chosen_theme(chromium: Browser, three: MonitoredEdge) -> None:
    context = chromium.new_context(forced_colors="active", color_scheme="dark")
    page = context.new_page()
    page.add_init_script("localStorage.setItem('landline.theme', 'light')")
    open_page(page, three.url, "#session=sess_00001")
    expect(page.locator("#session h3").first).to_be_visible()
    assert page.evaluate(_FAINT_TEXTS) == []
    context.close()


def test_theme_can_be_chosen_where_nothing_is_kept(page: Page, three: MonitoredEdge) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    open_page(page, three.url)
    page.locator("#theme").click()
    expect(page.locator("#theme-name")).to_have_text("light")


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
