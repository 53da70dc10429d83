"""Running out of descriptors is said while it lasts, but not in every tick, and so is its end."""

import os
import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from landline.server.descriptors import LOG_EVERY_S, DescriptorWatch


@pytest.fixture
def limit() -> Iterator[int]:
    """A limit that is near what the test's process has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = max(int(name) for name in os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, before[1]))
    yield low
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def take_all() -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


def give_back(taken: list[int]) -> None:
    while taken:
        os.close(taken.pop())


def test_exhaustion_and_its_end_are_said_once_in_a_while(limit: int) -> None:
    now = 0.0
    watch = DescriptorWatch(lambda: now)
    with capture_logs() as logs:
        watch.look(3)
        assert logs == []
        taken = take_all()
        watch.look(3)
        watch.look(4)
        now = LOG_EVERY_S
        watch.look(5)
        give_back(taken)
        watch.look(2)
        watch.look(2)
    assert [each["event"] for each in logs] == [*["descriptors_exhausted"] * 2, "descriptors_available"]
    assert (logs[0]["limit"], logs[0]["connections"], logs[1]["connections"]) == (limit, 3, 5)
    assert "ulimit -n" in logs[0]["advice"]


def test_exhaustion_that_comes_and_goes_does_not_fill_the_log(limit: int) -> None:
    watch = DescriptorWatch(lambda: 0.0)
    with capture_logs() as logs:
        for _ in range(5):
            taken = take_all()
            watch.look(1)
            give_back(taken)
            watch.look(1)
    assert [each["event"] for each in logs] == ["descriptors_exhausted", "descriptors_available"]
