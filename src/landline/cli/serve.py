"""`landline serve`: settings, the model's file, then the server until it is told to stop."""

import os
from pathlib import Path

import msgspec
import typer

from landline.app import run_server
from landline.cli.check import print_problems
from landline.cli.fetch import fetch_model
from landline.cli.greeting import greeting
from landline.config import Config, EmbeddedTarget, Overrides, Problem, default_config, load_config
from landline.engine.catalog import DEFAULT_MODEL, ModelUnavailableError, resolve_model


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline serve`."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    gguf: Path | None = None
    model: str | None = None


def run_serve(options: ServeOptions) -> int:
    """Serves until a signal ends it; the exit status."""
    try:
        config = choose_config(options)
    except ModelUnavailableError as error:
        typer.echo(str(error), err=True)
        return 1
    if not isinstance(config, Config):
        print_problems(config, options.config)
        return 1
    try:
        return run_server(config, on_started=lambda host, port: typer.echo(_greeting(config, host, port)))
    except OSError as error:
        where = f"{config.server.host}:{config.server.port}"
        typer.echo(f"Cannot listen on {where}: {error.strerror or error}. `--port 0` takes a free port.", err=True)
        return 1


def choose_config(options: ServeOptions) -> Config | list[Problem]:
    """The file's settings, or the embedded model alone; its weights are fetched when they are missing.

    Raises `ModelUnavailableError` when a model's file cannot be had.
    """
    overrides = Overrides(host=options.host, port=options.port)
    if options.config is None:
        embedded = EmbeddedTarget(model=options.model, gguf=str(options.gguf.absolute()) if options.gguf else None)
        return default_config(embedded, _prepare(embedded), overrides)
    if options.gguf is not None or options.model is not None:
        option = "gguf" if options.gguf is not None else "model"
        return [
            Problem("", f"`--{option}` goes without a configuration; write it to an embedded target: `{option} = …`")
        ]
    config = load_config(options.config, os.environ, overrides)
    if isinstance(config, Config):
        for target in config.targets.values():
            if isinstance(target, EmbeddedTarget):
                _prepare(target)
    return config


def _prepare(target: EmbeddedTarget) -> str:
    """Makes sure that the target's file is there; the model's name."""
    if target.gguf is not None:
        return resolve_model(target.gguf).name
    name = target.model or DEFAULT_MODEL
    fetch_model(name)
    return resolve_model(name).name


def _greeting(config: Config, host: str, port: int) -> str:
    names = [name for name in config.models if name != "*"]
    return greeting(host, port, names[0] if names else "any", sockets=config.server.sockets)
