"""The README names every setting with its default."""

from pathlib import Path

import pytest

from aiperf_responses_websocket.settings import ENV_PREFIX, TransportSettings

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.parametrize("name", TransportSettings.model_fields)
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    rows = [line.split(" | ") for line in README.read_text().splitlines() if f"`{ENV_PREFIX}{name.upper()}`" in line]
    assert len(rows) == 1
    assert rows[0][2] == f"`{TransportSettings.model_fields[name].default}`"


def test_the_readme_names_no_other_setting() -> None:
    assert README.read_text().count(f"`{ENV_PREFIX}") == len(TransportSettings.model_fields)
