"""`landline demo`: reads its options, gives it a folder of its own, and prints what is wrong with them."""

import errno
import os
import tempfile
from pathlib import Path

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console

from landline.cli.check import print_problems
from landline.cli.serve import why_not_bound
from landline.config import ServerSettings
from landline.demo import DemoOptions, run_demo
from landline.workload import LinkShape, ModelPace, shape_of


class DemoArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline demo`, as it was typed."""

    line: str
    uplink: str | None = None
    downlink: str | None = None
    rtt: str | None = None
    slow_start: bool = True
    calls: int | None = None
    model_ms: float
    tokens_per_s: float
    upstream: str | None = None
    model: str | None = None
    profile: str | None = None
    api_key_env: str | None = None
    port: int
    together: bool | None = None
    """None: unless the model takes less than `_TELLING_MS`."""
    wait: bool | None = None
    """None: at a terminal."""


_TELLING_MS = 100
"""A turn of either run takes some 10 ms of this process: of the other's time that is nothing beside such a model."""


def run(arguments: DemoArguments) -> int:
    """Runs the demo; its exit status. Raises `typer.BadParameter`."""
    console = Console(highlight=False)
    options = read_options(arguments, is_terminal=console.is_terminal)
    with tempfile.TemporaryDirectory(prefix="landline-demo-") as folder:
        os.environ["LANDLINE_DATA_DIR"] = folder  # the demo leaves nothing in the user's own
        try:
            status = run_demo(options, console, Path(folder))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            typer.echo(why_not_bound(error, ServerSettings(port=options.port)), err=True)
            return 1
    if isinstance(status, list):
        print_problems(status, None)
        return 1
    return status


def read_options(arguments: DemoArguments, *, is_terminal: bool) -> DemoOptions:
    """The options as values. Raises `typer.BadParameter`."""
    if (arguments.upstream is None) != (arguments.model is None):
        raise typer.BadParameter("`--upstream` and `--model` go together", param_hint="--upstream")
    if arguments.upstream is None and (arguments.profile is not None or arguments.api_key_env is not None):
        raise typer.BadParameter("`--profile` and `--api-key-env` describe an upstream; name it by `--upstream`")
    options = DemoOptions(
        line=arguments.line,
        shape=_shape(arguments),
        calls=arguments.calls,
        pace=ModelPace(first_token_ms=arguments.model_ms, tokens_per_s=arguments.tokens_per_s),
        upstream=arguments.upstream,
        profile=arguments.profile,
        api_key_env=arguments.api_key_env,
        together=arguments.model_ms >= _TELLING_MS if arguments.together is None else arguments.together,
        port=arguments.port,
        waits=is_terminal if arguments.wait is None else arguments.wait,
    )
    return options if arguments.model is None else replace(options, model=arguments.model)


def _shape(arguments: DemoArguments) -> LinkShape:
    """The named line, with what else was given in its place."""
    try:
        shape = shape_of(arguments.line, arguments.uplink, arguments.downlink, arguments.rtt)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return replace(shape, has_slow_start=arguments.slow_start)
