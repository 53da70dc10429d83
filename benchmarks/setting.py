"""Where and with what a benchmark ran: part of every result."""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
RESULTS_FOLDER = Path(__file__).parent / "results"


def describe_setting(*packages: str) -> list[str]:
    """Lines of Markdown: date, commit, machine, versions of Python and the named packages, load at the end of the run."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return [
        f"- {date.today().isoformat()}, commit {_commit()}",
        f"- {_processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}; load averages {load}",
        f"- Python {platform.python_version()}, {versions}",
    ]


def write_result(name: str, lines: list[str]) -> None:
    """Prints a result and keeps it in `benchmarks/results/NAME.md`."""
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS_FOLDER.mkdir(exist_ok=True)
    (RESULTS_FOLDER / f"{name}.md").write_text(text)


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    return f"{commit} with changes in src" if _git("status", "--porcelain", "--", "src") else commit


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    lines = path.read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
