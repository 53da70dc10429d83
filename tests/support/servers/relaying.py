"""A Landline in front of a strict server that speaks Responses, for the tests that look through one."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.fakes.responses import FakeResponses
from support.servers.running import RunningServer

KEY = "sk-upstream-0123456789"
USER: dict[str, Any] = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]}
ENCRYPTED = "reasoning.encrypted_content"
TOOL: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


@pytest.fixture(scope="session")
def upstream() -> Iterator[FakeResponses]:
    """A strict server that speaks Responses; tests give it their script by `play`."""
    fake = FakeResponses(key=KEY)
    with fake.in_thread():
        yield fake


@pytest.fixture(scope="session")
def relay(upstream: FakeResponses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Landline whose models are all the upstream's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LANDLINE_TEST_UPSTREAM_KEY", KEY)
        environment.setenv("LANDLINE_TEST_WRONG_KEY", "sk-wrong-0123456789")
        with RunningServer(_config(upstream.base_url), tmp_path_factory.mktemp("relay")) as landline:
            yield landline


def _config(base_url: str) -> str:
    target = f'dialect = "responses"\nbase_url = "{base_url}"\napi_key_env'
    return f"""
[targets.up]
{target} = "LANDLINE_TEST_UPSTREAM_KEY"
[targets.locked]
{target} = "LANDLINE_TEST_WRONG_KEY"
[targets.own]
{target} = "LANDLINE_TEST_UPSTREAM_KEY"
compaction = "landline"
store = "never"
[models."*"]
targets = ["up"]
[models."locked"]
targets = ["locked"]
[models."own"]
targets = ["own"]
"""
