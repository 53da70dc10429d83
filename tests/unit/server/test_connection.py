"""What a connection costs: each message to the byte, whatever the pieces that it came in."""

import asyncio
import logging

from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from landline.compression_budget import CompressionBudget
from landline.server.compression import LineDeflateFactory
from landline.server.connection import WIRE, BatchedTransport, WireCount, wire_of
from landline.server.line_protocol import CountingProtocol

PAYLOADS = st.binary(max_size=300) | st.integers(0, 70_000).map(bytes)
TEXTS = st.text(max_size=300).map(str.encode) | st.sampled_from([125, 126, 0xFFFF, 0x10000]).map(bytes)
MESSAGES = st.lists(PAYLOADS, min_size=1, max_size=4)
"""The fragments of one message."""
CONTROLS = st.sampled_from([Opcode.PING, Opcode.PONG])


class Sink(asyncio.Transport):
    """A transport into nothing."""

    def write(self, data: object) -> None: ...

    def is_closing(self) -> bool:
        return False


def opened(*, is_compressed: bool) -> tuple[ClientProtocol, CountingProtocol]:
    """Both ends of a socket whose upgrade is over."""
    client = ClientProtocol(
        parse_uri("ws://host/"), extensions=[ClientPerMessageDeflateFactory()] if is_compressed else None
    )
    server = CountingProtocol(
        extensions=[LineDeflateFactory(CompressionBudget(2**30))], max_size=None, logger=logging.getLogger()
    )
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    server.begin_frames()
    [request] = server.events_received()
    server.send_response(server.accept(request))  # type: ignore[arg-type]
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    return client, server


@given(st.lists(MESSAGES | CONTROLS, max_size=6), st.booleans(), st.data())
def test_every_message_has_its_own_bytes_and_controls_have_none(
    sent: list[list[bytes] | Opcode], is_compressed: bool, data: st.DataObject
) -> None:
    client, server = opened(is_compressed=is_compressed)
    stream, sizes, control_bytes = bytearray(), list[int](), 0
    for each in sent:
        if isinstance(each, Opcode):
            client.send_frame(Frame(each, b"beat"))
            frame = b"".join(client.data_to_send())
            control_bytes += len(frame)
            stream += frame
            continue
        size_bytes = 0
        for place, payload in enumerate(each):
            opcode = Opcode.CONT if place else Opcode.BINARY
            client.send_frame(Frame(opcode, payload, fin=place == len(each) - 1))
            frame = b"".join(client.data_to_send())
            size_bytes += len(frame)
            stream += frame
            if data.draw(st.booleans()):
                client.send_frame(Frame(Opcode.PING, b"between"))
                ping = b"".join(client.data_to_send())
                control_bytes += len(ping)
                stream += ping
        sizes.append(size_bytes)
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        server.receive_data(bytes(stream[:count]))
        del stream[:count]
    assert server.parser_exc is None
    assert list(server.message_sizes) == sizes


@given(st.lists(TEXTS, max_size=5), st.booleans())
def test_texts_are_written_as_websockets_writes_them(texts: list[bytes], is_compressed: bool) -> None:
    (client, ours), (_, theirs) = opened(is_compressed=is_compressed), opened(is_compressed=is_compressed)
    for text in texts:
        theirs.send_text(text)
    data = ours.serialize_texts(texts)
    assert data == b"".join(theirs.data_to_send())
    client.receive_data(data)
    assert client.parser_exc is None
    assert [(event.opcode, bytes(event.data)) for event in client.events_received() if isinstance(event, Frame)] == [
        (Opcode.TEXT, text) for text in texts
    ]


async def test_a_write_is_counted_when_it_is_handed_to_the_transport() -> None:
    transport = BatchedTransport(Sink(), asyncio.get_running_loop())
    transport.write(b"abc")
    transport.write(b"de")
    assert (transport.wire.sent_bytes, transport.wire.written_bytes) == (5, 2)
    transport.flush()


@given(st.lists(st.tuples(st.sampled_from(["in", "out", "take"]), st.integers(0, 1000))))
def test_http_requests_share_a_connections_bytes_without_rest(steps: list[tuple[str, int]]) -> None:
    wire, taken_in, taken_out = WireCount(), 0, 0
    for step, size_bytes in [*steps, ("take", 0)]:
        if step == "in":
            wire.received_bytes += size_bytes
        elif step == "out":
            wire.sent_bytes += size_bytes
        else:
            taken_in += wire.take_received()
            taken_out += wire.take_sent()
    assert (taken_in, taken_out) == (wire.received_bytes, wire.sent_bytes)


def test_another_asgi_server_counts_nothing() -> None:
    wire = WireCount()
    assert wire_of({WIRE: wire}) is wire
    told: list[bool] = []
    wire_of({}).when_lost(lambda: told.append(True))
    assert told
