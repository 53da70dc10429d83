"""Turns asked of a target and composed as the runner does it, one conversation at a time."""

import itertools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from landline.dialects.dialect import Prompt
from landline.session.composer import Composer
from landline.session.lineage import Link, extend
from landline.session.turn import Turn, TurnEnded
from landline.upstream.target import Target, batches_of
from landline.wire.errors import ApiError
from landline.wire.items import decode_item
from landline.wire.model_events import Failed, ModelEvent
from support.conversations.chat import create, message

Object = dict[str, Any]
_NUMBERS = itertools.count(1)


class Told(msgspec.Struct):
    """What came of one turn."""

    batches: list[list[ModelEvent]]
    ended: TurnEnded | None = None
    error: ApiError | None = None
    """Of a turn that was refused, or failed after it began."""

    @property
    def output(self) -> list[Object]:
        return [json.loads(item.raw) for item in self.ended.output] if self.ended is not None else []


class Conversation:
    """A client's lane: each turn follows the one before, unless it is told otherwise."""

    def __init__(
        self,
        target: Target,
        *,
        tenant: str = "tenant",
        line_id: str | None = "line",
        lane: str = "",
        history: Link | None = None,
        **fields: Any,
    ) -> None:
        self.target = target
        self.tenant = tenant
        self.line_id = line_id
        self.lane = lane
        self.history = history
        self.fields = {"store": False, **fields}

    def fork(self, lane: str) -> "Conversation":
        """Another lane of the same client that goes on from here."""
        return Conversation(
            self.target, tenant=self.tenant, line_id=self.line_id, lane=lane, history=self.history, **self.fields
        )

    def turn(self, items: str | Sequence[Object] = (), **fields: Any) -> Turn:
        """The turn that says this next."""
        given = [message("user", items)] if isinstance(items, str) else items
        decoded = tuple(decode_item(json.dumps(item).encode()) for item in given)
        body: Object = {"model": "m", **self.fields, **fields}
        return Turn(
            response_id=f"resp_ours_{next(_NUMBERS)}",
            request=create(**body),
            history=extend(self.history, decoded),
            created_at=0.0,
            items=decoded,
            tenant=self.tenant,
            line_id=self.line_id,
            affinity_key=f"{self.line_id}.{self.lane}" if self.line_id is not None else None,
            body=json.dumps(body),
        )

    def stream(self, turn: Turn) -> AsyncGenerator[list[ModelEvent], None]:
        return batches_of(self.target.ask(prompt_of(turn)))

    async def ask(self, items: str | Sequence[Object] = (), **fields: Any) -> Told:
        """Runs a turn to its end and goes on from there."""
        turn = self.turn(items, **fields)
        composer = Composer(turn, model="m", new_id=lambda prefix: f"{prefix}_{next(_NUMBERS)}")
        told = Told([])
        async with aclosing(self.stream(turn)) as batches:
            async for batch in batches:
                told.batches.append(batch)
                if not composer.is_announced:
                    if isinstance(batch[0], Failed):
                        told.error = batch[0].error
                        return told
                    composer.open(batch)
                composer.feed(batch)
        told.ended = composer.close(0.0)
        told.error = told.ended.error
        if told.error is None:
            self.history = told.ended.history
        return told


def prompt_of(turn: Turn) -> Prompt:
    """What the turn asks of a model."""
    return Prompt(
        history=turn.history.shown if turn.history is not None else None,
        request=turn.request,
        model=turn.request.model or "m",
        response_id=turn.response_id,
        affinity_key=turn.affinity_key,
        tenant=turn.tenant,
        line_id=turn.line_id,
        body=turn.body,
    )
