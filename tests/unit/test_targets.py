"""Targets are made of their settings by dialect."""

import pytest

from landline.config import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    GeminiTargetSettings,
    RemoteTargetSettings,
    ResponsesTargetSettings,
)
from landline.targets import make_target
from landline.upstream.http import HttpTarget
from landline.upstream.websocket import ResponsesSocketTarget

URL = "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (ChatCompletionsTargetSettings(base_url=URL), HttpTarget),
        (AnthropicTargetSettings(), HttpTarget),
        (GeminiTargetSettings(), HttpTarget),
        (ResponsesTargetSettings(base_url=URL), HttpTarget),
        (ResponsesTargetSettings(base_url=URL, transport="websocket"), ResponsesSocketTarget),
    ],
)
def test_every_dialect_has_its_target(settings: RemoteTargetSettings, kind: type[object]) -> None:
    made = make_target("t", settings)
    assert isinstance(made, kind)
    assert made.name == "t"
