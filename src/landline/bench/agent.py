"""The course of `landline bench agent`: a task of an agent's sizes, over each transport, through a shaped line each time."""

import asyncio
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from landline.agent import Endpoint
from landline.agent.answer import ModelAnswer
from landline.bench.processes import BenchError, started_landline
from landline.bench.results import Column, Report, SampleSet, Table, setting_of
from landline.bench.screen import Progress
from landline.terminal import one_line
from landline.workload import (
    LinkShape,
    ModelPace,
    Replay,
    ShapedLink,
    Task,
    make_task,
    model_s,
    open_lanes,
    profile_named,
    replay_on,
    replay_task,
    scripted_turns,
)
from landline.workload.task import TaskProfile

_MODEL = "scripted"
_CHANGES = {"sent change": "sent", "time change": "time", "rest change": "rest"}
_REAL_OUTPUT_TOKENS = 1024
"""The most that a real model may write in a turn: it shall call a tool, not tell a story."""


class AgentTransport(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent reaches its server."""

    name: str
    """As the tables have it."""
    is_socket: bool
    compresses: bool = False
    chains: bool = False
    shares_socket: bool = False
    """Whether agents that run at the same time are lanes of one socket."""

    def endpoint(self, base_url: str) -> Endpoint:
        transport = "ws" if self.is_socket else "http"
        return Endpoint(base_url=base_url, transport=transport, compresses=self.compresses, chains=self.chains)


TRANSPORTS = {
    "http": AgentTransport(name="HTTP, full history", is_socket=False),
    "chained": AgentTransport(name="HTTP, chained", is_socket=False, chains=True),
    "socket": AgentTransport(name="socket", is_socket=True),
    "deflate": AgentTransport(name="socket, deflate", is_socket=True, compresses=True),
    "lanes": AgentTransport(name="lanes of one socket, deflate", is_socket=True, compresses=True, shares_socket=True),
}
_BASE = TRANSPORTS["http"].name


class AgentBenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline bench agent`, read and checked."""

    profile: str
    calls: int | None = None
    seed: int = 1
    line: str
    """What the line is called."""
    shape: LinkShape
    pace: ModelPace
    agents: int
    """How many run at the same time in the second half; 1 leaves that out."""
    rounds: int
    only: tuple[str, ...] = ()
    """Keys of `TRANSPORTS`; empty for all. HTTP with full history is always measured: the others are compared with it."""
    server: str | None = None
    model: str = _MODEL
    command: str
    """As it was typed, for the report."""


def run_agent_bench(options: AgentBenchOptions, progress: Progress) -> Report:
    """Measures every transport. Raises `BenchError` when the server does not start or its URL is none to reach."""
    begun = time.perf_counter()
    setting = setting_of(options.command)
    profile = profile_named(options.profile, options.calls, seed=options.seed)
    task = make_task(profile)
    with _server(options, task) as base_url:
        table = asyncio.run(AgentBench(options, profile, base_url).measure(progress))
    return Report(
        benchmark="agent",
        setting=setting,
        rounds=options.rounds,
        servers={"landline" if options.server is None else "server": describe(options, task)},
        tables=[table],
        seconds=round(time.perf_counter() - begun, 1),
    )


def describe(options: AgentBenchOptions, task: Task) -> str:
    """The server and what it was asked."""
    if options.server is not None:
        return f"{options.server}, model {options.model}"
    pace = options.pace
    return (
        f"started with defaults; its model is a script: {pace.first_token_ms:g} ms to the first token, {pace.tokens_per_s:g} "
        f"tokens/s, {model_s(task, pace):.1f} s in all"
    )


@contextmanager
def _server(options: AgentBenchOptions, task: Task) -> Generator[str]:
    """The base URL of the server that is asked: the user's, or a Landline with a script of the task."""
    if options.server is not None:
        yield options.server
        return
    with tempfile.TemporaryDirectory(prefix="landline-bench-") as name:
        folder = Path(name)
        transcript = folder / "transcript.jsonl"
        transcript.write_bytes(scripted_turns(task, options.pace))
        target = f'[targets.scripted]\ndialect = "scripted"\ntranscript = "{transcript}"\n'
        with started_landline(folder, f'{target}[models."*"]\ntargets = ["scripted"]\n') as process:
            yield process.base_url


class AgentBench:
    """Takes the samples, each on a line of its own, one after the other: they share neither rate nor processor."""

    def __init__(self, options: AgentBenchOptions, profile: TaskProfile, base_url: str) -> None:
        """Raises `BenchError` for a URL that no line can lead to."""
        url = urlsplit(base_url)
        if url.scheme != "http" or url.hostname is None:
            raise BenchError(
                f"expected a URL such as http://127.0.0.1:8080/v1 (a line carries no TLS), got {base_url!r}"
            )
        self._options = options
        self._profile = profile
        self._host = url.hostname
        self._port = url.port or 80
        self._path = url.path.rstrip("/")
        self._seeds = count(1)

    async def measure(self, progress: Progress) -> Table:
        options = self._options
        chosen = [TRANSPORTS[each] for each in TRANSPORTS if not options.only or each in options.only or each == "http"]
        cases = [(agents, each) for agents in sorted({1, options.agents}) for each in chosen if _fits(each, agents)]
        samples = SampleSet()
        progress.begin(f"Agent, profile {options.profile}", options.rounds * len(cases))
        for number in range(options.rounds):
            for agents, transport in cases[number % len(cases) :] + cases[: number % len(cases)]:
                case = {"agents": str(agents)}
                if samples.has_failed(transport.name, case):
                    continue
                progress.step(f"{transport.name}, {agents} at once")
                try:
                    samples.add(transport.name, case, await self._sample(transport, agents))
                except BenchError as error:
                    samples.fail(transport.name, case, str(error))
        samples.derive(_BASE, _CHANGES, _percent_more)
        subjects = [each.name for each in TRANSPORTS.values()]
        return msgspec.structs.replace(self._table(), rows=samples.rows(subjects))

    async def _sample(self, transport: AgentTransport, agents: int) -> dict[str, float]:
        """Other text in each sample and for each agent, so that no cache knows one from the other."""
        options = self._options
        tasks = [make_task(self._profile, seed=next(self._seeds)) for _ in range(agents)]
        async with ShapedLink(options.shape, self._port, self._host) as link:
            base_url = link.base_url.removesuffix("/v1") + self._path
            began = time.perf_counter()
            replays = await self._replay_all(transport, tasks, base_url)
            total_s = time.perf_counter() - began
        for replay in replays:
            _check(transport, replay)
        values = {"sent": link.sent_bytes / 1000, "received": link.received_bytes / 1000, "time": total_s}
        if options.server is None:
            values["rest"] = total_s - model_s(tasks[0], options.pace)
        return values

    async def _replay_all(self, transport: AgentTransport, tasks: list[Task], base_url: str) -> list[Replay]:
        options = self._options
        tokens = None if options.server is None else _REAL_OUTPUT_TOKENS
        if not transport.shares_socket:
            endpoint = transport.endpoint(base_url)
            return await asyncio.gather(
                *(replay_task(task, endpoint, options.model, max_output_tokens=tokens) for task in tasks)
            )
        async with open_lanes(base_url, [f"agent-{number}" for number in range(len(tasks))]) as lanes:
            return await asyncio.gather(
                *(
                    replay_on(lane, task, options.model, max_output_tokens=tokens)
                    for lane, task in zip(lanes, tasks, strict=True)
                )
            )

    def _table(self) -> Table:
        options, profile = self._options, self._profile
        shape = options.shape
        return Table(
            name="agent",
            title=f"A task of {profile.calls_made} tool calls, profile {options.profile}, line {options.line}",
            method=(
                f"Sizes: {profile.source.rstrip('.')}. Text is made up and compresses like real text. Each sample has a line of its own: "
                f"{shape.uplink_bits_per_s / 1e6:g} Mbit/s up, {shape.downlink_bits_per_s / 1e6:g} Mbit/s down, "
                f"{shape.round_trip_s * 1000:g} ms round trip{', with slow start' if shape.has_slow_start else ''}. Bytes "
                "are those that passed it, heads and frames included. Agents at once share a line. The rest is the time that "
                "the script of the model did not take. Changes are against HTTP with the full history in the same round."
            ),
            does_not_show=(
                "loss, TLS, new connections for each request, compressed requests, what a model saves whose cache is warm, what "
                "tools take."
            ),
            subject_column="transport",
            case_columns=["agents"],
            columns=[
                Column("sent", "kB", 1),
                Column("received", "kB", 1),
                Column("time", "s"),
                Column("rest", "s"),
                *(Column(name, "%", 1) for name in _CHANGES),
            ],
            rows=[],
            plotted=["sent", "time"],
        )


def _fits(transport: AgentTransport, agents: int) -> bool:
    """One agent has no lanes to share."""
    return agents > 1 or not transport.shares_socket


def _percent_more(mine: float, base: float) -> float:
    return 100 * (mine / base - 1) if base > 0 else 0.0


def _check(transport: AgentTransport, replay: Replay) -> None:
    """Raises `BenchError` for a replay that cannot be compared: it failed, was retried, or fell back to another transport."""
    if replay.failure is not None:
        raise BenchError(f"turn {len(replay.turns)} failed: {one_line(replay.failure)}")
    if replay.transport != ("ws" if transport.is_socket else "http"):
        raise BenchError("it ended over another transport")
    for number, turn in enumerate(replay.turns):
        for note in turn.notes:
            raise BenchError(f"it was not in one piece: {one_line(note)}")
        sends_all = number == 0 or not (transport.is_socket or transport.chains)
        if isinstance(turn.ending, ModelAnswer) and turn.is_delta == sends_all:
            raise BenchError(f"turn {number + 1} sent {'only what was new' if turn.is_delta else 'the whole history'}")
