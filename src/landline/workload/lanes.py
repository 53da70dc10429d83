"""Several replays on one socket: a lane each (`stream_id`), whose turns run at the same time."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp import WSMsgType

from landline.agent.answer import AnswerEventReader, ConnectionLost, Ending, ModelAnswer
from landline.agent.connection import DEFAULT_IDLE_TIMEOUT_S, Exchange, TurnMeter
from landline.agent.conversation import ContinuationPoint, ConversationLog, ToolChoiceWord
from landline.agent.transports import MAX_FRAME_BYTES, WINDOW_BITS, SocketByteCounter
from landline.upstream.line_socket import LineDeflated


class _Head(msgspec.Struct):
    stream_id: str | None = None


_HEADS: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)


@asynccontextmanager
async def open_lanes(base_url: str, names: Sequence[str]) -> AsyncGenerator[list["LaneConnection"]]:
    """A socket with permessage-deflate and a lane of each name; it opens at once.

    A server that refuses it makes every `ask` end in `ConnectionLost`.
    """
    url = "ws" + base_url.rstrip("/").removeprefix("http") + "/responses"
    async with aiohttp.ClientSession(ws_response_class=LineDeflated) as http:
        try:
            socket = await http.ws_connect(url, compress=WINDOW_BITS, max_msg_size=MAX_FRAME_BYTES)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            yield [LaneConnection(name, None, str(error) or type(error).__name__) for name in names]
            return
        if isinstance(socket, LineDeflated) and socket.compress:
            socket.deflate(WINDOW_BITS, zlib.DEF_MEM_LEVEL)
        lanes = [LaneConnection(name, socket) for name in names]
        reading = asyncio.create_task(_read(socket, {lane.name: lane for lane in lanes}))
        try:
            yield lanes
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await socket.close()


async def _read(socket: aiohttp.ClientWebSocketResponse, lanes: dict[str, "LaneConnection"]) -> None:
    """Gives each event to its lane; once the socket is closed, tells all of them.

    An error without a `stream_id` concerns the whole socket (Responses guide, WebSocket mode).
    """
    while (message := await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
        data: bytes = message.data.encode() if isinstance(message.data, str) else message.data
        try:
            name = _HEADS.decode(data).stream_id
        except msgspec.DecodeError:
            continue
        for lane in [lanes[name]] if name in lanes else lanes.values():
            lane.feed(data)
    for lane in lanes.values():
        lane.lose(f"the socket was closed (code {socket.close_code})")


class LaneConnection:
    """One lane; made by `open_lanes`. It neither retries nor falls back: what goes wrong is the turn's ending."""

    def __init__(self, name: str, socket: aiohttp.ClientWebSocketResponse | None, lost: str = "") -> None:
        self.name = name
        self._socket = socket
        self._lost = lost
        self._anchor: ContinuationPoint | None = None
        self._meter: TurnMeter | None = None
        self._reader = AnswerEventReader()
        self._ended: asyncio.Future[Ending] | None = None

    async def ask(
        self,
        conversation: ConversationLog,
        tool_choice: ToolChoiceWord,
        *,
        on_text: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> Exchange:
        """Gets the response to the conversation as it stands and appends its items to it. Its bytes are not counted here."""
        meter = TurnMeter(SocketByteCounter(), on_text, on_note)
        stateless_bytes = conversation.stateless_bytes(tool_choice)
        ending = await self._exchange(conversation.frame(tool_choice, self._anchor), meter)
        if isinstance(ending, ModelAnswer):
            conversation.append(ending.items)
            self._anchor = None
            if ending.response_id is not None:
                self._anchor = ContinuationPoint(ending.response_id, conversation.item_count)
        return meter.exchange(ending, "ws", stateless_bytes)

    async def _exchange(self, frame: bytes, meter: TurnMeter) -> Ending:
        if self._socket is None or self._lost:
            return ConnectionLost(self._lost, is_worth_retrying=False)
        self._meter, self._reader = meter, AnswerEventReader()
        self._ended = asyncio.get_running_loop().create_future()
        frame = frame.removesuffix(b"}") + b',"stream_id":' + msgspec.json.encode(self.name) + b"}"
        meter.sent(len(frame), is_delta=self._anchor is not None)
        try:
            await self._socket.send_str(frame.decode())
            async with asyncio.timeout(DEFAULT_IDLE_TIMEOUT_S):
                return await self._ended
        except TimeoutError:
            return ConnectionLost(f"no end came for {DEFAULT_IDLE_TIMEOUT_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return ConnectionLost(str(error) or type(error).__name__)

    def feed(self, data: bytes) -> None:
        """Takes an event of the turn that runs; between turns there is none."""
        if self._meter is None or self._ended is None or self._ended.done():
            return
        self._meter.event(self._reader.feed(data))
        if self._reader.ending is not None:
            self._ended.set_result(self._reader.ending)

    def lose(self, reason: str) -> None:
        self._lost = reason
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(ConnectionLost(reason))
