"""`landline sidecar`: a preset for one's own machine. Clients send their whole history; the upstream gets only new items."""

import os
import shlex
from collections.abc import Mapping

import msgspec

from landline.cli.serve import serve_config, url_host
from landline.config import Config, Overrides, Problem, ResponsesTargetSettings, profile_at, settle_table

DEFAULT_KEY_ENV = "OPENAI_API_KEY"
"""What every OpenAI client sends to whatever URL it is pointed at. Only for an upstream that no profile knows: a vendor's
own variable is taken for that vendor."""
_TARGET = "upstream"


class SidecarOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `landline sidecar`."""

    upstream: str
    port: int | None = None
    profile: str | None = None
    api_key_env: str | None = None
    http: bool = False


def run_sidecar(options: SidecarOptions) -> int:
    """Serves until a signal ends it; the exit status."""
    return serve_config(sidecar_config(options, os.environ), greet)


def sidecar_config(options: SidecarOptions, environment: Mapping[str, str]) -> Config | list[Problem]:
    """The configuration that the command line describes: any model name, one Responses target, on loopback."""
    profile = options.profile or profile_at(options.upstream)
    target: dict[str, object] = {"dialect": "responses", "base_url": options.upstream}
    if profile is not None:
        target["profile"] = profile
    else:
        target["transport"] = "websocket"
        target["foreign_reasoning"] = "send"  # all reasoning comes from this one upstream
    if options.http:
        target["transport"] = "http"
    if options.api_key_env is not None:
        target["api_key_env"] = options.api_key_env
    elif profile is None and environment.get(DEFAULT_KEY_ENV):
        target["api_key_env"] = DEFAULT_KEY_ENV
    table = {
        "targets": {_TARGET: target},
        "models": {"*": {"targets": [_TARGET]}},
        "ledger": {"hop": "upstreams"},  # the hop from the clients never leaves this machine
    }
    return settle_table(table, environment, Overrides(host="127.0.0.1", port=options.port))


def greet(config: Config, host: str, port: int) -> str:
    """What is printed once it listens: where it is, where it leads, and what to set in clients."""
    target = config.targets[_TARGET]
    assert isinstance(target, ResponsesTargetSettings)
    base_url = f"http://{url_host(host)}:{port}/v1"
    way = "over its WebSocket" if target.transport == "websocket" else "over HTTP"
    profile = f", profile {target.profile}" if target.profile is not None else ""
    key = f"with the key from {target.api_key_env}" if target.api_key_env is not None else "without a key"
    codex = shlex.quote(f'openai_base_url="{base_url}"')
    return "\n".join(
        (
            f"Landline listens on {base_url}",
            f"Upstream: {target.base_url} {way}{profile}, {key}",
            "",
            "Any model name is passed on. Point clients here; the keys that they send are not passed on:",
            f"  export OPENAI_BASE_URL={base_url}",
            f"  codex -c {codex}",
            "",
            f"Monitor of what that saves upstream: {base_url.removesuffix('/v1')}/monitor",
        )
    )
