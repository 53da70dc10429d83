"""The settings of a server: their types, how a file is read into them, and its problems.

The command line loads them; `app` and `targets` build the server from them.
"""

from landline.config.loading import Overrides, default_config, load_config, settle_table
from landline.config.problems import Problem
from landline.config.profiling import profile_at, provider_of, usual_keys
from landline.config.settings import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    ModelSettings,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    SealingSettings,
    ServerSettings,
    StoreSettings,
    TargetSettings,
    Upstream,
    api_url,
    split_upstream,
)

__all__ = [
    "AnthropicTargetSettings",
    "ChatCompletionsTargetSettings",
    "Config",
    "EmbeddedTargetSettings",
    "GeminiTargetSettings",
    "ModelSettings",
    "Overrides",
    "Problem",
    "RemoteTargetSettings",
    "ResponsesTargetSettings",
    "ScriptedTargetSettings",
    "SealingSettings",
    "ServerSettings",
    "StoreSettings",
    "TargetSettings",
    "Upstream",
    "api_url",
    "default_config",
    "load_config",
    "profile_at",
    "provider_of",
    "settle_table",
    "split_upstream",
    "usual_keys",
]
