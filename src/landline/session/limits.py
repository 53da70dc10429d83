"""The limits of one connection and where their numbers come from."""

from typing import Annotated

import msgspec

from landline.wire.requests import MIN_OUTPUT_TOKENS

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one socket may use. Defaults are OpenAI's published or measured ones unless a line says otherwise."""

    max_in_flight: Count = 16
    """Responses that run at once over all lanes; more are queued."""
    max_named_lanes: Count = 32
    """Distinct `stream_id`s for the connection's life; the default lane is not counted."""
    max_queued_turns: Count = 64
    """Creates waiting on one connection, then 429. Our number: OpenAI names none."""
    max_queued_bytes: Count = 64 * 1024 * 1024
    """Frame bytes of the creates that wait, and as many of steers that are not applied yet. Our number."""
    memory_bytes: Count = 64 * 1024 * 1024
    """JSON bytes of history that one connection may hold; the least recently used responses are forgotten first."""
    max_age_s: Seconds = 3600.0
    """New creates are refused after this age; 0 sets no limit."""
    age_grace_s: Seconds = 300.0
    """How long turns in flight may go on past the age limit before the socket is closed."""
    keepalive_s: Seconds = 25.0
    """Silence of a running turn after which a text keepalive is sent; 0 switches it off."""
    max_frame_bytes: Count = 128 * 1024 * 1024
    """Inflated size of one frame or HTTP body. Far above OpenAI's 16 MiB, because inline images and full
    histories come this way."""
    min_output_tokens: Count = MIN_OUTPUT_TOKENS
    """The least `max_output_tokens` that a request may name, over HTTP too. OpenAI's least; load generators ask for 1 in
    a warm-up."""
