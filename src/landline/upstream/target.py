"""The port that every target implements, whatever stands behind it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from landline.dialects.dialect import Prompt
from landline.wire.errors import ApiError
from landline.wire.model_events import ModelEvent


class Target(Protocol):
    """One upstream endpoint that can serve turns.

    `stream` yields batches of model events, one batch a network read, in the order that `ModelEvent` documents; what goes
    wrong at the upstream is a `Failed` event, never an exception. Closing the generator aborts the upstream request.
    A warm-up (`prompt.request.is_warm_up`) generates nothing: usage if the target prefilled, then `Finished`.
    """

    name: str
    """The target's name in the configuration."""

    @property
    def compacts(self) -> bool:
        """Whether the upstream compacts conversations itself, and reads the compactions that it made."""
        ...

    async def open(self) -> None:
        """Makes the target ready (connections, a child process); called once before the first turn."""
        ...

    async def close(self) -> None:
        """Frees what `open` took; no turn is running any more."""
        ...

    def is_ready(self) -> bool:
        """Whether a turn can start now."""
        ...

    async def count_tokens(self, prompt: Prompt) -> int | ApiError:
        """How many tokens the prompt has for this model, as its own tokenizer and template make them; never an estimate."""
        ...

    def stream(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        """Runs one turn."""
        ...
