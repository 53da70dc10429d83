"""The index that pip and uv ask when nobody configured one, as whichever of them is on this machine says."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

_INDEX_MODULE = "pip/_internal/models/index.py"
"""Where pip keeps the name, and the first of the indexes in it is the one that it asks."""
_INDEX = re.compile(r"""PackageIndex\(\s*["'](https://[^"']+)["']""")
_UV_DEFAULT = re.compile(r"by default[^<\n]{0,20}<?(https://[^\s>)]+/simple)")
_UV_TIMEOUT_S = 20.0


def default_index(environment: Mapping[str, str]) -> str | None:
    """The URL of its simple API; None if neither pip nor uv is anywhere to be found."""
    for source in _pip_sources():
        found = _INDEX.search(source)
        if found is not None:
            return found[1].rstrip("/") + "/simple"
    return _ask_uv(environment)


def _pip_sources() -> Iterator[str]:
    """The text of the module in each pip there is: installed here, for the interpreter that this environment was made
    from, or as the wheel that Python brings to install it."""
    spec = importlib.util.find_spec("pip")
    roots = [Path(spec.origin).parents[1]] if spec is not None and spec.origin is not None else []
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    roots += [Path(sysconfig.get_path(name, vars=base)) for name in ("purelib", "platlib")]
    roots.append(Path(sys.base_prefix) / "lib" / "python3" / "dist-packages")
    for root in roots:
        file = root / _INDEX_MODULE
        if file.is_file():
            yield file.read_text(encoding="utf-8", errors="replace")
    for folder in (*_bundles(), Path(sys.base_prefix) / "share" / "python-wheels"):
        for wheel in sorted(folder.glob("pip-*.whl")):
            try:
                with zipfile.ZipFile(wheel) as archive:
                    yield archive.read(_INDEX_MODULE).decode("utf-8", "replace")
            except (OSError, KeyError, zipfile.BadZipFile):
                continue


def _bundles() -> Iterator[Path]:
    spec = importlib.util.find_spec("ensurepip")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "_bundled"
    folder = sysconfig.get_config_var("WHEEL_PKG_DIR")
    if isinstance(folder, str) and folder:
        yield Path(folder)


def _ask_uv(environment: Mapping[str, str]) -> str | None:
    """uv tells in its help; it passes its own path on to what it runs."""
    program = environment.get("UV") or shutil.which("uv", path=environment.get("PATH"))
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, "pip", "install", "--help"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_UV_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _UV_DEFAULT.search(done.stdout)
    return found[1] if found is not None else None
