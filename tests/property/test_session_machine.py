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
    AnswerSteer,
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
from landline.wire.events import ServerEvent, SteerAccepted, SteerAnswer, encode_event
from landline.wire.items import text_of, typed_item
from landline.wire.model_events import Failed, Finished, ModelEvent, TextDelta, ToolCallDelta, ToolCallStarted

LIMITS = Limits(
    max_in_flight=3, max_named_lanes=4, max_queued_turns=6, memory_bytes=1 << 30, max_age_s=1000, age_grace_s=100
)
LANES = [None, "a", "b", "c", "d", "e"]
ONE_IN_SIX = [False] * 5 + [True]
KINDS = ["steer", "steer", "steer", "call", "call", "text", "text", "queue", "cancel"]
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
        self.is_warm_up = False
        self.is_server_made = False
        self.taken: list[_Steer] = []
        """The steers in its input, until it is created."""


class _Steer:
    """What the reference knows of one accepted steer."""

    def __init__(self, steer_id: str, text: str) -> None:
        self.id = steer_id
        self.text = text
        self.is_told = False
        self.outcome: str | None = None


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
        self.steers: dict[str, list[_Steer]] = {}
        """Response → the steers that are accepted for it and not taken."""
        self.all_steers: dict[str, _Steer] = {}
        self.unsaid: dict[str, list[SteerAnswer]] = {}
        """Running response → answers to steers that its composer has still to number."""
        self.cancelled: set[str] = set()
        self.lanes: dict[str, str | None] = {}
        """Created response → its lane."""
        self.ended: set[str] = set()
        self.steered: _Create | None = None
        """The response that has just ended and whose successor must start now."""
        self.named: set[str] = set()
        self.is_expired = False
        self.is_closed = False

    @rule(lane=st.sampled_from(LANES), data=st.data(), warm_up=st.sampled_from(ONE_IN_SIX))
    def create(self, lane: str | None, data: st.DataObject, warm_up: bool) -> None:
        known = [None, *self.finished, *self.running, None, *self.finished, *self.running, "resp_unknown"]
        waiting = [target for target in self.steers if target in self.ended]
        chosen = data.draw(st.sampled_from(waiting * 3 + known))
        if chosen in waiting and data.draw(st.booleans()):
            lane = self.lanes[chosen or ""]
        create = _Create(next(self.numbers), lane, chosen)
        self._create(create, lane, warm_up=warm_up)

    def _create(self, create: _Create, lane: str | None, *, warm_up: bool) -> None:
        parent = self.finished.get(create.parent or "")
        create.pinned = parent if parent is not None and parent.lane != lane else None
        frame: dict[str, Any] = {"type": "response.create", "model": "m", "input": f"in{create.number}", "stream": True}
        frame |= {"stream_id": lane} if lane is not None else {}
        frame |= {"previous_response_id": create.parent} if create.parent else {}
        frame |= {"generate": False} if warm_up else {}
        create.is_warm_up = warm_up
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
        self._progress(response_id, kind)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=6))
    def steer_while_it_speaks(self, data: st.DataObject, kinds: list[str]) -> None:
        """Steers come between what the model says, others of its lane come too, and perhaps it ends."""
        response_id = data.draw(st.sampled_from(sorted(self.running)))
        self._announce(response_id)
        for kind in kinds:
            if response_id not in self.running:
                break
            if kind == "steer":
                self._steer(response_id, is_bad=False)
            elif kind == "queue":
                lane = self.running[response_id][2].lane
                self._create(_Create(next(self.numbers), lane, response_id), lane, warm_up=data.draw(st.booleans()))
            elif kind == "cancel":
                self._cancel(response_id)
            else:
                self._progress(response_id, kind)
        how = data.draw(st.sampled_from([None, "completed", "completed", "incomplete", "failed"]))
        if response_id in self.running and how is not None:
            self._end(response_id, how, is_late=data.draw(st.booleans()))

    def _progress(self, response_id: str, kind: str) -> None:
        turn, composer, _ = self.running[response_id]
        if turn.request.is_warm_up or not turn.is_resolved:
            return
        events: list[ModelEvent] = [TextDelta(f"out{response_id}")]
        if kind == "call":
            index = next(self.numbers)
            events = [ToolCallStarted(index, f"call_{index}", "ls"), ToolCallDelta(index, "{}")]
        sent = [] if composer.is_announced else composer.open()
        sent += composer.feed(events) + composer.answer_steers(self.unsaid.pop(response_id, []))
        if composer.is_over:
            self._end_created(response_id, sent, late=[])
        else:
            self._carry_out(self.session.update_turn(response_id, TurnProgressed(sent), self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["completed", "incomplete", "failed", "refused"]), is_late=st.booleans())
    def end(self, data: st.DataObject, how: str, is_late: bool) -> None:
        self._end(data.draw(st.sampled_from(sorted(self.running))), how, is_late=is_late)

    def _end(self, response_id: str, how: str, *, is_late: bool) -> None:
        turn, composer, create = self.running[response_id]
        if not turn.is_resolved or (how == "refused" and not composer.is_announced):
            code = "server_error" if turn.is_resolved else "previous_response_not_found"
            self._refuse(response_id, create, TurnRefused(api_error(code, "no")))
            return
        sent = [] if composer.is_announced else composer.open()
        sent += composer.feed([Finished() if how != "failed" else Failed(api_error("server_error", "no"))])
        if how == "incomplete":
            composer.stop("cancelled")
        answers = self.unsaid.pop(response_id, [])
        if not is_late:
            sent += composer.answer_steers(answers)
        self._end_created(response_id, sent, late=answers if is_late else [])

    @rule(data=st.data(), is_bad=st.sampled_from(ONE_IN_SIX))
    def steer(self, data: st.DataObject, is_bad: bool) -> None:
        """Sends a steer, most often to a response that runs and was created."""
        known = [*sorted(self.running) * 4, *sorted(self.ended), "resp_unknown"]
        target = data.draw(st.sampled_from(known))
        if target in self.running and not data.draw(st.sampled_from(ONE_IN_SIX)):
            self._announce(target)
        self._steer(target, is_bad=is_bad)

    def _steer(self, target: str, *, is_bad: bool) -> None:
        text = f"steer{next(self.numbers)}"
        expected = "invalid_input" if is_bad else self._why_not_steered(target)
        content = {"role": "system" if is_bad else "user", "content": text}
        frame = {"type": "response.steer", "previous_response_id": target, "input": [content]}
        commands = self.session.receive_frame(json.dumps(frame), self.now)
        assert [type(command) for command in commands] == (
            [] if self.is_closed else [AnswerSteer if self._is_created(target) else SendFrames]
        )
        if not self.is_closed:
            [said] = [each for each in commands if isinstance(each, AnswerSteer | SendFrames)]
            answer = said.answer if isinstance(said, AnswerSteer) else said.frames[0]
            self._note_answer(answer, target, text, expected)
        self._carry_out(commands)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._cancel(data.draw(st.sampled_from([*sorted(self.running), "resp_unknown"])))

    def _cancel(self, response_id: str) -> None:
        frame = json.dumps({"type": "response.cancel", "response_id": response_id})
        expected = [StopTurn(response_id)] if response_id in self.running and not self.is_closed else []
        if expected:
            self.cancelled.add(response_id)
        assert self.session.receive_frame(frame, self.now) == expected

    @rule(frame=st.sampled_from(["", "{", "[]", '{"type":"nope"}', '{"type":"response.create","stream_id":"é"}']))
    def bad_frame(self, frame: str) -> None:
        frames = self._frames(self.session.receive_frame(frame, self.now))
        assert [each["type"] for each in frames] == ([] if self.is_closed else ["error"])
        assert all(isinstance(each["status"], int) and each["error"]["code"] for each in frames)

    @rule(step=st.sampled_from([1.0] * 9 + [400.0]))
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

    @invariant()
    def every_accepted_steer_is_somewhere(self) -> None:
        if self.is_closed:
            return
        held = {steer.id for steers in self.steers.values() for steer in steers}
        taken = {steer.id for _, _, create in self.running.values() for steer in create.taken}
        assert not held & taken
        assert held | taken == {steer.id for steer in self.all_steers.values() if steer.outcome is None}

    def _announce(self, response_id: str) -> None:
        turn, composer, _ = self.running[response_id]
        if turn.is_resolved and not composer.is_announced:
            self._carry_out(self.session.update_turn(response_id, TurnProgressed(composer.open()), self.now))

    def _is_created(self, response_id: str) -> bool:
        return response_id in self.running and self.running[response_id][1].is_announced

    def _why_not_steered(self, target: str) -> str | None:
        if target in self.running:
            turn, composer, _ = self.running[target]
            if turn.request.is_warm_up:
                return "steering_not_supported"
            is_active = composer.is_announced and target not in self.cancelled and not self.is_expired
            return None if is_active else "response_not_active"
        return "response_already_completed" if target in self.ended else "response_not_found"

    def _note_answer(self, answer: Any, target: str, text: str, expected: str | None) -> None:
        """The answer is what the rules say; the reference keeps what was accepted."""
        if isinstance(answer, SteerAccepted):
            assert expected is None
            assert answer.steer.id not in self.all_steers
            steer = self.all_steers[answer.steer.id] = _Steer(answer.steer.id, text)
            self.steers.setdefault(target, []).append(steer)
        else:
            assert answer.error.code == expected

    def _refuse(self, response_id: str, create: _Create, update: TurnRefused) -> None:
        """The turn ends before it is created."""
        del self.running[response_id]
        if not create.is_server_made:
            self._evict(create)
        assert self.pending[create.lane].popleft() is create
        self.ending, was_closed = create, self.is_closed
        taken, create.taken = create.taken, []
        self._carry_out(self.session.update_turn(response_id, update, self.now))
        assert create.endings == (0 if was_closed or create.is_server_made else 1)
        assert was_closed or all(steer.outcome == "failed" for steer in taken)

    def _end_created(self, response_id: str, sent: list[ServerEvent], *, late: list[SteerAnswer]) -> None:
        """The turn ends after it was created; `late` answers come after its terminal event."""
        _, composer, create = self.running.pop(response_id)
        update = composer.close(self.now)
        update = replace(update, events=sent + update.events + composer.answer_steers(late))
        if update.error is not None:
            self._evict(create)
        else:
            create.history = [text_of_item(item) for item in update.history.all_items()] if update.history else []
            self.finished[response_id] = create
        self.ended.add(response_id)
        assert self.pending[create.lane].popleft() is create
        self.ending, was_closed = create, self.is_closed
        steers = self.steers.pop(response_id, [])
        is_waiting = update.response.status == "completed" and any(
            item.type == "function_call" for item in update.output
        )
        is_refused = update.error is not None or response_id in self.cancelled
        is_cut = not is_waiting and any(item.type == "function_call" for item in update.output)
        is_awaited = any(each.parent == response_id and not each.is_warm_up for each in self.pending[create.lane])
        if steers and not is_refused and is_waiting:
            self.steers[response_id] = steers
        elif steers and not is_refused and not is_cut and not was_closed:
            self.steered, create.taken = create, steers
        self._carry_out(self.session.update_turn(response_id, update, self.now))
        if was_closed:
            return
        assert create.endings == 1
        assert self.steered is None, "the successor of a steered response starts at once"
        if is_refused or is_cut:
            assert all(steer.outcome == "failed" for steer in steers)
        assert all(steer.is_told == (is_waiting and not is_refused and not is_awaited) for steer in steers)

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
                case AnswerSteer(response_id, answer):
                    self.unsaid.setdefault(response_id, []).append(answer)
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
        if self.steered is not None:
            self._start_successor(turn, lane, self.steered)
            return
        create = self.pending[lane][0]
        assert create.response_id is None, "a lane never has two turns in flight"
        create.response_id = turn.response_id
        waiting = create.parent in self.steers and create.parent in self.ended and not create.is_warm_up
        if waiting and create.parent is not None and self.lanes[create.parent] == lane:
            create.taken = self.steers.pop(create.parent)
        assert [text_of_item(item) for item in turn.items[:-1]] == [steer.text for steer in create.taken]
        if not turn.is_resolved:
            assert create.parent not in self.finished
            self.running[turn.response_id] = (turn, Composer(turn, model="m", new_id=self.new_id), create)
            return
        parent = create.pinned or (self.finished[create.parent] if create.parent else None)
        expected = parent.history if parent is not None else []
        history = [text_of_item(item) for item in turn.history.all_items()] if turn.history else []
        assert history == [*expected, *(steer.text for steer in create.taken), f"in{create.number}"]
        self.running[turn.response_id] = (turn, Composer(turn, model="m", new_id=self.new_id), create)

    def _start_successor(self, turn: Turn, lane: str | None, target: _Create) -> None:
        """The server's own create: the target's settings, its history and the steers in order, at the lane's head."""
        self.steered = None
        create = _Create(next(self.numbers), target.lane, target.response_id)
        create.is_server_made, create.response_id = True, turn.response_id
        create.taken, target.taken = target.taken, []
        assert lane == target.lane
        assert all(each.response_id is None for each in self.pending[lane])
        assert turn.is_resolved
        assert turn.history is not None
        assert turn.request.previous_response_id == target.response_id
        assert turn.request.model == "m"
        texts = [text_of_item(item) for item in turn.history.all_items()]
        assert texts == [*target.history, *(steer.text for steer in create.taken)]
        self.pending[lane].appendleft(create)
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
        if "steer" in frame and not self._note_steer(frame):
            return
        if frame["type"] == "response.created":
            self.current = frame["response"]["id"]
            self.sequence[self.current] = -1
            self.lanes[self.current] = frame.get("stream_id")
            self._commit(self.current)
        response_id = frame.get("response", {}).get("id") or self._target(frame) or self._owner(frame)
        self.sequence[response_id] += 1
        assert frame["sequence_number"] == self.sequence[response_id]
        if frame["type"] in TERMINAL:
            self.ending.endings += 1
            assert self.ending.response_id == response_id
            assert frame.get("stream_id") == self.ending.lane

    def _target(self, frame: dict[str, Any]) -> str | None:
        return frame["steer"]["previous_response_id"] if "steer" in frame else None

    def _note_steer(self, frame: dict[str, Any]) -> bool:
        """Checks what is said of a steer against the reference; whether it has a number of its target's."""
        steer_id, target = frame["steer"].get("id"), frame["steer"]["previous_response_id"]
        if target in self.lanes:
            assert frame.get("stream_id") == self.lanes[target]
        steer = self.all_steers.get(steer_id or "")
        match frame["type"]:
            case "response.steer.accepted":
                assert steer is not None
                assert not steer.is_told
            case "response.steer.pending":
                assert steer is not None
                assert not steer.is_told, "pending is told once"
                assert [each["type"] for each in frame["required_input"]]
                steer.is_told = True
            case _ if steer is not None:
                assert steer.outcome is None, "an accepted steer ends once"
                assert frame["error"]["code"] == "successor_creation_failed"
                assert frame["steer"]["input"] == [{"role": "user", "content": steer.text}]
                steer.outcome = "failed"
            case _:
                assert steer_id is None
        if target not in self.lanes:
            assert frame["sequence_number"] == 0
        return target in self.lanes

    def _commit(self, response_id: str) -> None:
        """A response is created: the steers in its input are applied."""
        creates = [self.ending] if hasattr(self, "ending") else []
        creates += [create for _, _, create in self.running.values()]
        [create] = {create for create in creates if create.response_id == response_id}
        for steer in create.taken:
            assert steer.outcome is None
            steer.outcome = "applied"
        create.taken = []

    def _is_ending(self, frame: dict[str, Any]) -> bool:
        return frame["error"]["code"] in ("server_error", "previous_response_not_found")

    def _owner(self, frame: dict[str, Any]) -> str:
        """The response that the frame's lane is running, or has just ended."""
        lane = frame.get("stream_id")
        running = [rid for rid, (_, _, create) in self.running.items() if create.lane == lane]
        ending: Any = getattr(self, "ending", None)
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
TestSessionMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
