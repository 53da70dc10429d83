"""The course of `landline bench serve`: which servers are measured, what each needs to run, and the measures one after the other."""

import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec
import uvloop
from msgspec.structs import replace

from landline.bench.measures import (
    FULL_EFFORT,
    QUICK_EFFORT,
    UPSTREAM_ALONE,
    Effort,
    Measure,
    MeasuredServer,
    burst_measure,
    embedded_measure,
    line_measure,
    paced_measure,
    take_measure,
    turn_measure,
)
from landline.bench.processes import (
    UpstreamApi,
    configuration_for,
    raise_descriptor_limit,
    started_landline,
    started_upstream,
)
from landline.bench.results import Report, Table, setting_of
from landline.bench.screen import Progress
from landline.bench.upstream import MODEL
from landline.engine.catalog import DEFAULT_MODEL

MEASURES = {"turns": turn_measure, "paced": paced_measure, "burst": burst_measure, "lines": line_measure}
_SPARE_DESCRIPTORS = 200
OWN_NAME = "landline"


class Rival(msgspec.Struct, frozen=True, kw_only=True):
    """A running server to compare with."""

    name: str
    base_url: str
    pid: int | None = None
    model: str | None = None
    """None: the run's."""
    has_sockets: bool = True


def parse_rival(text: str) -> Rival:
    """Reads `NAME=URL[,pid=PID][,model=MODEL][,http]`. Raises ValueError."""
    name, _, rest = text.partition("=")
    url, *fields = rest.split(",")
    if not name or not url.startswith(("http://", "https://")):
        raise ValueError(f"expected NAME=URL[,pid=PID][,model=MODEL][,http], got {text!r}")
    if name in (UPSTREAM_ALONE, OWN_NAME):
        raise ValueError(f"{name!r} is another server's name in the tables")
    rival = Rival(name=name, base_url=url.rstrip("/"))
    for field in fields:
        match field.split("=", 1):
            case ["pid", number] if number.isdigit():
                rival = replace(rival, pid=int(number))
            case ["model", model] if model:
                rival = replace(rival, model=model)
            case ["http"]:
                rival = replace(rival, has_sockets=False)
            case _:
                raise ValueError(f"expected pid=PID, model=MODEL or http after the URL, got {field!r}")
    return rival


class ServeBenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline bench serve`, read and checked."""

    server: str | None = None
    """A running server's base URL; None starts one."""
    pid: int | None = None
    model: str = MODEL
    upstream: str | None = None
    """The base URL of a scripted upstream that runs; None starts one."""
    upstream_api: UpstreamApi = "chat"
    against: tuple[Rival, ...] = ()
    only: tuple[str, ...] = ()
    """Names of measures; empty for all."""
    embedded: bool = False
    effort: Effort
    command: str
    """As it was typed, for the report."""


def effort_of(*, quick: bool, rounds: int | None, lines: int | None, idle_s: float | None) -> Effort:
    """The usual effort, or the quick one, with what else was given in its place."""
    effort = QUICK_EFFORT if quick else FULL_EFFORT
    given = {"rounds": rounds, "lines": lines, "idle_s": idle_s}
    return replace(effort, **{name: value for name, value in given.items() if value is not None})


def run_serve_bench(options: ServeBenchOptions, progress: Progress) -> Report:
    """Measures everything that was asked for. Raises `BenchError` when a server does not start."""
    begun = time.perf_counter()
    setting = setting_of(options.command)
    chosen = options.only or tuple(MEASURES)
    effort = replace(options.effort, lines=min(options.effort.lines, (raise_descriptor_limit() - _SPARE_DESCRIPTORS)))
    with tempfile.TemporaryDirectory(prefix="landline-bench-") as folder:
        with _servers(options, Path(folder)) as servers:
            measures = [make(effort) for name, make in MEASURES.items() if name in chosen]
            tables = uvloop.run(_take_all(measures, servers, effort.rounds, progress))
            told = {each.name: _described(each, options) for each in servers}
        if options.embedded:
            with started_landline(Path(folder) / "embedded", None) as process:
                server = MeasuredServer(name=OWN_NAME, base_url=process.base_url, model=DEFAULT_MODEL)
                tables += uvloop.run(_take_all([embedded_measure()], [server], effort.rounds, progress))
    return Report(
        benchmark="serve",
        setting=setting,
        rounds=effort.rounds,
        servers=told,
        tables=tables,
        seconds=round(time.perf_counter() - begun, 1),
    )


@contextmanager
def _servers(options: ServeBenchOptions, folder: Path) -> Generator[list[MeasuredServer]]:
    """All that are measured; those that are started here end with it."""
    with ExitStack() as stack:
        servers: list[MeasuredServer] = []
        upstream = MeasuredServer(name=UPSTREAM_ALONE, base_url=options.upstream or "", model=MODEL)
        if options.upstream is None and (options.server is None or options.against):
            process = stack.enter_context(started_upstream())
            upstream = replace(upstream, base_url=process.base_url, pid=process.pid)
        if upstream.base_url and (options.upstream is not None or options.server is None):
            servers.append(upstream)
        if options.server is None:
            servers.append(_own(options, upstream.base_url, folder, stack))
        else:
            servers.append(
                MeasuredServer(name="server", base_url=options.server.rstrip("/"), pid=options.pid, model=options.model)
            )
        servers += [
            MeasuredServer(
                name=rival.name,
                base_url=rival.base_url,
                pid=rival.pid,
                model=rival.model or options.model,
                has_sockets=rival.has_sockets,
            )
            for rival in options.against
        ]
        yield servers


def _own(options: ServeBenchOptions, upstream_url: str, folder: Path, stack: ExitStack) -> MeasuredServer:
    configuration = configuration_for(upstream_url, options.upstream_api)
    process = stack.enter_context(started_landline(folder / "own", configuration))
    return MeasuredServer(
        name=OWN_NAME,
        base_url=process.base_url,
        pid=process.pid,
        model=options.model,
        start_anew=partial(started_landline, folder / "anew", configuration),
    )


async def _take_all(
    measures: Sequence[Measure], servers: list[MeasuredServer], rounds: int, progress: Progress
) -> list[Table]:
    tables: list[Table] = []
    for measure in measures:
        rows = len(servers) - (not measure.with_upstream and servers[0].name == UPSTREAM_ALONE)
        progress.begin(measure.table.title, measure.rounds(rounds) * rows * len(measure.cases))
        tables.append(await take_measure(measure, servers, rounds, progress.step))
    return tables


def _described(server: MeasuredServer, options: ServeBenchOptions) -> str:
    """Where a server answers and how it came to run."""
    if server.start_anew is not None:
        return f"started with defaults and the upstream's {options.upstream_api} API, its turns not logged"
    if server.name == UPSTREAM_ALONE:
        return f"scripted, {server.base_url}" if options.upstream else "scripted, started"
    return f"{server.base_url}, model {server.model}{'' if server.has_sockets else ', over HTTP only'}"
