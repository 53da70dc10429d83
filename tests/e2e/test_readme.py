"""The scripts of the README, run as they stand in a shell by the real clients, against a server of the test's own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients.node import CLIENTS_FOLDER, NODE, require_node_clients
from support.fakes.chat import FakeChatServer
from support.readme import scripts
from support.scripts.chat import Answer
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

MODELS = ("smollm2-135m-instruct", "MODEL")
"""The names in the scripts; `MODEL` is for the reader to fill in."""
ANSWER = "Typed and answered."


@pytest.fixture(scope="module")
def server(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = f'[targets.fake]\ndialect = "chat_completions"\nbase_url = "{fake_chat.base_url}"\n'
    for model in MODELS:
        fake_chat.scenario(lambda received: Answer(ANSWER), model=model)
        config += f'[models."{model}"]\ntargets = ["fake"]\n'
    with RunningServer(config, tmp_path_factory.mktemp("readme")) as running:
        yield running


@pytest.mark.parametrize("script", scripts(), ids=lambda script: shlex.split(script)[0])
def test_a_script_of_the_readme_works_as_it_stands(script: str, server: RunningServer, tmp_path: Path) -> None:
    require_node_clients()
    folders = [Path(sys.executable).parent, CLIENTS_FOLDER / "node_modules" / ".bin", NODE.parent]
    pointed = re.sub(r"http://127\.0\.0\.1:8080/v1", server.base_url, script)
    assert pointed != script
    done = subprocess.run(
        ["sh", "-c", pointed],
        env={
            **os.environ,
            "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]]),
            "HOME": str(tmp_path),
            "CODEX_HOME": str(tmp_path),
        },
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ANSWER in done.stdout, f"{script}\n{done.stdout}\n{done.stderr}"
