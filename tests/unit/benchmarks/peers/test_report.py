"""The tables of a comparison."""

from peers.adapters import Absent, Way
from peers.probe import Finding
from peers.report import Probed, probe_table


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
        "- **Other**, socket, unstored: forgets: `404 | 'no'`",
        "- **Other**, HTTP, full history: streams: `500`",
    ]


def test_probe_table_says_when_nothing_failed() -> None:
    lines = probe_table([Probed("Other", "1.2", "", [Finding(Way.SOCKET, "streams", "", True)])], [])
    assert lines[-1] == "No case failed."
