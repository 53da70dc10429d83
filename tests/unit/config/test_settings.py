"""Where a target's requests go."""

import pytest

from landline.config import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    GeminiTargetSettings,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    api_url,
)

HOST = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (AnthropicTargetSettings(base_url=HOST), f"{HOST}/v1"),
        (AnthropicTargetSettings(base_url=f"{HOST}/anthropic/"), f"{HOST}/anthropic/v1"),
        (AnthropicTargetSettings(base_url=f"{HOST}/v1/"), f"{HOST}/v1"),
        (AnthropicTargetSettings(), "https://api.anthropic.com/v1"),
        (GeminiTargetSettings(base_url=HOST), f"{HOST}/v1beta"),
        (GeminiTargetSettings(base_url=f"{HOST}/v1beta"), f"{HOST}/v1beta"),
        (GeminiTargetSettings(base_url=f"{HOST}/v1alpha1/publishers/google"), f"{HOST}/v1alpha1/publishers/google"),
        (ChatCompletionsTargetSettings(base_url=f"{HOST}/"), HOST),
        (ResponsesTargetSettings(base_url=f"{HOST}/v1"), f"{HOST}/v1"),
    ],
)
def test_version_is_added_where_vendors_own_clients_add_it(target: RemoteTargetSettings, url: str) -> None:
    assert api_url(target) == url
