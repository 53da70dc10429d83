"""The session against a plain model of what the protocol promises, under any sequence of frames, updates and time."""

import itertools
import json
from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from landline.session.composer import Composer
from landline.session.limits import Limits
from landline.session.session import Session
from landline.session.turn import (
    CancelTurn,
    CloseSocket,
    SendFrames,
    StartTurn,
    StopTurn,
    Turn,
    TurnProgressed,
    TurnRefused,
)
from landline.wire.errors import api_error
from landline.wire.events import encode_event
from landline.wire.items import text_of, typed_item
from landline.wire.model_events import Failed, Finished, ModelEvent, TextDelta, ToolCallDelta, ToolCallStarted

LIMITS = Limits(
    max_in_flight=3, max_named_lanes=4, max_queued_turns=6, memory_bytes=1 << 30, max_age_s=1000, age_grace_s=100
)
LANES = [None, "a", "b", "c", "d", "e"]
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


class _Create:
    """What the reference knows of one create."""

    def __init__(self, number: int, lane: str | None, parent: str | None) -> None:
        self.number = number
        self.lane = lane
        self.parent = parent
        self.pinned: _Create | None = None
        """The parent, if it was another lane's and finished when the create came: its eviction is then too late."""
        self.response_id: str | None = None
        self.history: list[str] = []
        self.endings = 0


class SessionMachine(RuleBasedStateMachine):
    """Rules act as client, model and clock; every frame that leaves is checked as it leaves."""

    def __init__(self) -> None:
        super().__init__()
        ids = itertools.count()
        self.new_id = lambda prefix: f"{prefix}_{next(ids)}"
        self.now = 0.0
        self.session = Session(LIMITS, opened_at=0.0, new_id=self.new_id)
        self.numbers = itertools.count()
        self.pending: dict[str | None, deque[_Create]] = {}
        self.running: dict[str, tuple[Turn, Composer, _Create]] = {}
        self.finished: dict[str, _Create] = {}
        self.sequence: dict[str, int] = {}
        self.outputs: dict[str, list[str]] = {}
        self.named: set[str] = set()
        self.is_expired = False
        self.is_closed = False

    @rule(lane=st.sampled_from(LANES), data=st.data(), warm_up=st.booleans())
    def create(self, lane: str | None, data: st.DataObject, warm_up: bool) -> None:
        known = [None, "resp_unknown", *self.finished, *(t for t in self.running)]
        create = _Create(next(self.numbers), lane, data.draw(st.sampled_from(known)))
        parent = self.finished.get(create.parent or "")
        create.pinned = parent if parent is not None and parent.lane != lane else None
        frame: dict[str, Any] = {"type": "response.create", "model": "m", "input": f"in{create.number}", "stream": True}
        frame |= {"stream_id": lane} if lane is not None else {}
        frame |= {"previous_response_id": create.parent} if create.parent else {}
        frame |= {"generate": False} if warm_up else {}
        is_over_lanes = lane is not None and lane not in self.named and len(self.named) >= LIMITS.max_named_lanes
        waiting = sum(len(queue) for queue in self.pending.values()) - len(self.running)
        is_refused = self.is_closed or self.is_expired or is_over_lanes or waiting >= LIMITS.max_queued_turns
        if lane is not None and not is_over_lanes:
            self.named.add(lane)
        if is_refused:
            commands = self.session.receive_frame(json.dumps(frame), self.now)
            assert [type(command) for command in commands] == ([] if self.is_closed else [SendFrames])
            assert not commands or self._frames(commands)[0]["type"] == "error"
            return
        self.pending.setdefault(lane, deque()).append(create)
        self._carry_out(self.session.receive_frame(json.dumps(frame), self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kind=st.sampled_from(["text", "call"]))
    def progress(self, data: st.DataObject, kind: str) -> None:
        response_id = data.draw(st.sampled_from(sorted(self.running)))
        turn, composer, _ = self.running[response_id]
        if turn.request.is_warm_up or not turn.is_resolved:
            return
        events: list[ModelEvent] = [TextDelta(f"out{response_id}")]
        if kind == "call":
            index = next(self.numbers)
            events = [ToolCallStarted(index, f"call_{index}", "ls"), ToolCallDelta(index, "{}")]
        sent = [] if composer.is_announced else composer.open()
        self._carry_out(self.session.update_turn(response_id, TurnProgressed(sent + composer.feed(events)), self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["completed", "incomplete", "failed", "refused"]))
    def end(self, data: st.DataObject, how: str) -> None:
        response_id = data.draw(st.sampled_from(sorted(self.running)))
        turn, composer, create = self.running.pop(response_id)
        if not turn.is_resolved:
            update: Any = TurnRefused(api_error("previous_response_not_found", "not here either"))
        elif how == "refused" and not composer.is_announced:
            self._evict(create)
            update = TurnRefused(api_error("server_error", "no"))
        else:
            sent = [] if composer.is_announced else composer.open()
            closing = Failed(api_error("server_error", "no"))
            sent += composer.feed([Finished() if how != "failed" else closing])
            if how == "incomplete":
                composer.stop("cancelled")
            update = composer.close(self.now)
            update = replace(update, events=sent + update.events)
            if update.error is not None:
                self._evict(create)
            else:
                create.history = [text_of_item(item) for item in update.history.all_items()] if update.history else []
                self.finished[response_id] = create
        assert self.pending[create.lane].popleft() is create
        self.ending, was_closed = create, self.is_closed
        self._carry_out(self.session.update_turn(response_id, update, self.now))
        assert create.endings == (0 if was_closed else 1)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        response_id = data.draw(st.sampled_from([*sorted(self.running), "resp_unknown"]))
        frame = json.dumps({"type": "response.cancel", "response_id": response_id})
        expected = [StopTurn(response_id)] if response_id in self.running and not self.is_closed else []
        assert self.session.receive_frame(frame, self.now) == expected

    @rule(frame=st.sampled_from(["", "{", "[]", '{"type":"nope"}', '{"type":"response.create","stream_id":"é"}']))
    def bad_frame(self, frame: str) -> None:
        frames = self._frames(self.session.receive_frame(frame, self.now))
        assert [each["type"] for each in frames] == ([] if self.is_closed else ["error"])
        assert all(isinstance(each["status"], int) and each["error"]["code"] for each in frames)

    @rule(step=st.sampled_from([1.0, 400.0]))
    def pass_time(self, step: float) -> None:
        self.now += step
        commands = self.session.tick(self.now)
        if self.now >= LIMITS.max_age_s and not self.is_expired:
            self.is_expired = True
        self._carry_out(commands)

    @rule()
    @precondition(lambda self: not self.is_closed and len(self.finished) > 3)
    def close(self) -> None:
        commands = self.session.close()
        assert {command.response_id for command in commands if isinstance(command, CancelTurn)} == set(self.running)
        assert len(commands) == len(self.running)
        self.is_closed = True

    @invariant()
    def at_most_the_cap_is_in_flight(self) -> None:
        if not self.is_closed:
            assert len(self.running) <= LIMITS.max_in_flight
            heads = [queue[0] for queue in self.pending.values() if queue]
            idle = [create for create in heads if create.response_id is None]
            assert not idle or len(self.running) == LIMITS.max_in_flight

    def _carry_out(self, commands: list[Any]) -> None:
        """What the edge would do, with every promise checked on the way."""
        for command in commands:
            assert not self.is_closed
            match command:
                case StartTurn(turn):
                    self._start(turn)
                case SendFrames():
                    for frame in self._frames([command]):
                        self._check_frame(frame)
                case CloseSocket():
                    assert self.is_expired
                    self.is_closed = True
                case CancelTurn(response_id):
                    assert self.is_expired
                    self.running.pop(response_id)
                case _:
                    raise AssertionError(command)

    def _start(self, turn: Turn) -> None:
        lane = turn.stream_id if isinstance(turn.stream_id, str) else None
        create = self.pending[lane][0]
        assert create.response_id is None, "a lane never has two turns in flight"
        create.response_id = turn.response_id
        if not turn.is_resolved:
            assert create.parent not in self.finished
            self.running[turn.response_id] = (turn, Composer(turn, model="m", new_id=self.new_id), create)
            return
        parent = create.pinned or (self.finished[create.parent] if create.parent else None)
        expected = parent.history if parent is not None else []
        history = [text_of_item(item) for item in turn.history.all_items()] if turn.history else []
        assert history == [*expected, f"in{create.number}"]
        self.running[turn.response_id] = (turn, Composer(turn, model="m", new_id=self.new_id), create)

    def _check_frame(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            if frame["error"]["code"] == "websocket_connection_limit_reached":
                return
            create = self.ending if self._is_ending(frame) else self.pending[frame.get("stream_id")].popleft()
            create.endings += 1
            assert frame.get("stream_id") == create.lane
            assert create.response_id is not None
            return
        if frame["type"] == "response.created":
            self.current = frame["response"]["id"]
            self.sequence[self.current] = -1
        response_id = frame.get("response", {}).get("id") or self._owner(frame)
        self.sequence[response_id] += 1
        assert frame["sequence_number"] == self.sequence[response_id]
        if frame["type"] in TERMINAL:
            self.ending.endings += 1
            assert self.ending.response_id == response_id
            assert frame.get("stream_id") == self.ending.lane

    def _is_ending(self, frame: dict[str, Any]) -> bool:
        return frame["error"]["code"] in ("server_error", "previous_response_not_found")

    def _owner(self, frame: dict[str, Any]) -> str:
        """The response that the frame's lane is running, or has just ended."""
        lane = frame.get("stream_id")
        running = [rid for rid, (_, _, create) in self.running.items() if create.lane == lane]
        ending = getattr(self, "ending", None)
        return running[0] if running else ending.response_id

    def _evict(self, create: _Create) -> None:
        parent = self.finished.get(create.parent or "")
        if parent is not None and parent.lane == create.lane:
            del self.finished[create.parent or ""]

    def _frames(self, commands: list[Any]) -> list[dict[str, Any]]:
        return [json.loads(encode_event(frame)) for command in commands for frame in command.frames]


def text_of_item(item: Any) -> str:
    """A message's text, or a call's id."""
    value = typed_item(item)
    return item.call_id or text_of(getattr(value, "content", ""))


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
