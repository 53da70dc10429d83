"""A session with turns that a test drives by hand: what the socket and the runner do between them, without either."""

import itertools
import json
from typing import Any

from msgspec.structs import replace

from landline.session.composer import Composer
from landline.session.limits import Limits
from landline.session.session import Session
from landline.session.turn import (
    AnswerSteer,
    CancelTurn,
    CloseSocket,
    Command,
    SendFrames,
    StartTurn,
    StopTurn,
    Turn,
    TurnProgressed,
    TurnRefused,
)
from landline.wire.errors import api_error
from landline.wire.events import ServerEvent, encode_event
from landline.wire.model_events import Finished, ModelEvent, TextDelta, ToolCallStarted


class SteeredLine:
    """Frames in, frames out; `say`, `end` and `refuse` act as the model of a running turn."""

    def __init__(self, **limits: Any) -> None:
        ids = itertools.count()
        self.new_id = lambda prefix: f"{prefix}_{next(ids)}"
        self.session = Session(Limits(**limits), opened_at=0.0, new_id=self.new_id)
        self.now = 0.0
        self.frames: list[dict[str, Any]] = []
        """All that left and was not looked at."""
        self.turns: dict[str, Turn] = {}
        """Every turn that was started, the newest last."""
        self._composers: dict[str, Composer] = {}

    def create(self, **fields: object) -> str:
        """Sends a create that starts at once; its response's id."""
        before = len(self.turns)
        self.send(type="response.create", **({"model": "m", "input": "hi"} | fields))
        assert len(self.turns) == before + 1, self.frames
        return next(reversed(self.turns))

    def created(self, **fields: object) -> str:
        """The same, with its response announced."""
        response_id = self.create(**fields)
        self.say(response_id)
        self.frames.clear()
        return response_id

    def steer(self, target: str, input: object = "turn", **fields: object) -> dict[str, Any]:
        """Sends a steer; the frame that answers it."""
        before = len(self.frames)
        self.send(type="response.steer", previous_response_id=target, input=input, **fields)
        [answer] = [frame for frame in self.frames[before:] if frame["type"].startswith("response.steer")]
        return answer

    def send(self, **frame: object) -> None:
        self._carry_out(self.session.receive_frame(json.dumps(frame), self.now))

    def say(self, response_id: str, *events: ModelEvent) -> None:
        """The model says something."""
        composer = self._composers[response_id]
        sent = [] if composer.is_announced else composer.open()
        self._update(response_id, sent + composer.feed(events))

    def call(self, response_id: str, call_id: str) -> None:
        """The model calls a function."""
        self.say(response_id, ToolCallStarted(len(call_id), call_id, "look"))

    def end(self, response_id: str, *events: ModelEvent) -> None:
        """The model ends; by default it says a word first."""
        self.say(response_id, *(events or (TextDelta("ok"), Finished())))

    def refuse(self, response_id: str, code: str = "rate_limit_exceeded") -> None:
        """The target takes nothing of the turn."""
        del self._composers[response_id]
        self._carry_out(self.session.update_turn(response_id, TurnRefused(api_error(code, "no")), self.now))

    def take_frames(self, *types: str) -> list[dict[str, Any]]:
        """What left since the last look, by default all of it."""
        frames, self.frames = self.frames, []
        return [frame for frame in frames if not types or frame["type"] in types]

    def newest(self) -> Turn:
        return next(reversed(self.turns.values()))

    def _update(self, response_id: str, sent: list[ServerEvent]) -> None:
        composer = self._composers[response_id]
        if not composer.is_over:
            self._carry_out(self.session.update_turn(response_id, TurnProgressed(sent), self.now))
            return
        del self._composers[response_id]
        ended = composer.close(self.now)
        ended = replace(ended, events=sent + ended.events)
        self._carry_out(self.session.update_turn(response_id, ended, self.now))

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case SendFrames(frames):
                    self.frames += [json.loads(encode_event(frame)) for frame in frames]
                case StartTurn(turn):
                    self.turns[turn.response_id] = turn
                    self._composers[turn.response_id] = Composer(turn, model="m", new_id=self.new_id)
                case AnswerSteer(response_id, answer):
                    self._update(response_id, self._composers[response_id].answer_steers([answer]))
                case StopTurn(response_id):
                    self._composers[response_id].stop("cancelled")
                    self._update(response_id, [])
                case CancelTurn() | CloseSocket():
                    pass


def texts(turn: Turn) -> list[str]:
    """What the model of a turn is asked, each item as its text, its call or its output."""
    return [_text(json.loads(item.raw)) for item in turn.history.all_items()] if turn.history else []


def _text(item: dict[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", part["type"]) for part in content)
    return content or item["type"]
