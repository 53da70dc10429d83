"""A Responses server that costs next to nothing: it answers every frame on its socket with the same prebuilt events.

`python benchmarks/costless_responses.py one|many` listens on a free loopback port and prints it. `one` writes the whole
answer at once, `many` writes each of its events on its own, as a model that decodes token by token does. Nothing is
compressed, and of a frame nothing is read but its end.
"""

import asyncio
import json
import sys
from typing import Any, cast

import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

DELTAS = 64
DELTA_TEXT = "word "
_ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_RESPONSE: dict[str, Any] = {
    "object": "response",
    "created_at": 0,
    "model": "costless",
    "status": "in_progress",
    "output": [],
}
_USAGE = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": DELTAS,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": DELTAS + 1,
}


def _frame(event: dict[str, object]) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(event, separators=(",", ":")).encode()).serialize(mask=False)


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


_ID = b"resp_%08d"


def _writes() -> list[bytes]:
    """The writes of the answer of id 0: the announcement with the first delta, a delta each, and the rest with the end."""
    text = DELTA_TEXT * DELTAS
    item = {**_ITEM, "content": [_part(text)]}
    begun: dict[str, Any] = {**_ITEM, "status": "in_progress", "content": []}
    response = {"id": (_ID % 0).decode(), **_RESPONSE}
    ended = {**response, "status": "completed", "output": [item], "usage": _USAGE}
    events: list[dict[str, object]] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", "part": _part(""), **_PLACE},
        *({"type": "response.output_text.delta", "delta": DELTA_TEXT, "logprobs": [], **_PLACE} for _ in range(DELTAS)),
        {"type": "response.output_text.done", "text": text, "logprobs": [], **_PLACE},
        {"type": "response.content_part.done", "part": _part(text), **_PLACE},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": ended},
    ]
    frames = [_frame({**event, "sequence_number": index}) for index, event in enumerate(events)]
    return [b"".join(frames[:5]), *frames[5:-4], b"".join(frames[-4:])]


class _Connection(asyncio.Protocol):
    """One socket."""

    def __init__(self, writes: list[bytes]) -> None:
        self._writes = writes
        self._number = 0
        self._protocol = ServerProtocol(max_size=None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.CONT) and event.fin:
                self._number += 1
                for each in self._writes:
                    self._transport.write(each.replace(_ID % 0, _ID % self._number))
        for each in self._protocol.data_to_send():
            self._transport.write(each)


async def main(mode: str) -> None:
    writes = [b"".join(_writes())] if mode == "one" else _writes()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(writes), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
