"""What a wheel and a source distribution must hold: checks that read the files, for `release/build_and_check.py`.

Each check returns what is wrong as sentences; none when all is well.
"""

import email
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
"""PEP 440, three numbers and an optional pre-release."""
_GENERATED_IN_SDIST = frozenset(("PKG-INFO",))


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel by its path."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_files(sdist: Path) -> set[str]:
    """The paths of a source distribution, below its one folder."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


def check_version(version: str, changelog: str, fragments: Iterable[str], tags: Iterable[str]) -> list[str]:
    """Whether this version can be released: well-formed, new, and with its changes gathered in the changelog."""
    wrong: list[str] = []
    if not VERSION.fullmatch(version):
        wrong.append(f"Expected a version such as 1.2.3 or 1.2.3rc1; `__version__` is {version!r}.")
    if f"v{version}" in tags:
        wrong.append(f"The tag v{version} exists already; raise `__version__`.")
    if not re.search(rf"^## {re.escape(version)} ", changelog, re.MULTILINE):
        wrong.append(f"CHANGELOG.md has no section for {version}; run `make changelog`.")
    if left := sorted(fragments):
        wrong.append(f"changes/ still holds {len(left)} entries, {left[0]} first; run `make changelog`.")
    return wrong


def check_sdist(sdist: Path, tracked: Iterable[str]) -> list[str]:
    """Whether the source distribution is what the repository tracks, all of it and nothing else."""
    return _compare("sdist", sdist_files(sdist) - _GENERATED_IN_SDIST, tracked)


def check_wheel(wheel: Path, version: str, tracked: Iterable[str], pyproject: str) -> list[str]:
    """Whether the wheel holds the package's tracked files and metadata that agrees with pyproject.toml."""
    files = wheel_files(wheel)
    info = f"landline-{version}.dist-info/"
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/landline/")}
    wrong = _compare("wheel", {name for name in files if not name.startswith(info)}, package)
    if f"{info}licenses/LICENSE" not in files:
        wrong.append("The wheel has no license file.")
    return wrong + _check_metadata(files.get(f"{info}METADATA", b""), version, pyproject)


def check_rebuilt(wheel: Path, rebuilt: Path) -> list[str]:
    """Whether the wheel that comes from the source distribution is the same, byte for byte."""
    first, second = wheel_files(wheel), wheel_files(rebuilt)
    different = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    return [f"Built from the sdist, the wheel differs in {', '.join(different)}."] if different else []


def _check_metadata(metadata: bytes, version: str, pyproject: str) -> list[str]:
    said = email.message_from_bytes(metadata)
    project = tomllib.loads(pyproject)["project"]
    expected = {
        "Name": project["name"],
        "Version": version,
        "Requires-Python": project["requires-python"],
        "License-Expression": project["license"],
    }
    wrong = [
        f"Expected {name} {value!r} in the wheel's metadata; it is {said[name]!r}."
        for name, value in expected.items()
        if said[name] != value
    ]
    needed = {_requirement(need) for need in project["dependencies"]}
    told = {_requirement(need) for need in said.get_all("Requires-Dist", [])}
    return wrong + [f"The requirement {need} is only in one of pyproject.toml and the wheel." for need in needed ^ told]


def _requirement(text: str) -> str:
    """A requirement in one spelling: no spaces or quotes, specifiers in order."""
    need, _, marker = re.sub(r"[\s'\"()]", "", text).partition(";")
    name, *specifiers = re.split(r"(?=[<>=!~])|,", need, maxsplit=1)
    return f"{name}{','.join(sorted(''.join(specifiers).split(',')))};{marker}"


def _compare(kind: str, found: set[str], expected: Iterable[str]) -> list[str]:
    wanted = set(expected)
    wrong = [f"The {kind} lacks {name}." for name in sorted(wanted - found)]
    return wrong + [f"The {kind} holds {name}, which is not tracked." for name in sorted(found - wanted)]
