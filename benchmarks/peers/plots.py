"""Draws a comparison: a panel for each table and column, a line for each server, medians with their quartiles."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landline.bench.results import CaseValue, Column, Table
from peers.report import Comparison, shown_columns

_COLOURS = {
    "Landline": "#d1495b",
    "Agentic API": "#00798c",
    "LiteLLM": "#edae49",
    "OGX": "#66a182",
    "SMG": "#2e4057",
    "Portkey": "#8d6a9f",
    "upstream alone": "#9a9a9a",
}
_PANEL_INCHES = (4.2, 3.0)
_PANELS_A_ROW = 2


def write_plots(comparison: Comparison, folder: Path) -> None:
    """Writes `peers_turns.svg` and its like, one for each measure that has lines to draw."""
    groups: dict[str, list[tuple[Table, Column]]] = {}
    for table in comparison.tables:
        panels = [(table, column) for column in shown_columns(table) if column.name in table.plotted]
        groups.setdefault(table.name.partition(":")[0], []).extend(panels)
    for name, panels in groups.items():
        if panels:
            _draw(panels, _source(comparison), folder / f"peers_{name}.svg")


def _source(comparison: Comparison) -> str:
    setting = comparison.setting
    where = f"{setting.machine}, {setting.cores} cores"
    return (
        f"{setting.date[:10]}, commit {setting.commit}, {where}; medians of {comparison.rounds} rounds with quartiles"
    )


def _draw(panels: Sequence[tuple[Table, Column]], source: str, file: Path) -> None:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("agg")
    # The same text and the same ids each time: a plot that is drawn anew from the same numbers is the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 8})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    rows = -(-len(panels) // _PANELS_A_ROW)
    size = (_PANEL_INCHES[0] * _PANELS_A_ROW, _PANEL_INCHES[1] * rows + 0.5)
    figure: Any
    figure, axes = pyplot.subplots(rows, _PANELS_A_ROW, figsize=size, squeeze=False, layout="constrained")
    flat: list[Any] = [each for line in axes for each in line]
    for axis, (table, column) in zip(flat, panels, strict=False):
        _draw_panel(axis, table, column)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(source, fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def _draw_panel(axis: Any, table: Table, column: Column) -> None:
    """Both axes are logarithmic: servers differ by factors, and so do the cases."""
    over = table.case_columns[-1]
    rows = [row for row in table.rows if column.name in row.values and row.values[column.name].median > 0]
    for server in dict.fromkeys(row.subject for row in rows):
        points = [(row.case[over], row.values[column.name]) for row in rows if row.subject == server]
        middles = [spread.median for _, spread in points]
        low = [spread.median - max(spread.first_quartile, spread.median / 10) for _, spread in points]
        high = [spread.third_quartile - spread.median for _, spread in points]
        colour = _COLOURS.get(server, "#000000")
        places = [place for place, _ in points]
        axis.errorbar(
            places, middles, yerr=[low, high], color=colour, marker="o", markersize=3, capsize=2, label=server
        )
    places = sorted({row.case[over] for row in rows}, key=float)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(places, [_short(place) for place in places])
    axis.minorticks_off()
    axis.set_title(table.title, fontsize=8)
    axis.set_xlabel(f"{over} (bytes)" if over == "history" else over)
    axis.set_ylabel(column.title)
    axis.grid(visible=True, which="both", alpha=0.25)
    if rows:
        axis.legend(fontsize=6)


def _short(place: CaseValue) -> str:
    """`10 k`, `4 M`, `64`."""
    number = float(place)
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number / size:g} {unit}"
    return f"{number:g}"
