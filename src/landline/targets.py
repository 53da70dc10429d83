"""Targets made of their settings: the one place that knows both the configuration and the upstream classes."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from landline import config as settings
from landline.compression_budget import CompressionBudget
from landline.config import usual_keys
from landline.dialects.anthropic import Anthropic, AnthropicFlags
from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Dialect
from landline.dialects.gemini import Gemini, GeminiFlags
from landline.dialects.responses import Responses, ResponsesFlags
from landline.engine.catalog import resolve_model
from landline.engine.settings import EngineSettings
from landline.upstream.embedded import EmbeddedTarget
from landline.upstream.endpoint import TargetEndpoint
from landline.upstream.http import HttpTarget
from landline.upstream.http_reply import HttpDeadlines
from landline.upstream.scripted import ScriptedTarget
from landline.upstream.target import Target
from landline.upstream.websocket import ResponsesSocketTarget

_SettingsT = TypeVar("_SettingsT", bound=msgspec.Struct)


def make_target(name: str, target: settings.TargetSettings, compression: CompressionBudget | None = None) -> Target:
    """The target that the settings describe, not yet open; its key is taken from the environment.

    `compression` is the budget of all sockets of the process; without it, the target has its own. Model files and
    transcripts are read here, because routing needs to know what they are. Raises `ModelUnavailableError` when an
    embedded model's file is not there.
    """
    match target:
        case settings.EmbeddedTargetSettings():
            return EmbeddedTarget(name, resolve_model(target.gguf or target.model), _narrow(target, EngineSettings))
        case settings.ChatCompletionsTargetSettings():
            return _over_http(name, target, ChatCompletions(_narrow(target, ChatCompletionsFlags)))
        case settings.ResponsesTargetSettings():
            responses = Responses(_narrow(target, ResponsesFlags))
            if target.transport == "websocket":
                return _over_socket(name, target, responses, compression)
            return _over_http(name, target, responses)
        case settings.GeminiTargetSettings():
            return _over_http(name, target, Gemini(_narrow(target, GeminiFlags)))
        case settings.AnthropicTargetSettings():
            return _over_http(name, target, Anthropic(_narrow(target, AnthropicFlags)))
        case settings.ScriptedTargetSettings():
            return ScriptedTarget(name, Path(target.transcript))


def _over_http(name: str, target: settings.RemoteTargetSettings, dialect: Dialect) -> HttpTarget:
    return HttpTarget(
        TargetEndpoint(
            name,
            settings.api_url(target),
            api_key=_api_key(target),
            key_header=target.key_header,
            headers=target.headers,
            key_envs=usual_keys(target),
            deadlines=HttpDeadlines(read_idle_s=target.silence_s),
        ),
        dialect,
    )


def _over_socket(
    name: str, target: settings.ResponsesTargetSettings, dialect: Responses, compression: CompressionBudget | None
) -> ResponsesSocketTarget:
    return ResponsesSocketTarget(
        TargetEndpoint(
            name,
            settings.api_url(target),
            api_key=_api_key(target),
            key_header=target.key_header,
            headers=target.headers,
            key_envs=usual_keys(target),
            deadlines=HttpDeadlines(read_idle_s=target.silence_s),
        ),
        dialect,
        settings=target.socket,
        compression=compression,
    )


def _api_key(target: settings.RemoteTargetSettings) -> str | None:
    return os.environ[target.api_key_env] if target.api_key_env is not None else None


def _narrow(target: msgspec.Struct, kind: type[_SettingsT]) -> _SettingsT:
    """The part of a target's settings that the package below knows by this struct."""
    return kind(**{field: getattr(target, field) for field in kind.__struct_fields__})
