"""The settings of `landline.toml`, one class a table and one a dialect of targets; docs/configuration.md is made from them."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from landline.compression_budget import DEFAULT_BUDGET_BYTES
from landline.dialects.anthropic.settings import AnthropicFlags
from landline.dialects.chat_completions.settings import ChatCompletionsFlags
from landline.dialects.gemini.settings import GeminiFlags
from landline.dialects.responses.request import ResponsesFlags
from landline.engine.settings import EngineSettings
from landline.ledger.entry import Hop
from landline.ledger.prices import ModelPrice
from landline.session.composer import EventNames
from landline.session.limits import Limits, Seconds
from landline.stores import DEFAULT_MEMORY_BYTES
from landline.stores.store import DEFAULT_SYNCHRONOUS, DEFAULT_TIMEOUT_S, Synchronous
from landline.telemetry.settings import TelemetrySettings
from landline.turns.background import BackgroundSettings
from landline.turns.prefixes import PrefixSettings
from landline.turns.saves import DEFAULT_WAIT_S
from landline.upstream.endpoint import BEARER_HEADER
from landline.upstream.http_reply import READ_IDLE_S
from landline.upstream.socket_settings import SocketSettings

Name = Annotated[str, msgspec.Meta(min_length=1)]
Silence = Annotated[float, msgspec.Meta(gt=0)]


class EmbeddedTargetSettings(
    EngineSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="embedded"
):
    """A model that runs on this machine, in a child process of Landline. Paths are relative to the file."""

    model: Name | None = None
    """A model of the catalogue, fetched once (`landline models` lists them). Not together with `gguf`."""
    gguf: Name | None = None
    """A GGUF file of yours."""


class ChatCompletionsTargetSettings(
    ChatCompletionsFlags,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="dialect",
    tag="chat_completions",
):
    """Any server that speaks chat completions: vLLM, SGLang, llama-server, Ollama, OpenRouter …"""

    base_url: Name
    """The URL that `/chat/completions` follows, as in `http://127.0.0.1:8000/v1`."""
    profile: Name | None = None
    """The vendor or server in [profiles.md](profiles.md) that supplies the settings left out here."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = BEARER_HEADER
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class AnthropicTargetSettings(
    AnthropicFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="anthropic"
):
    """Anthropic's Messages API, and servers that speak it."""

    base_url: Name = "https://api.anthropic.com/v1"
    """The URL that `/messages` follows. Without a version, as Anthropic's own clients take it, `/v1` is added."""
    profile: Name | None = None
    """The vendor or server in [profiles.md](profiles.md) that supplies the settings left out here. `anthropic` if there is
    no `base_url` either."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = "x-api-key"
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class GeminiTargetSettings(
    GeminiFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="gemini"
):
    """Google's Gemini API (`generateContent`), and servers that speak it."""

    base_url: Name = "https://generativelanguage.googleapis.com/v1beta"
    """The URL that `/models/…` follows. Without a version, as Google's own clients take it, `/v1beta` is added."""
    profile: Name | None = None
    """The vendor or server in [profiles.md](profiles.md) that supplies the settings left out here. `gemini` if there is no
    `base_url` either."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = "x-goog-api-key"
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class ResponsesTargetSettings(
    ResponsesFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="responses"
):
    """Any server that speaks Responses itself, over HTTP or its own WebSocket: OpenAI, xAI, Azure, another Landline …"""

    base_url: Name
    """The URL that `/responses` follows, as in `https://api.openai.com/v1`; the same for both transports."""
    transport: Literal["http", "websocket"] = "http"
    """`websocket` keeps a socket for each conversation and sends only new items; `http` sends the whole history."""
    socket: SocketSettings = SocketSettings()
    """What the server's sockets allow, where `transport` is `websocket`: the table below."""
    profile: Name | None = None
    """The vendor or server in [profiles.md](profiles.md) that supplies the settings left out here."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = BEARER_HEADER
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class ScriptedTargetSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="scripted"
):
    """Plays a transcript instead of asking a model: for tests, demos and load."""

    transcript: Name
    """The transcript file, relative to the configuration."""


RemoteTargetSettings = (
    ChatCompletionsTargetSettings | AnthropicTargetSettings | GeminiTargetSettings | ResponsesTargetSettings
)
"""Targets that a URL names."""

TargetSettings = EmbeddedTargetSettings | RemoteTargetSettings | ScriptedTargetSettings

_VERSION = re.compile(r"/v\d+[a-z0-9]*(/|$)")


def api_url(target: RemoteTargetSettings) -> str:
    """The URL that the dialect's paths follow: with the API's version, which vendors' own clients add by themselves."""
    url = target.base_url.rstrip("/")
    if _VERSION.search(urlsplit(url).path):
        return url
    match target:
        case AnthropicTargetSettings():
            return url + "/v1"
        case GeminiTargetSettings():
            return url + "/v1beta"
        case ChatCompletionsTargetSettings() | ResponsesTargetSettings():
            return url


Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Size = Annotated[int, msgspec.Meta(ge=0)]
"""Bytes."""
Weight = Annotated[float, msgspec.Meta(gt=0)]

SQLITE_PREFIX = "sqlite:///"
"""What a store's URL begins with that names a file."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server listens and how it speaks."""

    host: Name = "127.0.0.1"
    """Address to listen on. Anything but loopback is refused, because there are no keys yet."""
    port: Port = 8080
    """TCP port; 0 takes a free one."""
    sockets: bool = True
    """Whether WebSocket mode is on. Off, an upgrade is answered with 426 and clients go on over HTTP."""
    event_names: EventNames = "openai"
    """Whose names streamed events carry where OpenAI and the Open Responses schema differ."""
    drain_s: Seconds = 30.0
    """How long turns in flight may go on after SIGTERM."""
    compression_bytes: Size = DEFAULT_BUDGET_BYTES
    """Memory for the windows of all compressed sockets together, clients' and upstreams', some 190 KiB each, and of HTTP
    streams. As it runs out, new sockets get narrower windows and in the end none; 0 switches compression off."""
    http_compression: bool = True
    """Whether HTTP answers are compressed (zstd, gzip) for clients that offer it in `Accept-Encoding`."""
    allowed_hosts: list[Name] = []
    """Host names and addresses that requests may use in `Host`, besides loopback ones and the address that the server
    listens on: `"llm.example.com"`, `"*.example.com"` for the names below, each with `:PORT` for one port only. Others are
    refused with 421. See [browsers.md](browsers.md)."""
    allowed_origins: list[Name] = []
    """Web pages that may ask from a browser, as their scheme, host and port: `"https://app.example.com"`,
    `"http://localhost:5173"`. Those of other origins are refused with 403. See [browsers.md](browsers.md)."""
    insecure_allow_public: bool = False
    """Insecure: listens on a non-loopback address although whoever reaches it may use every model."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that clients ask for. The name `"*"` catches every other one."""

    targets: Annotated[list[Name], msgspec.Meta(min_length=1)]
    """Targets that serve it: `"NAME"`, or `"NAME:MODEL"` where the upstream calls the model otherwise."""
    weights: list[Weight] = []
    """One number for each target, in the same order: a target with 2 gets twice the conversations of one with 1. Without
    them all count alike."""
    price: ModelPrice | None = None
    """What its tokens cost: the table below. Without it, the price list decides ([prices.md](prices.md))."""


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where responses with `store: true` and conversations are kept."""

    url: Name | None = None
    """`sqlite:///PATH` (relative to the file), `postgresql://USER:PASSWORD@HOST/DATABASE`, or `memory`, which forgets all
    at the end of the process. Without it: a SQLite file in `LANDLINE_DATA_DIR` or the user's data folder."""
    retention_days: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    """How long responses are kept. Expired ones are deleted once an hour; with 0, every response that has ended is expired.
    Conversations are kept until they are deleted."""
    timeout_s: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = DEFAULT_TIMEOUT_S
    """How long the database may take to connect or to answer a statement, or another program may hold its lock, before it
    counts as away and clients get `store_unavailable`."""
    save_wait_s: Seconds = DEFAULT_WAIT_S
    """How long a response that has ended waits for a database that is away before it fails. Background responses wait as
    long as the server runs."""
    synchronous: Synchronous = DEFAULT_SYNCHRONOUS
    """Whether SQLite waits for the disk at each save. With `normal` a power cut may take responses of the last moments that
    were announced as stored; a killed process loses nothing either way."""
    memory_bytes: Size = DEFAULT_MEMORY_BYTES
    """What a store in memory may use, about, `memory` or the one that a second server falls back to. Beyond it, the responses
    used least recently are forgotten, then conversations; what runs is kept."""


class SealingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of what clients keep for the server: compactions and encrypted reasoning."""

    keys_env: Name | None = None
    """The environment variable that holds the keys, separated by commas, of 16 characters or more each: the first seals,
    all open. Servers that share clients need the same ones. Without it: a random key in `LANDLINE_DATA_DIR` or the user's
    data folder, made once."""


class MonitorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page at `/monitor` and the state behind it."""

    enabled: bool = True
    """Whether there is such a page. It costs nothing while nobody looks at it."""
    content: bool = False
    """Also shows the first characters of messages. By default no content is kept for the page or shown."""


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How savings are counted: see [ledger.md](ledger.md)."""

    hop: Hop = "clients"
    """Which connection's uploads are compared with what clients without a session would have sent: `clients`, from clients
    to this server, or `upstreams`, from this server to its targets. The latter is for a server that runs beside its
    clients, as `landline sidecar` does."""


class PricesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tokens cost: see [prices.md](prices.md)."""

    file: Name | None = None
    """A price list of yours, relative to the file, in place of the published prices that come with Landline."""


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What Prometheus reads at `/metrics`: see [metrics.md](metrics.md)."""

    enabled: bool = True
    """Whether there is such a path."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    server: ServerSettings = ServerSettings()
    """Where the server listens and how it speaks."""
    limits: Limits = Limits()
    """What one connection may use."""
    store: StoreSettings = StoreSettings()
    """Where responses with `store: true` and conversations are kept."""
    sealing: SealingSettings = SealingSettings()
    """The keys of what clients keep for the server: compactions and encrypted reasoning."""
    background: BackgroundSettings = BackgroundSettings()
    """How many background responses there may be, and how long their events are kept."""
    prefixes: PrefixSettings = PrefixSettings()
    """How much history is remembered, to recognise clients that send theirs whole."""
    monitor: MonitorSettings = MonitorSettings()
    """The page that shows what Landline saves."""
    ledger: LedgerSettings = LedgerSettings()
    """How savings are counted."""
    prices: PricesSettings = PricesSettings()
    """What tokens cost."""
    metrics: MetricsSettings = MetricsSettings()
    """What Prometheus reads."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """What an OpenTelemetry collector is sent."""
    targets: dict[str, TargetSettings] = {}
    """Upstreams by a name of your choice (letters, digits, `_` and `-`)."""
    models: dict[str, ModelSettings] = {}
    """What clients ask for."""


class Upstream(msgspec.Struct, frozen=True):
    """One entry of a model's `targets`, taken apart."""

    target: str
    model: str | None
    """The model's name at the upstream; None: the name that the client asked for."""


def split_upstream(reference: str) -> Upstream:
    """Takes `"NAME"` or `"NAME:MODEL"` apart at the first colon (a model's name may hold others)."""
    target, colon, model = reference.partition(":")
    return Upstream(target, model if colon else None)
