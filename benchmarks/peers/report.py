"""What a comparison found, as one JSON file; and its tables in Markdown, each value with its quartiles."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from landline.bench.measures import UPSTREAM_ALONE
from landline.bench.results import CaseValue, Column, Row, Setting, Spread, Table
from peers.adapters import LANDLINE, Absent, Way
from peers.clients import one_line
from peers.probe import Finding, ways_to_time

RESULTS = Path(__file__).parent.parent / "results"
JSON_FILE = RESULTS / "peers.json"


class Probed(msgspec.Struct, frozen=True):
    """How one server did in the probe."""

    name: str
    version: str
    note: str
    findings: Sequence[Finding]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One run's whole result."""

    setting: Setting
    rounds: int
    seconds: float
    """Of the probe and the measures, without installing."""
    probed: Sequence[Probed]
    absent: Sequence[Absent]
    tables: Sequence[Table]


def write_comparison(comparison: Comparison) -> None:
    """Writes `peers.json` and `peers.md` into the folder of results."""
    JSON_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(comparison), indent=1) + b"\n")
    (RESULTS / "peers.md").write_text("\n".join(describe(comparison)) + "\n")


def read_comparison() -> Comparison:
    """The last one that was written."""
    return msgspec.json.decode(JSON_FILE.read_bytes(), type=Comparison)


def describe(comparison: Comparison) -> list[str]:
    """The whole as Markdown."""
    lines = [
        "# Servers of the Responses API side by side",
        "",
        "`make peers`. Made from `peers.json`; do not edit.",
        "",
    ]
    lines += [*describe_setting(comparison), "", "## What works", ""]
    lines += probe_table(comparison.probed, comparison.absent)
    for table in comparison.tables:
        lines += ["", f"## {table.title}", "", table.method, "", f"Not shown: {table.does_not_show}"]
        for column in shown_columns(table):
            lines += ["", f"### {column.title}", "", *value_table(table, column)]
        errors = [row for row in table.rows if row.error]
        lines += [""] * bool(errors)
        lines += [f"- **{row.subject}**, {name_case(row.case)}: `{_plain(row.error or '')}`" for row in errors]
    return lines


def describe_setting(comparison: Comparison) -> list[str]:
    setting = comparison.setting
    load = ", ".join(f"{each:.1f}" for each in setting.load)
    lines = [
        f"- {setting.date[:10]}, commit {setting.commit}",
        f"- {setting.machine}, {setting.cores} cores; {setting.system}; load averages at the start {load}",
        f"- {', '.join(f'{name} {number}' for name, number in setting.versions.items())}",
        f"- rounds: {comparison.rounds}, in {comparison.seconds / 60:.0f} minutes; medians with first and third quartile",
    ]
    if setting.load[0] > setting.cores / 2:
        lines.append(
            "- **the machine was busy with other work**: only `make peers` on an idle one gives figures to rely on"
        )
    return lines


def probe_table(probed: Sequence[Probed], absent: Sequence[Absent]) -> list[str]:
    """A row for each server with how many cases passed in each way, then every failure with its error."""
    heads = ["server", "version", "how it runs here", *(way.value for way in Way)]
    rows = [[each.name, each.version, each.note, *(_tally(each, way) for way in Way)] for each in probed]
    rows += [[each.name, "", f"not run: {one_line(each.reason)}", *([""] * len(Way))] for each in absent]
    failures = [
        f"- **{each.name}**, {finding.way}: {finding.case}: `{_plain(finding.error)}`"
        for each in probed
        for finding in each.findings
        if finding.error
    ]
    return [*markdown_table(heads, rows), "", *(failures or ["No case failed."])]


def value_table(table: Table, column: Column, servers: Sequence[str] | None = None) -> list[str]:
    """A row for each case, a column for each server: median (first to third quartile); the best of the servers is bold."""
    names = servers or list(dict.fromkeys(row.subject for row in table.rows))
    rows = [
        [_show(value) for value in case] + [_cell(by_server.get(name), column, by_server) for name in names]
        for case, by_server in cases_of(table).items()
        if any(column.name in row.values for row in by_server.values())
    ]
    return markdown_table([*table.case_columns, *names], rows)


def cases_of(table: Table) -> Mapping[tuple[CaseValue, ...], Mapping[str, Row]]:
    """The rows by case and server, in order."""
    cases: dict[tuple[CaseValue, ...], dict[str, Row]] = {}
    for row in table.rows:
        cases.setdefault(tuple(row.case.values()), {})[row.subject] = row
    return cases


def shown_columns(table: Table) -> list[Column]:
    """Columns of which there is something to show; not the load generator's own."""
    return [
        column
        for column in table.columns
        if column.is_shown and column.name != "generator" and any(column.name in row.values for row in table.rows)
    ]


def is_better_low(column: Column) -> bool:
    """Whether less of it is better: of everything that is no rate."""
    return column.unit != "1/s"


def best(rows: Iterable[Row], column: Column) -> str:
    """The server with the best median of a case, the upstream alone left out; empty when there is none."""
    found = [row for row in rows if column.name in row.values and row.subject != UPSTREAM_ALONE]
    found.sort(key=lambda row: row.values[column.name].median, reverse=not is_better_low(column))
    return found[0].subject if found else ""


class Standing(msgspec.Struct, frozen=True):
    """Where Landline stands in one case of one column, against the best of the others."""

    table: str
    column: str
    case: str
    rival: str
    factor: float
    """How many times as good as the rival it is: above 1 it is ahead."""


def standings(tables: Sequence[Table]) -> list[Standing]:
    """For every case in which Landline and another were measured."""
    found: list[Standing] = []
    for table in tables:
        for column in shown_columns(table):
            if column.name.startswith(_WHOLE_JOURNEY):
                continue
            for by_server in cases_of(table).values():
                others = [row for name, row in by_server.items() if name != LANDLINE.name]
                rival = best(others, column)
                own = by_server.get(LANDLINE.name)
                if rival and own is not None and column.name in own.values:
                    mine, theirs = (each.values[column.name].median for each in (own, by_server[rival]))
                    factor = _factor(mine, theirs, column)
                    if factor is not None:
                        found.append(Standing(table.title, column.title, name_case(own.case), rival, factor))
    return found


_WHOLE_JOURNEY = "journey"
"""Columns that hold the upstream's part, too: what a server adds to it has columns of its own."""


def _factor(mine: float, theirs: float, column: Column) -> float | None:
    """None where one is not above 0, as what is added to almost nothing may come out: no factor tells them apart."""
    if mine <= 0 or theirs <= 0:
        return None
    return theirs / mine if is_better_low(column) else mine / theirs


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def name_case(case: Mapping[str, CaseValue]) -> str:
    return ", ".join(f"{name} {_show(value)}" for name, value in case.items())


def _cell(row: Row | None, column: Column, by_server: Mapping[str, Row]) -> str:
    if row is None:
        return ""
    if column.name not in row.values:
        return "error" if row.error else ""
    value = _spread(row.values[column.name], column.digits)
    return f"**{value}**" if best(by_server.values(), column) == row.subject else value


def _spread(spread: Spread, digits: int) -> str:
    middle = f"{spread.median:,.{digits}f}"
    if spread.samples < 2:
        return middle
    return f"{middle} ({spread.first_quartile:,.{digits}f} to {spread.third_quartile:,.{digits}f})"


def _show(value: CaseValue) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _tally(probed: Probed, way: Way) -> str:
    findings = [finding for finding in probed.findings if finding.way is way]
    if not findings:
        return "not claimed"
    passed = sum(not finding.error for finding in findings)
    timed = "" if way in ways_to_time(probed.findings) else ", not timed"
    return f"{passed} of {len(findings)}{timed}"


def _plain(text: str) -> str:
    """The text as it can stand between backticks."""
    return text.replace("`", "'")
