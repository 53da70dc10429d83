"""The Python examples of the README and the guides: run as they stand by the real client, they end however a turn ends."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.servers.running import RunningServer

pytestmark = pytest.mark.client

ROOT = Path(__file__).parents[2]
TEXT = "Teal, said in full."
ENDINGS: dict[str, Sequence[object]] = {
    "completed": [{"type": "text", "text": TEXT}],
    "incomplete": [{"type": "text", "text": TEXT}, {"type": "finish", "incomplete_reason": "max_output_tokens"}],
    "failed": [{"type": "text", "text": TEXT}, {"type": "error", "code": "model_error", "message": "It broke."}],
    "error": [{"type": "error", "code": "rate_limit_exceeded", "message": "Slow down."}],
    "cut": [{"type": "text", "text": TEXT}, {"type": "cut"}],
}
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def example(page: str) -> str:
    """The one block of Python on the page that opens a line."""
    (block,) = [each for each in _PYTHON.findall((ROOT / page).read_text()) if ".connect(" in each]
    return block


def run(program: str, folder: Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(folder)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A scripted model for each way in which a turn ends, under its name."""
    folder = tmp_path_factory.mktemp("examples")
    config = ""
    for name, steps in ENDINGS.items():
        (folder / f"{name}.json").write_text(json.dumps([steps]))
        config += f'[targets.{name}]\ndialect = "scripted"\ntranscript = "{name}.json"\n'
        config += f'[models."{name}"]\ntargets = ["{name}"]\n'
    with RunningServer(config, folder) as running:
        yield running


def pointed_at(program: str, server: RunningServer, model: str) -> str:
    program = program.replace("http://127.0.0.1:8080/v1", server.base_url)
    return program.replace('"smollm2-135m-instruct"', json.dumps(model))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_readme_example_ends_however_its_turn_ends(ending: str, server: RunningServer, tmp_path: Path) -> None:
    done = run(pointed_at(example("README.md"), server, ending), tmp_path)
    if ending in ("completed", "incomplete"):
        assert (done.returncode, TEXT in done.stdout) == (0, True), done.stderr
    else:
        assert done.returncode == 1
        assert "RuntimeError" in done.stderr


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_steering_example_ends_however_its_turn_ends(ending: str, server: RunningServer, tmp_path: Path) -> None:
    setup = 'from openai import OpenAI\nclient = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none")\n'
    program = setup + 'model = "smollm2-135m-instruct"\n' + example("docs/steering.md")
    done = run(pointed_at(program, server, ending), tmp_path)
    assert done.returncode == (1 if ending == "error" else 0), done.stderr


def test_the_examples_switch_compression_on(server: RunningServer, tmp_path: Path) -> None:
    run(pointed_at(example("README.md"), server, "completed"), tmp_path)
    bare = example("README.md").replace('websocket_connection_options={"compression": "deflate"}', "")
    run(pointed_at(bare, server, "completed"), tmp_path)
    with urllib.request.urlopen(f"{server.base_url.removesuffix('/v1')}/monitor/state") as answer:
        rows = json.load(answer)["sessions"]["rows"]
    compression = {row["compression"] for row in rows}
    assert compression == {"deflate, 15-bit window", "none offered by the client"}
