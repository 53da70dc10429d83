import asyncio

import pytest
from starlette.types import Message

from landline.server import outbox as outbox_module
from landline.server.outbox import BATCH_BYTES, HIGH_WATER_BYTES, TEXT_FRAMES, Outbox

BIG = b"x" * (HIGH_WATER_BYTES + 1)


class Client:
    """An ASGI `send` that can stand still, as for a client that does not read."""

    def __init__(self, *, is_reading: bool = True) -> None:
        self.messages: list[dict[str, object]] = []
        self.reads = asyncio.Event()
        self.is_waited_for = asyncio.Event()
        self._changed = asyncio.Event()
        if is_reading:
            self.reads.set()

    async def send(self, message: Message) -> None:
        self.is_waited_for.set()
        await self.reads.wait()
        self.messages.append(dict(message))
        self._changed.set()

    async def receive(self, count: int) -> list[object]:
        """The texts, once so many messages have come."""
        async with asyncio.timeout(5):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.texts

    @property
    def texts(self) -> list[object]:
        return [message.get("text") for message in self.messages]


async def test_flush_writes_at_once_and_in_order():
    client = Client()
    outbox = Outbox(client.send)
    outbox.put([b"1", "zwei ü".encode()])
    outbox.put([b"3"])
    await outbox.flush()
    assert client.texts == ["1", "zwei ü", "3"]


async def test_flush_later_does_not_wait_for_a_slow_client():
    client = Client(is_reading=False)
    outbox = Outbox(client.send)
    outbox.put([b"1"])
    outbox.flush_later()
    outbox.put([b"2"])
    outbox.flush_later()
    client.reads.set()
    assert await client.receive(2) == ["1", "2"]


async def test_a_turn_that_is_cancelled_while_it_writes_loses_no_frame():
    client = Client(is_reading=False)
    outbox = Outbox(client.send)
    outbox.put([b"1", b"2"])
    writing = asyncio.create_task(outbox.flush())
    await client.is_waited_for.wait()
    writing.cancel()
    await asyncio.wait({writing})
    client.reads.set()
    assert await client.receive(2) == ["1", "2"]


async def test_turns_wait_while_too_much_is_queued():
    client = Client(is_reading=False)
    outbox = Outbox(client.send)
    outbox.put([BIG])
    first = asyncio.create_task(outbox.flush())
    await client.is_waited_for.wait()
    outbox.put([b"2"])
    second = asyncio.create_task(outbox.flush())
    done, _ = await asyncio.wait({first, second}, timeout=0.01)
    assert done == set()
    client.reads.set()
    await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert client.texts[1] == "2"


async def test_another_turn_goes_on_while_little_is_queued():
    client = Client(is_reading=False)
    outbox = Outbox(client.send)
    outbox.put([b"1"])
    first = asyncio.create_task(outbox.flush())
    await client.is_waited_for.wait()
    outbox.put([b"2"])
    await asyncio.wait_for(outbox.flush(), 5)
    assert client.texts == []
    client.reads.set()
    await first
    assert client.texts == ["1", "2"]


async def test_the_close_frame_comes_last_and_nothing_after_it():
    client = Client()
    outbox = Outbox(client.send)
    outbox.put([b"1"])
    outbox.put_close(1001, "done")
    outbox.put([b"late"])
    outbox.put_close(1011, "later")
    await outbox.flush()
    assert client.messages[1:] == [{"type": "websocket.close", "code": 1001, "reason": "done"}]


async def test_a_lost_client_frees_everyone_who_waits():
    client = Client(is_reading=False)
    outbox = Outbox(client.send)
    outbox.put([BIG])
    outbox.flush_later()
    await client.is_waited_for.wait()
    waiting = asyncio.create_task(outbox.flush())
    await outbox.drop()
    await asyncio.wait_for(waiting, 5)
    outbox.put([b"2"])
    await outbox.flush()
    assert client.messages == []


async def test_a_send_that_fails_ends_the_outbox_silently():
    calls: list[object] = []

    async def send(message: Message) -> None:
        calls.append(message)
        raise OSError("gone")

    outbox = Outbox(send)
    outbox.put([b"1", b"2"])
    await outbox.flush()
    outbox.put([b"3"])
    await outbox.flush()
    assert len(calls) == 1


async def test_an_outbox_overflows_when_nobody_reads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox_module, "OVERFLOW_BYTES", 10)
    outbox = Outbox(Client(is_reading=False).send)
    outbox.put([b"x" * 10])
    assert not outbox.is_overflowing
    outbox.put([b"x"])
    assert outbox.is_overflowing


async def test_what_is_put_together_leaves_in_one_message_where_the_server_can():
    client = Client()
    outbox = Outbox(client.send, in_batches=True)
    outbox.put(iter([b"1", b"2"]))
    outbox.put([])
    outbox.put([b"3"])
    outbox.put_close(1000, "")
    await outbox.flush()
    assert client.messages == [
        {"type": TEXT_FRAMES, "frames": [b"1", b"2"]},
        {"type": TEXT_FRAMES, "frames": [b"3"]},
        {"type": "websocket.close", "code": 1000, "reason": ""},
    ]


async def test_a_batch_ends_when_it_is_large():
    client = Client()
    outbox = Outbox(client.send, in_batches=True)
    large = b"x" * BATCH_BYTES
    outbox.put([b"1", large, b"2", b"3", large])
    await outbox.flush()
    assert [message["frames"] for message in client.messages] == [[b"1", large], [b"2", b"3", large]]


async def test_a_turn_that_is_cancelled_while_it_writes_loses_no_batch():
    client = Client(is_reading=False)
    outbox = Outbox(client.send, in_batches=True)
    outbox.put([b"1", b"2"])
    writing = asyncio.create_task(outbox.flush())
    await client.is_waited_for.wait()
    writing.cancel()
    await asyncio.wait({writing})
    client.reads.set()
    await client.receive(1)
    assert [message["frames"] for message in client.messages] == [[b"1", b"2"]]


async def test_turns_wait_while_too_much_is_queued_in_batches():
    client = Client(is_reading=False)
    outbox = Outbox(client.send, in_batches=True)
    outbox.put([BIG, b"2"])
    first = asyncio.create_task(outbox.flush())
    await client.is_waited_for.wait()
    second = asyncio.create_task(outbox.flush())
    done, _ = await asyncio.wait({first, second}, timeout=0.01)
    assert done == set()
    client.reads.set()
    await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert [message["frames"] for message in client.messages] == [[BIG], [b"2"]]


async def test_a_turn_that_is_cancelled_after_its_frame_has_left_says_it_once():
    """As under servers whose `send` still waits for something behind the write."""
    sent: list[object] = []
    may_return, has_left, all_sent = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message["text"])
        (all_sent if message["text"] == "2" else has_left).set()
        await may_return.wait()

    outbox = Outbox(send)
    outbox.put([b"1"])
    writing = asyncio.create_task(outbox.flush())
    await has_left.wait()
    writing.cancel()
    await asyncio.wait({writing})
    outbox.put([b"2"])
    may_return.set()
    async with asyncio.timeout(5):
        await all_sent.wait()
    assert sent == ["1", "2"]
