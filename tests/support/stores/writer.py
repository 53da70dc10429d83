"""A process that writes into a store until it is killed, and reports before and after each turn on a pipe."""

import asyncio
from multiprocessing.connection import Connection

from landline.stores import make_store
from landline.stores.store import Store, StoredConversation
from support.stores.items import TENANT, body, message, new_response

WRITERS = 3


def write_until_killed(url: str, prefix: str, pipe: Connection) -> None:
    """Runs in the child. Turns are named PREFIX-WRITER-NUMBER; the last writer's are in a conversation."""
    asyncio.run(_write(url, prefix, pipe))


async def _write(url: str, prefix: str, pipe: Connection) -> None:
    store = make_store(url)
    await store.open()
    await asyncio.gather(
        *(_chain(store, f"{prefix}-{number}", pipe, number == WRITERS - 1) for number in range(WRITERS))
    )


async def _chain(store: Store, prefix: str, pipe: Connection, is_conversation: bool) -> None:
    parent: str | None = None
    if is_conversation:
        conversation = StoredConversation(conversation_id=prefix, created_at=0.0, metadata={})
        await store.create_conversation(TENANT, conversation, [])
    for number in range(1_000_000):
        name = f"{prefix}-{number}"
        if is_conversation:
            await store.lock_conversation(TENANT, prefix, name)
        pipe.send(("begins", name))
        await store.begin_response(new_response(name, parent=parent, conversation=prefix if is_conversation else None))
        await store.finish_response(
            TENANT, name, status="completed", body=body("completed"), output=[message(f"{name}.out")]
        )
        pipe.send(("finished", name))
        parent = None if is_conversation else name
