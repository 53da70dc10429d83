"""`landline models`: what a configuration offers, and the embedded models on this machine."""

import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from landline.cli.check import print_problems
from landline.cli.fetch import fetch_model
from landline.cli.offer import models_table
from landline.config import Config, load_config
from landline.engine.catalog import CATALOGUE, DEFAULT_MODEL, ModelUnavailableError, cached_path, is_pulled
from landline.terminal import printable


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
