"""One scripted upstream for all walks."""

from collections.abc import Iterator

import pytest

from support.fakes.chat import FakeChatServer


@pytest.fixture(scope="session")
def shared_fake() -> Iterator[FakeChatServer]:
    with FakeChatServer() as server:
        yield server
