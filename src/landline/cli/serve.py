"""`landline serve`: settings, the model's file, then the server until it is told to stop."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import typer
from msgspec.structs import replace

from landline.app import run_server
from landline.cli.check import print_problems
from landline.cli.fetch import fetch_model
from landline.cli.greeting import greeting
from landline.cli.logs import turn_writer
from landline.config import Config, EmbeddedTarget, Overrides, Problem, default_config, load_config, split_upstream
from landline.engine.catalog import DEFAULT_MODEL, ModelUnavailableError, resolve_model
from landline.engine.child import ChildFailedError
from landline.stores.store import StoreError

CODEX_CONTEXT_TOKENS = 32768
"""Codex CLI 0.169 sends some 10,000 tokens of tools and instructions before the first question."""


Greet = Callable[[Config, str, int], str]
"""What to print once the server listens on a host and port."""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline serve`."""

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    gguf: Path | None = None
    model: str | None = None
    context: int | None = None


def run_serve(options: ServeOptions) -> int:
    """Serves until a signal ends it; the exit status."""
    try:
        config = choose_config(options)
    except ModelUnavailableError as error:
        typer.echo(str(error), err=True)
        return 1
    return serve_config(config, _greeting, file=options.config)


def serve_config(config: Config | list[Problem], greet: Greet, *, file: Path | None = None) -> int:
    """Serves until a signal ends it; the exit status. What is wrong with the configuration is printed."""
    if not isinstance(config, Config):
        print_problems(config, file)
        return 1
    try:
        return run_server(
            config,
            on_started=lambda host, port: typer.echo(greet(config, host, port)),
            say_turn=turn_writer(),
        )
    except (ChildFailedError, StoreError) as error:
        typer.echo(str(error), err=True)
        return 1
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
        embedded = _embedded_target(options)
        return default_config(embedded, _prepare(embedded), overrides)
    for option, key in (("gguf", "gguf"), ("model", "model"), ("context", "context_per_slot")):
        if getattr(options, option) is not None:
            return [Problem("", f"`--{option}` goes without a configuration; write `{key} = …` to an embedded target")]
    config = load_config(options.config, os.environ, overrides)
    if isinstance(config, Config):
        for target in config.targets.values():
            if isinstance(target, EmbeddedTarget):
                _prepare(target)
    return config


def _embedded_target(options: ServeOptions) -> EmbeddedTarget:
    gguf = str(options.gguf.absolute()) if options.gguf is not None else None
    target = EmbeddedTarget(model=options.model, gguf=gguf)
    return target if options.context is None else replace(target, context_per_slot=options.context)


def _prepare(target: EmbeddedTarget) -> str:
    """Makes sure that the target's file is there; the model's name."""
    if target.gguf is not None:
        return resolve_model(target.gguf).name
    name = target.model or DEFAULT_MODEL
    fetch_model(name)
    return resolve_model(name).name


def _greeting(config: Config, host: str, port: int) -> str:
    name, reference = _first_model(config)
    upstream = split_upstream(reference)
    target = config.targets[upstream.target]
    note = None
    if isinstance(target, EmbeddedTarget) and target.context_per_slot < CODEX_CONTEXT_TOKENS:
        note = (
            f"Codex CLI needs {CODEX_CONTEXT_TOKENS:,} tokens of context and a model that can use them; this one has "
            f"{target.context_per_slot:,}. Bring one: landline serve --gguf FILE --context {CODEX_CONTEXT_TOKENS}"
        )
    model = (upstream.model or "any") if name == "*" else name
    return greeting(host, port, model, sockets=config.server.sockets, monitor=config.monitor.enabled, note=note)


def _first_model(config: Config) -> tuple[str, str]:
    """A model to show in examples, with its first target: by name, or whatever the upstream makes of any name."""
    named = [name for name in config.models if name != "*"]
    name = named[0] if named else "*"
    return name, config.models[name].targets[0]
