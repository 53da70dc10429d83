"""A result for a person: tables, what stands below them, progress while a run lasts; and a report printed and written to files."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table as ScreenTable
from rich.text import Text

from landline.bench.results import CaseValue, Report, Row, Setting, Spread, Table


class Progress:
    """A line that says what is measured now; where there is no terminal, a line for each table. A context manager.

    It is drawn between samples only: a thread that draws during one would be measured with it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._title = ""
        self._steps = 0
        self._step = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, title: str, steps: int) -> None:
        self._title, self._steps, self._step = title, steps, 0
        if self._live is None:
            self._console.print(Text(f"{title}: {steps} samples"))

    def step(self, what: str) -> None:
        """A sample that begins; samples of what failed before are left out, so the last number may not be reached."""
        self._step += 1
        if self._live is not None:
            self._live.update(Text(f"{self._title}, sample {self._step} of {self._steps}: {what}"), refresh=True)


def deliver(report: Report, console: Console, json_file: Path | None, plot_file: Path | None) -> None:
    """Prints the report and writes what was asked for. Raises OSError."""
    console.print()
    for line in describe_setting(report.setting):
        console.print(Text(line))
    console.print(
        Text(f"{report.rounds} rounds in {report.seconds:.0f} s; medians, ± half the distance of the quartiles.")
    )
    for table in report.tables:
        console.print()
        console.print(screen_table(table))
        for note in notes_of(table):
            console.print(Text(note, style="bright_black"))
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    if plot_file is not None:
        from landline.bench.plots import write_plots  # noqa: PLC0415 - it takes a second to load

        write_plots(report, plot_file)


def describe_setting(setting: Setting) -> list[str]:
    """Lines for a person."""
    versions = ", ".join(f"{name} {number}" for name, number in setting.versions.items())
    load = ", ".join(f"{each:.1f}" for each in setting.load)
    return [
        f"{setting.date}, commit {setting.commit or 'unknown'}",
        f"{setting.machine}, {setting.cores} cores; {setting.system}; load averages at the start {load}",
        versions,
    ]


def screen_table(table: Table) -> ScreenTable:
    """The table for a terminal: medians, and how far apart the samples are where there is more than one."""
    screen = ScreenTable(title=table.title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    screen.add_column(table.subject_column, no_wrap=True)
    for name in table.case_columns:
        screen.add_column(name, no_wrap=True, justify="right")
    shown = [each for each in table.columns if each.is_shown and any(each.name in row.values for row in table.rows)]
    for column in shown:
        screen.add_column(column.title, justify="right")
    for row in table.rows:
        cells = [_cell(row.values.get(column.name), column.digits) for column in shown]
        if row.error is not None and cells:
            cells[0] = f"{cells[0]} error" if row.values else "error"
        screen.add_row(*(Text(str(each)) for each in (row.subject, *_case_cells(table, row), *cells)))
    return screen


def notes_of(table: Table) -> list[str]:
    """What stands below a table: how it was measured, what failed and what it does not show."""
    errors = [f"Error of {row.subject}, {_named(row.case)}: {row.error}" for row in table.rows if row.error is not None]
    return [table.method, *errors, f"Not shown: {table.does_not_show}"]


def _named(case: Mapping[str, CaseValue]) -> str:
    return ", ".join(f"{name} {value}" for name, value in case.items())


def _case_cells(table: Table, row: Row) -> list[str]:
    values = [row.case.get(name, "") for name in table.case_columns]
    return [f"{value:,}" if isinstance(value, int) else value for value in values]


def _cell(spread: Spread | None, digits: int) -> str:
    """`1.30 ±0.04`: the quartiles themselves are in the JSON."""
    if spread is None:
        return "-"
    middle = f"{spread.median:,.{digits}f}"
    if spread.samples < 2:
        return middle
    return f"{middle} ±{(spread.third_quartile - spread.first_quartile) / 2:,.{digits}f}"
