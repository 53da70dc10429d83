"""The model's process with the real model: start, death, restart, and an end in every case."""

import asyncio
import itertools
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from landline.engine.catalog import ModelFile, resolve_model
from landline.engine.child import ChildFailedError, ModelChild, backoff_s
from landline.engine.gguf import GgufHead
from landline.engine.settings import EngineSettings
from support.engine.embedded_model import model_file
from support.engine.gguf_files import write_gguf

pytestmark = pytest.mark.model

SMALL = EngineSettings(slots=1, context_per_slot=512)
DEADLINE_S = 60.0


@pytest.fixture
async def child() -> AsyncIterator[ModelChild]:
    child = ModelChild(model_file(), SMALL)
    await child.start()
    yield child
    await child.stop()


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), DEADLINE_S)


def port_of(child: ModelChild) -> int:
    return int(child.base_url.rsplit(":", 1)[1])


async def test_a_started_child_serves_until_it_is_stopped(child: ModelChild) -> None:
    reader, writer = await connect(port_of(child))
    assert child.is_ready
    slot_dir = child.slot_dir
    assert slot_dir is not None
    assert slot_dir.is_dir()
    await child.stop()
    assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    writer.close()
    assert not child.is_ready
    assert not slot_dir.exists()
    await child.stop()


async def test_the_child_answers_only_those_who_have_its_key(child: ModelChild) -> None:
    reader, writer = await connect(port_of(child))
    writer.write(b"GET /slots HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), DEADLINE_S)).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_killed_child_is_reported_and_replaced(child: ModelChild) -> None:
    deaths: list[int] = []
    child.on_death = lambda: deaths.append(child.starts)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await child.wait_death(1, DEADLINE_S)
    await asyncio.sleep(0)
    assert await child.wait_ready(DEADLINE_S)
    assert await child.wait_ready(0)
    assert deaths == [1]
    assert child.starts == 2
    assert child.pid != first
    reader, writer = await connect(port_of(child))
    assert not reader.at_eof()
    writer.close()


async def test_no_wait_is_enough_for_a_child_that_serves(child: ModelChild) -> None:
    assert await child.wait_ready(0.0)


def test_restarts_back_off_to_a_limit_however_often_they_fail() -> None:
    waits = [backoff_s(failures) for failures in range(12)]
    assert waits[0] == 0.25
    assert waits == sorted(waits)
    assert waits[-1] == backoff_s(1_100) == backoff_s(10**6) == 30.0
    assert all(after <= 2 * before for before, after in itertools.pairwise(waits))


async def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, pathlib, sys\n"
        "from landline.engine.catalog import resolve_model\n"
        "from landline.engine.child import ModelChild\n"
        "from landline.engine.settings import EngineSettings\n"
        "async def main():\n"
        "    child = ModelChild(resolve_model(sys.argv[1]), EngineSettings(slots=1, context_per_slot=512))\n"
        "    await child.start()\n"
        "    print(child.base_url.rsplit(':', 1)[1], child.slot_dir, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        model_file().path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while not (words := (await parent.stdout.readline()).split()) or not words[0].isdigit():
            pass  # log lines come first
        reader, writer = await connect(int(words[0]))
        parent.kill()
        assert await reader.read() == b""  # the child is gone: its end of the connection is closed
        await parent.wait()
    writer.close()
    assert not os.path.exists(words[1])  # noqa: ASYNC240


async def test_a_file_that_llama_cpp_refuses_fails_with_its_last_words(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "empty.gguf", {"general.architecture": "no-such-architecture"})
    child = ModelChild(resolve_model(str(path)), EngineSettings(slots=1))
    with pytest.raises(ChildFailedError, match="no-such-architecture"):
        await child.start()
    assert child.slot_dir is None
    await child.stop()


@pytest.fixture
def endless(tmp_path: Path) -> ModelFile:
    """A model file whose loading never ends: a pipe that nobody writes to."""
    path = tmp_path / "endless.gguf"
    os.mkfifo(path)
    return ModelFile("endless", str(path), GgufHead("llama", None, None, None))


async def test_a_child_that_takes_too_long_is_ended(endless: ModelFile) -> None:
    child = ModelChild(endless, msgspec.structs.replace(SMALL, start_timeout_s=0.5))
    with pytest.raises(ChildFailedError, match=r"did not load within 0\.5 s"):
        await child.start()
    assert_gone(child)
    await child.stop()


async def test_a_start_that_is_cancelled_leaves_no_process(endless: ModelFile) -> None:
    child = ModelChild(endless, SMALL)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.start(), 0.5)
    assert_gone(child)


def assert_gone(child: ModelChild) -> None:
    assert child.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


@pytest.mark.parametrize(("wanted", "given"), [(100_000, 8192), (1024, 1024)])
def test_the_context_is_never_more_than_the_model_was_trained_for(wanted: int, given: int) -> None:
    assert ModelChild(model_file(), EngineSettings(context_per_slot=wanted)).context_per_slot == given


async def test_saved_slot_is_for_this_user_only(child: ModelChild) -> None:
    headers = {"authorization": f"Bearer {child.api_key}"}
    async with aiohttp.ClientSession(child.base_url, headers=headers) as client:
        async with client.post("/completion", json={"prompt": "Once", "n_predict": 1, "id_slot": 0}) as answer:
            assert answer.status == 200, await answer.text()
        async with client.post("/slots/0?action=save", json={"filename": "kept"}) as answer:
            assert answer.status == 200, await answer.text()
    assert child.slot_dir is not None
    assert stat.S_IMODE(child.slot_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((child.slot_dir / "kept").stat().st_mode) == 0o600
