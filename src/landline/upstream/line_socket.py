"""One socket to a Responses server: frames out, frames in, each to the turn on whose lane it came."""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiohttp
import msgspec
from aiohttp import WSMsgType
from aiohttp.compression_utils import ZLibCompressor

from landline import __version__
from landline.compression_budget import NO_GRANT, CompressionBudget, CompressionOffer
from landline.upstream.counted import CountedConnection, CountingConnector
from landline.wire.event_names import ERRORS, TERMINAL
from landline.wire.readable import UNREADABLE

DEFLATE_LEVEL = 6
"""aiohttp's own is 1, whose search is too short to find the tools of the frame before: 22 frames of a Codex task are 117 kB
then and 67 kB at level 6, for 0.1 ms more CPU each (`docs/adr/0011-deflate-harder-towards-upstreams.md`)."""
INLINE_DEFLATE_BYTES = 64 * 1024
"""Larger frames are deflated in a thread, so that one upload does not hold up other turns."""
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
"""Frames of one turn that wait for a slow client; beyond them the socket is not read."""
FIRST_FRAMES = 8
"""An answer's announcement and its first words: they are sent on before the rest of an answer that came whole."""
MOST_FRAMES = 128
"""What is taken at once of an answer that has more at hand: a third of a millisecond of work."""
CLOSE_TIMEOUT_S = 2.0
"""An upstream that does not answer a close is not waited for."""


UPSTREAM_OFFER = CompressionOffer(is_in_limitable=False, may_lose_context=False)
"""Both as aiohttp has it: its inflater has the widest window always, and it keeps its compressor whatever is agreed."""

_ENDING = TERMINAL | ERRORS


class _FrameHead(msgspec.Struct):
    """What is read of a frame to find its turn."""

    type: str | None = None
    stream_id: str | None = None


_HEAD: msgspec.json.Decoder[_FrameHead] = msgspec.json.Decoder(_FrameHead)
_STREAM_ID = re.compile(rb'"stream_id"\s*:\s*"([A-Za-z0-9_.\-]{1,256})"')
"""Whose a frame most likely is that no JSON reader takes: one that is nested too deeply."""


class LineDeflated(aiohttp.ClientWebSocketResponse[Literal[True]]):
    """aiohttp's socket with a compressor of our own, whose search is not short."""

    def __init__(self, reader: Any, writer: Any, *args: Any, **options: Any) -> None:
        super().__init__(reader, writer, *args, **options)
        self.counted: CountedConnection | None = None
        """What it sends and receives."""
        if isinstance(writer.protocol, CountedConnection):
            self.counted = writer.protocol

    def deflate(self, window_bits: int, memory_level: int) -> None:
        """Compresses with a window of so many bits, or a narrower one that the upstream agreed to. Our side may use less
        than was agreed, which needs no words (RFC 7692 §7.1.2.2)."""
        compressor = LineCompressor(min(self.compress, window_bits), memory_level)
        self._writer._compressobj = compressor  # pyright: ignore[reportPrivateUsage]


class LineCompressor(ZLibCompressor):
    """aiohttp's, with zlib's settings that it has no name for."""

    def __init__(self, window_bits: int, memory_level: int) -> None:
        super().__init__(wbits=-window_bits, max_sync_chunk_size=INLINE_DEFLATE_BYTES)
        self._compressor = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, -window_bits, memory_level)


def open_socket_session() -> aiohttp.ClientSession:
    """What sockets are opened with. Must be called in the event loop that uses it."""
    headers = {"User-Agent": f"landline/{__version__}"}
    return aiohttp.ClientSession(
        connector=CountingConnector(),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
        ws_response_class=LineDeflated,
    )


async def open_line_socket(  # noqa: PLR0913 - what one handshake needs
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, str],
    *,
    has_lanes: bool,
    connect_s: float,
    ping_s: float,
    on_closed: Callable[[], None],
    budget: CompressionBudget,
) -> "LineSocket":
    """An open socket; deflate is offered with the widest window and context takeover, if the budget has memory for any.

    `on_closed` is called once, when the socket is closed or lost.

    Raises aiohttp.WSServerHandshakeError when the upstream refuses it, aiohttp.ClientError, OSError or TimeoutError when it
    cannot be reached.
    """
    with contextlib.ExitStack() as held:
        grant = budget.grant(UPSTREAM_OFFER, "upstream")
        held.callback(budget.release, grant, "upstream")
        async with asyncio.timeout(connect_s):
            socket = await session.ws_connect(
                url,
                headers=headers,
                compress=grant.in_bits,
                max_msg_size=0,
                autoping=False,
                decode_text=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),  # pyright: ignore[reportCallIssue]
            )
        if isinstance(socket, LineDeflated) and socket.compress:
            socket.deflate(grant.out_bits, grant.memory_level)
        elif grant is not NO_GRANT:
            held.close()
        held.callback(on_closed)
        return LineSocket(socket, has_lanes=has_lanes, ping_s=ping_s, on_closed=held.pop_all().close)


class LineSocket:
    """An open socket. Frames of a lane go to the turn that joined it; what nobody waits for is thrown away."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse[Any],
        *,
        has_lanes: bool,
        ping_s: float,
        on_closed: Callable[[], None],
    ) -> None:
        self.close_reason: str | None = None
        """Why it is closed; None while it is open."""
        self.close_code: int | None = None
        self._has_received = False
        self._is_paused = False
        """Whether nothing is read, for a turn that is slow to take what it was sent."""
        self._socket = socket
        self._has_lanes = has_lanes
        self._ping_s = ping_s
        self._joined: dict[str | None, LaneFrames] = {}
        self._draining: dict[str | None, Callable[[], None]] = {}
        self._counted = socket.counted if isinstance(socket, LineDeflated) else None
        self._take_sent()
        self._take_received()
        self._on_closed = on_closed
        self._sends: set[asyncio.Task[None]] = set()
        self._reading = asyncio.create_task(self._read())
        # Not in the task's own `finally`: a task that is cancelled before its first step runs none of its code.
        self._reading.add_done_callback(self._end)
        self._beating = asyncio.create_task(self._beat())

    def join(self, stream_id: str | None) -> "LaneFrames":
        """The frames of a turn that is about to be sent on that lane; nothing of it may be under way."""
        frames = self._joined[stream_id] = LaneFrames(self)
        return frames

    def leave(self, stream_id: str | None) -> None:
        """The lane's turn is over."""
        frames = self._joined.pop(stream_id, None)
        if frames is not None:
            frames.drop()

    def drain(self, stream_id: str | None, on_drained: Callable[[], None]) -> None:
        """Leaves a lane whose turn goes on; its frames are thrown away up to the last one, of which `on_drained` tells."""
        self.leave(stream_id)
        self._draining[stream_id] = on_drained

    async def send(self, frame: bytes) -> int:
        """Sends one text frame, to its end even if the caller is cancelled: then it is known what the upstream was asked.

        Returns its bytes on the wire, with those of pings before it. Raises aiohttp.ClientError or OSError when the socket
        is closed or lost.
        """
        task = asyncio.create_task(self._socket.send_frame(frame, WSMsgType.TEXT))
        self._sends.add(task)
        task.add_done_callback(self._sent)
        await asyncio.shield(task)
        return self._take_sent()

    async def close(self) -> None:
        """Closes the socket; what is joined hears of it."""
        self._beating.cancel()
        with contextlib.suppress(aiohttp.ClientError, OSError):
            # aiohttp waits so long for every frame before the peer's close, for ever if frames keep coming.
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close()
        self._reading.cancel()
        await asyncio.wait({self._reading, self._beating, *self._sends})

    async def _read(self) -> None:
        """Hands out frames until the socket ends. Those of one network read are there at once, and go to their turns so."""
        socket = self._socket
        try:
            while True:
                message = await socket.receive()
                self._has_received = True
                match message.type:
                    case WSMsgType.TEXT | WSMsgType.BINARY:
                        frames = self._find_turn(message.data) if self._has_lanes else self._joined.get(None)
                        wire_bytes = self._take_received()
                        if frames is None:
                            continue
                        frames.add(message.data, wire_bytes)
                        if frames.size_bytes > MAX_BUFFERED_BYTES:
                            self._is_paused = True
                            await frames.wait_for_room()
                            self._is_paused = False
                    case WSMsgType.PING:
                        await socket.pong(message.data)
                    case WSMsgType.PONG:
                        pass
                    case _:
                        self.close_reason = self._reason(message)
                        return
        except (aiohttp.ClientError, OSError) as error:
            self.close_reason = str(error) or type(error).__name__

    def _end(self, _task: asyncio.Task[None]) -> None:
        self.close_reason = self.close_reason or "closed by this side"
        self.close_code = self._socket.close_code
        self._beating.cancel()
        for frames in self._joined.values():
            frames.end()
        self._on_closed()

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sends.discard(task)
        if not task.cancelled():
            task.exception()  # told to whoever waits, and of no interest if nobody does

    def _find_turn(self, frame: bytes) -> "LaneFrames | None":
        """The turn whose lane the frame names. One without a name is for the turn that waits longest for its first frame:
        servers send the errors of the connection so, instead of an answer. One that cannot be read must not be lost: its
        turn would wait for it."""
        try:
            head = _HEAD.decode(frame)
        except UNREADABLE:
            named = _STREAM_ID.search(frame)
            head = _FrameHead(stream_id=named[1].decode() if named is not None else None)
        if head.stream_id is None:
            waiting = [frames for frames in self._joined.values() if not frames.has_begun]
            return waiting[0] if waiting else None
        if head.stream_id in self._draining:
            if head.type is None or head.type in _ENDING:
                self._draining.pop(head.stream_id)()
            return None
        return self._joined.get(head.stream_id)

    def _take_sent(self) -> int:
        return self._counted.take_sent() if self._counted is not None else 0

    def _take_received(self) -> int:
        """The first frame of a network read is given all of it: on a line with several busy lanes, some may be another's."""
        return self._counted.take_received() if self._counted is not None else 0

    async def _beat(self) -> None:
        """Pings in silences; gives the socket up when nothing comes back. An upload may take longer than that, and so may a
        client that reads slowly."""
        missed = 0
        while True:
            await asyncio.sleep(self._ping_s)
            is_silent = not (self._has_received or self._sends or self._is_paused)
            self._has_received = False
            missed = missed + 1 if is_silent else 0
            if missed > 1:
                self.close_reason = f"nothing came for {2 * self._ping_s:g} s, no answer to a ping either"
                await self._socket.close()
                return
            if is_silent:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    await self._socket.ping()

    def _reason(self, message: aiohttp.WSMessage) -> str:
        if self.close_reason is not None:
            return self.close_reason
        if message.type is WSMsgType.ERROR:
            return str(message.data)
        code = self._socket.close_code
        return f"closed with code {code}" + (f" ({message.extra})" if message.extra else "")


class LaneFrames:
    """What has come for one turn and was not taken yet."""

    def __init__(self, socket: LineSocket) -> None:
        self.socket = socket
        self.has_begun = False
        """Whether any frame has come."""
        self.wire_bytes = 0
        """Of all frames that have come, as they were on the wire."""
        self.size_bytes = 0
        self._frames: list[bytes] = []
        self._most = FIRST_FRAMES
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None

    @property
    def has_more(self) -> bool:
        """Whether frames have come that were not taken."""
        return bool(self._frames)

    async def next(self, timeout_s: float) -> list[bytes] | None:
        """The next of the frames that have come, one to `MOST_FRAMES`; None when the socket is closed and all were taken.

        Raises TimeoutError when nothing comes for so long.
        """
        if not self._frames and self.socket.close_reason is None:
            loop = asyncio.get_running_loop()
            self._wake = loop.create_future()
            timer = loop.call_later(timeout_s, self.end)
            try:
                await self._wake
            finally:
                timer.cancel()
                self._wake = None
            # Frames that were written one by one often lie in the socket together: one more step of the event loop reads
            # them, and they are composed and sent on at once.
            await asyncio.sleep(0)
        if self._frames:
            return self._take_some()
        if self.socket.close_reason is None:
            raise TimeoutError
        return None

    def drop(self) -> None:
        """Nobody takes what has come."""
        self._frames = []
        self._free(self.size_bytes)

    def add(self, frame: bytes, wire_bytes: int) -> None:
        """One more frame."""
        self.has_begun = True
        self.wire_bytes += wire_bytes
        self._frames.append(frame)
        self.size_bytes += len(frame)
        self.end()

    async def wait_for_room(self) -> None:
        """Returns when the turn has taken enough of what is there, or does not want it."""
        self._room = asyncio.Event()
        await self._room.wait()
        self._room = None

    def _take_some(self) -> list[bytes]:
        frames, self._frames = self._frames[: self._most], self._frames[self._most :]
        self._most = MOST_FRAMES
        self._free(sum(map(len, frames)))
        return frames

    def _free(self, size_bytes: int) -> None:
        self.size_bytes -= size_bytes
        if self._room is not None and self.size_bytes <= MAX_BUFFERED_BYTES:
            self._room.set()

    def end(self) -> None:
        """Ends the turn's wait, if it waits."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
