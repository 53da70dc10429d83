"""`landline bench`: its subcommands and options. Each imports its work when it runs, so that `--help` is fast."""

import asyncio
import shlex
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from landline.bench.results import Report
    from landline.bench.screen import Progress

bench = typer.Typer(
    name="bench",
    help="Measure a server, or what an agent's task costs over each transport (docs/bench.md).",
    no_args_is_help=True,
)

UpstreamApiName = Literal["chat", "responses", "socket"]
ProfileName = Literal["codex", "agentx", "swe-bench"]
LineName = Literal["lan", "home", "mobile"]


class MeasureName(StrEnum):
    """What `landline bench serve` measures."""

    TURNS = "turns"
    PACED = "paced"
    BURST = "burst"
    LINES = "lines"


class TransportName(StrEnum):
    """What `landline bench agent` compares."""

    HTTP = "http"
    CHAINED = "chained"
    SOCKET = "socket"
    DEFLATE = "deflate"
    LANES = "lanes"


_PIPE_COLUMNS = 140
"""Where there is no terminal to fit tables in."""
_JSON_HELP = "Write the whole result to this file as JSON."
_PLOT_HELP = "Draw it to this file, .svg or .png; needs matplotlib, which comes with the extra `plots`."


@bench.command("serve")
def bench_serve(  # noqa: PLR0913 - each is an option of the command
    *,
    server: Annotated[
        str | None, typer.Option(help="Base URL of a running server to measure, instead of one that is started.")
    ] = None,
    pid: Annotated[
        int | None, typer.Option(min=1, help="With --server: its process, for CPU and memory; its children count, too.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model to request from every server.")] = "scripted",
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL[,pid=PID][,model=M][,http]",
            help="A running server to measure in the same rounds; repeatable. It should ask the same upstream (see "
            "`landline bench upstream`). `http`: it has no sockets, so measure its streams over HTTP.",
        ),
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="Base URL of a running `landline bench upstream`, instead of one that is started."),
    ] = None,
    upstream_api: Annotated[
        UpstreamApiName, typer.Option(help="How the Landline that is started asks the upstream.")
    ] = "chat",
    only: Annotated[list[MeasureName] | None, typer.Option(help="Take this measure only; repeatable.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Measure the embedded model, too: cold and warm.")
    ] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of interleaved samples. Default: 7.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A short look: few, small samples.")] = False,
    lines: Annotated[int | None, typer.Option(min=1, help="Open lines for their memory. Default: 1000.")] = None,
    idle_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that lines rest before their memory is read again. Default: 10."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help=_JSON_HELP)] = None,
    plot: Annotated[Path | None, typer.Option(help=_PLOT_HELP)] = None,
) -> None:
    """Measure turn times, paced streams, bursts and open lines of Landline, or of running servers, against the upstream alone.

    Exit status: 0 measured, 1 a server did not start or a file could not be written, 2 wrong usage.
    """
    from landline.bench.serve import ServeBenchOptions, effort_of, parse_rival, run_serve_bench

    if pid is not None and server is None:
        raise typer.BadParameter("`--pid` is the process of a `--server`", param_hint="--pid")
    try:
        rivals = tuple(parse_rival(each) for each in against or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--against") from None
    options = ServeBenchOptions(
        server=server,
        pid=pid,
        model=model,
        upstream=upstream,
        upstream_api=upstream_api,
        against=rivals,
        only=tuple(each.value for each in only or ()),
        embedded=embedded,
        effort=effort_of(quick=quick, rounds=rounds, lines=lines, idle_s=idle_s),
        command=_command(),
    )
    _run(lambda progress: run_serve_bench(options, progress), json, plot)


@bench.command("agent")
def bench_agent(  # noqa: PLR0913 - each is an option of the command
    *,
    profile: Annotated[
        ProfileName, typer.Option(help="Whose sizes the task has: recorded, or drawn as published.")
    ] = "codex",
    calls: Annotated[int | None, typer.Option(min=1, max=500, help="Tool calls. Default: the profile's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sizes that are drawn.")] = 1,
    line: Annotated[LineName, typer.Option(help="The line between agent and server.")] = "home",
    uplink: Annotated[str | None, typer.Option(help="The line's rate to the server instead, as in `10mbit`.")] = None,
    downlink: Annotated[str | None, typer.Option(help="Its rate from the server instead, as in `50mbit`.")] = None,
    rtt: Annotated[str | None, typer.Option(help="Its round-trip time instead, as in `50ms`.")] = None,
    slow_start: Annotated[bool, typer.Option(help="Whether TCP's slow start is modelled, too.")] = True,
    model_ms: Annotated[float, typer.Option(min=0, help="Milliseconds to the scripted model's first token.")] = 400,
    tokens_per_s: Annotated[float, typer.Option(min=1, help="Tokens a second of the scripted model.")] = 300,
    agents: Annotated[int, typer.Option(min=1, max=32, help="How many run at once in a second part; 1: none.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of interleaved samples.")] = 3,
    only: Annotated[list[TransportName] | None, typer.Option(help="Compare this transport only; repeatable.")] = None,
    server: Annotated[
        str | None,
        typer.Option(
            help="Base URL of a running Responses server, instead of a scripted Landline: real tokens, which cost."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --server: the model to request.")] = None,
    json: Annotated[Path | None, typer.Option(help=_JSON_HELP)] = None,
    plot: Annotated[Path | None, typer.Option(help=_PLOT_HELP)] = None,
) -> None:
    """Replay an agent's task over HTTP, chained HTTP, a socket, with deflate and in lanes, and compare bytes and time.

    Exit status: 0 measured, 1 a server did not start or a file could not be written, 2 wrong usage.
    """
    from msgspec.structs import replace

    from landline.bench.agent import AgentBenchOptions, run_agent_bench
    from landline.workload import ModelPace, shape_of

    if (server is None) != (model is None):
        raise typer.BadParameter("`--server` and `--model` go together", param_hint="--server")
    try:
        shape = shape_of(line, uplink, downlink, rtt)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    options = AgentBenchOptions(
        profile=profile,
        calls=calls,
        seed=seed,
        line=line,
        shape=replace(shape, has_slow_start=slow_start),
        pace=ModelPace(first_token_ms=model_ms, tokens_per_s=tokens_per_s),
        agents=agents,
        rounds=rounds,
        only=tuple(each.value for each in only or ()),
        server=server,
        command=_command(),
    )
    options = options if model is None else replace(options, model=model)
    _run(lambda progress: run_agent_bench(options, progress), json, plot)


@bench.command("upstream")
def bench_upstream(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 9100,
) -> None:
    """Serve the scripted upstream of the benchmarks, for servers to compare by `landline bench serve --against`.

    It speaks chat completions and Responses, over HTTP and over sockets, to any model's name and without a key.
    """
    import uvloop

    from landline.bench.upstream import serve_upstream

    def say(chosen: int) -> None:
        typer.echo(f"The scripted upstream answers on http://{host}:{chosen}/v1")
        sys.stdout.flush()

    try:
        uvloop.run(serve_upstream(host, port, say))
    except OSError as error:
        typer.echo(f"Cannot listen on {host}:{port}: {error.strerror or error}", err=True)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit from None


def _command() -> str:
    return shlex.join(["landline", *sys.argv[1:]])


def _run(measure: "Callable[[Progress], Report]", json: Path | None, plot: Path | None) -> None:
    """Measures, prints and writes. What would fail in the end is looked for at the beginning."""
    from rich.console import Console

    from landline.bench.processes import BenchError
    from landline.bench.screen import Progress, deliver

    if plot is not None:
        from landline.bench.plots import why_no_plot

        if (reason := why_no_plot(plot)) is not None:
            raise typer.BadParameter(reason, param_hint="--plot")
    for file in (json, plot):
        if file is not None and not file.absolute().parent.is_dir():
            raise typer.BadParameter(f"there is no folder {str(file.absolute().parent)!r}")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_COLUMNS)
    try:
        with Progress(console) as progress:
            report = measure(progress)
        deliver(report, console, json, plot)
    except (BenchError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
