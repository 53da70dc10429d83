"""Where a target's requests go."""

import pytest

from landline.config import AnthropicTarget, ChatCompletionsTarget, GeminiTarget, RemoteTarget, ResponsesTarget, api_url

HOST = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (AnthropicTarget(base_url=HOST), f"{HOST}/v1"),
        (AnthropicTarget(base_url=f"{HOST}/anthropic/"), f"{HOST}/anthropic/v1"),
        (AnthropicTarget(base_url=f"{HOST}/v1/"), f"{HOST}/v1"),
        (AnthropicTarget(), "https://api.anthropic.com/v1"),
        (GeminiTarget(base_url=HOST), f"{HOST}/v1beta"),
        (GeminiTarget(base_url=f"{HOST}/v1beta"), f"{HOST}/v1beta"),
        (GeminiTarget(base_url=f"{HOST}/v1alpha1/publishers/google"), f"{HOST}/v1alpha1/publishers/google"),
        (ChatCompletionsTarget(base_url=f"{HOST}/"), HOST),
        (ResponsesTarget(base_url=f"{HOST}/v1"), f"{HOST}/v1"),
    ],
)
def test_version_is_added_where_vendors_own_clients_add_it(target: RemoteTarget, url: str) -> None:
    assert api_url(target) == url
