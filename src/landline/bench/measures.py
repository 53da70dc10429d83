"""What `landline bench serve` measures: for each question its cases, how one sample of a case is taken, and the table's words."""

import asyncio
import gc
import operator
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext

import msgspec

from landline.bench.load import (
    CHAINED_HTTP,
    FULL_HTTP,
    SOCKET,
    STORED_SOCKET,
    WAYS,
    Conversation,
    Turn,
    Way,
    history_of,
    open_conversation,
    open_socket,
    user_message,
)
from landline.bench.processes import BenchError, ProcessMeter, StartedProcess, Watch
from landline.bench.results import CaseValue, Column, SampleSet, Table, quantile
from landline.bench.upstream import Script

UPSTREAM_ALONE = "upstream alone"
_KIB = 1024
_GENERATOR = Column("generator", "% of a core", 0)


class MeasuredServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server in the run, the upstream alone included."""

    name: str
    base_url: str
    pid: int | None = None
    model: str
    has_sockets: bool = True
    """False: its streams are measured over HTTP."""
    start_anew: Callable[[], AbstractContextManager[StartedProcess]] | None = None
    """A fresh process of the same kind, where it can be started here."""

    def watch(self) -> Watch:
        return Watch(ProcessMeter(self.pid) if self.pid is not None else None)

    def way(self, *, is_stored: bool = False) -> Way:
        """How its streams are asked for."""
        if self.has_sockets:
            return STORED_SOCKET if is_stored else SOCKET
        return CHAINED_HTTP if is_stored else FULL_HTTP


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured."""

    rounds: int
    turns: int
    """Timed turns of a sample."""
    histories: tuple[int, ...]
    streams: tuple[int, ...]
    deltas: int
    """Of each paced stream."""
    sockets: tuple[int, ...]
    lines: int
    idle_s: float
    """How long idle lines are left alone before their memory is read again."""


FULL_EFFORT = Effort(
    rounds=7,
    turns=10,
    histories=(10_000, 100_000, 1_000_000, 4_000_000),
    streams=(1, 4, 16, 64, 256),
    deltas=150,
    sockets=(1, 16, 64, 256),
    lines=1000,
    idle_s=10,
)
QUICK_EFFORT = Effort(
    rounds=2,
    turns=3,
    histories=(10_000, 100_000),
    streams=(1, 4),
    deltas=40,
    sockets=(1, 4),
    lines=20,
    idle_s=0,
)

Case = dict[str, CaseValue]
"""By the name of the table's case column."""
Sample = Callable[[MeasuredServer, Case, str], Awaitable[dict[str, float]]]
"""Takes one sample of a case: values by column. The text is like no other sample's, for histories that no cache knows."""


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    table: Table
    """Without rows."""
    cases: list[Case]
    sample: Sample
    most_rounds: int | None = None
    """For what hardly differs from round to round, and takes long."""
    with_upstream: bool = True
    """Whether the upstream alone is a row, too."""
    added: Mapping[str, str] = {}
    """Columns that are others less the upstream alone's."""

    def rounds(self, wanted: int) -> int:
        return wanted if self.most_rounds is None else min(wanted, self.most_rounds)


async def take_measure(
    measure: Measure, servers: list[MeasuredServer], rounds: int, on_step: Callable[[str], None]
) -> Table:
    """Takes the samples in turns: each round has every case, each case every server, in an order that moves on.

    A server that fails in a case is not asked again in it. `on_step` hears of each sample before it is taken.
    """
    samples = SampleSet()
    chosen = [each for each in servers if measure.with_upstream or each.name != UPSTREAM_ALONE]
    for number in range(measure.rounds(rounds)):
        for case in measure.cases:
            for server in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                if samples.has_failed(server.name, case):
                    continue
                on_step(f"{server.name}, {', '.join(f'{name} {value}' for name, value in case.items())}")
                try:
                    with _no_collections():
                        unique = f"{server.name} {number} {random.getrandbits(48):x}"
                        values = await measure.sample(server, case, unique)
                except BenchError as error:
                    samples.fail(server.name, case, str(error))
                else:
                    samples.add(server.name, case, values)
    samples.derive(UPSTREAM_ALONE, measure.added, operator.sub)
    return msgspec.structs.replace(measure.table, rows=samples.rows([each.name for each in servers]))


class _no_collections:  # noqa: N801 - a context manager, used as a function
    """No garbage is collected within: a pause of the generator would be taken for one of the server."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


@asynccontextmanager
async def _conversations(server: MeasuredServer, way: Way, count: int) -> AsyncGenerator[list[Conversation]]:
    async with AsyncExitStack() as stack:
        opened: list[Conversation] = []
        for _ in range(count):
            conversation = await open_conversation(server.base_url, server.model, way)
            stack.callback(conversation.close)
            opened.append(conversation)
        yield opened


def turn_measure(effort: Effort) -> Measure:
    """A turn against the size of its history."""
    ways = {way.name: way for way in WAYS}

    async def sample(server: MeasuredServer, case: Case, unique: str) -> dict[str, float]:
        message = user_message(Script().sentence)
        async with _conversations(server, ways[str(case["way"])], 1) as [conversation]:
            await conversation.ask(*history_of(int(case["history"]), unique), message)
            await conversation.ask(message)
            watch = server.watch()
            watch.start()
            turns = [await conversation.ask(message) for _ in range(effort.turns)]
            watch.stop()
        values = {"turn": quantile(sorted(each.duration_s for each in turns), 0.5) * 1000}
        if watch.server_s is not None:
            values["CPU"] = watch.server_s * 1000 / effort.turns
        return {**values, _GENERATOR.name: watch.generator_share * 100}

    return Measure(
        table=Table(
            name="turns",
            title="Turn time and CPU against the size of the history",
            method=(
                f"A sample is a new conversation of that size (bytes of JSON), two turns to warm up, and {effort.turns} timed "
                f"turns of {Script().words} deltas that the upstream writes at once; its median counts. The time goes from "
                "the write of the request to the read that brought the terminal event. CPU is the server's, a turn."
            ),
            does_not_show="networks, TLS, compression, other turns at the same time, models that take time.",
            case_columns=["way", "history"],
            columns=[Column("turn", "ms"), Column("CPU", "ms"), _GENERATOR],
            rows=[],
            plotted=["turn", "CPU"],
        ),
        cases=[{"way": way.name, "history": size} for way in WAYS for size in effort.histories],
        sample=sample,
    )


_RATE_PER_S = 50
_SETTLE_S = 0.1
"""After the last stream began and before the first one ends: only what is between is counted."""
_P999_DELTAS = 1000
"""With fewer, the 99.9th percentile is but the largest one."""


def paced_measure(effort: Effort) -> Measure:
    """Streams whose upstream writes 50 deltas a second each."""
    script = Script(words=effort.deltas, per_s=_RATE_PER_S)
    stagger_s = min(0.5, script.duration_s / 4)

    async def sample(server: MeasuredServer, case: Case, _: str) -> dict[str, float]:
        count = int(case["streams"])
        async with _conversations(server, server.way(), count) as conversations:
            watch = server.watch()
            begin = time.perf_counter()

            async def stream(number: int) -> Turn:
                await asyncio.sleep(stagger_s * number / count)
                return await conversations[number].ask(user_message(script.sentence), is_paced=True)

            streams = [asyncio.ensure_future(stream(number)) for number in range(count)]
            try:
                await asyncio.sleep(stagger_s + _SETTLE_S)
                watch.start()
                await asyncio.sleep(max(0.0, begin + script.duration_s - _SETTLE_S - time.perf_counter()))
                watch.stop()
                turns = [await each for each in streams]
            finally:
                for each in streams:
                    each.cancel()
                await asyncio.gather(*streams, return_exceptions=True)
        return _paced_values(turns, watch)

    added = {f"added {name}": f"journey {name}" for name in ("p50", "p99", "p99.9")}
    return Measure(
        table=Table(
            name="paced",
            title="Paced streams: what a server adds to each delta",
            method=(
                f"Each stream gets {effort.deltas} deltas, {_RATE_PER_S} a second, which the upstream writes one by one, "
                f"with the time in each. The streams begin within {stagger_s:.2g} s, evenly. A delta's journey goes from the "
                "upstream's write to the read here; added is that less the journey from the upstream alone, measured in the "
                "same round with the same client. CPU is the server's a delta, while all streams run. A p99.9 needs "
                f"{_P999_DELTAS:,} deltas in a sample."
            ),
            does_not_show="networks, TLS, compression, long histories, tool calls. The generator shares the machine.",
            case_columns=["streams"],
            columns=[
                Column("first delta", "ms"),
                Column("gap p99", "ms", 1),
                Column("journey p50", "ms"),
                Column("journey p99", "ms"),
                Column("journey p99.9", "ms", is_shown=False),
                *(Column(name, "ms") for name in added),
                Column("CPU", "µs", 0),
                _GENERATOR,
            ],
            rows=[],
            plotted=["added p50", "added p99", "CPU", "first delta"],
        ),
        cases=[{"streams": count} for count in effort.streams],
        sample=sample,
        added=added,
    )


def _paced_values(turns: list[Turn], watch: Watch) -> dict[str, float]:
    """Of the deltas that arrived while the watch ran. Raises `BenchError` when there were none."""
    started, stopped = watch.started_at, watch.started_at + watch.wall_s
    journeys: list[float] = []
    gaps: list[float] = []
    for turn in turns:
        within = [index for index, at in enumerate(turn.arrivals) if started <= at <= stopped]
        if len(turn.journeys_s) == len(turn.arrivals):  # a server that joins deltas has other texts
            journeys += [turn.journeys_s[index] for index in within]
        gaps += [turn.arrivals[index] - turn.arrivals[index - 1] for index in within if index]
    if not gaps:
        raise BenchError("no deltas came while all streams ran")
    journeys.sort()
    gaps.sort()
    values = {
        "first delta": quantile(sorted(turn.first_delta_s for turn in turns), 0.5) * 1000,
        "gap p99": quantile(gaps, 0.99) * 1000,
    }
    shares = {"p50": 0.5, "p99": 0.99} | ({"p99.9": 0.999} if len(journeys) >= _P999_DELTAS else {})
    if journeys:
        values |= {f"journey {name}": quantile(journeys, share) * 1000 for name, share in shares.items()}
    if watch.server_s is not None:
        values["CPU"] = watch.server_s * 1e6 / len(gaps)
    return {**values, _GENERATOR.name: watch.generator_share * 100}


_WAVES = 3


def burst_measure(effort: Effort) -> Measure:
    """Many sockets at once whose upstream answers at once."""

    async def sample(server: MeasuredServer, case: Case, _: str) -> dict[str, float]:
        count = int(case["sockets"])
        message = user_message(Script().sentence)
        async with _conversations(server, server.way(is_stored=case["store"] == "yes"), count) as conversations:
            await asyncio.gather(*(each.ask(message) for each in conversations))
            waves = [await asyncio.gather(*(each.ask(message) for each in conversations)) for _ in range(_WAVES)]
            watch = server.watch()
            watch.start()
            runs = await asyncio.gather(*(_ask_often(each, message, effort.turns) for each in conversations))
            watch.stop()
        firsts = sorted(turn.first_delta_s for wave in waves for turn in wave)
        values = {
            "first delta": quantile(firsts, 0.5) * 1000,
            "first delta p99": quantile(firsts, 0.99) * 1000,
            "events": sum(runs) / watch.wall_s,
            _GENERATOR.name: watch.generator_share * 100,
        }
        if watch.server_s:
            values["turns a core"] = count * effort.turns / watch.server_s
        return values

    return Measure(
        table=Table(
            name="burst",
            title="Many sockets at once, unpaced",
            method=(
                f"All sockets ask at the same moment, {_WAVES} times: time to the first delta. Then each takes "
                f"{effort.turns} turns of {Script().words} deltas without a pause: events a second, and turns a second of "
                "the server's CPU time. The upstream writes an answer at once."
            ),
            does_not_show="what the server reaches with more cores than this machine leaves it; paced streams cost more.",
            case_columns=["store", "sockets"],
            columns=[
                Column("first delta", "ms", 1),
                Column("first delta p99", "ms", 1),
                Column("events", "1/s", 0),
                Column("turns a core", "1/s", 0),
                _GENERATOR,
            ],
            rows=[],
            plotted=["first delta", "events"],
        ),
        cases=[Case(store=store, sockets=count) for store in ("no", "yes") for count in effort.sockets],
        sample=sample,
    )


async def _ask_often(conversation: Conversation, message: dict[str, str], turns: int) -> int:
    """Turns without a pause; their events."""
    return sum([(await conversation.ask(message)).events for _ in range(turns)])


_LINE_ROUNDS = 3


def line_measure(effort: Effort) -> Measure:
    """The memory of open lines."""

    async def sample(server: MeasuredServer, case: Case, _: str) -> dict[str, float]:
        with server.start_anew() if server.start_anew is not None else nullcontext(server) as process:
            if process.pid is None:
                raise BenchError("the server's process is not known: name it by its pid")
            anew = msgspec.structs.replace(server, base_url=process.base_url, pid=process.pid)
            return await _line_values(
                anew, ProcessMeter(process.pid), effort, deflates=case["compression"] == "deflate"
            )

    return Measure(
        table=Table(
            name="lines",
            title=f"Memory of {effort.lines:,} open lines",
            method=(
                "Growth of the process's resident memory a line: once open, after a turn of one delta on each, after "
                f"{effort.idle_s:g} s of rest, and after all were closed; and the lines to which the server granted compression. A "
                "started server is a fresh process each time."
            ),
            does_not_show=(
                "histories, which grow with their content; the kernel's socket buffers; what an allocator keeps for later. "
                "A server that was not started here may have had the memory already."
            ),
            case_columns=["compression"],
            columns=[
                *[Column(name, "KiB a line", 1) for name in ("open", "used", "rested", "closed")],
                Column("compressed", "lines", 0),
            ],
            rows=[],
        ),
        cases=[{"compression": name} for name in ("none", "deflate")],
        sample=sample,
        most_rounds=_LINE_ROUNDS,
        with_upstream=False,
    )


async def _line_values(
    server: MeasuredServer, meter: ProcessMeter, effort: Effort, *, deflates: bool
) -> dict[str, float]:
    message = user_message(Script(words=1).sentence)
    first = await open_socket(server.base_url, deflates=deflates)
    await Conversation(first, server.model, SOCKET).ask(
        message
    )  # what is loaded with a server's first turn is not a line's
    meter.refresh()
    before = meter.resident_bytes()

    def grown() -> float:
        return (meter.resident_bytes() - before) / effort.lines / _KIB

    values: dict[str, float] = {"compressed": 0}
    async with AsyncExitStack() as stack:
        stack.callback(first.close)
        lines: list[Conversation] = []
        for _ in range(effort.lines):
            connection = await open_socket(server.base_url, deflates=deflates)
            stack.callback(connection.close)
            values["compressed"] += connection.is_deflated
            lines.append(Conversation(connection, server.model, SOCKET))
        values["open"] = grown()
        for line in lines:
            await line.ask(message)
        values["used"] = grown()
        await asyncio.sleep(effort.idle_s)
        values["rested"] = grown()
    await asyncio.sleep(effort.idle_s)
    return {**values, "closed": grown()}


_PROMPT_BYTES = 1000
"""Some 250 tokens: the embedded model reads a few dozen a second on a small machine."""
_EMBEDDED_TOKENS = 16


_SENTENCE = "There is a green pen in the box and a red book next to it. "


_EMBEDDED_ROUNDS = 3


def embedded_measure() -> Measure:
    """A first turn on the embedded model, and the one after it."""

    async def sample(server: MeasuredServer, case: Case, unique: str) -> dict[str, float]:
        text = f"{unique}. " + _SENTENCE * (_PROMPT_BYTES // len(_SENTENCE))
        conversation = await open_conversation(
            server.base_url, server.model, SOCKET, max_output_tokens=_EMBEDDED_TOKENS
        )
        try:
            turn = await conversation.ask(user_message(f"{text}What is in the box?"))
            if case["turn"] == "warm":
                turn = await conversation.ask(user_message("And what is next to it?"))
        finally:
            conversation.close()
        return {"first delta": turn.first_delta_s * 1000, "turn": turn.duration_s * 1000}

    return Measure(
        table=Table(
            name="embedded",
            title="The embedded model, cold and warm",
            method=(
                f"Cold is the first turn of a conversation with {_PROMPT_BYTES:,} bytes that no cache knows, warm the turn "
                f"after it on the same socket; at most {_EMBEDDED_TOKENS} tokens each."
            ),
            does_not_show="larger models and contexts, where the difference grows; other conversations at the same time.",
            case_columns=["turn"],
            columns=[Column("first delta", "ms", 0), Column("turn", "ms", 0)],
            rows=[],
        ),
        cases=[{"turn": "cold"}, {"turn": "warm"}],
        sample=sample,
        most_rounds=_EMBEDDED_ROUNDS,
        with_upstream=False,
    )
