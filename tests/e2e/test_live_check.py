"""`landline check --live` with the real embedded model."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.engine.embedded_model import model_file

pytestmark = pytest.mark.model


def test_the_embedded_model_passes_every_check(tmp_path: Path) -> None:
    model_file()
    file = tmp_path / "landline.toml"
    file.write_text('[targets.e]\ndialect = "embedded"\nslots = 1\n[models."*"]\ntargets = ["e"]\n', encoding="utf-8")
    command = [sys.executable, "-m", "landline", "check", str(file), "--live", "--timeout", "120"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line for line in done.stderr.splitlines() if line.startswith("e:any, ")]
    assert len(verdicts) == 6
    assert all("✓" in line for line in verdicts), verdicts
