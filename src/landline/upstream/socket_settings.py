"""The settings of a target that is reached over sockets, and where their numbers come from."""

from typing import Annotated

import msgspec

from landline.dialects.responses.flags import SocketFlags

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SocketSettings(SocketFlags, frozen=True, kw_only=True):
    """What the upstream allows on a socket, and how many are kept. The numbers are ours unless a line says otherwise."""

    max_sockets: Count = 64
    """Sockets open at once; turns that find all of them busy wait in order."""
    named_lanes: Count = 32
    """Distinct `stream_id`s in a socket's life. OpenAI's limit."""
    has_one_model: bool = False
    """Whether a socket serves only the model of its first response, as Vercel's does."""
    http_fallback_s: Seconds = 600.0
    """How long turns go over HTTP after the upstream refused to open a socket."""
    ping_s: Seconds = 20.0
    """From one ping to the next. A socket that nothing comes from for two of them is lost."""
