"""Replays a task against a Responses server, over one transport, as the agent that was recorded: one request a turn."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw

from landline.agent.answer import ModelAnswer, describe
from landline.agent.connection import Endpoint, Exchange, Transport, open_connection
from landline.agent.conversation import ConversationLog, RequestSettings, ToolChoiceWord, call_output, user_message
from landline.workload.task import Task


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """How a replay went."""

    turns: tuple[Exchange, ...]
    total_s: float
    """From before the connection is opened to the end of the last response."""
    failure: str | None
    """Why it ended early; None if it did not."""

    @property
    def transport(self) -> Transport | None:
        """That of the last turn."""
        return self.turns[-1].transport if self.turns else None


class AskingConnection(Protocol):
    """What a replay needs of a connection: `landline.agent`'s, or a lane of a socket that several replays share."""

    async def ask(
        self,
        conversation: ConversationLog,
        tool_choice: ToolChoiceWord,
        *,
        on_text: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Exchange:
        """Gets the response to the conversation as it stands and appends its items to it."""
        ...


def _ignore(_: Exchange) -> None:
    pass


async def replay_task(
    task: Task,
    endpoint: Endpoint,
    model: str,
    *,
    max_output_tokens: int | None = None,
    on_turn: Callable[[Exchange], None] = _ignore,
) -> Replay:
    """Runs the task to its end or its first failure, which is in the result; tools take no time.

    `http` sends the full history each turn, on a connection that is kept; `ws` sends only what is new, on one socket with
    permessage-deflate. A call gets the next recorded output. A real model may also answer without a call: then the output
    follows as the user's next message, so that both transports have the same number of turns and carry the same outputs.
    """
    started = time.perf_counter()
    async with open_connection(endpoint) as connection:
        return await replay_on(
            connection, task, model, max_output_tokens=max_output_tokens, on_turn=on_turn, started=started
        )


async def replay_on(
    connection: AskingConnection,
    task: Task,
    model: str,
    *,
    max_output_tokens: int | None = None,
    on_turn: Callable[[Exchange], None] = _ignore,
    started: float | None = None,
) -> Replay:
    """The same on a connection that is there already; `started` is when its time began (`time.perf_counter`), if not now."""
    began = time.perf_counter() if started is None else started
    conversation = ConversationLog(
        RequestSettings(model=model, tools=Raw(task.tools), max_output_tokens=max_output_tokens)
    )
    conversation.append(task.messages)
    turns, failure = await _take_turns(task, connection, conversation, on_turn)
    return Replay(turns=tuple(turns), total_s=time.perf_counter() - began, failure=failure)


async def _take_turns(
    task: Task, connection: AskingConnection, conversation: ConversationLog, on_turn: Callable[[Exchange], None]
) -> tuple[list[Exchange], str | None]:
    turns: list[Exchange] = []
    for number in range(task.turns):
        is_last = number == len(task.steps)
        exchange = await connection.ask(
            conversation, "none" if is_last else "required", on_text=_ignore_text, on_note=_ignore_text
        )
        turns.append(exchange)
        on_turn(exchange)
        if not isinstance(exchange.ending, ModelAnswer):
            return turns, describe(exchange.ending)
        if not is_last:
            conversation.append(_answers(exchange.ending, task.steps[number].output))
    return turns, None


def _answers(answer: ModelAnswer, output: str) -> list[bytes]:
    """The output for the model's call; of several calls in one turn, the others get an empty one."""
    if not answer.calls:
        return [user_message(output)]
    return [call_output(call.call_id, "" if index else output) for index, call in enumerate(answer.calls)]


def _ignore_text(_: str) -> None:
    pass
