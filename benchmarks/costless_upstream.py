"""A chat-completions server that costs next to nothing: it answers every request with the same prebuilt stream.

`python benchmarks/costless_upstream.py one|many` listens on a free loopback port and prints it. `one` writes the whole
answer at once, `many` writes each of its events on its own, as a model that decodes token by token does.
"""

import asyncio
import json
import sys
from typing import cast

import uvloop

DELTAS = 64
DELTA_TEXT = "word "


def _event(value: object) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    record = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(record), record)


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "costless", "choices": [choice]}


_USAGE = {"prompt_tokens": 1, "completion_tokens": DELTAS, "total_tokens": DELTAS + 1}
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ANSWER: list[bytes] = [
    _HEAD + _event(_chunk({"role": "assistant", "content": DELTA_TEXT})),
    *(_event(_chunk({"content": DELTA_TEXT})) for _ in range(DELTAS - 1)),
    _event(_chunk({}, "stop"))
    + _event({**_chunk({}), "choices": [], "usage": _USAGE})
    + _event(b"[DONE]")
    + b"0\r\n\r\n",
]


class _Connection(asyncio.Protocol):
    """Reads requests by their `content-length` and nothing else of them."""

    def __init__(self, writes: list[bytes]) -> None:
        self._writes = writes
        self._missing = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head += data
                return
            self._head = b""
            self._missing = _content_length(head) - len(rest)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            for each in self._writes:
                self._transport.write(each)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0])


async def main(mode: str) -> None:
    writes = [b"".join(ANSWER)] if mode == "one" else ANSWER
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(writes), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
