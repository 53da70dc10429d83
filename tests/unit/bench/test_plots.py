"""Plots: what can be drawn where, which rows make a line, and files that hold it."""

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

from landline.bench.plots import series_of, why_no_plot, write_plots
from landline.bench.results import CaseValue, Row, Spread
from support.bench.reports import ROWS, small_report

PNG = b"\x89PNG\r\n\x1a\n"


def _row(server: str, case: dict[str, CaseValue]) -> Row:
    return Row(subject=server, case=case, values={"time": Spread(2, 1, 3, 4)})


@pytest.mark.parametrize("name", ["out.svg", "out.png"])
def test_svg_and_png_can_be_drawn(name: str) -> None:
    assert why_no_plot(Path(name)) is None


def test_another_format_is_refused() -> None:
    assert why_no_plot(Path("out.pdf")) == "expected a file that ends in .svg or .png, got 'out.pdf'"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    reason = why_no_plot(Path("out.svg"))
    assert reason is not None
    assert "pip install 'landline[plots]'" in reason


def test_a_line_is_a_server_and_the_rest_of_the_case() -> None:
    rows = [_row("a", {"way": way, "size": size}) for size in (1, 2) for way in ("x", "y")]
    series = series_of(rows, "size")
    assert list(series) == ["a, x", "a, y"]
    assert [place for place, _ in series["a, x"]] == [1, 2]


def test_an_svg_has_text_and_every_line(tmp_path: Path) -> None:
    file = tmp_path / "out.svg"
    write_plots(small_report(), file)
    text = " ".join(ElementTree.parse(file).getroot().itertext())
    for word in ("Turn time: time (ms)", "landline", "commit abc1234", "10 k", "100 k"):
        assert word in text
    assert "broken" not in text


def test_cases_that_are_no_numbers_become_bars_in_a_png(tmp_path: Path) -> None:
    file = tmp_path / "out.png"
    rows = [_row(server, {"size": name}) for server in ("a", "b") for name in ("small", "large")]
    write_plots(small_report(rows=rows), file)
    assert file.read_bytes().startswith(PNG)


def test_a_report_without_anything_to_draw_is_drawn_empty(tmp_path: Path) -> None:
    file = tmp_path / "out.svg"
    write_plots(small_report(rows=[ROWS[1]]), file)
    assert file.stat().st_size > 0
