"""Times servers side by side with the measures of `landline bench serve`, each only in the ways in which it passed.

All servers run at once in front of one upstream, and each round takes one sample of each, in an order that moves on: a
machine that is busy for a while is so for all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from landline.bench.measures import (
    UPSTREAM_ALONE,
    Case,
    Effort,
    Measure,
    MeasuredServer,
    burst_measure,
    line_measure,
    paced_measure,
    take_measure,
    turn_measure,
)
from landline.bench.processes import BenchError
from landline.bench.results import Table
from peers.adapters import Way

FULL_EFFORT = Effort(
    rounds=5,
    turns=6,
    histories=(10_000, 100_000, 1_000_000, 4_000_000),
    streams=(20, 64, 200),
    deltas=75,
    sockets=(1, 16, 64),
    lines=300,
    idle_s=2,
)
QUICK_EFFORT = msgspec.structs.replace(
    FULL_EFFORT, rounds=2, turns=4, histories=(10_000, 1_000_000), streams=(20,), deltas=50, sockets=(16,), lines=50
)
SAMPLE_TIMEOUT_S = 20.0
LARGEST_CHAINED = 1_000_000
"""Ways that store are not given larger histories: some servers need seconds a turn there."""


class TimedServer(msgspec.Struct, frozen=True):
    """A running server, and the ways in which it is timed."""

    server: MeasuredServer
    ways: Sequence[Way]


def timed_server(name: str, base_url: str, pid: int, model: str, ways: Sequence[Way]) -> TimedServer:
    """Its streams go over a socket where that is one of its ways, else over HTTP."""
    has_sockets = Way.SOCKET in ways
    return TimedServer(
        MeasuredServer(name=name, base_url=base_url, pid=pid, model=model, has_sockets=has_sockets), ways
    )


async def take_tables(
    servers: Sequence[TimedServer], upstream: MeasuredServer, effort: Effort, on_step: Callable[[str], None]
) -> list[Table]:
    """Every measure's table. Memory comes first: no server has taken turns of any size then."""
    everyone = [TimedServer(upstream, list(Way)), *servers]
    tables: list[Table] = []
    for make in (line_measure, turn_measure, paced_measure, burst_measure):
        measure = make(effort)
        rounds = 1 if make is line_measure else effort.rounds
        parts = [
            await take_measure(part, chosen, rounds, on_step) for part, chosen in split_by_server(measure, everyone)
        ]
        whole = msgspec.structs.replace(measure.table, rows=[row for part in parts for row in part.rows])
        tables += split_table(whole) if len(whole.case_columns) > 1 else [whole]
    return tables


def split_table(table: Table) -> list[Table]:
    """A table for each value of the first case column, so that a table has servers beside each other in one case."""
    first, *others = table.case_columns
    tables: list[Table] = []
    for value in dict.fromkeys(row.case[first] for row in table.rows):
        rows = [
            msgspec.structs.replace(row, case={name: row.case[name] for name in others})
            for row in table.rows
            if row.case[first] == value
        ]
        called = value if first == "way" else _STORE_TITLES[str(value)]
        tables.append(
            msgspec.structs.replace(
                table, name=f"{table.name}: {called}", title=f"{table.title}: {called}", case_columns=others, rows=rows
            )
        )
    return tables


_STORE_TITLES = {"no": "unstored", "yes": "stored"}


def split_by_server(measure: Measure, servers: Sequence[TimedServer]) -> list[tuple[Measure, list[MeasuredServer]]]:
    """The measure in parts, one for each set of servers that take the same cases; each sample ends in time."""
    parts: dict[tuple[str, ...], list[Case]] = {}
    for case in measure.cases:
        names = tuple(each.server.name for each in servers if is_taken(measure.table.name, case, each))
        if set(names) - {UPSTREAM_ALONE}:
            parts.setdefault(names, []).append(case)
    by_name = {each.server.name: each.server for each in servers}
    return [
        (
            msgspec.structs.replace(measure, cases=cases, sample=_in_time(measure)),
            [by_name[name] for name in names],
        )
        for names, cases in parts.items()
    ]


def is_taken(measure: str, case: Mapping[str, str | int], timed: TimedServer) -> bool:
    """Whether a server takes part in a case of a measure."""
    way = Way(case["way"]) if measure == "turns" else Way(timed.server.way(is_stored=case.get("store") == "yes").name)
    if measure == "turns" and way in (Way.SOCKET_STORED, Way.HTTP_CHAINED) and int(case["history"]) > LARGEST_CHAINED:
        return False
    if measure == "lines":
        return timed.server.has_sockets and case["compression"] == "none"
    return way in timed.ways


def _in_time(measure: Measure) -> Callable[[MeasuredServer, Case, str], Awaitable[dict[str, float]]]:
    async def sample(server: MeasuredServer, case: Case, unique: str) -> dict[str, float]:
        try:
            async with asyncio.timeout(SAMPLE_TIMEOUT_S):
                return await measure.sample(server, case, unique)
        except TimeoutError:
            raise BenchError(f"a sample took longer than {SAMPLE_TIMEOUT_S:.0f} s") from None

    return sample


def count_samples(servers: Iterable[TimedServer], upstream: MeasuredServer, effort: Effort) -> int:
    """How many samples `take_tables` takes when none fails."""
    everyone = [TimedServer(upstream, list(Way)), *servers]
    total = 0
    for make in (line_measure, turn_measure, paced_measure, burst_measure):
        measure = make(effort)
        rounds = 1 if make is line_measure else effort.rounds
        for part, chosen in split_by_server(measure, everyone):
            total += rounds * len(part.cases) * sum(part.with_upstream or each is not upstream for each in chosen)
    return total
