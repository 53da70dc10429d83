"""Programs that tests need and no Python package holds."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def find_or_install(look: Callable[[], T | None], package: str, *options: str) -> T | None:
    """What `look` finds. If that is nothing, the package is installed, where this is a throw-away machine and we are root.

    Test processes that need it at the same time wait for the one that installs.
    """
    found = look()
    if found is not None or os.geteuid() != 0 or not shutil.which("apt-get"):
        return found
    with Path(tempfile.gettempdir(), "landline-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (found := look()) is not None:
            return found
        print(f"installing {package}: apt-get install -y {package}")
        for step in (["update", "-q"], ["install", "-y", "-q", *options, package]):
            subprocess.run(["apt-get", *step], check=False, stdout=subprocess.DEVNULL)
    return look()
