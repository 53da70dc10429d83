"""What holds for every test."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

# No test fails for the time that an example took: the machine may have more to do.
hypothesis.settings.register_profile("landline", deadline=None, max_examples=50)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("landline")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers that name no data folder keep their database and their key in a temporary one."""
    before = os.environ.get("LANDLINE_DATA_DIR")
    os.environ["LANDLINE_DATA_DIR"] = str(tmp_path_factory.mktemp("data"))
    yield
    if before is None:
        del os.environ["LANDLINE_DATA_DIR"]
    else:
        os.environ["LANDLINE_DATA_DIR"] = before


@pytest.fixture(autouse=True)
def restored_log() -> Iterator[None]:
    """Commands that run in this process point the log at their own streams, which are closed behind them."""
    settings = structlog.get_config()
    yield
    structlog.configure(**settings)
