"""The settings of a target that is reached over sockets, and where their numbers come from."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SocketSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many sockets a target may keep, and what the upstream allows on one of them."""

    max_sockets: Count = 64
    """Sockets open at once; turns beyond them wait in order. Our number."""
    lanes: Count = 1
    """Responses that run at once on one socket, each on a `stream_id` of its own; 1 sends no `stream_id` at all. OpenAI has
    16 since 2026-08-13; Azure, xAI, Vercel and LocalAI have none (November 2026)."""
    named_lanes: Count = 32
    """Distinct `stream_id`s in a socket's life. OpenAI's limit."""
    max_age_s: Seconds = 3300.0
    """A socket of this age takes no more turns. OpenAI and Azure close at 60 minutes, xAI at 25, Vercel at about 13."""
    idle_close_s: Seconds = 600.0
    """A socket without a turn for so long is closed, and with it what the upstream remembers on it. Vercel closes at 300 s."""
    max_frame_bytes: Count = 16 * 1024 * 1024 - 1
    """The largest frame that is sent; larger requests go over HTTP. OpenAI's Codex backend closes at 16 MiB (measured
    2026-08-23), LocalAI takes 10 MiB, Vercel 4 MiB."""
    has_one_model: bool = False
    """Whether a socket serves only the model of its first response, as Vercel's does."""
    http_fallback_s: Seconds = 600.0
    """How long turns go over HTTP after the upstream refused to open a socket. Our number."""
    ping_s: Seconds = 20.0
    """From one ping to the next. A socket that nothing comes from for two of them is lost."""
