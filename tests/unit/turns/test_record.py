"""What the store learns of a turn, through the runner: saved before announced, nothing of unstored turns."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Sequence

import msgspec

from landline.dialects.dialect import Prompt
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.session.admission import admit
from landline.session.lineage import Link
from landline.session.memory import Remembered
from landline.session.turn import Turn, TurnEnded, TurnRefused, TurnUpdate
from landline.stores.memory import MemoryStore
from landline.stores.store import Page, StoredConversation, StoreError
from landline.turns.parts import RunnerSettings
from landline.turns.runner import TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.errors import api_error
from landline.wire.events import event_sequence
from landline.wire.items import Item, decode_item
from landline.wire.model_events import Accepted, Failed, Finished, ModelEvent, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from landline.wire.responses import ResponseStatus
from support.turns.reply import replying, updates_of

_IDS = itertools.count()


def new_id(prefix: str) -> str:
    return f"{prefix}_{next(_IDS)}"


class EchoTarget:
    """Says how many items it was shown; refuses when told to."""

    name = "echo"

    compacts = False

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int:
        return 0

    @replying
    async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        if prompt.request.user == "refuse":
            yield [Failed(api_error("server_is_overloaded", "busy"))]
            return
        yield [Accepted(), TextDelta(str(prompt.history.item_count if prompt.history else 0)), Finished()]


class FullDiskStore(MemoryStore):
    """Begins responses and cannot finish them."""

    async def finish_response(
        self, tenant: str, response_id: str, *, status: ResponseStatus, body: bytes, output: Sequence[Item]
    ) -> None:
        raise StoreError("disk full")


def turn(*, parent: Remembered | None = None, **fields: object) -> Turn:
    request = decode_create(json.dumps({"model": "m", "input": "hi"} | fields))
    assert isinstance(request, CreateRequest)
    made = admit(request, response_id=new_id("resp"), now=1.0, parent=parent)
    assert isinstance(made, Turn)
    return made


async def run(store: MemoryStore, made: Turn) -> TurnUpdate:
    target: Target = EchoTarget()
    runner = TurnRunner(Router({"m": [Route(target, None)]}), store, new_id=new_id, settings=RunnerSettings())
    return [update async for update in updates_of(runner, made)][-1]


async def ended(store: MemoryStore, made: Turn) -> TurnEnded:
    update = await run(store, made)
    assert isinstance(update, TurnEnded), update
    return update


async def test_completed_turn_is_in_the_store_with_its_input_and_output() -> None:
    store = MemoryStore()
    end = await ended(store, turn())
    assert end.is_stored
    stored = await store.load_response("", end.response.id)
    assert stored is not None
    assert stored.body == msgspec.json.encode(end.response)
    page = await store.list_input("", end.response.id, Page())
    assert page is not None
    assert [item.role for item in page.items] == ["user"]
    assert all(item.id is not None and item.id in item.raw.decode() for item in page.items)


async def test_unstored_turn_never_comes_to_the_store() -> None:
    store = MemoryStore()
    end = await ended(store, turn(store=False))
    assert not end.is_stored
    assert await store.load_response("", end.response.id) is None


async def test_continuation_is_found_in_the_store() -> None:
    store = MemoryStore()
    first = await ended(store, turn())
    second = await ended(store, turn(previous_response_id=first.response.id))
    assert b'"3"' in second.output[0].raw
    third = await ended(store, turn(previous_response_id=second.response.id))
    assert b'"5"' in third.output[0].raw


async def test_unknown_parent_is_refused() -> None:
    update = await run(MemoryStore(), turn(previous_response_id="resp_nope"))
    assert isinstance(update, TurnRefused)
    assert update.error.code == "previous_response_not_found"


async def test_stored_turn_keeps_the_history_of_its_unstored_parent() -> None:
    store = MemoryStore()
    first = await ended(store, turn(store=False))
    parent = Remembered(first.response.id, first.history, None)
    second = await ended(store, turn(parent=parent, previous_response_id=first.response.id))
    third = await ended(store, turn(previous_response_id=second.response.id))
    assert b'"5"' in third.output[0].raw
    page = await store.list_input("", second.response.id, Page())
    assert page is not None
    assert len(page.items) == 1


async def test_parent_deleted_meanwhile_leaves_its_history_to_the_turn() -> None:
    store = MemoryStore()
    first = await ended(store, turn())
    await store.delete_response("", first.response.id)
    parent = Remembered(first.response.id, first.history, None, is_stored=True)
    second = await ended(store, turn(parent=parent, previous_response_id=first.response.id))
    third = await ended(store, turn(previous_response_id=second.response.id))
    assert b'"5"' in third.output[0].raw


async def test_turn_that_cannot_be_saved_is_not_announced_as_completed() -> None:
    end = await ended(FullDiskStore(), turn())
    assert not end.is_stored
    assert end.error is not None
    assert end.response.status == "failed"
    numbers = [event_sequence(event)[0] for event in end.events]
    assert numbers == list(range(len(numbers)))


async def test_refused_turn_leaves_no_trace_and_frees_its_conversation() -> None:
    store = MemoryStore()
    await store.create_conversation("", StoredConversation(conversation_id="conv_1", created_at=1.0, metadata={}), [])
    refused = turn(conversation="conv_1", user="refuse")
    assert isinstance(await run(store, refused), TurnRefused)
    assert await store.load_response("", refused.response_id) is None
    assert (await ended(store, turn(conversation="conv_1"))).is_stored


async def test_conversation_grows_by_input_and_output() -> None:
    store = MemoryStore()
    await store.create_conversation("", StoredConversation(conversation_id="conv_1", created_at=1.0, metadata={}), [])
    await ended(store, turn(conversation="conv_1"))
    second = await ended(store, turn(conversation={"id": "conv_1"}))
    assert b'"3"' in second.output[0].raw
    page = await store.list_conversation_items("", "conv_1", Page(order="asc"))
    assert page is not None
    assert [item.role for item in page.items] == ["user", "assistant", "user", "assistant"]


async def test_conversation_has_one_writer_at_a_time() -> None:
    store = MemoryStore()
    await store.create_conversation("", StoredConversation(conversation_id="conv_1", created_at=1.0, metadata={}), [])
    assert await store.lock_conversation("", "conv_1", "resp_other") == "locked"
    update = await run(store, turn(conversation="conv_1"))
    assert isinstance(update, TurnRefused)
    assert (update.error.code, update.error.status) == ("conversation_locked", 409)
    missing = await run(store, turn(conversation="conv_2"))
    assert isinstance(missing, TurnRefused)
    assert missing.error.status == 404


async def test_turn_that_loses_its_client_is_kept_as_incomplete() -> None:
    store = MemoryStore()

    class SlowTarget(EchoTarget):
        @replying
        async def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
            yield [Accepted(), TextDelta("half")]
            await asyncio.Event().wait()

    slow: Target = SlowTarget()
    runner = TurnRunner(Router({"m": [Route(slow, None)]}), store, new_id=new_id, settings=RunnerSettings())
    made = turn()
    updates = updates_of(runner, made)
    await anext(updates)
    await updates.aclose()
    stored = await store.load_response("", made.response_id)
    assert stored is not None
    assert stored.status == "incomplete"
    assert b"half" in stored.body


async def test_item_reference_is_replaced_by_the_stored_item() -> None:
    store = MemoryStore()
    first = await ended(store, turn())
    item_id = first.output[0].id
    second = turn(input=[{"type": "item_reference", "id": item_id}, {"role": "user", "content": "x"}])
    end = await ended(store, second)
    assert end.history is not None
    assert [item.role for item in end.history.all_items()] == ["assistant", "user", "assistant"]
    missing = await run(store, turn(input=[{"type": "item_reference", "id": "msg_nope"}]))
    assert isinstance(missing, TurnRefused)
    assert missing.error.param == "input[0].id"


def test_history_of_a_stored_parent_is_not_copied() -> None:
    link = Link(None, [decode_item(b'{"role":"user","content":"x"}')])
    made = turn(parent=Remembered("resp_0", link, None, is_stored=True), previous_response_id="resp_0")
    assert made.stored_parent_id == "resp_0"
