"""Steering: user messages that are sent to a response while it runs (`response.steer`).

Rules: the steering guide and the types of openai 3.54.0. Every submission gets exactly one answer, accepted or failed. What
was accepted is then applied exactly once, by the `response.created` of a response that has it in its input, or is given
back exactly once by `response.steer.failed`; the loss of the connection is the only other end.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Raw, UnsetType

from landline.lru_dict import LruDict
from landline.session.create_bytes import measure_create
from landline.session.required_input import required_input
from landline.session.turn import AnswerSteer, Arrival, Command, CreateBytes, SendFrames, Turn, TurnEnded
from landline.wire.errors import ApiError
from landline.wire.events import (
    AcceptedSteer,
    FailedSteer,
    RequiredInput,
    ServerEvent,
    SteerAccepted,
    SteerAnswer,
    SteerFailed,
    SteerFailure,
    SteerPending,
    event_sequence,
)
from landline.wire.items import Item
from landline.wire.requests import NULL, CreateRequest, SteerRequest, decode_steer_input

MAX_PENDING_STEERS = 32
"""Accepted and not yet applied, for one response. A third-party acceptance suite has the 33rd refused."""
MAX_ENDED_RESPONSES = 1024
"""Ended responses that are still told from unknown ones. Our number."""
_OVERHEAD_BYTES = 512
"""What a steer costs beside its input."""
_EMPTY = Raw(b'""')


class Steer(msgspec.Struct, frozen=True, eq=False):
    """One accepted submission."""

    id: str
    input: Raw
    """As it was sent."""
    items: tuple[Item, ...]
    size_bytes: int


class TakenSteers(msgspec.Struct, frozen=True, eq=False):
    """The steers of one response, on their way into the response that continues it."""

    target: "_Target"
    steers: tuple[Steer, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """What they say, in the order of their submission."""
        return tuple(item for steer in self.steers for item in steer.items)


class Successor(msgspec.Struct, frozen=True, eq=False):
    """The create that the server makes itself when a steered response is over."""

    request: CreateRequest
    """The target's settings."""
    body: bytes | str
    """The create that they came in."""
    taken: TakenSteers
    arrival: Arrival
    """Of that create, as far as it is the successor's too."""


class _Target:
    """A response of this connection, as far as steers are concerned."""

    def __init__(self, turn: Turn, taken: TakenSteers | None) -> None:
        self.response_id = turn.response_id
        self.stream_id = turn.stream_id
        self.turn: Turn | None = turn
        """None once the response is over."""
        self.unsupported = _why_unsupported(turn)
        self.is_created = False
        self.is_cancelled = False
        self.next_number = 0
        """The number of the next event after the response's own; known once it is over."""
        self.taken = taken
        """The steers in its input; None once it is created, which commits them."""
        self.pending: list[Steer] = []
        self.unsaid: deque[int] = deque()
        """Sizes of the answers that its composer has still to number."""

    def number(self, event: SteerAnswer | SteerPending) -> ServerEvent:
        """The event, after all others of a response that is over."""
        self.next_number += 1
        return msgspec.structs.replace(event, sequence_number=self.next_number - 1, stream_id=self.stream_id)


class SteerBook:
    """All steers of one connection. Report every turn to it: `begin`, `progress`, then `end` or `refuse`."""

    def __init__(self, *, max_bytes: int, new_id: Callable[[str], str]) -> None:
        self._max_bytes = max_bytes
        self._new_id = new_id
        self._size_bytes = 0
        """Of everything pending or unsaid."""
        self._open: dict[str, _Target] = {}
        """Responses that run, or that wait for their client with steers pending."""
        self._ended: LruDict[str, _Target] = LruDict(MAX_ENDED_RESPONSES)
        """The others, the oldest first."""

    def begin(self, turn: Turn, taken: TakenSteers | None) -> None:
        """A turn starts, with these steers in its input."""
        self._open[turn.response_id] = _Target(turn, taken)

    def progress(self, response_id: str, events: Iterable[ServerEvent]) -> None:
        """Events of a running turn; the first of them create it."""
        target = self._open[response_id]
        target.is_created, target.taken = True, None
        if target.unsaid:
            for event in events:
                if isinstance(event, SteerAnswer):
                    self._size_bytes -= target.unsaid.popleft()

    def receive(self, request: SteerRequest, size_bytes: int, *, is_expired: bool) -> Command:
        """Answers a submission. `is_expired`: this connection begins no new work any more."""
        target_id = _text(request.previous_response_id) or ""
        target = self._open.get(target_id) or self._ended.peek(target_id)
        size_bytes += _OVERHEAD_BYTES
        items = _read_input(request)
        failure = items if isinstance(items, SteerFailure) else self._check(target_id, target, size_bytes, is_expired)
        raw = request.input if isinstance(request.input, Raw) else _EMPTY
        if target is None or isinstance(items, SteerFailure) or failure is not None:
            assert failure is not None
            answer = SteerFailed(sequence_number=0, error=failure, steer=FailedSteer(target_id, raw))
            return self._say(target, answer, size_bytes)
        steer = Steer(self._new_id("steer"), raw, items, size_bytes)
        target.pending.append(steer)
        self._size_bytes += size_bytes
        accepted = SteerAccepted(sequence_number=0, steer=AcceptedSteer(steer.id, target_id))
        return self._say(target, accepted, _OVERHEAD_BYTES)

    def cancel(self, response_id: str) -> None:
        """The client cancels a running response."""
        self._open[response_id].is_cancelled = True

    def end(self, update: TurnEnded, *, is_awaited: bool) -> tuple[Successor | None, list[Command]]:
        """A response ends: the successor that applies its steers, or what is said of them instead.

        `is_awaited`: a create of the client that continues the response waits already, and will take them along.
        """
        response_id = update.response.id
        self.progress(response_id, update.events)
        target = self._open[response_id]
        turn, target.turn = target.turn, None
        assert turn is not None
        target.next_number = event_sequence(update.events[-1])[0] + 1
        stubs = required_input(update.output) if target.pending else []
        if stubs and update.response.status == "completed" and not target.is_cancelled:
            return None, [] if is_awaited else [_tell_pending(target, stubs)]
        taken = self._take(target)
        if taken is None:
            return None, []
        reason = _why_no_successor(target, update, stubs)
        if reason is not None:
            return None, _give_back(taken, reason)
        return _succeed(turn, taken), []

    def take(self, response_id: str | None, stream_id: str | UnsetType) -> TakenSteers | None:
        """The steers that a create of that lane takes along when it continues that response."""
        target = self._open.get(response_id) if response_id is not None else None
        if target is None or target.turn is not None or target.stream_id != stream_id:
            return None
        return self._take(target)

    def refuse(self, response_id: str, error: ApiError) -> list[Command]:
        """A turn ends before it was created: what it took along is given back."""
        return give_back(self._open.pop(response_id).taken, error)

    def clear(self) -> None:
        """The connection is gone, and its steers with it."""
        self._open.clear()
        self._ended.clear()
        self._size_bytes = 0

    def _check(self, target_id: str, target: _Target | None, size_bytes: int, is_expired: bool) -> SteerFailure | None:
        """Why valid input cannot steer this response."""
        if target is None:
            message = f"Response {target_id!r} is not on this connection: steer one that it created."
            return SteerFailure("response_not_found", message)
        if target.turn is None:
            message = f"Response {target_id!r} is over: send the input in a `response.create`."
            return SteerFailure("response_already_completed", message)
        if target.unsupported is not None:
            return SteerFailure("steering_not_supported", target.unsupported)
        if not target.is_created or target.is_cancelled:
            state = "being cancelled" if target.is_cancelled else "not created yet"
            return SteerFailure("response_not_active", f"Response {target_id!r} is {state}.")
        if is_expired:
            message = "This connection reached its age limit: send the input in a `response.create` on a new one."
            return SteerFailure("response_not_active", message)
        if len(target.pending) >= MAX_PENDING_STEERS:
            message = f"{MAX_PENDING_STEERS} steers are pending for response {target_id!r}, and that is the limit."
            return SteerFailure("too_many_pending_steers", message)
        if self._size_bytes + size_bytes > self._max_bytes:
            message = f"Steers of {self._size_bytes} bytes are pending on this connection; {self._max_bytes} may be."
            return SteerFailure("too_many_pending_steers", message)
        return None

    def _say(self, target: _Target | None, answer: SteerAnswer, size_bytes: int) -> Command:
        """Puts the answer among its target's events, with a number of theirs; the number is 0 without a target.

        A client that sends and does not read gets no more numbers when too much is unsaid: answers pile up where the
        edge counts them.
        """
        if target is None or not target.is_created or self._size_bytes > 2 * self._max_bytes:
            return SendFrames([answer])
        if target.turn is None:
            return SendFrames([target.number(answer)])
        target.unsaid.append(size_bytes)
        self._size_bytes += size_bytes
        return AnswerSteer(target.response_id, answer)

    def _take(self, target: _Target) -> TakenSteers | None:
        """All that is pending for a response that is over; it then only counts as ended."""
        del self._open[target.response_id]
        self._ended.put(target.response_id, target)
        steers, target.pending = tuple(target.pending), []
        self._size_bytes -= sum(steer.size_bytes for steer in steers)
        return TakenSteers(target, steers) if steers else None


def give_back(taken: TakenSteers | None, error: ApiError) -> list[Command]:
    """What is said of steers whose response was refused before it was created."""
    return [] if taken is None else _give_back(taken, f"The response that continues it was refused: {error.message}")


def _give_back(taken: TakenSteers, reason: str) -> list[Command]:
    error = SteerFailure("successor_creation_failed", reason)
    target_id = taken.target.response_id
    return [
        SendFrames(
            [
                taken.target.number(
                    SteerFailed(sequence_number=0, error=error, steer=FailedSteer(target_id, steer.input, steer.id))
                )
                for steer in taken.steers
            ]
        )
    ]


def _succeed(turn: Turn, taken: TakenSteers) -> Successor:
    before = turn.arrival
    create = before.steered or measure_create(turn)
    steered = CreateBytes(settings=create.settings, comma=create.comma)
    arrival = msgspec.structs.replace(before, wire_bytes=0, started_at=0.0, steered=steered)
    request = msgspec.structs.replace(turn.request, input=NULL, previous_response_id=turn.response_id)
    return Successor(request, turn.body, taken, arrival)


def _tell_pending(target: _Target, stubs: list[RequiredInput]) -> Command:
    frames = [
        target.number(
            SteerPending(sequence_number=0, steer=AcceptedSteer(steer.id, target.response_id), required_input=stubs)
        )
        for steer in target.pending
    ]
    return SendFrames([*frames])


def _read_input(request: SteerRequest) -> tuple[Item, ...] | SteerFailure:
    if not isinstance(request.stream_id, UnsetType):
        return SteerFailure("invalid_input", "Leave `stream_id` out: the response that is steered has its lane.")
    if _text(request.previous_response_id) is None:
        return SteerFailure("invalid_input", "Expected `previous_response_id` to be the id of the response to steer.")
    if isinstance(request.input, UnsetType):
        return SteerFailure("invalid_input", "Expected `input`: a string or a non-empty array of user messages.")
    items = decode_steer_input(request.input)
    return SteerFailure("invalid_input", items.message) if isinstance(items, ApiError) else items


def _why_unsupported(turn: Turn) -> str | None:
    """The kinds of response that the steering guide excludes, and warm-ups, which have nothing to steer."""
    if turn.request.is_warm_up:
        return "A warm-up cannot be steered."
    if turn.conversation_id is not None:
        return "A response of a conversation cannot be steered."
    if turn.request.context_management:
        return "A response with `context_management` cannot be steered."
    return None


def _why_no_successor(target: _Target, update: TurnEnded, stubs: Sequence[RequiredInput]) -> str | None:
    if update.error is not None:
        return f"The response failed: {update.error.message}"
    if target.is_cancelled:
        return "The response was cancelled."
    if stubs:
        return "The response ended within a tool call."
    return None


def _text(raw: Raw | UnsetType) -> str | None:
    if not isinstance(raw, Raw) or bytes(raw)[:1] != b'"':
        return None
    return msgspec.json.decode(raw, type=str)
