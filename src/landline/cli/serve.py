"""`landline serve`: settings, the model's file, then the server until a signal; and what it prints once it listens."""

import errno
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import msgspec
import typer
from msgspec.structs import replace

from landline.app import run_server
from landline.cli.check import print_problems
from landline.cli.logs import turn_writer
from landline.cli.models import fetch_model, find_row
from landline.config import (
    Config,
    EmbeddedTargetSettings,
    Overrides,
    Problem,
    ServerSettings,
    default_config,
    load_config,
    split_upstream,
)
from landline.engine.catalog import DEFAULT_MODEL, ModelUnavailableError, resolve_model
from landline.engine.child import ChildFailedError
from landline.engine.footprint import describe_footprint, footprint_of
from landline.server.lifecycle import bind
from landline.stores.store import StoreError
from landline.terminal import printable

ACCESS = (
    "Web pages of other origins and names other than loopback ones are refused unless `allowed_origins` and `allowed_hosts` "
    "in `[server]` name them (docs/browsers.md)."
)
"""For users who put a web app or a proxy in front."""

_ENDINGS = '("response.completed", "response.incomplete", "response.failed", "error")'


def greeting(
    host: str, port: int, model: str, *, sockets: bool = True, monitor: bool = True, note: str | None = None
) -> str:
    """The text; every command in it works as it stands in a POSIX shell."""
    base_url = f"http://{url_host(host)}:{port}/v1"
    lines = [
        f"Landline listens on {base_url}",
        f"Model: {model}",
        "",
        "Try it (for the second, pip install 'openai[realtime]'; for the third, npm install -g @openai/codex):",
        f"  {curl_command(base_url, model)}",
        f"  {python_command(base_url, model) if sockets else python_http_command(base_url, model)}",
        f"  {codex_command(base_url, model, sockets=sockets)}",
    ]
    if monitor:
        lines += ["", f"Monitor: {base_url.removesuffix('/v1')}/monitor"]
    lines += ["", ACCESS]
    if note is not None:
        lines += ["", note]
    return "\n".join(lines)


def curl_command(base_url: str, model: str) -> str:
    body = json.dumps({"model": model, "input": "Say hello."})
    return f"curl -s {base_url}/responses -H 'content-type: application/json' -d {shlex.quote(body)}"


def python_command(base_url: str, model: str) -> str:
    """One turn over a WebSocket with the official client (`pip install 'openai[realtime]'`)."""
    program = (
        f"from openai import OpenAI; line = OpenAI(base_url={json.dumps(base_url)}, "
        'api_key="none").responses.connect(websocket_connection_options={"compression": "deflate"}).enter(); '
        f'line.response.create(model={json.dumps(model)}, input="Say hello."); '
        f"end = next(event for event in line if event.type in {_ENDINGS}); "
        'print(end.to_json() if end.type in ("response.failed", "error") else end.response.output_text)'
    )
    return f"python -c {shlex.quote(program)}"


def python_http_command(base_url: str, model: str) -> str:
    """The same over HTTP, for a server whose sockets are off."""
    program = (
        f'from openai import OpenAI; client = OpenAI(base_url={json.dumps(base_url)}, api_key="none"); '
        f'print(client.responses.create(model={json.dumps(model)}, input="Say hello.").output_text)'
    )
    return f"python -c {shlex.quote(program)}"


def codex_command(base_url: str, model: str, *, sockets: bool = True) -> str:
    """One task with Codex CLI, all its settings on the command line."""
    provider = (
        f'model_providers.landline={{name="Landline", base_url="{base_url}", wire_api="responses", '
        f"supports_websockets={'true' if sockets else 'false'}}}"
    )
    return (
        f"codex exec --skip-git-repo-check -c {shlex.quote(provider)} -c model_provider=landline "
        f"-m {shlex.quote(model)} 'What does this folder contain?'"
    )


def url_host(host: str) -> str:
    """The host as a URL names it; the wildcard addresses are reached by loopback."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


CODEX_CONTEXT_TOKENS = 32768
"""Codex CLI 0.169 sends some 10,000 tokens of tools and instructions before the first question."""
_TARGET_OPTIONS = (("gguf", "gguf"), ("model", "model"), ("context", "context_per_slot"), ("slots", "slots"))
"""Options of the embedded model, with their keys."""

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
    slots: int | None = None


def run_serve(options: ServeOptions) -> int:
    """Serves until a signal ends it; the exit status."""
    try:
        config = choose_config(options)
    except ModelUnavailableError as error:
        return _fail(error)
    return serve_config(config, _greeting, file=options.config)


def serve_config(config: Config | list[Problem], greet: Greet, *, file: Path | None = None) -> int:
    """Serves until a signal ends it; the exit status. What is wrong with the configuration is printed.

    The address is bound first: a port in use is reported before a model is fetched or loaded or a store is opened.
    """
    if not isinstance(config, Config):
        print_problems(config, file)
        return 1
    try:
        listener = bind(config.server.host, config.server.port)
    except OSError as error:
        return _fail(why_not_bound(error, config.server))
    with listener:
        try:
            fetch_models(config)
            return run_server(
                config,
                listener=listener,
                on_started=lambda host, port: typer.echo(greet(config, host, port)),
                say_turn=turn_writer(),
            )
        except (ModelUnavailableError, ChildFailedError, StoreError) as error:
            return _fail(error)
        except OSError as error:  # another server that was starting took the port at the same time
            if error.errno != errno.EADDRINUSE:
                raise
            return _fail(why_not_bound(error, config.server))


def why_not_bound(error: OSError, server: ServerSettings) -> str:
    where = f"{url_host(server.host)}:{server.port}"
    match error.errno:
        case errno.EADDRINUSE:
            hint = "Another program listens there, perhaps another Landline. `--port 9000` uses that port, `--port 0` any free one."
        case errno.EACCES:
            hint = "Ports below 1024 need special privileges. `--port 8080` uses that port, `--port 0` any free one."
        case errno.EADDRNOTAVAIL:
            hint = "`--host` expects an address of this machine, such as 127.0.0.1."
        case _:
            hint = "`--host` and `--port` choose another address."
    return f"Cannot listen on {where}: {error.strerror or error}. {hint}"


def _fail(reason: Exception | str) -> int:
    typer.echo(printable(str(reason)), err=True)
    return 1


def choose_config(options: ServeOptions) -> Config | list[Problem]:
    """The file's settings, or the embedded model alone.

    Raises `ModelUnavailableError` for a model that there cannot be.
    """
    overrides = Overrides(host=options.host, port=options.port)
    if options.config is None:
        embedded = _embedded_target(options)
        return default_config(embedded, _model_name(embedded), overrides)
    out_of_place = [
        Problem("", f"`--{option}` goes without a configuration; write `{key} = …` to an embedded target")
        for option, key in _TARGET_OPTIONS
        if getattr(options, option) is not None
    ]
    config = load_config(options.config, os.environ, overrides)
    if isinstance(config, Config):
        return out_of_place or config
    return [*out_of_place, *config]


def _embedded_target(options: ServeOptions) -> EmbeddedTargetSettings:
    gguf = str(options.gguf.absolute()) if options.gguf is not None else None
    given = {"context_per_slot": options.context, "slots": options.slots}
    target = EmbeddedTargetSettings(model=options.model, gguf=gguf)
    return replace(target, **{key: value for key, value in given.items() if value is not None})


def _model_name(target: EmbeddedTargetSettings) -> str:
    """What the target's model is called; its file, if it is of the catalogue, need not be there yet."""
    if target.gguf is not None:
        return resolve_model(target.gguf).name
    return find_row(target.model or DEFAULT_MODEL).name


def fetch_models(config: Config) -> None:
    """Makes sure that every model of the catalogue that the configuration names is on this machine."""
    for target in config.targets.values():
        if isinstance(target, EmbeddedTargetSettings) and target.gguf is None:
            fetch_model(target.model or DEFAULT_MODEL)


def _greeting(config: Config, host: str, port: int) -> str:
    name, reference = _first_model(config)
    upstream = split_upstream(reference)
    target = config.targets[upstream.target]
    notes: list[str] = []
    if isinstance(target, EmbeddedTargetSettings):
        takes = footprint_of(resolve_model(target.gguf or target.model), target)
        notes += describe_footprint(takes)
        if takes.context_tokens < CODEX_CONTEXT_TOKENS:
            notes.append(
                f"Codex CLI needs {CODEX_CONTEXT_TOKENS:,} tokens of context and a model that can use them; this one has "
                f"{takes.context_tokens:,}. Bring one: landline serve --gguf FILE --context {CODEX_CONTEXT_TOKENS}"
            )
    model = (upstream.model or "any") if name == "*" else name
    note = "\n".join(notes) or None
    return greeting(host, port, model, sockets=config.server.sockets, monitor=config.monitor.enabled, note=note)


def _first_model(config: Config) -> tuple[str, str]:
    """A model to show in examples, with its first target: by name, or whatever the upstream makes of any name."""
    named = [name for name in config.models if name != "*"]
    name = named[0] if named else "*"
    return name, config.models[name].targets[0]
