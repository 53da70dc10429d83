"""A process that writes into a store until it is killed, and reports before and after each turn on a pipe.

Every third turn is saved whole, the others by their beginning and their end.
"""

import asyncio
from multiprocessing.connection import Connection

import msgspec

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
        new = new_response(name, parent=parent, conversation=prefix if is_conversation else None)
        output = [message(f"{name}.out")]
        if number % 3 == 2:
            await store.save_response(msgspec.structs.replace(new, status="completed", body=body("completed")), output)
        else:
            await store.begin_response(new)
            await store.finish_response(TENANT, name, status="completed", body=body("completed"), output=output)
        pipe.send(("finished", name))
        parent = None if is_conversation else name
