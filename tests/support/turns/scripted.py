"""Turns that play a script instead of asking a model."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from landline.routing.router import Router
from landline.server.ids import new_id
from landline.session.turn import Turn, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.turns.running import RunningTurn
from landline.wire.errors import ApiError
from landline.wire.events import SteerAnswer

Script = Callable[[Turn], AsyncGenerator[TurnUpdate, None]]


class ScriptRunner(TurnRunner):
    """Plays one script for every turn and keeps what became of it."""

    def __init__(self, script: Script) -> None:
        super().__init__(Router({}), MemoryStore(), new_id=new_id, settings=RunnerSettings())
        self.script = script
        self.started: list[Turn] = []
        self.stopped: list[str] = []
        self.open_count = 0

    def start(self, turn: Turn) -> "ScriptedTurn":
        return ScriptedTurn(self, turn)

    def note_stopped(self, response_id: str) -> None:
        """A turn was asked to stop; scripts go on until they are aborted."""
        self.stopped.append(response_id)

    def note_given_up(self, response_id: str, error: ApiError) -> bool:
        """A turn was given up; whether it will end by itself."""
        return False

    def note_steered(self, response_id: str, answer: SteerAnswer) -> None:
        """A steer of a turn was answered."""

    def note_ended(self) -> None:
        """A turn's script is over, or was aborted."""


class ScriptedTurn(RunningTurn):
    """One turn of such a runner."""

    def __init__(self, runner: ScriptRunner, turn: Turn) -> None:
        super().__init__(turn, runner._parts)  # pyright: ignore[reportPrivateUsage]
        self._runner = runner

    def stop(self) -> None:
        self._runner.note_stopped(self.turn.response_id)

    def give_up(self, error: ApiError) -> bool:
        return self._runner.note_given_up(self.turn.response_id, error)

    def answer_steer(self, answer: SteerAnswer) -> None:
        self._runner.note_steered(self.turn.response_id, answer)

    async def _conduct(self) -> None:
        runner = self._runner
        runner.started.append(self.turn)
        runner.open_count += 1
        try:
            async with aclosing(runner.script(self.turn)) as updates:
                async for update in updates:
                    await self._say(update)
        finally:
            runner.open_count -= 1
            runner.note_ended()
