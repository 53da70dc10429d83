"""The tables of a comparison, and what they say about who is ahead."""

import pytest
from msgspec.structs import replace

from landline.bench.results import Column, Row, Setting, Spread, Table
from peers.adapters import Absent, Way
from peers.page import PAGE, fill, make
from peers.probe import Finding
from peers.report import (
    Comparison,
    Probed,
    describe,
    probe_table,
    read_comparison,
    shown_columns,
    standings,
    value_table,
)

TURN, EVENTS, GENERATOR = Column("turn", "ms"), Column("events", "1/s", 0), Column("generator", "%")
SETTING = Setting(
    date="2026-11-30T10:00:00+00:00",
    commit="abc",
    machine="a machine",
    cores=2,
    system="Linux",
    load=[0.1, 0.2, 0.3],
    versions={"python": "3.11"},
    command="make peers",
)


def _row(server: str, history: int, error: str | None = None, **medians: float) -> Row:
    values = {name: Spread(median, median - 1, median + 1, 5) for name, median in medians.items()}
    return Row(subject=server, case={"history": history}, values=values, error=error)


def _table(*rows: Row) -> Table:
    return Table(
        name="turns: socket",
        title="Turns",
        method="So.",
        does_not_show="much.",
        case_columns=["history"],
        columns=[TURN, EVENTS, GENERATOR],
        rows=list(rows),
        plotted=["turn"],
    )


def _comparison(*rows: Row) -> Comparison:
    probed = [Probed("Other", "1.2", "", [Finding(Way.SOCKET, "streams", "", True)])]
    return Comparison(setting=SETTING, rounds=5, seconds=600, probed=probed, absent=[], tables=[_table(*rows)])


def test_probe_table_tells_what_passed_what_is_timed_and_every_error() -> None:
    findings = [
        Finding(Way.SOCKET, "streams", "", True),
        Finding(Way.SOCKET, "forgets", "404 | `no`", False),
        Finding(Way.HTTP_FULL, "streams", "500", True),
    ]
    lines = probe_table([Probed("Other", "1.2", "in memory", findings)], [Absent("Third", "needs Python 3.12")])
    assert lines[2] == "| Other | 1.2 | in memory | 1 of 2 | not claimed | not claimed | 0 of 1, not timed |"
    assert lines[3] == "| Third |  | not run: needs Python 3.12 |  |  |  |  |"
    assert lines[5:] == [
        "- **Other**, socket: forgets: `404 | 'no'`",
        "- **Other**, HTTP, full history: streams: `500`",
    ]


def test_probe_table_says_when_nothing_failed() -> None:
    lines = probe_table([Probed("Other", "1.2", "", [Finding(Way.SOCKET, "streams", "", True)])], [])
    assert lines[-1] == "No case failed."


def test_value_table_has_servers_side_by_side_with_quartiles_and_the_best_server_bold() -> None:
    table = _table(
        _row("upstream alone", 1000, turn=2),
        _row("Landline", 1000, turn=4),
        _row("Other", 1000, turn=5),
        _row("Landline", 20000, turn=9),
        _row("Other", 20000, error="too large"),
    )
    assert value_table(table, TURN) == [
        "| history | upstream alone | Landline | Other |",
        "| --- | --- | --- | --- |",
        "| 1,000 | 2.00 (1.00 to 3.00) | **4.00 (3.00 to 5.00)** | 5.00 (4.00 to 6.00) |",
        "| 20,000 |  | **9.00 (8.00 to 10.00)** | error |",
    ]


def test_columns_without_values_and_the_load_generators_own_are_not_shown() -> None:
    assert shown_columns(_table(_row("Landline", 1, turn=4, generator=50))) == [TURN]


@pytest.mark.parametrize(("turn_ms", "factor"), [(2.0, 2.0), (8.0, 0.5)])
def test_factor_is_above_one_where_landline_takes_less(turn_ms: float, factor: float) -> None:
    [standing] = standings([_table(_row("Landline", 1, turn=turn_ms), _row("Other", 1, turn=4.0))])
    assert (standing.rival, standing.factor) == ("Other", factor)


@pytest.mark.parametrize(("events", "factor"), [(200.0, 2.0), (50.0, 0.5)])
def test_factor_is_above_one_where_landline_has_the_higher_rate(events: float, factor: float) -> None:
    [standing] = standings([_table(_row("Landline", 1, events=events), _row("Other", 1, events=100.0))])
    assert (standing.rival, standing.factor) == ("Other", factor)


def test_landline_is_compared_with_the_best_of_the_others_and_not_with_the_upstream_alone() -> None:
    rows = [_row("upstream alone", 1, turn=1), _row("Slow", 1, turn=9), _row("Fast", 1, turn=3)]
    [standing] = standings([_table(*rows, _row("Landline", 1, turn=6))])
    assert (standing.rival, standing.factor, standing.case) == ("Fast", 0.5, "history 1")


@pytest.mark.parametrize(("own", "other"), [(0.0, 1.0), (1.0, 0.0), (-0.1, 1.0)])
def test_values_that_are_not_above_zero_have_no_standing(own: float, other: float) -> None:
    assert standings([_table(_row("Landline", 1, turn=own), _row("Other", 1, turn=other))]) == []


def test_server_that_nobody_is_compared_with_has_no_standing() -> None:
    assert standings([_table(_row("Landline", 1, turn=6))]) == []


def test_description_holds_every_error() -> None:
    lines = describe(_comparison(_row("Landline", 1, turn=6), _row("Other", 1, error="a `tick`")))
    assert "- **Other**, history 1: `a 'tick'`" in lines
    assert "- 2026-11-30, commit abc" in lines


def test_description_says_when_the_machine_was_busy() -> None:
    idle = _comparison(_row("Landline", 1, turn=6))
    busy = replace(idle, setting=replace(SETTING, load=[1.1, 0, 0]))
    assert not any("busy" in line for line in describe(idle))
    assert any("busy" in line for line in describe(busy))


def test_page_says_where_landline_is_behind_and_by_how_much() -> None:
    comparison = _comparison(
        _row("Landline", 1, turn=6), _row("Other", 1, turn=3), _row("Landline", 2, turn=1.2), _row("Other", 2, turn=3)
    )
    assert make("behind", comparison)[2:] == ["| Turns | turn (ms) | history 1 | Other | 2.0 times |"]
    assert make("score", comparison)[2:] == ["| Turns | 1 | 0 | 1 |"]


def test_page_says_so_when_landline_is_nowhere_behind() -> None:
    comparison = _comparison(_row("Landline", 1, turn=2.99), _row("Other", 1, turn=3))
    assert make("behind", comparison) == ["Nowhere in this run."]


def test_page_keeps_its_words_and_gets_its_blocks_anew() -> None:
    text = "Before.\n<!-- peers: turns: socket / turn -->\nold\n<!-- end -->\nAfter.\n"
    filled = fill(text, _comparison(_row("Landline", 1, turn=6)))
    assert filled.startswith("Before.\n<!-- peers: turns: socket / turn -->\n\n| history |")
    assert filled.endswith("|\n\n<!-- end -->\nAfter.\n")
    assert "old" not in filled
    assert fill(filled, _comparison(_row("Landline", 1, turn=6))) == filled


def test_page_with_a_block_that_nothing_makes_is_an_error() -> None:
    with pytest.raises(LookupError, match="turns: pigeon / turn"):
        fill("<!-- peers: turns: pigeon / turn -->\n<!-- end -->", _comparison())


def test_page_holds_what_the_last_run_found() -> None:
    assert PAGE.read_text() == fill(PAGE.read_text(), read_comparison()), "run `python -m peers.page` in benchmarks"
