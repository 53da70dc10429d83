"""A turn and what is said about it: the values that cross between session, runner and edges."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from landline.session.lineage import Link
from landline.wire.errors import ApiError
from landline.wire.events import ErrorFrame, ServerEvent, SteerAnswer
from landline.wire.items import Item
from landline.wire.requests import CreateRequest
from landline.wire.responses import Response

Transport = Literal["socket", "http", "background"]


class CreateBytes(msgspec.Struct, frozen=True, gc=False):
    """A create as it came, in bytes of JSON after decompression. Made by `create_bytes.measure_create`."""

    payload: int = 0
    """All of it."""
    tools: int = 0
    """Of it: `tools`."""
    instructions: int = 0
    """Of it: `instructions`."""
    input: int = 0
    """Of it: `input`."""
    input_excess: int = 0
    """Of `input`, on a socket: what the same client does without over HTTP, where it spells shorter."""
    settings: int = 0
    """What a client without a session sends too, without `input`."""
    comma: int = 1
    """Between two items as this client writes JSON: 2 if it puts a space behind commas and colons."""


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """How a create came to this server."""

    transport: Transport = "http"
    session_id: str = ""
    """The socket; "" over HTTP."""
    request_id: str = ""
    """Of the request or the upgrade, as the client reads it in `x-request-id`."""
    client: str = ""
    """The `User-Agent` of the request, or of the socket's upgrade."""
    wire_bytes: int = 0
    """Of the create's message on a socket, as compressed and with its frame's header."""
    started_at: float = 0.0
    """When it was read, in seconds of a clock that only goes forward; 0 if no client sent it."""
    steered: CreateBytes | None = None
    """Of the successor of a steered response, which no client sent: the create that was steered."""


class StoredPrefix(msgspec.Struct, frozen=True):
    """The part of a history that a stored response holds."""

    response_id: str
    item_count: int
    """So many items of the history, its first, are in the store."""
    is_input: bool
    """Whether they end with the response's input; else with its output."""


class Turn(msgspec.Struct, frozen=True, eq=False):
    """One response to produce."""

    response_id: str
    request: CreateRequest
    history: Link | None
    """Everything the model must see, this turn's input included; None when there is no item at all."""
    created_at: float
    """Unix seconds."""
    items: tuple[Item, ...] = ()
    """The turn's own new input."""
    is_resolved: bool = True
    """False while the history is still to be found: the parent is not in memory, the turn belongs to a conversation, or
    an item refers to a stored one. `resolve` makes it True."""
    is_parent_found: bool = False
    """Of an unresolved turn: whether `history` already is its parent's, so that only its items are looked up."""
    is_compaction: bool = False
    """Whether the turn answers nothing: it ends in one compaction of its history."""
    stored_parent_id: str | None = None
    """The parent, if it is a stored response."""
    stored_prefix: StoredPrefix | None = None
    """Without a stored parent: what is known to be in the store of the history."""
    conversation_id: str | None = None
    stream_id: str | UnsetType = UNSET
    """The named lane; UNSET on the default lane and over HTTP."""
    tenant: str = ""
    """Whose turn it is; nothing crosses from one tenant to another."""
    affinity_key: str | None = None
    """Names the conversation to routers behind the target."""
    line_id: str | None = None
    """The client's connection, if it is one that stays: what its lanes have in common."""
    body: bytes | str = b""
    """The create as it came, for upstreams that are told what this version does not know."""
    arrival: Arrival = Arrival()


class TurnProgressed(msgspec.Struct, frozen=True):
    """More events of a running turn; never a terminal one."""

    events: list[ServerEvent]


class TurnRefused(msgspec.Struct, frozen=True):
    """The turn ended before its response was created: nothing was announced, the error is all there is."""

    error: ApiError


class TurnEnded(msgspec.Struct, frozen=True):
    """The turn ended after its response was created. The last event is the terminal one, or an answer to a steer that
    came while the turn was being saved."""

    events: list[ServerEvent]
    response: Response
    history: Link | None
    """The lineage that a continuation follows: the turn's history and its output."""
    output: tuple[Item, ...] = ()
    error: ApiError | None = None
    """Set when the response failed: the events end in `response.failed`."""
    is_stored: bool = False
    """Whether the response was saved, so that its id is known beyond the connection."""
    relayed: bytes | None = None
    """The response object of an upstream that speaks Responses, with members that this version does not know; `response`
    is what is understood of it."""

    @property
    def body(self) -> bytes:
        """The final response object, JSON."""
        return self.relayed if self.relayed is not None else msgspec.json.encode(self.response)


TurnUpdate = TurnProgressed | TurnRefused | TurnEnded
"""A turn is any number of `TurnProgressed`, then exactly one `TurnRefused` (nothing progressed) or `TurnEnded`."""


class SendFrames(msgspec.Struct, frozen=True):
    """Write these to the client, in order, in one go."""

    frames: list[ServerEvent | ErrorFrame]
    response_id: str = ""
    """The turn that they are all of; "" for what belongs to none."""


class StartTurn(msgspec.Struct, frozen=True):
    """Run the turn and report its updates to `Session.update_turn`."""

    turn: Turn


class StopTurn(msgspec.Struct, frozen=True):
    """End the turn early but properly: the runner stops the model and reports a `TurnEnded` that is incomplete."""

    response_id: str


class AnswerSteer(msgspec.Struct, frozen=True):
    """Say this among the events of a running, created turn, whose composer numbers it.

    An accepted steer ends the turn as `steered` at its next safe boundary.
    """

    response_id: str
    answer: SteerAnswer


class CancelTurn(msgspec.Struct, frozen=True):
    """Abort the turn: nobody waits for its end any more, later updates of it are ignored."""

    response_id: str


class CloseSocket(msgspec.Struct, frozen=True):
    """Close the connection after what was sent before."""

    code: int
    reason: str


Command = SendFrames | StartTurn | StopTurn | AnswerSteer | CancelTurn | CloseSocket
