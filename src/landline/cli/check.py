"""`landline check`: every problem of a configuration, or tables of what it offers. Other commands print them too."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never, cast

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from landline.config import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    ModelSettings,
    Problem,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    TargetSettings,
    load_config,
    usual_keys,
)

_TOLD_APART = frozenset(("model", "gguf", "transcript", "base_url", "api_key_env", "profile"))
"""Settings that the other columns show."""


def targets_table(config: Config) -> Table:
    """A row a target: where it is, and which of its settings are not the dialect's defaults."""
    table = Table("target", "dialect", "where", "settings", title="Targets", title_justify="left")
    for name, target in config.targets.items():
        where, settings = Text(describe_target(target)), Text("\n".join(_given_settings(target)))
        table.add_row(name, str(target.__struct_config__.tag), where, settings)
    return table


def models_table(config: Config) -> Table:
    """A row a model: the targets that serve it, with their weights where they have any."""
    table = Table("model", "served by", title="Models", title_justify="left")
    for name, model in config.models.items():
        table.add_row("* (any other name)" if name == "*" else Text(name), Text(_served_by(model)))
    return table


def describe_target(target: TargetSettings) -> str:
    """Where a target's answers come from, in a few words."""
    match target:
        case EmbeddedTargetSettings():
            return target.gguf or target.model or "the default model"
        case (
            ChatCompletionsTargetSettings()
            | AnthropicTargetSettings()
            | GeminiTargetSettings()
            | ResponsesTargetSettings()
        ):
            profile = f", profile {target.profile}" if target.profile else ""
            return target.base_url + _told_key(target) + profile
        case ScriptedTargetSettings():
            return target.transcript
        case _:
            assert_never(target)


def _told_key(target: RemoteTargetSettings) -> str:
    if target.api_key_env:
        return f" (key from {target.api_key_env})"
    is_given = target.key_header.lower() in {header.lower() for header in target.headers}
    return " (no key)" if usual_keys(target) and not is_given else ""


def _served_by(model: ModelSettings) -> str:
    if not model.weights:
        return ", ".join(model.targets)
    return ", ".join(
        f"{target} (weight {weight:g})" for target, weight in zip(model.targets, model.weights, strict=True)
    )


def _given_settings(settings: msgspec.Struct, prefix: str = "") -> Iterator[str]:
    """`key = value` in order, as in TOML. Of headers only the names: a value may be a secret."""
    for field in msgspec.structs.fields(settings):
        value: object = getattr(settings, field.name)
        key = prefix + field.encode_name
        if isinstance(value, msgspec.Struct):
            yield from _given_settings(value, f"{key}.")
        elif key not in _TOLD_APART and value != _default(field):
            shown = ", ".join(cast("dict[str, str]", value)) if key == "headers" else _shown(value)
            yield f"{key} = {shown}"


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


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
