"""Who serves behind a target, in OpenTelemetry's words."""

from typing import assert_never
from urllib.parse import urlsplit

from landline.config.profiling import profile_at
from landline.config.targets import (
    AnthropicTarget,
    ChatCompletionsTarget,
    EmbeddedTarget,
    GeminiTarget,
    RemoteTarget,
    ResponsesTarget,
    ScriptedTarget,
    TargetSettings,
)
from landline.telemetry.conventions import Provider

_OWN = Provider("landline")
_BY_PROFILE = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
"""Profiles whose vendors the GenAI conventions call otherwise (`gen_ai.provider.name`, November 2026)."""
_BY_HOST = (("aiplatform.googleapis.com", "gcp.vertex_ai"), ("amazonaws.com", "aws.bedrock"))
_PORTS = {"http": 80, "https": 443}


def provider_of(target: TargetSettings) -> Provider:
    """Whose model the target is, as far as its settings say."""
    match target:
        case EmbeddedTarget() | ScriptedTarget():
            return _OWN
        case ChatCompletionsTarget() | AnthropicTarget() | GeminiTarget() | ResponsesTarget():
            url = urlsplit(target.base_url)
            host = url.hostname or ""
            return Provider(_vendor(target, host), host, url.port or _PORTS.get(url.scheme, 0))
        case _:
            assert_never(target)


def _vendor(target: RemoteTarget, host: str) -> str:
    profile = target.profile or profile_at(target.base_url)
    if profile is not None:
        return _BY_PROFILE.get(profile, profile)
    for suffix, name in _BY_HOST:
        if host.endswith(suffix):
            return name
    match target:
        case AnthropicTarget():
            return "anthropic"
        case GeminiTarget():
            return "gcp.gemini"
        case ChatCompletionsTarget() | ResponsesTarget():
            return "openai"
        case _:
            assert_never(target)
