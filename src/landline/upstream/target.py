"""The port that every target implements, whatever stands behind it, and the reply that a turn reads from one."""

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from landline.dialects.dialect import Prompt
from landline.wire.errors import ApiError
from landline.wire.model_events import ModelEvent


class Traffic(msgspec.Struct, eq=False, gc=False):
    """What asking upstreams took so far. Bytes are those of the wire, inside of TLS."""

    requests: int = 0
    """Requests and frames that ask for an answer; a repetition counts again."""
    resends: int = 0
    """Of those: whole histories sent again over an upstream socket that had lost the conversation."""
    sent_bytes: int = 0
    received_bytes: int = 0

    def add(self, other: "Traffic") -> None:
        """Adds what another reply took."""
        self.requests += other.requests
        self.resends += other.resends
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes


class Reply(Protocol):
    """What a target answers to one prompt: `open` it once, `read` it to its end, and `close` it in any case.

    A batch is a piece of what has come: an answer that comes whole is passed on from its first words on, and holds up no
    other one. Batches hold model events in the order that `ModelEvent` documents; the last one of a whole reply ends in
    `Finished` or `Failed`. What goes wrong at the upstream is a `Failed`, never an exception. Whoever reads slowly slows
    the upstream down: nothing is read ahead beyond what the connection buffers.
    """

    @property
    def traffic(self) -> Traffic:
        """What it took so far; complete once the reply is closed."""
        ...

    @property
    def has_more(self) -> bool:
        """Whether the next `read` gives what is here already."""
        ...

    async def open(self) -> list[ModelEvent]:
        """Asks, and waits for the first that is said: a lone `Failed` if the target took nothing.

        Everything that the target tries again by itself is over by then. It may take minutes and cannot be resumed:
        cancelling it aborts the request.
        """
        ...

    async def read(self) -> list[ModelEvent]:
        """The next batch, waiting for it; [] once the reply is over. Cancelling it loses nothing: the next call goes on."""
        ...

    async def close(self) -> None:
        """Stops the upstream if it still writes, and frees what the reply holds. May be called twice."""
        ...


class Target(Protocol):
    """One upstream endpoint that can serve turns."""

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

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        """How many tokens the prompt has for this model, as its own tokenizer and template make them; never an estimate.

        If the model has to read the prompt for it, what that took is added to `traffic`.
        """
        ...

    def ask(self, prompt: Prompt) -> Reply:
        """The reply to one prompt; nothing is sent before it is opened.

        A warm-up (`prompt.request.is_warm_up`) generates nothing: usage if the target prefilled, then `Finished`.
        """
        ...


class KnownReply:
    """A reply that is known without asking: a refusal, or the end of a turn that generates nothing."""

    def __init__(self, *events: ModelEvent) -> None:
        self.traffic = Traffic()
        self.has_more = False
        self._events = list(events)

    async def open(self) -> list[ModelEvent]:
        return self._events

    async def read(self) -> list[ModelEvent]:
        return []

    async def close(self) -> None:
        return


async def batches_of(reply: Reply) -> AsyncGenerator[list[ModelEvent], None]:
    """Every batch of a reply, for whoever waits for it without a deadline. Closing the generator closes the reply."""
    try:
        batch = await reply.open()
        while batch:
            yield batch
            batch = await reply.read()
    finally:
        await reply.close()
