"""A report as a run would make it, with round figures."""

from landline.bench.results import Column, Report, Row, Setting, Spread, Table

ROWS = [
    Row(
        subject="landline",
        case={"size": 10_000},
        values={"time": Spread(1.5, 1.25, 1.75, 3), "hidden": Spread(1, 1, 1, 1)},
    ),
    Row(subject="broken", case={"size": 10_000}, values={}, error="it fell over"),
    Row(subject="landline", case={"size": 100_000}, values={"time": Spread(2.5, 2.5, 2.5, 1)}),
]


def small_report(*, rows: list[Row] = ROWS) -> Report:
    """One table of one plotted column."""
    setting = Setting(
        date="2026-01-02T03:04:05+00:00",
        commit="abc1234",
        machine="a processor",
        cores=2,
        system="Linux 6",
        load=[0.1, 0.2, 0.3],
        versions={"python": "3.11"},
        command="landline bench serve",
    )
    table = Table(
        name="turns",
        title="Turn time",
        method="How it was measured.",
        does_not_show="the rest.",
        case_columns=["size"],
        columns=[Column("time", "ms"), Column("hidden", is_shown=False)],
        rows=rows,
        plotted=["time"],
    )
    return Report(
        benchmark="serve", setting=setting, rounds=3, servers={"landline": "started"}, tables=[table], seconds=1
    )
