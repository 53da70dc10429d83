"""`landline check`: every problem of a configuration, or what it offers."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import typer
from rich.console import Console
from rich.table import Table

from landline.config import (
    ChatCompletionsTarget,
    Config,
    EmbeddedTarget,
    Problem,
    ScriptedTarget,
    TargetSettings,
    load_config,
)


def run_check(file: Path) -> int:
    """Prints to the terminal; the exit status: 0 if the file can be served, else 1."""
    config = load_config(file, os.environ)
    if not isinstance(config, Config):
        print_problems(config, file)
        return 1
    console = Console()
    console.print(f"{file}: fine. It listens on {config.server.host}:{config.server.port}.", highlight=False)
    console.print(targets_table(config))
    console.print(models_table(config))
    return 0


def print_problems(problems: Sequence[Problem], file: Path | None) -> None:
    """Every problem on a line of its own, on standard error."""
    for problem in problems:
        typer.echo(f"{file}: {problem}" if file is not None else str(problem), err=True)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    typer.secho(
        f"{count}; docs/configuration.md lists every setting", err=True, fg="red" if sys.stderr.isatty() else None
    )


def targets_table(config: Config) -> Table:
    table = Table("target", "dialect", "where", title="Targets", title_justify="left")
    for name, target in config.targets.items():
        table.add_row(name, str(target.__struct_config__.tag), describe_target(target))
    return table


def models_table(config: Config) -> Table:
    table = Table("model", "served by", title="Models", title_justify="left")
    for name, model in config.models.items():
        table.add_row("* (any other name)" if name == "*" else name, ", ".join(model.targets))
    return table


def describe_target(target: TargetSettings) -> str:
    """Where a target's answers come from, in a few words."""
    match target:
        case EmbeddedTarget():
            return target.gguf or target.model or "the default model"
        case ChatCompletionsTarget():
            return target.base_url + (f" (key from {target.api_key_env})" if target.api_key_env else "")
        case ScriptedTarget():
            return target.transcript
        case _:
            assert_never(target)
