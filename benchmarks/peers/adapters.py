"""The servers that are compared: which package each comes from, how it is configured and started, what it claims to speak.

An adapter only describes; `peers.environments` installs what it names, and `peers.running` starts it. Every server is
configured for one upstream that has one model, without keys of its own where it allows that, on a free loopback port.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

MODEL = "scripted"
"""The one model of the upstreams."""


class Way(StrEnum):
    """How a client takes its turns, by the names of `landline bench serve`. Chained turns are stored, full ones are not."""

    SOCKET = "socket"
    SOCKET_STORED = "socket, stored"
    HTTP_CHAINED = "HTTP, chained"
    HTTP_FULL = "HTTP, full history"


class Place(msgspec.Struct, frozen=True):
    """Where one server runs."""

    program: Path
    """The file that its package installed."""
    folder: Path
    """An empty folder for its configuration and data; also its home folder."""
    port: int
    upstream: str
    """The base URL of the upstream, without `/v1`."""


class Start(msgspec.Struct, frozen=True):
    """How to start a server at a place."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = {}


class Peer(msgspec.Struct, frozen=True):
    """One server that is compared."""

    name: str
    registry: Literal["pip", "npm", "checkout"]
    package: str
    """The name of its package, with extras."""
    versions: Sequence[str]
    """The pinned version, then one to take where the registry cannot install the first with all that it needs."""
    program: str
    """The file to start, below `bin` of a virtual environment or below `node_modules`."""
    start: Callable[[Place], Start]
    claims: Sequence[Way]
    """What its documentation says that it speaks."""
    ready_path: str = "/health"
    python: tuple[int, int] = (3, 11)
    """The oldest Python that its package takes."""
    model_prefix: str = ""
    headers: Mapping[str, str] = {}
    """What a client has to send besides `authorization`, `{upstream}` replaced by the upstream's base URL."""
    note: str = ""


class Absent(msgspec.Struct, frozen=True):
    """A server that cannot be compared, and why."""

    name: str
    reason: str


REFUSED: Mapping[tuple[str, str], str] = {("litellm", "1.107.0"): "a compromised release"}
"""Versions of packages that are never installed, and never started if something else installed them."""


def _start_landline(place: Place) -> Start:
    config = place.folder / "landline.toml"
    config.write_text(landline_config(place.upstream))
    return Start(
        ["serve", "--config", str(config), "--port", str(place.port), "--log-level", "error"],
        {"LANDLINE_DATA_DIR": str(place.folder / "data")},
    )


def landline_config(upstream: str) -> str:
    """Landline's configuration: any model's name, over chat completions. All else is its default."""
    return f"""\
[targets.scripted]
dialect = "chat_completions"
base_url = "{upstream}/v1"

[models."*"]
targets = ["scripted"]
"""


def _start_agentic_api(place: Place) -> Start:
    database = f"sqlite://{place.folder}/responses.db?mode=rwc"
    arguments = ["--llm-api-base", place.upstream, "--gateway-host", "127.0.0.1", "--gateway-port", str(place.port)]
    return Start(
        [*arguments, "--openai-api-key", "none", "--skip-llm-ready-check", "--db-url", database],
        {"RUST_LOG": "warn"},
    )


def _start_litellm(place: Place) -> Start:
    config = place.folder / "config.yaml"
    config.write_text(litellm_config(place.upstream))
    return Start(
        ["--config", str(config), "--host", "127.0.0.1", "--port", str(place.port)],
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            "LITELLM_LOG": "ERROR",
        },
    )


def litellm_config(upstream: str) -> str:
    """LiteLLM's configuration, as JSON, which is YAML."""
    parameters = {"model": f"hosted_vllm/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    models = [{"model_name": MODEL, "litellm_params": parameters}]
    return json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}}, indent=2)


def _start_ogx(place: Place) -> Start:
    config = place.folder / "config.yaml"
    config.write_text(ogx_config(place))
    return Start(["run", str(config), "--port", str(place.port), "--insecure"], {"OGX_LOGGING": "all=error"})


def ogx_config(place: Place) -> str:
    """OGX's configuration, as JSON, which is YAML: its own implementation of Responses on SQLite, nothing else."""
    responses = {"persistence": {"responses": {"table_name": "responses", "backend": "sql_default"}}}
    files = {
        "storage_dir": str(place.folder / "files"),
        "metadata_store": {"table_name": "files", "backend": "sql_default"},
    }
    tables = ("inference", "conversations", "prompts", "connectors")
    config = {
        "version": 2,
        "distro_name": "peer",
        "apis": ["inference", "responses", "vector_io", "tool_runtime", "files"],
        "providers": {
            "inference": [
                _ogx_provider("remote::vllm", {"base_url": f"{place.upstream}/v1", "api_token": "none"}, "scripted")
            ],
            "vector_io": [],
            "tool_runtime": [],
            "files": [_ogx_provider("inline::localfs", files)],
            "responses": [_ogx_provider("inline::builtin", responses)],
        },
        "storage": {
            "backends": {
                "kv_default": {"type": "kv_sqlite", "db_path": str(place.folder / "kv.db")},
                "sql_default": {"type": "sql_sqlite", "db_path": str(place.folder / "sql.db")},
            },
            "stores": {
                "metadata": {"namespace": "registry", "backend": "kv_default"},
                **{each: {"table_name": each, "backend": "sql_default"} for each in tables},
            },
        },
        "server": {"port": place.port, "host": "127.0.0.1"},
    }
    return json.dumps(config, indent=2)


def _ogx_provider(kind: str, config: Mapping[str, object], name: str = "builtin") -> dict[str, object]:
    return {"provider_id": name, "provider_type": kind, "config": config}


def _start_smg(place: Place) -> Start:
    address = ["--host", "127.0.0.1", "--port", str(place.port)]
    metrics = ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.port + 1)]
    worker = ["--backend", "openai", "--worker-urls", place.upstream, "--disable-health-check"]
    return Start(["launch", *worker, *address, *metrics, "--history-backend", "memory", "--log-level", "error"])


def _start_portkey(place: Place) -> Start:
    return Start([f"--port={place.port}", "--headless"], {"NODE_ENV": "production"})


LANDLINE = Peer(
    name="Landline",
    registry="checkout",
    package="landline",
    versions=[],
    program="landline",
    start=_start_landline,
    claims=list(Way),
    note="in front of the upstream's chat completions, stored turns on SQLite",
)
AGENTIC_API = Peer(
    name="Agentic API",
    registry="pip",
    package="agentic-api",
    versions=["0.9.0"],
    program="agentic-server",
    start=_start_agentic_api,
    claims=list(Way),
    note="in front of the upstream's Responses, stored turns on SQLite",
)
LITELLM = Peer(
    name="LiteLLM",
    registry="pip",
    package="litellm[proxy]",
    # The second is the newest whose exact needs (`litellm-proxy-extras`, `litellm-enterprise`) some mirrors hold.
    versions=["1.110.2", "1.108.7"],
    program="litellm",
    start=_start_litellm,
    claims=list(Way),
    ready_path="/health/liveliness",
    note="in front of the upstream's Responses, without a database",
)
OGX = Peer(
    name="OGX",
    registry="pip",
    package="ogx",
    versions=["1.5.0"],
    program="ogx",
    start=_start_ogx,
    claims=list(Way),
    ready_path="/v1/health",
    python=(3, 12),
    model_prefix="scripted/",
    note="in front of the upstream's chat completions, stored turns on SQLite",
)
SMG = Peer(
    name="SMG",
    registry="pip",
    package="smg",
    versions=["1.13.0"],
    program="smg",
    start=_start_smg,
    claims=[Way.HTTP_CHAINED, Way.HTTP_FULL],
    note="in front of the upstream's Responses, stored turns in memory",
)
PORTKEY = Peer(
    name="Portkey",
    registry="npm",
    package="@portkey-ai/gateway",
    versions=["1.15.2"],
    program="@portkey-ai/gateway/build/start-server.js",
    start=_start_portkey,
    claims=[Way.HTTP_FULL],
    ready_path="/",
    headers={
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": "{upstream}/v1",
    },
    note="passes Responses on to the upstream's; stores nothing",
)
PEERS: Sequence[Peer] = (LANDLINE, AGENTIC_API, LITELLM, OGX, SMG, PORTKEY)
ABSENT: Sequence[Absent] = (
    Absent(
        "Bifrost", "its npm package holds no gateway, only a script that downloads one from a server of its maker's"
    ),
)
