"""`landline bench serve`: its options, and small real runs whose structure is checked, never their times."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landline.bench.measures import FULL_EFFORT, QUICK_EFFORT
from landline.bench.serve import MEASURES, Rival, effort_of, parse_rival
from landline.cli import app
from landline.cli.bench import MeasureName

LANDLINE = str(Path(sys.executable).parent / "landline")
_TIMEOUT_S = 280


@pytest.mark.parametrize(
    ("text", "rival"),
    [
        ("a=http://host:1/v1", Rival(name="a", base_url="http://host:1/v1")),
        ("a=http://host:1/v1/,pid=12", Rival(name="a", base_url="http://host:1/v1", pid=12)),
        ("a=https://h/v1,http,model=x=y", Rival(name="a", base_url="https://h/v1", model="x=y", has_sockets=False)),
    ],
)
def test_a_rival_is_read(text: str, rival: Rival) -> None:
    assert parse_rival(text) == rival


@pytest.mark.parametrize(
    "text", ["", "a", "a=host", "=http://host", "a=http://h,pid=x", "a=http://h,model=", "a=http://h,b"]
)
def test_what_is_no_rival_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_rival(text)


def test_a_rival_cannot_have_the_name_of_another_row() -> None:
    with pytest.raises(ValueError, match="another server's name"):
        parse_rival("landline=http://host/v1")


def test_options_replace_parts_of_the_effort() -> None:
    assert effort_of(quick=False, rounds=None, lines=None, idle_s=None) == FULL_EFFORT
    effort = effort_of(quick=True, rounds=9, lines=5, idle_s=0.5)
    assert (effort.rounds, effort.lines, effort.idle_s, effort.streams) == (9, 5, 0.5, QUICK_EFFORT.streams)


def test_the_command_offers_every_measure() -> None:
    assert {each.value for each in MeasureName} == MEASURES.keys()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--pid", "1"], "--server"),
        (["--against", "x"], "NAME=URL"),
        (["--plot", "x.pdf"], ".svg"),
        (["--json", "nowhere/x.json"], "folder"),
        (["--only", "dreams"], "dreams"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_measured(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["bench", "serve", *arguments])
    assert result.exit_code == 2
    assert reason in result.output


def _measured(folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON of a run that ended well."""
    file = folder / "result.json"
    done = subprocess.run(
        [LANDLINE, "bench", "serve", "--quick", "--json", str(file), *arguments],
        env=os.environ | {"LANDLINE_DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Not shown:" in done.stdout
    return json.loads(file.read_bytes())


def test_a_run_measures_the_upstream_landline_and_a_rival(tmp_path: Path) -> None:
    """The rival has nothing behind its address: its rows say so, and the others are whole."""
    plot = tmp_path / "plot.svg"
    rival = "gone=http://127.0.0.1:9/v1"
    measures = ("--only", "burst", "--only", "lines", "--lines", "5", "--rounds", "1")
    report = _measured(tmp_path, *measures, "--against", rival, "--plot", str(plot))
    assert [table["name"] for table in report["tables"]] == ["burst", "lines"]
    assert report["servers"].keys() == {"upstream alone", "landline", "gone"}
    assert "<svg" in plot.read_text()
    for table in report["tables"]:
        names = {column["name"] for column in table["columns"]}
        for row in table["rows"]:
            assert row["case"].keys() == set(table["case_columns"])
            assert row["values"].keys() <= names
            assert (row["error"] is None) == (row["subject"] != "gone"), row
            assert bool(row["values"]) == (row["subject"] != "gone")


def test_what_a_row_holds_of_landline(tmp_path: Path) -> None:
    report = _measured(tmp_path, "--only", "turns", "--only", "paced", "--rounds", "2", "--upstream-api", "socket")
    turns, paced = ([row for row in table["rows"] if row["subject"] == "landline"] for table in report["tables"])
    assert len(turns) == 4 * len(QUICK_EFFORT.histories)
    assert all(row["values"].keys() == {"turn", "CPU", "generator"} for row in turns)
    assert [row["case"]["streams"] for row in paced] == list(QUICK_EFFORT.streams)
    assert all({"first delta", "added p50", "added p99", "CPU"} <= row["values"].keys() for row in paced)
    assert all(spread["samples"] == 2 for row in (*turns, *paced) for spread in row["values"].values())


def test_a_server_without_a_known_process_has_no_cpu(tmp_path: Path) -> None:
    with subprocess.Popen(
        [LANDLINE, "bench", "upstream", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as upstream:
        assert upstream.stdout is not None
        url = upstream.stdout.readline().split()[-1]
        try:
            report = _measured(tmp_path, "--only", "turns", "--rounds", "1", "--server", url)
        finally:
            upstream.terminate()
    [table] = report["tables"]
    assert {row["subject"] for row in table["rows"]} == {"server"}
    assert all(row["values"].keys() == {"turn", "generator"} for row in table["rows"])
