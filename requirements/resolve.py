"""Writes `run.txt`, `dev.txt`, `build.txt` and `release.txt`: every package that pyproject.toml needs, directly or not, at one
exact version. `aiperf.txt` is the same for the AIPerf transport, which has an environment of its own.

Run it by `make requirements`, in an environment with a current pip. Nothing is installed: pip only resolves and reports.
The files name no index, so they install from whatever registry pip is set up with.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "requirements"


def main() -> None:
    """Resolves everything together, then writes the parts: `dev` and `release` add to `run`, `build` stands alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run_needs: list[str] = project["project"]["dependencies"]
    dev_needs: list[str] = project["dependency-groups"]["dev"]
    release_needs: list[str] = project["dependency-groups"]["release"]
    build_needs: list[str] = project["build-system"]["requires"]
    everything = resolve([*run_needs, *dev_needs, *build_needs, *release_needs], {})
    run = resolve(run_needs, everything)
    dev = without(resolve([*run_needs, *dev_needs], everything), run)
    write("run.txt", "What Landline needs to run", run, markers(run_needs))
    write("dev.txt", "What its tests and checks need besides", dev, markers(dev_needs), first="-r run.txt")
    release = without(resolve([*run_needs, *release_needs], everything), run)
    write("release.txt", "What checks and announces a release besides", release, {}, first="-r run.txt")
    write("build.txt", "What builds the package", resolve(build_needs, everything), {})
    transport = tomllib.loads((ROOT / "aiperf-responses-websocket" / "pyproject.toml").read_text())
    transport_needs: list[str] = [*transport["project"]["dependencies"], *transport["dependency-groups"]["dev"]]
    aiperf = resolve([*transport_needs, *transport["build-system"]["requires"]], {})
    write("aiperf.txt", "What the AIPerf transport and its tests need, in an environment of their own", aiperf, {})


def resolve(needs: list[str], constraints: dict[str, str]) -> dict[str, str]:
    """Every package of the resolution as name → version, sorted by name; `constraints` are exact versions to keep to."""
    print(f"resolving {len(needs)} requirements …", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        report, pinned = Path(folder) / "report.json", Path(folder) / "constraints.txt"
        pinned.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--constraint", str(pinned), "--report", str(report), *needs], check=True)
        packages = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return dict(sorted((package["name"].lower().replace("_", "-"), package["version"]) for package in packages))


def without(versions: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    return {name: version for name, version in versions.items() if name not in others}


def markers(needs: list[str]) -> dict[str, str]:
    """The environment markers of direct requirements by package name: `uvloop>=0.22; sys_platform != 'win32'`."""
    found: dict[str, str] = {}
    for need in needs:
        requirement, _, marker = need.partition(";")
        if marker:
            found[requirement.split(">")[0].split("=")[0].split("[")[0].strip()] = marker.strip()
    return found


def write(name: str, what: str, versions: dict[str, str], marked: dict[str, str], first: str = "") -> None:
    lines = [f"# {what}. Made by `make requirements`; do not edit."]
    if first:
        lines.append(first)
    for package, version in versions.items():
        marker = f" ; {marked[package]}" if package in marked else ""
        lines.append(f"{package}=={version}{marker}")
    (HERE / name).write_text("\n".join(lines) + "\n")
    print(f"{name}: {len(versions)} packages", file=sys.stderr)


if __name__ == "__main__":
    main()
