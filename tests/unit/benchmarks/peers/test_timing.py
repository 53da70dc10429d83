"""Which server is timed in which case, and how a table is taken apart for servers to stand side by side."""

from collections.abc import Mapping

import pytest

from landline.bench.load import WAYS
from landline.bench.measures import UPSTREAM_ALONE, MeasuredServer, turn_measure
from landline.bench.results import Column, Row, Spread, Table
from peers.adapters import Way
from peers.timing import FULL_EFFORT, TimedServer, count_samples, is_taken, split_by_server, split_table, timed_server

BASE = "http://127.0.0.1:1/v1"
UPSTREAM = MeasuredServer(name=UPSTREAM_ALONE, base_url=BASE, pid=1, model="m")
BOTH = timed_server("Both", BASE, 1, "m", list(Way))
HTTP = timed_server("Http", BASE, 1, "m", [Way.HTTP_FULL])


def test_ways_have_the_names_of_the_benchmark() -> None:
    assert [way.value for way in Way] == [way.name for way in WAYS]


@pytest.mark.parametrize(
    ("measure", "case", "timed", "expected"),
    [
        ("turns", {"way": "socket", "history": 10_000}, BOTH, True),
        ("turns", {"way": "socket", "history": 10_000}, HTTP, False),
        ("turns", {"way": "HTTP, full history", "history": 4_000_000}, HTTP, True),
        ("turns", {"way": "HTTP, chained", "history": 4_000_000}, BOTH, False),
        ("paced", {"streams": 20}, BOTH, True),
        ("paced", {"streams": 20}, HTTP, True),
        ("burst", {"store": "no", "sockets": 16}, HTTP, True),
        ("burst", {"store": "yes", "sockets": 16}, HTTP, False),
        ("burst", {"store": "yes", "sockets": 16}, BOTH, True),
        ("lines", {"compression": "none"}, BOTH, True),
        ("lines", {"compression": "deflate"}, BOTH, False),
        ("lines", {"compression": "none"}, HTTP, False),
    ],
)
def test_server_is_timed_in_what_it_passed(
    measure: str, case: Mapping[str, str | int], timed: TimedServer, expected: bool
) -> None:
    assert is_taken(measure, case, timed) is expected


def test_case_that_only_the_upstream_takes_is_left_out() -> None:
    parts = split_by_server(turn_measure(FULL_EFFORT), [TimedServer(UPSTREAM, list(Way)), HTTP])
    assert [[server.name for server in servers] for _, servers in parts] == [[UPSTREAM_ALONE, "Http"]]
    assert {case["way"] for part, _ in parts for case in part.cases} == {"HTTP, full history"}


def test_more_servers_make_more_samples() -> None:
    assert 0 < count_samples([HTTP], UPSTREAM, FULL_EFFORT) < count_samples([HTTP, BOTH], UPSTREAM, FULL_EFFORT)


def test_table_is_split_by_its_first_case_column() -> None:
    spread = {"turn": Spread(1, 1, 1, 1)}
    rows = [
        Row(subject="Both", case={"way": way, "history": size}, values=spread)
        for way in ("socket", "HTTP, chained")
        for size in (1, 2)
    ]
    whole = Table(
        name="turns",
        title="Turns",
        method="",
        does_not_show="",
        case_columns=["way", "history"],
        columns=[Column("turn", "ms")],
        rows=rows,
    )
    parts = split_table(whole)
    assert [part.name for part in parts] == ["turns: socket", "turns: HTTP, chained"]
    assert [row.case for row in parts[0].rows] == [{"history": 1}, {"history": 2}]
    assert [part.case_columns for part in parts] == [["history"], ["history"]]
