"""The three lines that `landline serve` prints to paste: each is run as it stands, in a shell, by the real client."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients.node import CLIENTS_FOLDER, NODE, require_node_clients
from support.fakes.chat import FakeChatServer
from support.scripts.chat import Answer
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

MODEL = "paste-me"
ANSWER = "Pasted and answered."


@pytest.fixture(scope="module")
def greeting(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All that a server printed before it was asked anything."""
    fake_chat.scenario(lambda received: Answer(ANSWER), model=MODEL)
    config = f"""
[targets.fake]
dialect = "chat_completions"
base_url = "{fake_chat.base_url}"
[models."{MODEL}"]
targets = ["fake"]
"""
    with RunningServer(config, tmp_path_factory.mktemp("greeting")) as server:
        server.wait_for_line("codex exec")
        yield server.log


@pytest.mark.parametrize("program", ["curl", "python", "codex"])
def test_each_line_to_paste_works(program: str, greeting: str, tmp_path: Path) -> None:
    require_node_clients()
    (command,) = [line.strip() for line in greeting.splitlines() if line.strip().startswith(f"{program} ")]
    folders = [Path(sys.executable).parent, CLIENTS_FOLDER / "node_modules" / ".bin", NODE.parent]
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PATH": path, "HOME": str(tmp_path), "CODEX_HOME": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ANSWER in done.stdout, f"{command}\n{done.stdout}\n{done.stderr}"
