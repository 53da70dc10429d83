"""Plots of a report. matplotlib is an extra of the package and is loaded when something is drawn."""

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landline.bench.results import CaseValue, Column, Report, Row, Table

EXTRA = "landline[plots]"
_FORMATS = (".svg", ".png")
_CELL_INCHES = (5.2, 3.4)
_COLUMNS = 2
_DOTS_PER_INCH = 110


def why_no_plot(file: Path) -> str | None:
    """What stands against drawing to this file."""
    if file.suffix not in _FORMATS:
        return f"expected a file that ends in .svg or .png, got {str(file)!r}"
    if importlib.util.find_spec("matplotlib") is None:
        return f"plots need matplotlib, which is not installed: pip install '{EXTRA}'"
    return None


def write_plots(report: Report, file: Path) -> None:
    """Draws every plotted column of the report's tables into one file. Raises OSError."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "landline", "svg.fonttype": "none", "font.size": 8})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    panels = [(table, column) for table in report.tables for column in _plotted(table)]
    rows = max(1, -(-len(panels) // _COLUMNS))
    columns = min(_COLUMNS, max(1, len(panels)))
    size = (_CELL_INCHES[0] * columns, _CELL_INCHES[1] * rows)
    figure: Any
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    flat: list[Any] = [each for line in axes for each in line]
    for axis, (table, column) in zip(flat, panels, strict=False):
        _draw(axis, table, column)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    setting = report.setting
    figure.suptitle(
        f"landline bench {report.benchmark} · {setting.date[:10]} · commit {setting.commit or 'unknown'}\n{setting.machine}, "
        f"{setting.cores} cores · medians of {report.rounds} rounds, with quartiles",
        fontsize=8,
    )
    figure.savefig(file, dpi=_DOTS_PER_INCH, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def _plotted(table: Table) -> Iterator[Column]:
    """Columns to draw of which there is something."""
    for column in table.columns:
        if column.name in table.plotted and any(column.name in row.values for row in table.rows):
            yield column


def _draw(axis: Any, table: Table, column: Column) -> None:
    over = table.case_columns[-1]
    rows = [row for row in table.rows if column.name in row.values]
    places = list(dict.fromkeys(row.case[over] for row in table.rows))
    series = series_of(rows, over)
    if all(isinstance(place, int) for place in places):
        for name, points in series.items():
            _draw_line(axis, name, points, column)
        axis.set_xscale("log")
        axis.set_xticks(places, [_short(place) for place in places])
        axis.minorticks_off()
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    else:
        _draw_bars(axis, series, places, column)
    axis.set_title(f"{table.title}: {column.title}", fontsize=8)
    axis.set_xlabel(over)
    axis.grid(visible=True, alpha=0.25)
    axis.legend(fontsize=6)


Series = dict[str, list[tuple[CaseValue, Row]]]


def series_of(rows: list[Row], over: str) -> Series:
    """Rows by what is drawn as one line: the subject, and what else of the case tells them apart."""
    series: Series = {}
    for row in rows:
        others = [str(value) for name, value in row.case.items() if name != over]
        series.setdefault(", ".join([row.subject, *others]), []).append((row.case[over], row))
    return series


def _draw_line(axis: Any, name: str, points: list[tuple[CaseValue, Row]], column: Column) -> None:
    spreads = [row.values[column.name] for _, row in points]
    middles = [each.median for each in spreads]
    below = [each.median - each.first_quartile for each in spreads]
    above = [each.third_quartile - each.median for each in spreads]
    axis.errorbar(
        [place for place, _ in points], middles, yerr=[below, above], marker="o", markersize=3, capsize=2, label=name
    )


def _draw_bars(axis: Any, series: Series, places: list[CaseValue], column: Column) -> None:
    width = 0.8 / len(series)
    for number, (name, points) in enumerate(series.items()):
        spreads = [row.values[column.name] for _, row in points]
        axis.bar(
            [places.index(place) + number * width for place, _ in points],
            [each.median for each in spreads],
            width,
            yerr=[
                [each.median - each.first_quartile for each in spreads],
                [each.third_quartile - each.median for each in spreads],
            ],
            capsize=2,
            label=name,
        )
    axis.set_xticks([number + 0.4 - width / 2 for number in range(len(places))], [str(place) for place in places])


def _short(number: CaseValue) -> str:
    """`10 k`, `4 M`, `64`."""
    if isinstance(number, str):
        return number
    for unit, size in (("M", 1_000_000), ("k", 1000)):
        if number >= size:
            return f"{number / size:g} {unit}"
    return str(number)
