"""What came of a comparison, as Markdown."""

from collections.abc import Sequence

import msgspec

from peers.adapters import Absent, Way
from peers.clients import one_line
from peers.probe import Finding, ways_to_time


class Probed(msgspec.Struct, frozen=True):
    """How one server did in the probe."""

    name: str
    version: str
    note: str
    findings: Sequence[Finding]


def probe_table(probed: Sequence[Probed], absent: Sequence[Absent]) -> list[str]:
    """A row for each server with how many cases passed in each way, then every failure with its error."""
    heads = ["server", "version", "how it runs here", *(way.value for way in Way)]
    lines = [_row(heads), _row(["---"] * len(heads))]
    lines += [_row([each.name, each.version, each.note, *(_tally(each, way) for way in Way)]) for each in probed]
    lines += [_row([each.name, "", f"not run: {one_line(each.reason)}", *([""] * len(Way))]) for each in absent]
    failures = [
        f"- **{each.name}**, {finding.way}: {finding.case}: `{_plain(finding.error)}`"
        for each in probed
        for finding in each.findings
        if finding.error
    ]
    return [*lines, "", *(failures or ["No case failed."])]


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


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
