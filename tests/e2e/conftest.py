"""Servers that the end-to-end tests share: one scripted upstream and few Landlines in front of it, for the session."""

from collections.abc import Iterator

import pytest

from support.fakes.chat import FakeChatServer, Script
from support.servers.relaying import relay, upstream
from support.servers.running import RunningServer
from support.stores.postgres import postgres

__all__ = ["postgres", "relay", "upstream"]

_LOG_TAIL_CHARS = 6000


@pytest.fixture(scope="session")
def fake_chat() -> Iterator[FakeChatServer]:
    with FakeChatServer() as server:
        yield server


def _config(fake: FakeChatServer, server_settings: str = "") -> str:
    return f"""
[server]
{server_settings}
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


@pytest.fixture(scope="session")
def landline(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline as its defaults make it, in front of the scripted upstream."""
    with RunningServer(_config(fake_chat), tmp_path_factory.mktemp("landline")) as server:
        yield server


@pytest.fixture(scope="session")
def strict_landline(fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline that names its events as Open Responses does."""
    config = _config(fake_chat, 'event_names = "open_responses"')
    with RunningServer(config, tmp_path_factory.mktemp("strict")) as server:
        yield server


@pytest.fixture(scope="session")
def landline_without_sockets(
    fake_chat: FakeChatServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A Landline that speaks HTTP only."""
    with RunningServer(_config(fake_chat, "sockets = false"), tmp_path_factory.mktemp("http")) as server:
        yield server


@pytest.fixture(scope="session")
def embedded_landline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline with the real embedded model, as `landline serve` makes it without any configuration."""
    with RunningServer(None, tmp_path_factory.mktemp("embedded")) as server:
        yield server


@pytest.fixture
def scripted(fake_chat: FakeChatServer) -> Script:
    """Opens scenarios: what the upstream answers under a model name of the test's own."""
    return Script(fake_chat)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test shows the log of the servers that it used."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, RunningServer):
                report.sections.append((f"log of {name}", value.log[-_LOG_TAIL_CHARS:]))
    return report
