"""Whose model a target is, in OpenTelemetry's words."""

import pytest

from landline.config import (
    AnthropicTarget,
    ChatCompletionsTarget,
    EmbeddedTarget,
    GeminiTarget,
    ResponsesTarget,
    ScriptedTarget,
    TargetSettings,
    provider_of,
)
from landline.telemetry.conventions import Provider

LOCAL = "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("target", "provider"),
    [
        (EmbeddedTarget(), Provider("landline")),
        (ScriptedTarget(transcript="it.jsonl"), Provider("landline")),
        (ChatCompletionsTarget(base_url=LOCAL, profile="vllm"), Provider("vllm", "127.0.0.1", 8000)),
        (ChatCompletionsTarget(base_url=LOCAL), Provider("openai", "127.0.0.1", 8000)),
        (ChatCompletionsTarget(base_url="https://api.x.ai/v1"), Provider("x_ai", "api.x.ai", 443)),
        (ChatCompletionsTarget(base_url="https://api.mistral.ai/v1"), Provider("mistral_ai", "api.mistral.ai", 443)),
        (ChatCompletionsTarget(base_url="https://api.groq.com/openai/v1"), Provider("groq", "api.groq.com", 443)),
        (ResponsesTarget(base_url="http://models.example/v1"), Provider("openai", "models.example", 80)),
        (
            ResponsesTarget(base_url="https://it.openai.azure.com/openai/v1"),
            Provider("azure.ai.openai", "it.openai.azure.com", 443),
        ),
        (AnthropicTarget(), Provider("anthropic", "api.anthropic.com", 443)),
        (AnthropicTarget(base_url=LOCAL), Provider("anthropic", "127.0.0.1", 8000)),
        (GeminiTarget(), Provider("gcp.gemini", "generativelanguage.googleapis.com", 443)),
        (GeminiTarget(base_url=LOCAL), Provider("gcp.gemini", "127.0.0.1", 8000)),
        (
            GeminiTarget(base_url="https://aiplatform.googleapis.com/v1"),
            Provider("gcp.vertex_ai", "aiplatform.googleapis.com", 443),
        ),
        (
            ChatCompletionsTarget(base_url="https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"),
            Provider("aws.bedrock", "bedrock-runtime.eu-west-1.amazonaws.com", 443),
        ),
    ],
)
def test_provider_has_the_conventions_name(target: TargetSettings, provider: Provider) -> None:
    assert provider_of(target) == provider
