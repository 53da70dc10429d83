"""What one turn costs, counted as it happens: one meter a turn, and every room on its way adds what it alone knows."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from landline.session.lineage import Link
from landline.wire.items import Item
from landline.wire.responses import ResponseStatus, Usage

Outcome = ResponseStatus | Literal["refused", "aborted"]
"""How a turn ended: its response's status; `refused` before anything was created, `aborted` when nobody listened any more."""
Transport = Literal["socket", "http", "background"]


class Meter(msgspec.Struct, eq=False, gc=False):
    """Counters of one turn. All bytes are whole numbers, all times seconds of one clock that only goes forward."""

    transport: Transport = "http"
    session_id: str = ""
    """The socket, or of an HTTP request the conversation that it is recognised as; "" if it is none."""
    request_id: str = ""
    """Of the request or the upgrade, as the client reads it in `x-request-id`."""
    client: str = ""
    """The `User-Agent` of the request, or of the socket's upgrade."""
    wire_in_bytes: int = 0
    """Of the request on the client's connection: after compression, with frame headers or HTTP's head."""
    wire_out_bytes: int = 0
    """Of everything that was written for the turn, likewise."""
    payload_in_bytes: int = 0
    """The create as JSON, after decompression."""
    payload_out_bytes: int = 0
    """Its events or its response object as JSON, before compression."""
    tools_bytes: int = 0
    """Of the create: `tools`."""
    instructions_bytes: int = 0
    """Of the create: `instructions`."""
    input_bytes: int = 0
    """Of the create: `input`."""
    input_excess_bytes: int = 0
    """Of `input`, on a socket: what the same client does without over HTTP, where it spells shorter."""
    settings_bytes: int = 0
    """Of the create: what a client without a session sends too, without `input`. A successor of a steered response has
    that of the create that was steered."""
    comma_bytes: int = 1
    """Between two items as this client writes JSON: 2 if it puts a space behind commas and colons."""
    known_input_bytes: int = 0
    """Of `input`: items that this server knew already, from the turns before."""
    history: Link | UnsetType | None = UNSET
    """As `Turn.history`; UNSET while it is not found. It is measured when nobody waits any more (`measure_turn`)."""
    own_items: int = 0
    """Of the history: how many items at its end the turn brought itself."""
    known_items: int = 0
    """Of a history that the turn brought whole: how many of its first items this server knew already."""
    stateless_bytes: int = 0
    """The body that a client without a session would have sent for the same turn: the whole conversation in its input."""
    upstream_out_bytes: int = 0
    """Bodies and frames sent to targets, all tries and passes together."""
    upstream_in_bytes: int = 0
    upstream_requests: int = 0
    """How often a target was asked: tries, passes of a compaction, quiet resends."""
    resends: int = 0
    """Quiet full resends over an upstream socket that had lost the conversation."""
    compactions: int = 0
    target: str = ""
    """The target that took the turn; "" if none did."""
    upstream_model: str = ""
    reason: str = ""
    """Why this target (`routing.choice.Reason`)."""
    affinity: str = "none"
    prefix_items: int = 0
    """Items of the lineage that were warm at the target."""
    tries: int = 0
    """Targets that were tried."""
    is_attached: bool = False
    """Whether the turn was taken over by a new connection after its own was cut."""
    trace_parent: str = ""
    """The client's `traceparent` (W3C Trace Context) as it came, of the request or of the socket's upgrade."""
    trace_state: str = ""
    """Its `tracestate`, likewise."""
    started_at: float = 0.0
    """When the create was read."""
    asked_at: float = 0.0
    """When the first target was asked; 0 if none was."""
    first_event_at: float = 0.0
    """When the model's first text, thought or call came; 0 if none did."""
    ended_at: float = 0.0
    """When its response was whole and saved, before the last of it was written."""
    outcome: Outcome = "aborted"
    error_code: str = ""
    error_status: int = 0
    """The HTTP status that goes with the code; 0 without an error."""
    incomplete_reason: str = ""
    """Of a response that is incomplete: `incomplete_details.reason`."""
    output: tuple[Item, ...] = ()
    """What the model wrote; like the history it is looked at when nobody waits any more."""
    usage: Usage | None = None
    """As the model's server reported it."""
