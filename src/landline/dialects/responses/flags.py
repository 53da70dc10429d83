"""What differs between servers that all say they speak Responses."""

from typing import Literal

import msgspec


class SocketFlags(msgspec.Struct, frozen=True, kw_only=True):
    """How a server's own WebSocket behaves. The defaults suit any server that has one; vendors differ (November 2026)."""

    lanes: int = 1
    """Turns in flight on one socket, each on a `stream_id` of its own: OpenAI 16. 1 sends no `stream_id` (Azure, xAI,
    Vercel, Open Responses)."""
    max_age_s: float = 55 * 60
    """How old a socket grows before its next turn gets a new one: OpenAI and Azure close at 60 minutes, xAI at 25, Vercel
    at 13."""
    max_idle_s: float = 5 * 60
    """How long a socket is kept without a turn; Vercel closes it after five minutes."""
    max_frame_bytes: int = 16 * 1024 * 1024 - 1
    """Larger requests go over HTTP: OpenAI refuses frames of 16 MiB, Vercel of 4 MiB, LocalAI of 10 MiB."""
    warm_up: Literal["pass", "skip"] = "pass"
    """Whether a warm-up (`generate: false`) is a frame to this server, or answered without one (Vercel, LocalAI)."""
    deltas: bool = True
    """Whether `previous_response_id` is used at all; if not, every turn sends the whole history (LocalAI without a store)."""
    instructions_with_previous: Literal["send", "omit"] = "send"
    """xAI refuses `instructions` beside `previous_response_id`: they hold for the chain there."""


class ResponsesFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit OpenAI and Azure."""

    store: Literal["pass", "never"] = "pass"
    """Whether the upstream is told to store as the client says, or `store: false` always."""
    compaction: Literal["upstream", "landline"] = "upstream"
    """Who compacts: the upstream, whose compactions only it can read, or Landline with the upstream's model."""
    foreign_reasoning: Literal["omit", "send"] = "omit"
    """Reasoning in plain text, or that another vendor signed, is left out; servers of open models and another Landline can
    use it. Reasoning that the upstream may have encrypted itself is always sent back as it came."""
    cache_key: bool = False
    """Whether a turn without `prompt_cache_key` gets one that names its conversation."""
    affinity_headers: tuple[str, ...] = ("X-Session-Id",)
    """Headers that tell a router in front of replicas which conversation this is."""
    socket: SocketFlags = SocketFlags()
    """For `transport = "websocket"`."""
