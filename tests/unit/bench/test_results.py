"""Medians and quartiles, the difference from a base, the order of rows, the JSON's shape, and how it looks in a terminal."""

import operator
import re
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from landline.bench.results import Report, SampleSet, Spread, commit_of, quantile, setting_of, spread_of
from landline.bench.screen import Progress, deliver, notes_of, screen_table
from support.bench.reports import ROWS, small_report


def test_the_spread_of_one_sample_is_that_sample() -> None:
    assert spread_of([3.0]) == Spread(3.0, 3.0, 3.0, 1)


def test_the_spread_has_the_quartiles_of_all_samples() -> None:
    assert spread_of([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(3.0, 2.0, 4.0, 5)


@pytest.mark.parametrize(("share", "value"), [(0.0, 0), (0.5, 50), (0.99, 99), (0.999, 99), (1.0, 99)])
def test_a_quantile_is_a_sample(share: float, value: int) -> None:
    assert quantile(list(range(100)), share) == value


def test_samples_become_rows_by_case_and_server() -> None:
    samples = SampleSet()
    for value in (1.0, 2.0, 3.0):
        samples.add("b", {"n": 1}, {"x": value})
        samples.add("a", {"n": 1}, {"x": value * 10})
        samples.add("a", {"n": 2}, {"x": value * 100})
    rows = samples.rows(["a", "b"])
    assert [(row.subject, row.case) for row in rows] == [("a", {"n": 1}), ("b", {"n": 1}), ("a", {"n": 2})]
    assert [row.values["x"].median for row in rows] == [20.0, 2.0, 200.0]


def test_a_failed_case_keeps_its_samples_and_its_reason() -> None:
    samples = SampleSet()
    samples.add("a", {"n": 1}, {"x": 1.0})
    assert not samples.has_failed("a", {"n": 1})
    samples.fail("a", {"n": 1}, "gone")
    samples.fail("b", {"n": 1}, "never there")
    assert samples.has_failed("a", {"n": 1})
    assert [(row.error, len(row.values)) for row in samples.rows(["a", "b"])] == [("gone", 1), ("never there", 0)]


def test_what_is_added_is_the_difference_round_by_round() -> None:
    samples = SampleSet()
    for base, mine in ((1.0, 11.0), (5.0, 16.0), (9.0, 29.0)):
        samples.add("base", {"n": 1}, {"x": base})
        samples.add("mine", {"n": 1}, {"x": mine})
    samples.add("mine", {"n": 2}, {"x": 1.0})
    samples.derive("base", {"added x": "x"}, operator.sub)
    by_case = {(row.subject, row.case["n"]): row.values for row in samples.rows(["base", "mine"])}
    assert by_case["mine", 1]["added x"] == spread_of([10.0, 11.0, 20.0])
    assert "added x" not in by_case["base", 1]
    assert "added x" not in by_case["mine", 2]


def test_the_setting_says_where_and_what() -> None:
    setting = setting_of("landline bench serve")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", setting.date)
    assert setting.cores >= 1
    assert {"python", "landline", "uvloop"} <= setting.versions.keys()
    assert setting.commit is None or re.fullmatch(r"[0-9a-f]{7,}( with changes in src)?", setting.commit)


def test_a_folder_outside_of_a_checkout_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None


def test_the_json_reads_back_as_the_same_report(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    report = small_report()
    deliver(report, Console(file=StringIO()), file, None)
    assert msgspec.json.decode(file.read_bytes(), type=Report) == report


def test_the_screen_has_the_table_its_method_and_what_it_does_not_show() -> None:
    output = StringIO()
    deliver(small_report(), Console(file=output, width=200), None, None)
    shown = output.getvalue()
    assert "commit abc1234" in shown
    assert "1.50 ±0.25" in shown
    assert "10,000" in shown
    assert "How it was measured." in shown
    assert "Not shown: the rest." in shown
    assert "hidden" not in shown


def test_an_error_is_shown_in_its_row_and_below() -> None:
    [table] = small_report().tables
    console = Console(file=StringIO(), width=200)
    with console.capture() as capture:
        console.print(screen_table(table))
    [line] = [line for line in capture.get().splitlines() if line.startswith("broken")]
    assert "error" in line
    assert "Error of broken, size 10000: it fell over" in notes_of(table)
    assert len(table.rows) == len(ROWS)


def test_progress_without_a_terminal_is_a_line_a_table() -> None:
    output = StringIO()
    with Progress(Console(file=output)) as progress:
        progress.begin("Turns", 2)
        progress.step("a")
        progress.step("b")
    assert output.getvalue() == "Turns: 2 samples\n"


def test_progress_at_a_terminal_names_the_sample() -> None:
    output = StringIO()
    with Progress(Console(file=output, force_terminal=True, width=80)) as progress:
        progress.begin("Turns", 2)
        progress.step("landline, history 10000")
    assert "Turns, sample 1 of 2: landline, history 10000" in output.getvalue()
