"""The shape of what watchers of the ledger get: of `/monitor/state`, of its events, and of one session's detail.

Bytes are whole numbers, times seconds, moments Unix seconds. "Uploaded" is what clients sent on the wire, or what the
server sent to the targets if that hop is measured; "stateless" is the size of the bodies that a client without a session
would have sent for the same turns.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from landline.ledger.entry import Hop, Outcome, Split, Tokens
from landline.ledger.ledger import Excerpt
from landline.routing.choice import Affinity, Reason
from landline.routing.health import State
from landline.session.turn import Transport

SessionState = Literal["running", "open", "idle", "ended"]
"""`running`: a turn is in flight. `open`: a socket without one. `idle`: a conversation over HTTP without one. `ended`: the
socket is closed."""
Sort = Literal["opened", "changed", "uploaded", "stateless", "saved", "turns", "failed"]
"""How sessions are ordered, the largest or newest first; sockets that ended come after all others."""
Shown = Literal["all", "live"]
PAGE_MAX = 200
"""Sessions at a time."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions a watcher wants to see, and in which order."""

    sessions: int = 50
    """How many, `PAGE_MAX` at most."""
    offset: int = 0
    sort: Sort = "opened"
    show: Shown = "all"
    """`live` leaves out the sockets that ended."""
    find: str = ""
    """Only sessions with this text, in any case, in their id, model, target or transport."""
    session: str = ""
    """The id of a session to look at closely."""


class CostSums(msgspec.Struct, frozen=True, kw_only=True):
    """Money, in US dollars, of turns whose model has a price."""

    priced_turns: int
    """Turns that have a price. Without any, there is nothing to show."""
    paid_usd: float
    cache_saved_usd: float
    """What the same tokens would have cost more without a cache; negative where writing to it cost more."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums since the process started."""

    uploaded_bytes: int
    stateless_bytes: int
    saved_bytes: int
    """Stateless minus uploaded; negative if more was sent than without Landline."""
    saved_s: float
    """What the timed turns saved by uploading less."""
    timed_turns: int
    """Turns whose connection was measured."""
    downloaded_bytes: int
    overhead_in_bytes: int
    """On the wire, but of no turn: handshakes and pings of closed sockets, all other requests. Not in `uploaded_bytes`."""
    overhead_out_bytes: int
    payload_bytes: int
    """Uploads before compression."""
    upstream_out_bytes: int
    upstream_in_bytes: int
    sent: Split
    """The bytes of `payload_bytes` by part."""
    unsaved: Split
    """The bytes of `stateless_bytes` by part."""
    turns: int
    failed_turns: int
    warm_turns: int
    """Turns of which the model's server reused something."""
    soft_turns: int
    """Turns that went where state was, by preference."""
    hard_turns: int
    """Turns that could go nowhere else."""
    resends: int
    running_turns: int
    open_lines: int
    tokens: Tokens
    cost: CostSums


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One socket, or one conversation over HTTP."""

    id: str
    transport: Transport
    state: SessionState
    opened_at: float
    last_at: float
    """When its last turn ended."""
    compression: str
    """What its socket has, in words; "" over HTTP."""
    lanes: int
    model: str
    """Of its last turn, as is `target`."""
    target: str
    turns: int
    failed_turns: int
    warm_turns: int
    running_turns: int
    uploaded_bytes: int
    stateless_bytes: int
    saved_bytes: int
    saved_s: float
    timed_turns: int
    downloaded_bytes: int
    overhead_in_bytes: int
    """Handshake, pings and the like; not in `uploaded_bytes`."""
    overhead_out_bytes: int
    tokens: Tokens
    cost: CostSums


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list of sessions."""

    known: int
    """Sessions that are remembered, ended ones among them."""
    matching: int
    """Those that the view asks for."""
    offset: int
    ids: list[str]
    """The page's sessions in order."""
    rows: list[SessionRow]
    """All of them in a snapshot; in a change only those that changed."""


class TargetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One target."""

    name: str
    state: State
    wait_s: int
    """Until it may be asked again; 0 when it may now."""
    in_flight: int
    turns: int
    failed_turns: int
    """Of `turns`: those that it took."""
    failures: Mapping[str, int]
    """Tries that it failed or refused, by error code; turns that another target took then, or none, among them."""
    warm_turns: int
    upstream_out_bytes: int
    upstream_in_bytes: int
    tokens: Tokens


class ChoiceRow(msgspec.Struct, frozen=True):
    """How many turns one target served for one reason."""

    target: str
    reason: Reason
    affinity: Affinity
    turns: int


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model, by the name that clients ask for."""

    name: str
    turns: int
    failed_turns: int
    warm_turns: int
    uploaded_bytes: int
    stateless_bytes: int
    saved_bytes: int
    tokens: Tokens
    cost: CostSums


class LaneRow(msgspec.Struct, frozen=True, kw_only=True):
    """One lane of a session."""

    name: str
    """"" is the default lane."""
    turns: int
    failed_turns: int
    uploaded_bytes: int
    stateless_bytes: int


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    number: int
    """Counted from 1 in its session."""
    response_id: str
    lane: str
    model: str
    target: str
    reason: str
    affinity: str
    outcome: Outcome
    error_code: str
    is_warm_up: bool
    tries: int
    resends: int
    compactions: int
    created_at: float
    uploaded_bytes: int
    payload_bytes: int
    stateless_bytes: int
    downloaded_bytes: int
    tokens: Tokens
    cost: CostSums
    queued_s: float | None
    first_event_s: float | None
    total_s: float
    saved_s: float | None
    """None if its connection was not measured."""


class SessionDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One session, looked at closely."""

    row: SessionRow
    payload_bytes: int
    sent: Split
    unsaved: Split
    lanes: list[LaneRow]
    turns: list[TurnRow]
    """The newest ones, the oldest of them first; in a change only those that are new."""
    newest_items: list[Excerpt] = []
    """How its newest items begin; only with `[monitor] content = true`."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

    at: float
    started_at: float
    version: str
    hop: Hop
    """Where the uploaded bytes are counted."""
    totals: Totals
    sessions: SessionPage
    targets: list[TargetRow]
    choices: list[ChoiceRow]
    models: list[ModelRow]
    session: SessionDetail | None = None
    """The one that the view names; None if there is none of its id."""


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changed since the last event; members that are left out are unchanged."""

    at: float
    totals: Totals | None = None
    sessions: SessionPage | None = None
    targets: list[TargetRow] | None = None
    choices: list[ChoiceRow] | None = None
    models: list[ModelRow] | None = None
    session: SessionDetail | None = None
    """Of the session that is watched."""
