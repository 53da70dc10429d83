"""A scenario of a scripted model server: what it answers under one model name, and what it was asked."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.scripts.chat import Step

WAIT_S = 20.0
"""How long a test waits for something that must happen."""


@dataclass
class Received:
    """One request and what became of it."""

    body: dict[str, Any]
    headers: dict[str, str]
    reply: dict[str, Any] | None = None
    """The assistant message it was answered with."""
    refused: str | None = None
    """Why the strict server answered 400."""
    was_aborted: bool = False
    """The client went away before the answer was complete."""
    usage: dict[str, Any] | None = None
    """What the server counted."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]


@dataclass
class Scenario:
    """The answers for one model name, and what was asked."""

    model: str
    steps: Sequence[Step] | Callable[[Received], Step]
    """In the order of the requests, or chosen by the request."""
    received: list[Received] = field(default_factory=list[Received])
    changed: threading.Condition = field(default_factory=threading.Condition)
    loop: asyncio.AbstractEventLoop | None = None
    """The server's loop, where `releases` lives."""
    releases: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    continues: "Callable[[Received, Received], None] | None" = None
    """How a dialect's requests continue each other, where they have no `messages`."""

    def release(self) -> None:
        """Lets one answer that paused (or will pause) go on."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.releases.release)

    def wait_for_requests(self, count: int) -> list[Received]:
        """Blocks until so many requests have come; the test fails after WAIT_S."""
        return self._wait(lambda: len(self.received) >= count, f"{count} requests")

    def wait_for_abort(self) -> Received:
        """Blocks until a client goes away in mid-answer; returns that request."""
        self._wait(lambda: any(each.was_aborted for each in self.received), "an aborted request")
        return next(each for each in self.received if each.was_aborted)

    def assert_conversation(self) -> None:
        """The model saw exactly the conversation: nothing refused, and each turn is the one before, its answer, more."""
        assert [each.refused for each in self.received if each.refused] == []
        for earlier, later in itertools.pairwise(self.received):
            (self.continues or assert_continues)(earlier, later)

    def _wait(self, is_reached: Callable[[], bool], what: str) -> list[Received]:
        with self.changed:
            assert self.changed.wait_for(is_reached, WAIT_S), f"waited for {what}, got {len(self.received)} requests"
        return self.received

    def change(self, change: Callable[[], object]) -> None:
        with self.changed:
            change()
            self.changed.notify_all()


def assert_continues(earlier: Received, later: Received) -> None:
    """The later request repeats the earlier one's messages unchanged, then its answer, then at least one new message."""
    length = len(earlier.messages)
    assert later.messages[:length] == earlier.messages, "the history of the turn before was changed"
    assert earlier.reply is not None
    assert len(later.messages) > length + 1, "nothing new after the answer"
    answer = later.messages[length]
    assert answer["role"] == "assistant"
    assert _plain_text(answer.get("content")) == (earlier.reply["content"] or "")
    assert answer.get("tool_calls", []) == earlier.reply.get("tool_calls", [])
    assert later.messages[length + 1]["role"] != "assistant", "the answer was split or doubled"


def _plain_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
