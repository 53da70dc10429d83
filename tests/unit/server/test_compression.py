from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from landline.compression_budget import CompressionBudget, CompressionOffer, StepName
from landline.server.compression import LineDeflate, LineDeflateFactory
from support.compression_budgets import short_of_memory

BARE: list[tuple[str, str | None]] = []
FULL = CompressionBudget().grant(CompressionOffer())


def negotiate(
    params: list[tuple[str, str | None]], budget: CompressionBudget | None = None
) -> tuple[dict[str, str | None], PerMessageDeflate]:
    answer, extension = LineDeflateFactory(budget or CompressionBudget()).process_request_params(params, [])
    return dict(answer), extension


@pytest.mark.parametrize("offer", [BARE, [("client_max_window_bits", None)], [("client_max_window_bits", "15")]])
def test_usual_offers_get_the_widest_window_and_takeover_both_ways(offer: list[tuple[str, str | None]]):
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
def test_less_is_granted_when_asked_for(offer: list[tuple[str, str | None]], attribute: str, granted: bool | int):
    answer, extension = negotiate(offer)
    assert getattr(extension, attribute) == granted
    assert offer[0][0] in answer


def test_a_window_that_zlib_cannot_make_is_passed_over():
    with pytest.raises(NegotiationError):
        negotiate([("server_max_window_bits", "8")])


def test_a_second_offer_is_passed_over():
    budget = CompressionBudget()
    factory = LineDeflateFactory(budget)
    _, first = factory.process_request_params([], [])
    with pytest.raises(NegotiationError):
        factory.process_request_params([], [first])
    assert sum(budget.sockets.values()) == 1


@given(
    messages=st.lists(st.binary(max_size=3000) | st.just(b"the same again " * 200), max_size=8),
    keeps_context=st.booleans(),
    window_bits=st.integers(9, 15),
)
def test_a_client_reads_every_message_back(messages: list[bytes], keeps_context: bool, window_bits: int):
    grant = CompressionBudget().grant(CompressionOffer(out_bits=window_bits, keeps_context_out=keeps_context))
    server = LineDeflate(PerMessageDeflate(False, not keeps_context, 15, window_bits), grant)
    client = PerMessageDeflate(not keeps_context, False, window_bits, 15)
    for message in messages:
        sent = server.encode(Frame(Opcode.TEXT, message))
        assert bytes(client.decode(sent).data) == message


@pytest.mark.parametrize(
    ("step", "offer", "answered", "words"),
    [
        ("15_bits", [("client_max_window_bits", None)], {"client_max_window_bits": "15"}, "deflate, 15-bit window"),
        (
            "12_bits",
            [("client_max_window_bits", None)],
            {"client_max_window_bits": "12"},
            "deflate, 12-bit window (memory is short)",
        ),
        (
            "10_bits",
            [("client_max_window_bits", "13")],
            {"client_max_window_bits": "12"},
            "deflate, in 12-bit window, out 10-bit window (memory is short)",
        ),
        (
            "per_message",
            [("client_max_window_bits", None)],
            {"client_max_window_bits": "12", "client_no_context_takeover": None},
            "deflate, each message alone (memory is short)",
        ),
        (
            "12_bits",
            BARE,
            {},
            "deflate, in 15-bit window, out 12-bit window (memory is short)",
        ),
    ],
)
def test_less_is_granted_when_memory_is_short(
    step: StepName, offer: list[tuple[str, str | None]], answered: dict[str, Any], words: str
):
    factory = LineDeflateFactory(short_of_memory(step))
    answer, _ = factory.process_request_params(offer, [])
    assert dict(answer) == answered
    assert factory.words == words


def test_a_window_that_the_client_chose_is_never_answered_with_a_wider_one():
    answer, extension = negotiate([("client_max_window_bits", "10")], short_of_memory("12_bits"))
    assert answer == {"client_max_window_bits": "10"}
    assert extension.remote_max_window_bits == 10


def test_without_memory_the_offer_is_passed_over_and_the_socket_goes_on_plain():
    budget = CompressionBudget(0)
    factory = LineDeflateFactory(budget)
    with pytest.raises(NegotiationError):
        factory.process_request_params(BARE, [])
    assert factory.words == "none (memory is short)"
    assert budget.sockets["client", "none"] == 1
    factory.close()
    assert budget.sockets["client", "none"] == 0


def test_a_socket_without_an_offer_is_not_counted():
    budget = CompressionBudget()
    factory = LineDeflateFactory(budget)
    assert factory.words == "none offered by the client"
    factory.close()
    assert not any(budget.sockets.values())


def test_closing_twice_gives_back_once():
    budget = CompressionBudget()
    factories = [LineDeflateFactory(budget) for _ in range(2)]
    for factory in factories:
        factory.process_request_params(BARE, [])
    size_bytes = budget.used_bytes // 2
    factories[0].close()
    factories[0].close()
    assert budget.used_bytes == size_bytes


@pytest.mark.parametrize("step", ["15_bits", "12_bits", "10_bits", "per_message"])
@given(messages=st.lists(st.binary(max_size=3000) | st.just(b"the same again " * 400), max_size=8))
def test_both_sides_read_each_other_at_every_step(step: StepName, messages: list[bytes]):
    answer, server = negotiate([("client_max_window_bits", None)], short_of_memory(step))
    client = PerMessageDeflate(
        False, "client_no_context_takeover" in answer, 15, int(answer["client_max_window_bits"] or 15)
    )
    for message in messages:
        assert bytes(client.decode(server.encode(Frame(Opcode.TEXT, message))).data) == message
        assert bytes(server.decode(client.encode(Frame(Opcode.TEXT, message))).data) == message


def test_a_repeated_message_costs_next_to_nothing_with_takeover():
    server = LineDeflate(PerMessageDeflate(False, False, 15, 15), FULL)
    message = Frame(Opcode.TEXT, bytes(range(256)) * 70)
    server.encode(message)
    assert len(server.encode(message).data) < 200


def test_without_takeover_small_messages_leave_plain():
    server = LineDeflate(PerMessageDeflate(False, True, 15, 15), FULL)
    small, large = (server.encode(Frame(Opcode.TEXT, b"a" * size)) for size in (200, 2000))
    assert (small.rsv1, large.rsv1) == (False, True)


def test_control_frames_are_never_compressed():
    server = LineDeflate(PerMessageDeflate(False, False, 15, 15), FULL)
    assert not server.encode(Frame(Opcode.PING, b"a" * 100)).rsv1
