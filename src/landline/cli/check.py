"""`landline check`: every problem of a configuration, or what it offers."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from landline.cli.offer import models_table, targets_table
from landline.config import Config, Problem, load_config


def run_check(file: Path) -> Config | None:
    """Prints to the terminal; the configuration if it can be served."""
    config = load_config(file, os.environ)
    if not isinstance(config, Config):
        print_problems(config, file)
        return None
    console = Console()
    console.print(f"{file}: fine. It listens on {config.server.host}:{config.server.port}.", highlight=False)
    console.print(targets_table(config))
    console.print(models_table(config))
    return config


def print_problems(problems: Sequence[Problem], file: Path | None) -> None:
    """Every problem on a line of its own, on standard error."""
    for problem in problems:
        typer.echo(f"{file}: {problem}" if file is not None else str(problem), err=True)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    typer.secho(
        f"{count}; docs/configuration.md lists every setting", err=True, fg="red" if sys.stderr.isatty() else None
    )
