"""The settings of a target that is reached over sockets, and where their numbers come from."""

from typing import Annotated

import msgspec

from landline.dialects.responses.flags import SocketFlags

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SocketSettings(SocketFlags, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the upstream allows on one of its sockets, and how many of them a target keeps."""

    max_sockets: Count = 64
    """Sockets open at once; turns beyond them wait in order. Our number."""
    named_lanes_per_socket: Count = 32
    """Distinct `stream_id`s in a socket's life. OpenAI's limit."""
    has_one_model_per_socket: bool = False
    """Whether a socket serves only the model of its first response, as Vercel's does."""
    http_fallback_s: Seconds = 600.0
    """How long turns go over HTTP after the upstream refused to open a socket. Our number."""
    socket_ping_s: Seconds = 20.0
    """From one ping to the next; a socket that does not answer within half of it is lost."""
