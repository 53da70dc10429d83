"""What a benchmark found: medians with their quartiles, tables of them, and where and when it ran."""

import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

_PACKAGES = ("landline", "uvicorn", "uvloop", "aiohttp", "msgspec", "websockets")
CaseValue = str | int


class Spread(msgspec.Struct, frozen=True):
    """The middle of some samples, and how far apart they are."""

    median: float
    first_quartile: float
    third_quartile: float
    samples: int


def spread_of(samples: Sequence[float]) -> Spread:
    """Of at least one sample; quartiles include the ends (`statistics.quantiles`, inclusive)."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], 1)
    first, middle, third = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(middle, first, third, len(samples))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of ordered samples lies; the nearest one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Column(msgspec.Struct, frozen=True):
    """A value of each row."""

    name: str
    unit: str = ""
    digits: int = 2
    is_shown: bool = True
    """False: it is in the JSON alone."""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One server, or one transport to it, in one case."""

    subject: str
    case: dict[str, CaseValue]
    values: dict[str, Spread]
    """By the column's name; what could not be measured is left out."""
    error: str | None = None
    """Why there are no values, or no more than these."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One question's answers."""

    name: str
    title: str
    method: str
    """How it was measured, in a sentence or two."""
    does_not_show: str
    subject_column: str = "server"
    """What the subjects of the rows are."""
    case_columns: list[str]
    columns: list[Column]
    rows: list[Row]
    plotted: list[str] = []
    """Columns that are drawn, over the last case column."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Where, when and of what a result is."""

    date: str
    """UTC, ISO 8601."""
    commit: str | None
    """Of the checkout that runs; None for an installed package."""
    machine: str
    cores: int
    system: str
    load: list[float]
    """Averages of 1, 5 and 15 minutes when the run began: more than a little means that others were measured, too."""
    versions: dict[str, str]
    command: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run's whole result, as `--json` writes it."""

    benchmark: str
    setting: Setting
    rounds: int
    servers: dict[str, str]
    """What was measured: by name, where it answers and how it was started."""
    tables: list[Table]
    seconds: float
    """The whole run's."""


class SampleSet:
    """Collects a table's samples round by round."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, tuple[tuple[str, CaseValue], ...]], dict[str, list[float]]] = {}
        self._errors: dict[tuple[str, tuple[tuple[str, CaseValue], ...]], str] = {}

    def add(self, subject: str, case: Mapping[str, CaseValue], values: Mapping[str, float]) -> None:
        kept = self._samples.setdefault((subject, tuple(case.items())), {})
        for name, value in values.items():
            kept.setdefault(name, []).append(value)

    def fail(self, subject: str, case: Mapping[str, CaseValue], reason: str) -> None:
        self._samples.setdefault((subject, tuple(case.items())), {})
        self._errors[subject, tuple(case.items())] = reason

    def has_failed(self, subject: str, case: Mapping[str, CaseValue]) -> bool:
        return (subject, tuple(case.items())) in self._errors

    def derive(self, base: str, columns: Mapping[str, str], combine: Callable[[float, float], float]) -> None:
        """Gives each row new columns: each sample combined with the base's in the same case and round.

        `columns` maps a new name to the one that it is made of; a round that one of the two lacks is left out.
        """
        for (subject, case), kept in self._samples.items():
            of_base = self._samples.get((base, case), {})
            if subject == base:
                continue
            for name, source in columns.items():
                pairs = list(zip(kept.get(source, ()), of_base.get(source, ()), strict=False))
                if pairs:
                    kept[name] = [combine(mine, theirs) for mine, theirs in pairs]

    def rows(self, subjects: Sequence[str]) -> list[Row]:
        """Case by case in the order of their first samples, and within a case in this order."""
        cases = list(dict.fromkeys(case for _, case in self._samples))
        return [
            Row(
                subject=subject,
                case=dict(case),
                values={name: spread_of(values) for name, values in self._samples[subject, case].items()},
                error=self._errors.get((subject, case)),
            )
            for case in cases
            for subject in subjects
            if (subject, case) in self._samples
        ]


def setting_of(command: str) -> Setting:
    """This machine, now."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Setting(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_of(Path(__file__).parent),
        machine=processor(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
        load=[round(each, 1) for each in os.getloadavg()],
        versions=versions,
        command=command,
    )


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")


def commit_of(folder: Path) -> str | None:
    """The short hash of the commit that is checked out, and whether `src` differs from it."""
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if not (Path(top) / "src" / "landline").is_dir():
            return None  # a package installed somewhere below another project
        commit = _git(folder, "rev-parse", "--short", "HEAD")
        return f"{commit} with changes in src" if _git(Path(top), "status", "--porcelain", "--", "src") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
