import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from landline.server.compression import LineDeflate, LineDeflateFactory

BARE: list[tuple[str, str | None]] = []


def negotiate(params: list[tuple[str, str | None]]) -> tuple[dict[str, str | None], PerMessageDeflate]:
    answer, extension = LineDeflateFactory().process_request_params(params, [])
    return dict(answer), extension


@pytest.mark.parametrize("offer", [BARE, [("client_max_window_bits", None)], [("client_max_window_bits", "15")]])
def test_usual_offers_get_the_widest_window_and_takeover_both_ways(offer):
    answer, extension = negotiate(offer)
    assert extension.remote_max_window_bits == extension.local_max_window_bits == 15
    assert not extension.remote_no_context_takeover
    assert "client_no_context_takeover" not in answer
    assert "server_no_context_takeover" not in answer


@pytest.mark.parametrize(
    ("offer", "attribute", "granted"),
    [
        ([("client_max_window_bits", "10")], "remote_max_window_bits", 10),
        ([("server_max_window_bits", "12")], "local_max_window_bits", 12),
        ([("client_no_context_takeover", None)], "remote_no_context_takeover", True),
    ],
)
def test_less_is_granted_when_asked_for(offer, attribute, granted):
    answer, extension = negotiate(offer)
    assert getattr(extension, attribute) == granted
    assert offer[0][0] in answer


def test_a_window_that_zlib_cannot_make_is_passed_over():
    with pytest.raises(NegotiationError):
        negotiate([("server_max_window_bits", "8")])


def test_a_second_offer_is_passed_over():
    _, first = negotiate(BARE)
    with pytest.raises(NegotiationError):
        LineDeflateFactory().process_request_params([], [first])


@given(
    messages=st.lists(st.binary(max_size=3000) | st.just(b"the same again " * 200), max_size=8),
    keeps_context=st.booleans(),
    window_bits=st.integers(9, 15),
)
def test_a_client_reads_every_message_back(messages, keeps_context, window_bits):
    server = LineDeflate(PerMessageDeflate(False, not keeps_context, 15, window_bits))
    client = PerMessageDeflate(not keeps_context, False, window_bits, 15)
    for message in messages:
        sent = server.encode(Frame(Opcode.TEXT, message))
        assert bytes(client.decode(sent).data) == message


def test_a_repeated_message_costs_next_to_nothing_with_takeover():
    server = LineDeflate(PerMessageDeflate(False, False, 15, 15))
    message = Frame(Opcode.TEXT, bytes(range(256)) * 70)
    server.encode(message)
    assert len(server.encode(message).data) < 200


def test_without_takeover_small_messages_leave_plain():
    server = LineDeflate(PerMessageDeflate(False, True, 15, 15))
    small, large = (server.encode(Frame(Opcode.TEXT, b"a" * size)) for size in (200, 2000))
    assert (small.rsv1, large.rsv1) == (False, True)


def test_control_frames_are_never_compressed():
    server = LineDeflate(PerMessageDeflate(False, False, 15, 15))
    assert not server.encode(Frame(Opcode.PING, b"a" * 100)).rsv1
