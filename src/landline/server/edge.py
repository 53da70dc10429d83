"""What the ASGI edge needs from the rest of Landline."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from landline.server.drain import Drain
from landline.session.limits import Limits
from landline.session.turn import Turn, TurnUpdate


class RunsTurns(Protocol):
    """The conductor of turns; closing the generator aborts the turn and its upstream request."""

    def run(self, turn: Turn) -> AsyncGenerator[TurnUpdate, None]: ...

    def stop(self, response_id: str) -> None:
        """Ends a running turn early: its last update says incomplete. An unknown id is ignored."""
        ...


class ModelInfo(msgspec.Struct, frozen=True):
    """One row of `GET /v1/models`."""

    id: str
    created: int
    """Unix seconds."""
    owned_by: str
    object: Literal["model"] = "model"


class Edge(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The parts and switches that `create_asgi` is given."""

    runner: RunsTurns
    list_models: Callable[[], Sequence[ModelInfo]]
    list_troubles: Callable[[], Sequence[str]]
    """Why turns cannot start now, for people; empty when ready."""
    limits: Limits
    """`max_frame_bytes` also bounds HTTP bodies, before and after decompression."""
    drain: Drain
    new_id: Callable[[str], str]
    clock: Callable[[], float]
    """Unix seconds."""
    is_socket_enabled: bool = True
