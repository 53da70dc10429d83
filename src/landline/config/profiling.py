"""Profiles applied to targets: the settings that a known vendor or server gives them, and the provider's name."""

from collections.abc import Mapping
from typing import assert_never, cast
from urllib.parse import urlsplit

from msgspec.structs import replace

from landline.config.problems import Problem, did_you_mean, join_path
from landline.config.settings import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    TargetSettings,
)
from landline.dialects.profiles import PROFILES, Profile, VendorApi
from landline.telemetry.conventions import Provider

OWN_PROFILES = ("anthropic", "gemini")
"""Dialects of one vendor: without a URL, the vendor is meant."""


def fill_in(table: Mapping[str, object], path: str) -> tuple[Mapping[str, object], Problem | None]:
    """The target's table with the profile's values for settings that it does not have; nested tables are filled in the same way.

    `path` is the target's, for the problem if the profile cannot be meant; the table is then what comes nearest.
    """
    name = _profile_name(table)
    if name is None:
        return table, None
    if not isinstance(name, str) or name not in PROFILES:
        hint = did_you_mean(str(name), PROFILES)
        problem = Problem(join_path(path, "profile"), f"no profile {name!r}{hint}; docs/profiles.md describes them")
        return {key: value for key, value in table.items() if key != "profile"}, problem
    profile = PROFILES[name]
    api = profile.api(table.get("dialect"))
    problem = None
    if api is None:
        spoken = " or ".join(f"`{each.dialect}`" for each in profile.apis)
        message = f"{profile.vendor} is spoken to in {spoken}, got {table.get('dialect')!r}"
        problem = Problem(join_path(path, "dialect"), message)
        api = profile.apis[0]
        table = {key: value for key, value in table.items() if key != "dialect"}
    if api.base_url is None and "base_url" not in table and problem is None:
        message = f"missing; {profile.vendor}'s URL is yours to give, as in {profile.url_example!r}"
        problem = Problem(join_path(path, "base_url"), message)
    given = {"dialect": api.dialect, "profile": name, **api.settings}
    return _merge(given if api.base_url is None else {**given, "base_url": api.base_url}, table), problem


def find_key(target: TargetSettings, environment: Mapping[str, str]) -> TargetSettings:
    """The target with the variable of its key, if that is left out and one that is conventional is set."""
    if isinstance(target, EmbeddedTargetSettings | ScriptedTargetSettings) or target.api_key_env is not None:
        return target
    names = [name for name in conventional_keys(target) if environment.get(name)]
    return replace(target, api_key_env=names[0]) if names else target


def conventional_keys(target: RemoteTargetSettings) -> tuple[str, ...]:
    """The variables that hold the key of the target's vendor.

    None for a URL that is not the vendor's: a key goes where its owner is, or where the file sends it by name.
    """
    profile, api = profile_of(target)
    if profile is None or api is None:
        return ()
    is_elsewhere = api.base_url is not None and api.base_url != target.base_url.rstrip("/")
    return () if is_elsewhere and not profile.is_local else profile.key_envs


def usual_keys(target: RemoteTargetSettings) -> tuple[str, ...]:
    """The variables that usually hold the key of such a target, wherever its URL leads: for a hint, not to be read."""
    dialect = str(target.__struct_config__.tag)
    name = target.profile or profile_at(target.base_url) or (dialect if dialect in OWN_PROFILES else "")
    return PROFILES[name].key_envs if name in PROFILES else ()


def profile_of(target: RemoteTargetSettings) -> tuple[Profile | None, VendorApi | None]:
    """The target's profile and the way in which it is spoken to."""
    profile = PROFILES.get(target.profile or "")
    return profile, profile.api(target.__struct_config__.tag) if profile is not None else None


def profile_at(base_url: str) -> str | None:
    """The profile of the vendor whose host the URL names; servers that users run have no host of their own."""
    host = urlsplit(base_url).hostname or ""
    for name, profile in PROFILES.items():
        hosts = [urlsplit(api.base_url).hostname for api in profile.apis if api.base_url is not None]
        # Of an example such as RESOURCE.openai.azure.com, all but the first word is the vendor's.
        example = urlsplit(profile.url_example).hostname or ""
        is_example = not hosts and "." in example and host.partition(".")[2] == example.partition(".")[2]
        if not profile.is_local and (host in hosts or is_example):
            return name
    return None


def _profile_name(table: Mapping[str, object]) -> object:
    dialect = table.get("dialect")
    implied = dialect if dialect in OWN_PROFILES and "base_url" not in table else None
    return table.get("profile", implied)


def _merge(given: Mapping[str, object], table: Mapping[str, object]) -> dict[str, object]:
    merged = {**given, **table}
    for key, value in table.items():
        default = given.get(key)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[key] = {**cast("dict[str, object]", default), **cast("dict[str, object]", value)}
    return merged


_OWN = Provider("landline")
_BY_PROFILE = {
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
"""Profiles whose vendors have another name in the GenAI conventions (`gen_ai.provider.name`, November 2026)."""
_BY_HOST = (("aiplatform.googleapis.com", "gcp.vertex_ai"), ("amazonaws.com", "aws.bedrock"))
_PORTS = {"http": 80, "https": 443}


def provider_of(target: TargetSettings) -> Provider:
    """Who serves behind the target, as far as its settings show."""
    match target:
        case EmbeddedTargetSettings() | ScriptedTargetSettings():
            return _OWN
        case (
            ChatCompletionsTargetSettings()
            | AnthropicTargetSettings()
            | GeminiTargetSettings()
            | ResponsesTargetSettings()
        ):
            url = urlsplit(target.base_url)
            host = url.hostname or ""
            return Provider(_vendor(target, host), host, url.port or _PORTS.get(url.scheme, 0))
        case _:
            assert_never(target)


def _vendor(target: RemoteTargetSettings, host: str) -> str:
    profile = target.profile or profile_at(target.base_url)
    if profile is not None:
        return _BY_PROFILE.get(profile, profile)
    for suffix, name in _BY_HOST:
        if host.endswith(suffix):
            return name
    match target:
        case AnthropicTargetSettings():
            return "anthropic"
        case GeminiTargetSettings():
            return "gcp.gemini"
        case ChatCompletionsTargetSettings() | ResponsesTargetSettings():
            return "openai"
        case _:
            assert_never(target)
