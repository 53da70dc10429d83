"""The first characters of items, for the monitor page. Only in use with `[monitor] content = true`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import chain

from landline.ledger.ledger import NEWEST_ITEMS_KEPT, Excerpt, Ledger
from landline.session.turn import Turn, TurnEnded, TurnUpdate
from landline.turns.runner import RunsTurns
from landline.wire.errors import ApiError
from landline.wire.events import SteerAnswer
from landline.wire.items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Item,
    Message,
    Reasoning,
    text_of,
    typed_item,
)

EXCERPT_CHARS = 160


class ExcerptRecorder:
    """Runs turns with another runner, and keeps excerpts of their items in their sessions."""

    def __init__(self, runner: RunsTurns, ledger: Ledger) -> None:
        self._runner = runner
        self._ledger = ledger

    async def run(self, turn: Turn) -> AsyncGenerator[TurnUpdate, None]:
        async with aclosing(self._runner.run(turn)) as updates:
            async for update in updates:
                if isinstance(update, TurnEnded) and turn.meter.session_id:
                    self._keep(turn, update)
                yield update

    async def count_tokens(self, turn: Turn) -> int | ApiError:
        return await self._runner.count_tokens(turn)

    def stop(self, response_id: str) -> None:
        self._runner.stop(response_id)

    def give_up(self, response_id: str, error: ApiError) -> bool:
        return self._runner.give_up(response_id, error)

    def answer_steer(self, response_id: str, answer: SteerAnswer) -> None:
        self._runner.answer_steer(response_id, answer)

    def _keep(self, turn: Turn, ended: TurnEnded) -> None:
        meter = turn.meter
        session = self._ledger.open_session(meter.session_id, meter.transport, turn.tenant, turn.created_at)
        new_items = turn.items[meter.known_items :]
        said = chain(new_items[-NEWEST_ITEMS_KEPT:], ended.output)
        session.newest_items.extend(excerpt(item) for item in said)
        self._ledger.note_change(session)


def excerpt(item: Item) -> Excerpt:
    """The item's role or kind, and its first characters."""
    match typed_item(item):
        case Message(role, content):
            kind, text = role, text_of(content)
        case FunctionCall(name=name, arguments=said) | CustomToolCall(name=name, input=said):
            kind, text = f"call of {name}", said
        case FunctionCallOutput(output=output) | CustomToolCallOutput(output=output):
            kind, text = "its output", text_of(output)
        case Reasoning(summary, content):
            kind, text = "reasoning", text_of(summary) or text_of(content or "")
        case _:
            kind, text = item.type, ""
    return Excerpt(kind, text if len(text) <= EXCERPT_CHARS else f"{text[:EXCERPT_CHARS]}…")
