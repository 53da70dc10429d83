"""What the ASGI edge needs from the rest of Landline."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from starlette.types import Scope

from landline.compression_budget import CompressionBudget
from landline.ledger import Ledger
from landline.metrics.families import MetricSources
from landline.monitor.feed import Feed
from landline.server.access import Access
from landline.server.drain import Drain
from landline.session.limits import Limits
from landline.stores.store import Store
from landline.turns.background import BackgroundTurns
from landline.turns.runner import TurnRunner
from landline.wire.item_memo import ItemMemo


def everybody(_: Scope) -> str:
    """One tenant for all: this version has no keys."""
    return ""


class ModelInfo(msgspec.Struct, frozen=True):
    """One row of `GET /v1/models`."""

    id: str
    created: int
    """Unix seconds."""
    owned_by: str
    object: Literal["model"] = "model"


class Edge(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The parts and switches that `create_asgi` is given."""

    runner: TurnRunner
    background: BackgroundTurns
    store: Store
    list_models: Callable[[], Sequence[ModelInfo]]
    list_troubles: Callable[[], Sequence[str]]
    """Why turns cannot start now, for people; empty when ready."""
    item_memo: ItemMemo
    """What clients have sent, by its bytes."""
    limits: Limits
    """`max_frame_bytes` also bounds HTTP bodies, before and after decompression."""
    drain: Drain
    new_id: Callable[[str], str]
    clock: Callable[[], float]
    """Unix seconds."""
    ledger: Ledger = msgspec.field(default_factory=Ledger)
    """What every turn costs is told to it when the turn is over."""
    is_socket_enabled: bool = True
    http_compression: CompressionBudget | None = None
    """The memory out of which HTTP answers are compressed; None: they are not."""
    monitor: Feed | None = None
    """What the monitor page shows; None: there is no such page."""
    continues_traces: bool = False
    """Whether the trace of a client's request is read, for the turn's span to be part of it."""
    metrics: MetricSources | None = None
    """What `/metrics` shows; None: there is no such path."""
    access: Access = msgspec.field(default_factory=Access)
    """Which hosts a request may name, and which pages of a browser may make one: those of loopback, and this server's own."""
    tenant_of: Callable[[Scope], str] = everybody
    """Whose request it is: nobody sees what another tenant stored."""
    sse_silence_s: float = 25.0
    """Silence after which a comment is sent on the stream of a background response, so that no proxy gives it up."""
