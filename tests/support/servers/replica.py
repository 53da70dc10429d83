"""A replica of a model in a process of its own, which can be killed: it says in each answer what it was asked and by whom.

`python -m support.servers.replica --name a --port 0` prints its address, and `held` each time that it stops in the middle of an
answer, for good: to a message that ends in "hold a". The server is the strict one of `support.fakes.chat`.
"""

import argparse
import asyncio
import itertools
import json
import signal
import subprocess
import sys
import threading
from hashlib import sha256
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import msgspec

from support import TESTS_FOLDER
from support.fakes.chat import FakeChatServer
from support.fakes.scenario import Received, Scenario
from support.scripts.chat import Answer

_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


class Report(msgspec.Struct, frozen=True):
    """What a replica answers, as JSON."""

    replica: str
    number: int
    """Its so-manieth answer, so that no two answers are alike."""
    is_warm: bool
    """Whether it served the turn before, whose answer is in the conversation."""
    conversation: str
    """Names the texts that it was asked with."""
    session: str | None
    """The header that names the session to routers."""


def name_of(texts: list[str]) -> str:
    """Names a conversation by its texts, in order."""
    return sha256(json.dumps(texts).encode()).hexdigest()[:16]


class Replica:
    """The running process; a context manager. It can be killed and started again on its port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.base_url = ""
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it with no memory of anything; returns when it listens."""
        command = [sys.executable, "-m", __name__, "--name", self.name, "--port", str(self._port)]
        self._process = subprocess.Popen(command, cwd=TESTS_FOLDER, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base_url = self._process.stdout.readline().strip()
        self._port = urlsplit(self.base_url).port or 0

    def wait_until_held(self, count: int) -> None:
        """Blocks until so many answers have stopped in their middle."""
        assert self._process is not None
        assert self._process.stdout is not None
        for _ in range(count):
            assert self._process.stdout.readline() == "held\n"

    def kill(self) -> None:
        """Ends it as a crash would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    with FakeChatServer(options.port) as server:
        server.default = Scenario("*", _Reporter(options.name), releases=_Hold())
        print(server.base_url, flush=True)
        threading.Event().wait()


class _Hold(asyncio.Semaphore):
    """What a held answer waits for; nobody releases it."""

    def __init__(self) -> None:
        super().__init__(0)

    async def acquire(self) -> Literal[True]:
        print("held", flush=True)
        return await super().acquire()


class _Reporter:
    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._said: set[str] = set()

    def __call__(self, received: Received) -> Answer:
        answers = [_text(each) for each in received.messages if each["role"] == "assistant"]
        report = Report(
            replica=self._name,
            number=next(self._numbers),
            is_warm=bool(answers) and answers[-1] in self._said,
            conversation=name_of([_text(each) for each in received.messages]),
            session=received.headers.get("x-session-id"),
        )
        said = msgspec.json.encode(report).decode()
        self._said.add(said)
        is_held = _text(received.messages[-1]).endswith(f"hold {self._name}")
        return Answer(said, delta_chars=12, usage=_USAGE, pause_after=4 if is_held else None)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


if __name__ == "__main__":
    main()
