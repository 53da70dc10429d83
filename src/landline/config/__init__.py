"""What the user of a server decides: the settings, how a file is read into them, and what is wrong with it."""

from landline.config.loading import Overrides, default_config, load_config
from landline.config.problems import Problem
from landline.config.settings import (
    ChatCompletionsTarget,
    Config,
    EmbeddedTarget,
    ModelSettings,
    ScriptedTarget,
    SealingSettings,
    ServerSettings,
    StoreSettings,
    TargetSettings,
    Upstream,
    split_upstream,
)

__all__ = [
    "ChatCompletionsTarget",
    "Config",
    "EmbeddedTarget",
    "ModelSettings",
    "Overrides",
    "Problem",
    "ScriptedTarget",
    "SealingSettings",
    "ServerSettings",
    "StoreSettings",
    "TargetSettings",
    "Upstream",
    "default_config",
    "load_config",
    "split_upstream",
]
