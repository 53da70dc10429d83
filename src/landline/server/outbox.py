"""What leaves a socket: frames in order, in one go, and no more of them waiting than a slow reader may cause."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence

from starlette.types import Message, Send

from landline.server.account import Account

TEXT_FRAMES = "landline.text_frames"
"""An ASGI extension: a message of this type has `frames`, a list of UTF-8 texts, and sends each as a text message of its
own. It stands for as many `websocket.send`, each of which costs its way through every layer of the server."""
HIGH_WATER_BYTES = 256 * 1024
"""A turn waits while more than this is queued, on top of the transport's own 64 KiB buffer."""
OVERFLOW_BYTES = 64 * 1024 * 1024
"""Turns that wait cannot cause so much: the client sends requests and does not read their answers."""
CLOSE_TIMEOUT_S = 1.0
"""Other ASGI servers than Landline's may hold even a close frame back until the client reads."""
BATCH_BYTES = 32 * 1024
"""A batch takes no more frames once it is so large, so that a full socket is noticed between two of them."""


class Outbox:
    """The queue in front of one socket's ASGI `send`. Put frames in, then call `flush` or `flush_later`.

    After `put_close`, or once the connection is lost, everything is dropped silently. What leaves for a turn is counted on
    its account, which is released behind the last of it.
    """

    def __init__(self, send: Send, *, in_batches: bool = False) -> None:
        """`in_batches`: whether `send` takes `TEXT_FRAMES`. Landline's own server does, and its `send` can only be cancelled
        before a message has left; of other servers that is not known."""
        self._send = send
        self._in_batches = in_batches
        self._queue: deque[tuple[Message | None, int, Account | None]] = deque()
        """Messages, their sizes, and the accounts that they belong to. No message means that the account gets no more: it is
        released when its place in the queue is reached."""
        self._queued_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_writing = False
        self._is_closed = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_overflowing(self) -> bool:
        """Whether the client must be given up."""
        return self._queued_bytes > OVERFLOW_BYTES

    def put(self, frames: Iterable[bytes], account: Account | None = None) -> None:
        """Queues text frames (UTF-8), which belong to that turn."""
        if self._is_closed:
            return
        if self._in_batches:
            self._put_batches(list(frames), account)
        else:
            for frame in frames:
                self._put_message({"type": "websocket.send", "text": frame.decode()}, len(frame), account)
        if self._queued_bytes > HIGH_WATER_BYTES:
            self._has_room.clear()

    def put_close(self, code: int, reason: str) -> None:
        """Queues the close frame; nothing can follow it."""
        if not self._is_closed:
            self._put_message({"type": "websocket.close", "code": code, "reason": reason}, 0, None)
            self._is_closed = True

    async def close_now(self, code: int, reason: str) -> None:
        """For a client that does not read: drops what is queued, and sends the close frame behind what left already."""
        self._discard()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    def put_end(self, account: Account) -> None:
        """Queues the account's release: nothing more is put in for it."""
        if self._queue:
            self._put_message(None, 0, account)
        else:
            account.release()

    async def flush(self) -> None:
        """For turns: waits as long as the client reads too slowly. Writes in the caller's task, or, where cancelling that
        could leave a message sent and still queued, in the outbox's own."""
        if not self._is_writing:
            await (self._write() if self._in_batches else self._write_apart())
        elif not self._has_room.is_set():
            await self._has_room.wait()

    def flush_later(self) -> None:
        """For callers that must not wait (the reader, timers): writes in a task of the outbox's own."""
        if self._queue and not self._is_writing and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write())

    async def drop(self) -> None:
        """The connection is gone: nothing leaves any more."""
        self._discard()
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})

    def _put_batches(self, frames: Sequence[bytes], account: Account | None) -> None:
        start, size_bytes = 0, 0
        for end, frame in enumerate(frames, 1):
            size_bytes += len(frame)
            if size_bytes >= BATCH_BYTES or end == len(frames):
                self._put_message({"type": TEXT_FRAMES, "frames": frames[start:end]}, size_bytes, account)
                start, size_bytes = end, 0

    def _put_message(self, message: Message | None, size_bytes: int, account: Account | None) -> None:
        self._queue.append((message, size_bytes, account))
        self._queued_bytes += size_bytes

    async def _write(self) -> None:
        """Sends what is queued. A message leaves the queue only once it was sent: a cancelled turn must not lose it."""
        if self._is_writing:
            return
        self._is_writing = True
        queue = self._queue
        try:
            while queue:
                message, size_bytes, account = queue[0]
                if message is not None:
                    await self._send(message)
                if not queue:
                    return
                queue.popleft()
                if account is not None:
                    account.release() if message is None else account.add_frame(size_bytes)
                self._queued_bytes -= size_bytes
                if self._queued_bytes <= HIGH_WATER_BYTES:
                    self._has_room.set()
        except OSError:
            # ASGI 2.4: `send` raises it once the client is gone; the reader hears of that by itself.
            self._discard()
        finally:
            self._is_writing = False
            self.flush_later()

    async def _write_apart(self) -> None:
        """Writes in the outbox's task, which the caller's cancellation does not reach."""
        self.flush_later()
        writer = self._writer
        if writer is not None:
            await asyncio.wait({writer})
            if not writer.cancelled():
                writer.result()

    def _discard(self) -> None:
        self._is_closed = True
        for message, _, account in self._queue:
            if message is None and account is not None:
                account.release()
        self._queue.clear()
        self._queued_bytes = 0
        self._has_room.set()
