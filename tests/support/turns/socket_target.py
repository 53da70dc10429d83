"""A target of upstream sockets in front of a strict fake, for the tests of it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from landline.dialects.responses import Responses, ResponsesFlags
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.http_reply import HttpDeadlines
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.websocket import ResponsesSocketTarget
from landline.wire.errors import ApiError
from support.fakes.responses import (
    AZURE,
    FakeResponses,
    Manners,
    Received,
    Reply,
    Step,
)
from support.turns.target import Told

WAIT_S = 10
LANES = SocketSettings(lanes=16)
KEY = "sk-secret-0123456789"


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def target_at(
    base_url: str,
    settings: SocketSettings | None = None,
    *,
    flags: ResponsesFlags | None = None,
    clock: Clock | None = None,
    deadlines: HttpDeadlines | None = None,
) -> AsyncGenerator[ResponsesSocketTarget]:
    target = ResponsesSocketTarget(
        TargetEndpoint("up", base_url, api_key=KEY, deadlines=deadlines or HttpDeadlines()),
        Responses(flags),
        settings=settings,
        clock=clock or Clock(),
    )
    await target.open()
    try:
        yield target
    finally:
        await target.close()


@asynccontextmanager
async def upstream(
    *steps: Step,
    manners: Manners = AZURE,
    settings: SocketSettings | None = None,
    flags: ResponsesFlags | None = None,
    clock: Clock | None = None,
    deadlines: HttpDeadlines | None = None,
    **options: Any,
) -> AsyncGenerator[tuple[FakeResponses, ResponsesSocketTarget]]:
    """A server that plays the steps, and a target of its sockets."""
    async with (
        FakeResponses(*steps, manners=manners, key=KEY, **options).serving() as fake,
        target_at(fake.base_url, settings, flags=flags, clock=clock, deadlines=deadlines) as target,
    ):
        yield fake, target


def sent(fake: FakeResponses) -> list[tuple[int | None, str | None, int]]:
    """Of each create: its socket, the response that it continues, and how many items it has."""
    return [(each.socket, each.parent_id, len(each.body["input"])) for each in fake.received]


def answers(count: int) -> list[Step]:
    return [Reply(f"answer {number}") for number in range(1, count + 1)]


def error_of(told: Told) -> ApiError:
    assert told.error is not None
    return told.error


def paused(_received: Received) -> Step:
    return Reply("hi", pause_after=1)
