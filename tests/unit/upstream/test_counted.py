"""A counted connection holds its peer back as aiohttp does, and leaves aiohttp's parser alone otherwise."""

import asyncio

from landline.upstream.counted import CountedConnection

SIZE_BYTES = 4 * 1024 * 1024


class Upstream(asyncio.Transport):
    """A peer that sends the answer piece by piece for as long as it may."""

    def __init__(self, protocol: CountedConnection, pieces: list[bytes]) -> None:
        super().__init__()
        self.pauses = 0
        self._protocol = protocol
        self._pieces = pieces
        self._may_send = True

    def send(self) -> None:
        while self._may_send and self._pieces:
            self._protocol.data_received(self._pieces.pop(0))

    def pause_reading(self) -> None:
        self.pauses += 1
        self._may_send = False

    def resume_reading(self) -> None:
        self._may_send = True

    def is_closing(self) -> bool:
        return False


async def test_an_answer_that_fills_the_buffer_is_held_back_and_read_to_its_end() -> None:
    protocol = CountedConnection(asyncio.get_running_loop())
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE_BYTES
    upstream = Upstream(protocol, [head, *[bytes(1000)] * (SIZE_BYTES // 1000), bytes(SIZE_BYTES % 1000)])
    protocol.connection_made(upstream)
    protocol.set_response_params()
    upstream.send()
    _, payload = await protocol.read()
    received = 0
    while not payload.at_eof():
        received += len(await asyncio.wait_for(payload.readany(), 10))
        upstream.send()
    assert received == SIZE_BYTES
    assert upstream.pauses > 1
    assert protocol.take_received() == SIZE_BYTES + len(head)
