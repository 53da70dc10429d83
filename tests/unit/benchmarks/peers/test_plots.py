"""The plots of a comparison."""

from pathlib import Path

from landline.bench.results import Column, Row, Setting, Spread, Table
from peers.plots import write_plots
from peers.report import Comparison


def _table(name: str, *rows: Row) -> Table:
    return Table(
        name=name,
        title=f"Title of {name}",
        method="",
        does_not_show="",
        case_columns=["history"],
        columns=[Column("turn", "ms"), Column("other", "ms")],
        rows=list(rows),
        plotted=["turn"],
    )


def _row(server: str, history: int, median: float, error: str | None = None) -> Row:
    values = {} if error else {"turn": Spread(median, median * 0.9, median * 1.1, 5), "other": Spread(1, 1, 1, 5)}
    return Row(subject=server, case={"history": history}, values=values, error=error)


COMPARISON = Comparison(
    setting=Setting(
        date="2026-11-30T10:00:00+00:00",
        commit="abc",
        machine="a machine",
        cores=2,
        system="Linux",
        load=[0, 0, 0],
        versions={},
        command="",
    ),
    rounds=5,
    seconds=1,
    probed=[],
    absent=[],
    tables=[
        _table("turns: socket", _row("Landline", 10_000, 2), _row("Landline", 4_000_000, 5), _row("New", 10_000, 3)),
        _table("turns: HTTP, chained", _row("New", 10_000, 0), _row("Landline", 10_000, 1, error="no")),
        _table("lines"),
    ],
)


def test_tables_of_one_measure_are_panels_of_one_file(tmp_path: Path) -> None:
    write_plots(COMPARISON, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["peers_turns.svg"]
    text = (tmp_path / "peers_turns.svg").read_text()
    for shown in ("Title of turns: socket", "Landline", "New", "10 k", "4 M", "turn (ms)", "commit abc"):
        assert shown in text
    assert "other (ms)" not in text


def test_same_numbers_make_the_same_file(tmp_path: Path) -> None:
    files: list[str] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_plots(COMPARISON, tmp_path / name)
        files.append((tmp_path / name / "peers_turns.svg").read_text())
    assert files[0] == files[1]
