"""What one setting asks of another: names that must exist, files and keys that must be there, addresses that are safe."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from landline.config.problems import Problem, did_you_mean, join_path
from landline.config.profiling import conventional_keys, profile_of
from landline.config.settings import (
    SQLITE_PREFIX,
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    PricesSettings,
    RemoteTargetSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    SealingSettings,
    ServerSettings,
    StoreSettings,
    TargetSettings,
    split_upstream,
)
from landline.engine.catalog import CATALOGUE
from landline.engine.gguf import NotGgufError, read_gguf_head
from landline.ledger.prices import PriceListError, load_prices
from landline.sealing import split_keys
from landline.server.access import parse_origin, parse_pattern
from landline.telemetry.settings import OTLP_PROTOCOL, TelemetrySettings
from landline.upstream.script import ScriptError, load_script

_TARGET_NAME = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
"""A token of RFC 9110."""


def check_config(
    config: Config, environment: Mapping[str, str], *, unread: frozenset[str] = frozenset()
) -> list[Problem]:
    """Every disagreement inside a configuration. `unread` are the targets that the file has and the configuration lacks,
    because they are not well formed."""
    problems = [*_check_server(config.server), *_check_store(config.store)]
    problems.extend(_check_sealing(config.sealing, environment))
    problems.extend(_check_telemetry(config.telemetry, environment))
    problems.extend(_check_prices(config.prices))
    for name, target in config.targets.items():
        path = join_path("targets", name)
        if not _TARGET_NAME.fullmatch(name):
            problems.append(Problem(path, f"a target's name is letters, digits, `_` and `-`, got {name!r}"))
        problems.extend(_check_target(path, target, environment))
        problems.extend(_check_loop(path, target, config.server))
    problems.extend(_check_models(config, unread))
    return problems


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than `localhost` is taken as reachable."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_server(server: ServerSettings) -> Iterator[Problem]:
    if not is_loopback(server.host) and not server.insecure_allow_public:
        yield Problem(
            "server.host",
            f"{server.host!r} can be reached from other machines, and this version has no keys to keep anyone out; "
            "use `127.0.0.1` behind a proxy of yours that checks callers, or, if everybody who can reach this address "
            "may use every model, set `insecure_allow_public = true` in `[server]`",
        )
    for host in server.allowed_hosts:
        if parse_pattern(host) is None:
            yield Problem("server.allowed_hosts", _expected_host(host))
    for origin in server.allowed_origins:
        if parse_origin(origin) is None:
            yield Problem("server.allowed_origins", _expected_origin(origin))


def _expected_host(came: str) -> str:
    if came == "*":
        return "expected names: with '*' any web page could reach this server by rebinding a name of its own to it"
    return (
        "expected a name or an address, with or without a port and without a scheme, such as 'llm.example.com', "
        f"'*.example.com' or '192.0.2.7:8080', got {came!r}"
    )


def _expected_origin(came: str) -> str:
    if came in ("*", "null"):
        return f"expected origins by name: {came!r} is any web page, and could use every model"
    return (
        "expected a scheme, a host and perhaps a port, without a path and without `*`, such as "
        f"'https://app.example.com' or 'http://localhost:5173', got {came!r}"
    )


def _check_store(store: StoreSettings) -> Iterator[Problem]:
    """The URL itself is never shown: it may hold a password."""
    url = store.url
    if url is None or url == "memory":
        return
    file = url.removeprefix(SQLITE_PREFIX)
    if url.startswith(("postgresql://", "postgres://")):
        if not _has_valid_port(url):
            yield Problem("store.url", "expected a port number after the host, or none")
    elif file in ("", url):
        yield Problem("store.url", "expected `sqlite:///PATH`, `postgresql://…` or `memory`")
    elif not Path(file).parent.is_dir():
        yield Problem("store.url", f"expected a folder, found none at {str(Path(file).parent)!r}")


def _check_sealing(sealing: SealingSettings, environment: Mapping[str, str]) -> Iterator[Problem]:
    """The keys themselves are never shown."""
    if sealing.keys_env is None:
        return
    try:
        split_keys(environment.get(sealing.keys_env, ""))
    except ValueError as error:
        yield Problem("sealing.keys_env", f"in the environment variable {sealing.keys_env!r}: {error}")


def _check_telemetry(telemetry: TelemetrySettings, environment: Mapping[str, str]) -> Iterator[Problem]:
    if not telemetry.enabled:
        return
    if telemetry.endpoint is not None and not _is_http_url(telemetry.endpoint):
        yield Problem(
            "telemetry.endpoint", f"expected a URL such as 'http://127.0.0.1:4318', got {telemetry.endpoint!r}"
        )
    for signal, is_sent in (("", True), ("TRACES_", telemetry.traces), ("METRICS_", telemetry.metrics)):
        name = f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL"
        protocol = environment.get(name, OTLP_PROTOCOL)
        if is_sent and protocol != OTLP_PROTOCOL:
            yield Problem("telemetry.enabled", f"expected {OTLP_PROTOCOL!r} or nothing in {name!r}, got {protocol!r}")


def _check_prices(prices: PricesSettings) -> Iterator[Problem]:
    try:
        if prices.file is not None:
            load_prices(Path(prices.file))
    except PriceListError as error:
        yield Problem("prices.file", str(error))


def _has_valid_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _check_target(path: str, target: TargetSettings, environment: Mapping[str, str]) -> Iterator[Problem]:
    match target:
        case EmbeddedTargetSettings():
            yield from _check_embedded(path, target)
        case (
            ChatCompletionsTargetSettings()
            | AnthropicTargetSettings()
            | GeminiTargetSettings()
            | ResponsesTargetSettings()
        ):
            yield from _check_remote(path, target, environment)
        case ScriptedTargetSettings():
            yield from _check_transcript(join_path(path, "transcript"), target.transcript)
        case _:
            assert_never(target)


def _check_embedded(path: str, target: EmbeddedTargetSettings) -> Iterator[Problem]:
    if target.gguf is not None and target.model is not None:
        yield Problem(path, "expected `model` or `gguf`, got both; keep one")
    if target.model is not None and target.model not in CATALOGUE:
        yield Problem(join_path(path, "model"), f"no model {target.model!r}{did_you_mean(target.model, CATALOGUE)}")
    for name, file in (("gguf", target.gguf), ("mmproj", target.mmproj)):
        if file is not None:
            yield from _check_gguf(join_path(path, name), file)
    if target.chat_template is not None:
        yield from _check_file(join_path(path, "chat_template"), target.chat_template)


def _check_remote(path: str, target: RemoteTargetSettings, environment: Mapping[str, str]) -> Iterator[Problem]:
    """The key itself is never shown."""
    if not _is_http_url(target.base_url):
        yield Problem(
            join_path(path, "base_url"),
            f"expected a URL such as 'http://127.0.0.1:8000/v1', got {target.base_url!r}",
        )
    if not _HEADER_NAME.fullmatch(target.key_header):
        yield Problem(join_path(path, "key_header"), f"expected the name of a header, got {target.key_header!r}")
    if target.api_key_env is None:
        yield from _check_missing_key(path, target)
        return
    key = environment.get(target.api_key_env)
    if not key:
        yield Problem(
            join_path(path, "api_key_env"),
            f"the environment variable {target.api_key_env!r} is not set; export it before the start, "
            "or drop the setting if the upstream asks for no key",
        )
    elif not (key.isascii() and key.isprintable()) or key != key.strip():
        yield Problem(
            join_path(path, "api_key_env"),
            f"the environment variable {target.api_key_env!r} holds characters that a key cannot have, "
            "such as a space or a line break at its end",
        )


def _check_loop(path: str, target: TargetSettings, server: ServerSettings) -> Iterator[Problem]:
    """A target that is this server would ask itself for ever."""
    if isinstance(target, EmbeddedTargetSettings | ScriptedTargetSettings) or not _is_http_url(target.base_url):
        return
    url = urlsplit(target.base_url)
    if url.port == server.port and is_loopback(url.hostname or ""):
        yield Problem(
            join_path(path, "base_url"),
            f"{target.base_url!r} is where this server itself listens; give one of the two another port",
        )


def _check_missing_key(path: str, target: RemoteTargetSettings) -> Iterator[Problem]:
    profile, _ = profile_of(target)
    names = conventional_keys(target)
    if profile is None or not profile.needs_key or not names:
        return
    given = {header.lower() for header in target.headers}
    if target.key_header.lower() not in given:
        known = " or ".join(repr(name) for name in names)
        yield Problem(
            join_path(path, "api_key_env"),
            f"{profile.vendor} wants a key: export it as {known}, or name another environment variable here",
        )


def _check_gguf(path: str, name: str) -> Iterator[Problem]:
    missing = list(_check_file(path, name))
    try:
        if not missing:
            read_gguf_head(Path(name))
    except (NotGgufError, OSError) as error:
        yield Problem(path, str(error))
    yield from missing


def _check_transcript(path: str, name: str) -> Iterator[Problem]:
    missing = list(_check_file(path, name))
    try:
        if not missing:
            load_script(Path(name))
    except ScriptError as error:
        yield Problem(path, str(error))
    yield from missing


def _check_file(path: str, name: str) -> Iterator[Problem]:
    if not Path(name).is_file():
        yield Problem(path, f"expected a file, found none at {name!r}")


def _check_models(config: Config, unread: frozenset[str]) -> Iterator[Problem]:
    if not config.models:
        yield Problem(
            "models", 'nothing is served; add `[models."NAME"]` with `targets = ["TARGET"]`, or the name `"*"`'
        )
    for name, model in config.models.items():
        path = join_path(join_path("models", name), "targets")
        for reference in model.targets:
            upstream = split_upstream(reference)
            if upstream.target not in config.targets and upstream.target not in unread:
                known = {*config.targets, *unread}
                yield Problem(path, f"no target {upstream.target!r}{did_you_mean(upstream.target, known)}")
            if upstream.model == "":
                yield Problem(path, f"expected 'TARGET' or 'TARGET:MODEL', got {reference!r}")
        if model.weights and len(model.weights) != len(model.targets):
            message = f"expected {len(model.targets)}, one for each target, got {len(model.weights)}"
            yield Problem(join_path(join_path("models", name), "weights"), message)
        for reference in sorted({reference for reference in model.targets if model.targets.count(reference) > 1}):
            yield Problem(path, f"{reference!r} is named twice")
