"""Which WebSocket subprotocol is chosen of those that a client offers.

Browsers fail a connection for which they offered subprotocols and none was chosen. They also can send no header of their
own, so some clients offer their key as one: the choice goes back as it came, and must not be that.
"""

import re
from collections.abc import Sequence

PREFERRED = ("responses", "realtime")
"""Chosen before others: names of what is spoken here, and of the API whose browser clients offer their key beside it."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~A-Za-z0-9-]+")
"""A token of RFC 9110, which is what RFC 6455 §4.1 allows."""
_SECRET = re.compile(r"(?i)(key|token|secret|bearer|authorization|organization|project)[.:=_-]|^(sk-|eyj)")
_LONG = 40
"""Names are shorter, most keys and tokens longer."""


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """One of those offered, or None if none is: a preferred one, else the first that carries no secret by its looks, else the
    first, because a browser that offers nothing but its key would get no connection at all."""
    names = [name for name in offered if _NAME.fullmatch(name)]
    preferred = [name for wanted in PREFERRED for name in names if name.lower() == wanted]
    plain = [name for name in names if len(name) <= _LONG and not _SECRET.search(name)]
    return next(iter([*preferred, *plain, *names]), None)
