"""Builds the wheel and the source distribution into dist/, and checks both as a user would meet them.

Run it by `make dist`; `make release` runs it with `--release`, which also checks that this version may be released. Checks
stop at the first group that finds something. The build uses the pinned tools of this environment; each installation happens in
a fresh virtual environment in a temporary folder, with the newest dependencies that the metadata allows.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from distributions import check_rebuilt, check_sdist, check_version, check_wheel

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
SMOKE = Path(__file__).with_name("smoke.py")
ALLOWED_LICENSES = (
    "3-Clause BSD License",
    "Apache Software License",
    "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause",
    "Apache-2.0 AND MIT",
    "Apache-2.0 OR BSD-3-Clause",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC License (ISCL)",
    "MIT",
    "MIT AND PSF-2.0",
    "MIT License",
    "MIT OR Apache-2.0",
    "MIT-0",
    "MPL-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)",
    "PSF-2.0",
    "Python Software Foundation License",
)
"""Of what a user installs along with Landline, as the packages spell it: all may be used by Apache-2.0 software unchanged. A new
spelling stops the release until somebody has read that license."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="check as well that this version may be released")
    is_release = parser.parse_args().release
    version = read_version()
    if is_release:
        check_state(version)
    wheel, sdist = build(version)
    for artefact in (wheel, sdist):
        try_out(artefact, version)
    write_checksums([wheel, sdist])
    print(f"== Landline {version}: {wheel.name} and {sdist.name} are in dist/")


def read_version() -> str:
    return run([sys.executable, "-m", "hatchling", "version"]).strip()


def check_state(version: str) -> None:
    """Whether the repository is in a state to be released from."""
    print("== version and changelog")
    wrong = ["Expected a clean work tree; commit or stash first."] if run(["git", "status", "--porcelain"]) else []
    fragments = {each.name for each in (ROOT / "changes").glob("*.*.md")}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    stop_if(wrong + check_version(version, changelog, fragments, run(["git", "tag"]).split()))


def build(version: str) -> tuple[Path, Path]:
    """Both artefacts, checked against the repository and each other."""
    print("== building the wheel and the sdist")
    shutil.rmtree(DIST, ignore_errors=True)
    # Times in the archives are the commit's, so that the same commit gives the same bytes.
    os.environ["SOURCE_DATE_EPOCH"] = run(["git", "log", "-1", "--format=%ct"]).strip()
    run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(DIST), "--target", "sdist", "--target", "wheel"]
    )
    wheel, sdist = DIST / f"landline-{version}-py3-none-any.whl", DIST / f"landline-{version}.tar.gz"
    tracked = run(["git", "ls-files"]).splitlines()
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wrong = check_sdist(sdist, tracked) + check_wheel(wheel, version, tracked, pyproject)
    with tempfile.TemporaryDirectory() as folder:
        shutil.unpack_archive(sdist, folder, filter="data")
        source = Path(folder) / f"landline-{version}"
        run([sys.executable, "-m", "hatchling", "build", "--directory", folder, "--target", "wheel"], source)
        wrong += check_rebuilt(wheel, Path(folder) / wheel.name)
    stop_if(wrong)
    run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)])
    return wheel, sdist


def try_out(artefact: Path, version: str) -> None:
    """Installs an artefact in a fresh environment outside of the repository, and uses it."""
    print(f"== installing {artefact.name} in a clean environment")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(artefact)], folder)
        run([str(python), "-m", "pip", "--disable-pip-version-check", "check"], folder)
        said = run([str(python.with_name("landline")), "--version"], folder).strip()
        stop_if([] if said == f"landline {version}" else [f"Expected version {version}; the command says {said!r}."])
        check_licenses(python)
        (folder / "smoke").mkdir()
        run([str(python), str(SMOKE), str(folder / "smoke")], folder)


def check_licenses(python: Path) -> None:
    tool = [sys.executable, "-m", "piplicenses", "--python", str(python), "--from=mixed"]
    run([*tool, f"--allow-only={';'.join(ALLOWED_LICENSES)}"])


def write_checksums(artefacts: list[Path]) -> None:
    lines = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in artefacts]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def run(command: list[str], folder: Path = ROOT) -> str:
    """What a command prints. When it fails, shows all that it said and ends with its exit code."""
    # PYTHONPATH would let a clean environment see this repository.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        print(f"failed: {' '.join(command)}", file=sys.stderr)
        raise SystemExit(done.returncode)
    return done.stdout


def stop_if(wrong: list[str]) -> None:
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
