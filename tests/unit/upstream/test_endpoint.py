"""The headers that reach a target."""

import pytest

from landline.upstream.endpoint import TargetEndpoint
from support.turns.http_target import KEY


@pytest.mark.parametrize(("header", "sent"), [("x-api-key", KEY), ("api-key", KEY), ("Authorization", f"Bearer {KEY}")])
def test_the_key_goes_alone_in_any_header_but_authorization(header: str, sent: str) -> None:
    assert TargetEndpoint("up", "", KEY, header, {"X-Extra": "1"}).sent_headers == {"X-Extra": "1", header: sent}


def test_a_configured_header_replaces_the_key_whatever_its_case() -> None:
    assert TargetEndpoint("up", "", KEY, "x-api-key", {"X-Api-Key": "mine"}).sent_headers == {"X-Api-Key": "mine"}
