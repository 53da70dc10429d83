"""One WebSocket connection's state: frames in, commands out. No clock, no sockets: `now` and ids come in.

Rules: Responses guide, WebSocket mode (lanes, connection-local state, warm-up, limits); Open Responses 2026-04-24.
Every `response.create` has exactly one ending: an error frame if nothing was created, else a terminal event.
"""

import math
import re
from collections.abc import Callable
from typing import assert_never

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.session.admission import CreateOrigin, admit
from landline.session.lane import Lane, LaneBook, WaitingCreate
from landline.session.limits import Limits
from landline.session.memory import Remembered, ResponseMemory
from landline.session.steering import SteerBook, Successor, TakenSteers, give_back
from landline.session.turn import (
    Arrival,
    CancelTurn,
    CloseSocket,
    Command,
    SendFrames,
    StartTurn,
    StopTurn,
    Turn,
    TurnEnded,
    TurnProgressed,
    TurnRefused,
    TurnUpdate,
)
from landline.wire.errors import CLOSE_GOING_AWAY, ApiError, api_error
from landline.wire.events import error_frame
from landline.wire.item_memo import KnownItems
from landline.wire.requests import STREAM_ID_PATTERN, CreateRequest, SteerRequest, decode_create, unreadable_error

_STREAM_ID = re.compile(STREAM_ID_PATTERN)
_UNCOUNTED = Arrival(transport="socket")
"""Of frames that no connection counts."""


class _FrameHead(msgspec.Struct):
    """What is read of a frame that is not a well-formed create."""

    type: Raw | UnsetType = UNSET
    stream_id: Raw | UnsetType = UNSET
    response_id: Raw | UnsetType = UNSET
    previous_response_id: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET


_HEAD_DECODER: msgspec.json.Decoder[_FrameHead] = msgspec.json.Decoder(_FrameHead)


class Session:
    """The state machine of one connection.

    `receive_frame` takes every text or binary message, `update_turn` every update of a turn that a `StartTurn` asked for,
    `tick` the passing of time (call it at `deadline`), `close` the loss of the socket. After `close` or a `CloseSocket`
    command nothing is sent any more.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        opened_at: float,
        new_id: Callable[[str], str],
        tenant: str = "",
        known_items: KnownItems | None = None,
        on_fault: Callable[[], ApiError] | None = None,
    ) -> None:
        """`known_items` are those that the tenant has sent. `on_fault` is called in the handler of an exception that making a turn raised, for the error of that one create:
        commands for other turns are on their way with it."""
        self._limits = limits
        self._new_id = new_id
        self._tenant = tenant
        self._known_items = known_items
        self._on_fault = on_fault
        self._expires_at = opened_at + limits.max_age_s if limits.max_age_s else math.inf
        self.line_id = new_id("line")
        """Names the connection."""
        self._lanes = LaneBook(max_in_flight=limits.max_in_flight, max_named=limits.max_named_lanes)
        self._memory = ResponseMemory(limits.memory_bytes)
        self._steering = SteerBook(max_bytes=limits.max_queued_bytes, new_id=new_id)
        self._parents: dict[str, str] = {}
        """Response in flight → the id it continues."""
        self._server_made: set[str] = set()
        """Responses in flight that no create asked for: the successors of steered ones."""
        self._is_expired = False
        self._is_closed = False

    @property
    def deadline(self) -> float:
        """When `tick` has something to do next, in the unit of `now`; infinity for never."""
        return self._expires_at + (self._limits.age_grace_s if self._is_expired else 0.0)

    @property
    def memory_bytes(self) -> int:
        """JSON bytes of history held for this connection."""
        return self._memory.size_bytes

    def receive_frame(  # noqa: PLR0911 - a table of frames
        self, data: str | bytes, now: float, arrival: Arrival = _UNCOUNTED
    ) -> list[Command]:
        """Reads one message of the client; a wrong one is answered, never fatal to the socket.

        `arrival` tells how it came; a turn that the message asks for takes it on.
        """
        if self._is_closed:
            return []
        request = decode_create(data, min_output_tokens=self._limits.min_output_tokens)
        if isinstance(request, CreateRequest) and request.type == "response.create":
            create = WaitingCreate(request, request.previous_response_id, body=data, arrival=arrival)
            return self._receive_create(create, request.stream_id, now)
        try:
            head = _HEAD_DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            unreadable = unreadable_error(data) or api_error(
                "invalid_json", f"Expected one JSON object a frame: {error}."
            )
            return _send_error(unreadable)
        match _text(head.type):
            case "response.create":
                parent_id = _text(head.previous_response_id)
                create = WaitingCreate(request, parent_id, body=data, arrival=arrival)
                return self._receive_create(create, head.stream_id, now)
            case _ if isinstance(request, ApiError) and (unreadable := unreadable_error(data)) is not None:
                return _send_error(unreadable, stream_id=_text(head.stream_id) or UNSET)
            case "response.cancel":
                return self._receive_cancel(_text(head.response_id))
            case "response.steer":
                request = SteerRequest(head.previous_response_id, head.input, head.stream_id)
                return [self._steering.receive(request, len(data), is_expired=self._is_expired)]
            case "response.processed":
                return []
            case kind:
                return _send_error(_unknown_event(kind), stream_id=_text(head.stream_id) or UNSET)

    def update_turn(self, response_id: str, update: TurnUpdate, now: float) -> list[Command]:
        """Takes a turn's update; what it ends is remembered before its terminal event is sent."""
        lane = self._lanes.lane_of(response_id)
        if self._is_closed or lane is None:
            return []
        match update:
            case TurnProgressed(events):
                self._steering.progress(response_id, events)
                return [SendFrames(list(events), response_id)]
            case TurnRefused(error):
                commands = self._refuse_turn(lane, response_id, error)
            case TurnEnded():
                commands = self._end_turn(lane, response_id, update, now)
            case _:
                assert_never(update)
        return commands + self._start_ready(now) + self._close_if_spent()

    def tick(self, now: float) -> list[Command]:
        """Age limit: at it new creates are refused and an idle socket is closed; after the grace so is a busy one.

        Clients lose a run when their socket is closed in the middle of a response, so what is in flight may end first.
        """
        if self._is_closed or now < self.deadline:
            return []
        if not self._is_expired:
            self._is_expired = True
            return self._close_if_spent()
        cancelled: list[Command] = [CancelTurn(response_id) for response_id in self._lanes.running_ids()]
        return cancelled + self._close_expired()

    def close(self) -> list[Command]:
        """The socket is gone: everything in flight is aborted, everything remembered forgotten."""
        self._is_closed = True
        self._memory.clear()
        self._steering.clear()
        return [CancelTurn(response_id) for response_id in self._lanes.running_ids()]

    def _receive_create(self, create: WaitingCreate, stream_id: Raw | UnsetType, now: float) -> list[Command]:
        lane = self._open_lane(stream_id)
        if isinstance(lane, ApiError):
            is_lane_known = lane.code == "websocket_stream_limit_reached"
            return _send_error(lane, stream_id=(_text(stream_id) or UNSET) if is_lane_known else UNSET)
        if self._is_expired:
            return _send_error(self._age_error())
        if self._is_queue_full(len(create.body)):
            waiting = f"{self._lanes.waiting_count} creates ({self._lanes.waiting_bytes} bytes) are waiting"
            error = api_error("rate_limit_exceeded", f"Too many queued responses on this connection: {waiting}.")
            return _send_error(error, stream_id=_lane_stamp(lane))
        parent = self._memory.find(create.parent_id) if create.parent_id is not None else None
        self._lanes.enqueue(lane, msgspec.structs.replace(create, parent=parent))
        return self._start_ready(now)

    def _open_lane(self, stream_id: Raw | UnsetType) -> Lane | ApiError:
        lane_id = _text(stream_id)
        is_named = isinstance(stream_id, Raw) and bytes(stream_id) != b"null"
        if is_named and (lane_id is None or not _STREAM_ID.match(lane_id)):
            return _invalid_stream_id()
        lane = self._lanes.open(lane_id)
        return lane if lane is not None else self._lane_limit_error()

    def _start_ready(self, now: float) -> list[Command]:
        """Starts or refuses every create that may start now, in the order in which lanes became ready."""
        commands: list[Command] = []
        while (ready := self._lanes.take_ready()) is not None:
            lane, create = ready
            taken = self._steering.take(create.parent_id, _lane_stamp(lane)) if create.may_take_steers else None
            turn = self._admit(lane, create, taken, now)
            if isinstance(turn, ApiError):
                self._lanes.skip(lane)
                self._evict_parent(lane, create.parent_id)
                commands += _send_error(turn, stream_id=_lane_stamp(lane))
                commands += give_back(taken, turn)
                continue
            self._lanes.start(lane, turn.response_id)
            commands.append(self._begin(turn, taken))
        return commands

    def _begin(self, turn: Turn, taken: TakenSteers | None) -> Command:
        if turn.request.previous_response_id is not None:
            self._parents[turn.response_id] = turn.request.previous_response_id
        self._steering.begin(turn, taken)
        return StartTurn(turn)

    def _admit(self, lane: Lane, create: WaitingCreate, taken: TakenSteers | None, now: float) -> Turn | ApiError:
        request = create.request
        if isinstance(request, ApiError):
            return request
        parent = create.parent
        if request.previous_response_id is not None and (parent is None or parent.lane_id == lane.lane_id):
            # Looked up again: the lane's own earlier turn may have made the parent, or evicted it, since.
            parent = self._memory.find(request.previous_response_id)
        if request.background is True:
            message = "`background` is not for sockets: create background responses over HTTP."
            return api_error("unsupported_parameter", message, param="background")
        create = msgspec.structs.replace(create, request=request, parent=parent)
        return self._make_turn(lane, create, taken, now)

    def _make_turn(self, lane: Lane, create: WaitingCreate, taken: TakenSteers | None, now: float) -> Turn | ApiError:
        if isinstance(create.request, ApiError):
            return create.request
        try:
            return admit(
                create.request,
                response_id=self._new_id("resp"),
                now=now,
                parent=create.parent,
                steered=taken.items if taken is not None else (),
                origin=CreateOrigin(
                    tenant=self._tenant,
                    stream_id=_lane_stamp(lane),
                    affinity_key=f"{self.line_id}.{lane.lane_id or ''}",
                    line_id=self.line_id,
                    body=create.body,
                    arrival=create.arrival,
                    known_items=self._known_items,
                ),
            )
        except Exception:
            if self._on_fault is None:
                raise
            return self._on_fault()

    def _refuse_turn(self, lane: Lane, response_id: str, error: ApiError) -> list[Command]:
        """A turn that was never created. Nobody asked for a server-made one: only its steers are given back."""
        self._lanes.finish(response_id)
        parent_id = self._parents.pop(response_id, None)
        given_back = self._steering.refuse(response_id, error)
        if response_id in self._server_made:
            self._server_made.discard(response_id)
            return given_back
        self._evict_parent(lane, parent_id)
        return _send_error(error, stream_id=_lane_stamp(lane), response_id=response_id) + given_back

    def _end_turn(self, lane: Lane, response_id: str, update: TurnEnded, now: float) -> list[Command]:
        self._server_made.discard(response_id)
        parent_id = self._parents.pop(response_id, None)
        finished = Remembered(response_id, update.history, lane.lane_id, is_stored=update.is_stored)
        if update.error is None:
            self._memory.remember(finished)
        else:
            self._evict_parent(lane, parent_id)
        is_awaited = any(create.parent_id == response_id and create.may_take_steers for create in lane.waiting)
        successor, said = self._steering.end(update, is_awaited=is_awaited)
        if successor is not None:
            said += self._start_successor(lane, finished, successor, now)
        else:
            self._lanes.finish(response_id)
        return [SendFrames(list(update.events), response_id), *said]

    def _start_successor(self, lane: Lane, target: Remembered, successor: Successor, now: float) -> list[Command]:
        """The server's own continuation of a steered response, in its place on the lane."""
        create = WaitingCreate(
            successor.request, target.response_id, parent=target, body=successor.body, arrival=successor.arrival
        )
        turn = self._make_turn(lane, create, successor.taken, now)
        if isinstance(turn, ApiError):
            self._lanes.finish(target.response_id)
            return give_back(successor.taken, turn)
        self._lanes.hand_over(target.response_id, turn.response_id)
        self._server_made.add(turn.response_id)
        return [self._begin(turn, successor.taken)]

    def _evict_parent(self, lane: Lane, parent_id: str | None) -> None:
        """A failed continuation evicts its parent if the same lane made it; a failed fork leaves it to its lane."""
        parent = self._memory.find(parent_id) if parent_id is not None else None
        if parent is not None and parent.lane_id == lane.lane_id:
            self._memory.forget(parent.response_id)

    def _receive_cancel(self, response_id: str | None) -> list[Command]:
        """`response.cancel` is in no published type, but clients send it; an unknown or finished id is ignored."""
        if response_id is None or self._lanes.lane_of(response_id) is None:
            return []
        self._steering.cancel(response_id)
        return [StopTurn(response_id)]

    def _is_queue_full(self, size_bytes: int) -> bool:
        if not self._lanes.waiting_count:
            return False
        is_full = self._lanes.waiting_count >= self._limits.max_queued_turns
        return is_full or self._lanes.waiting_bytes + size_bytes > self._limits.max_queued_bytes

    def _close_if_spent(self) -> list[Command]:
        return self._close_expired() if self._is_expired and self._lanes.is_idle() else []

    def _close_expired(self) -> list[Command]:
        self._is_closed = True
        self._memory.clear()
        self._steering.clear()
        reason = "connection age limit"
        return [*_send_error(self._age_error()), CloseSocket(CLOSE_GOING_AWAY, reason)]

    def _age_error(self) -> ApiError:
        minutes = self._limits.max_age_s / 60
        return api_error(
            "websocket_connection_limit_reached",
            f"Responses websocket connection limit reached ({minutes:g} minutes). "
            "Create a new websocket connection to continue.",
        )

    def _lane_limit_error(self) -> ApiError:
        return api_error(
            "websocket_stream_limit_reached",
            "This WebSocket connection has reached its maximum number of distinct stream IDs "
            f"({self._limits.max_named_lanes}). Reuse an existing stream_id or open a new WebSocket connection.",
            param="stream_id",
        )


def _send_error(error: ApiError, *, stream_id: str | UnsetType = UNSET, response_id: str = "") -> list[Command]:
    return [SendFrames([error_frame(error, stream_id=stream_id)], response_id)]


def _lane_stamp(lane: Lane) -> str | UnsetType:
    return UNSET if lane.lane_id is None else lane.lane_id


def _text(raw: Raw | UnsetType) -> str | None:
    """The field if it is a string, else None."""
    if not isinstance(raw, Raw) or bytes(raw)[:1] != b'"':
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except UnicodeError:
        return None


def _invalid_stream_id() -> ApiError:
    return api_error(
        "invalid_stream_id",
        "The 'stream_id' field must be a non-empty string with at most 256 characters and may only contain letters, "
        "numbers, underscores, hyphens, and periods.",
        param="stream_id",
    )


def _unknown_event(kind: str | None) -> ApiError:
    expected = "`response.create`, `response.cancel` or `response.steer`"
    came = "none" if kind is None else f"{kind!r}"
    return api_error("invalid_event_type", f"Expected `type` to be {expected}; got {came}.", param="type")
