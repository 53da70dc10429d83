"""The targets of `landline.toml`, one class a dialect; the reference in docs/configuration.md is made from them."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from landline.dialects.anthropic.settings import AnthropicFlags
from landline.dialects.chat_completions.settings import ChatCompletionsFlags
from landline.dialects.gemini.settings import GeminiFlags
from landline.dialects.responses.request import ResponsesFlags
from landline.engine.settings import EngineSettings
from landline.upstream.http import BEARER_HEADER, READ_IDLE_S
from landline.upstream.socket_settings import SocketSettings

Name = Annotated[str, msgspec.Meta(min_length=1)]
Silence = Annotated[float, msgspec.Meta(gt=0)]


class EmbeddedTarget(
    EngineSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="embedded"
):
    """A model that runs on this machine, in a child process of Landline. Paths are relative to the file."""

    model: Name | None = None
    """A model of the catalogue, fetched once (`landline models` lists them). Not together with `gguf`."""
    gguf: Name | None = None
    """A GGUF file of yours."""


class ChatCompletionsTarget(
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
    """The vendor or server whose row in [profiles.md](profiles.md) gives what is left out here."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = BEARER_HEADER
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class AnthropicTarget(
    AnthropicFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="anthropic"
):
    """Anthropic's Messages API, and servers that speak it."""

    base_url: Name = "https://api.anthropic.com/v1"
    """The URL that `/messages` follows. Without a version, as Anthropic's own clients take it, `/v1` is added."""
    profile: Name | None = None
    """The vendor or server whose row in [profiles.md](profiles.md) gives what is left out here. `anthropic` if there is
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


class GeminiTarget(
    GeminiFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="gemini"
):
    """Google's Gemini API (`generateContent`), and servers that speak it."""

    base_url: Name = "https://generativelanguage.googleapis.com/v1beta"
    """The URL that `/models/…` follows. Without a version, as Google's own clients take it, `/v1beta` is added."""
    profile: Name | None = None
    """The vendor or server whose row in [profiles.md](profiles.md) gives what is left out here. `gemini` if there is no
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


class ResponsesTarget(
    ResponsesFlags, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="responses"
):
    """Any server that speaks Responses itself, over HTTP or its own WebSocket: OpenAI, xAI, Azure, another Landline …"""

    base_url: Name
    """The URL that `/responses` follows, as in `https://api.openai.com/v1`; the same for both transports."""
    transport: Literal["http", "websocket"] = "http"
    """`websocket` keeps a socket for each conversation and sends only what is new; `http` sends the whole history."""
    socket: SocketSettings = SocketSettings()
    """What the server's sockets allow, where `transport` is `websocket`: the table below."""
    profile: Name | None = None
    """The vendor or server whose row in [profiles.md](profiles.md) gives what is left out here."""
    api_key_env: Name | None = None
    """The environment variable that holds the key. The key itself is never written in the file."""
    key_header: Name = BEARER_HEADER
    """The header that carries the key: `Authorization` as `Bearer KEY`, any other the key alone."""
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Headers sent along with every request."""
    silence_s: Silence = READ_IDLE_S
    """How long nothing of an answer may come before the turn fails. Comments, pings and other keep-alives are nothing of
    it, so raise it for models that think for longer without a word."""


class ScriptedTarget(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="dialect", tag="scripted"
):
    """Plays a transcript instead of asking a model: for tests, demos and load."""

    transcript: Name
    """The transcript file, relative to the configuration."""


RemoteTarget = ChatCompletionsTarget | AnthropicTarget | GeminiTarget | ResponsesTarget
"""Targets that a URL names."""

TargetSettings = EmbeddedTarget | RemoteTarget | ScriptedTarget

_VERSION = re.compile(r"/v\d+[a-z0-9]*(/|$)")


def api_url(target: RemoteTarget) -> str:
    """The URL that the dialect's paths follow: with the API's version, which vendors' own clients add by themselves."""
    url = target.base_url.rstrip("/")
    if _VERSION.search(urlsplit(url).path):
        return url
    match target:
        case AnthropicTarget():
            return url + "/v1"
        case GeminiTarget():
            return url + "/v1beta"
        case ChatCompletionsTarget() | ResponsesTarget():
            return url
