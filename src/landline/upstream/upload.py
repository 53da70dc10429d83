"""The body of a large request, sent from where it lies: aiohttp would copy it once more to join it to the request's head."""

import asyncio

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

PIECE_BYTES = 1024 * 1024
"""Other turns go on between two pieces of so many bytes."""


class Upload(Payload):
    """Some bytes as a request's body."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body

    @property
    def size(self) -> int:
        return len(self._body)

    @property
    def autoclose(self) -> bool:
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        writer.send_headers()
        body = memoryview(self._body)
        for start in range(0, len(body), PIECE_BYTES):
            if start:
                await asyncio.sleep(0)
            await writer.write(body[start : start + PIECE_BYTES])
