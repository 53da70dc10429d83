from hypothesis import given
from hypothesis import strategies as st

from landline.compression_budget import (
    STEPS,
    CompressionBudget,
    CompressionGrant,
    CompressionOffer,
    deflater_bytes,
    inflater_bytes,
)

MIB = 1024 * 1024
OFFERS = st.builds(
    CompressionOffer,
    in_bits=st.integers(8, 15),
    out_bits=st.integers(9, 15),
    is_in_limitable=st.booleans(),
    keeps_context_out=st.booleans(),
)


def fill(budget: CompressionBudget):
    """Grants the usual offer until memory is out; what was granted, in order."""
    steps = []
    while not steps or steps[-1] != "none":
        steps.append(budget.grant(CompressionOffer()).step)
    return steps


def test_the_first_socket_gets_everything():
    budget = CompressionBudget()
    grant = budget.grant(CompressionOffer())
    assert (grant.step, grant.in_bits, grant.out_bits, grant.keeps_context) == ("15_bits", 15, 15, True)
    assert budget.used_bytes == grant.size_bytes == inflater_bytes(15) + deflater_bytes(15, 5)


def test_sockets_step_down_as_memory_runs_out():
    budget = CompressionBudget(8 * MIB)
    steps = fill(budget)
    assert list(dict.fromkeys(steps)) == ["15_bits", "12_bits", "10_bits", "per_message", "none"]
    assert budget.sockets == {
        (peer, step): steps.count(step) if peer == "client" else 0
        for peer in ("client", "upstream")
        for step in dict.fromkeys(steps)
    }
    assert budget.reduced_total == len(steps) - steps.count("15_bits")


def test_full_sockets_leave_room_for_narrower_ones():
    steps = fill(CompressionBudget(64 * MIB))
    assert all(steps.count(step.name) > 150 for step in STEPS)


def test_what_is_given_back_is_granted_again():
    budget = CompressionBudget(1 * MIB)
    grants = [budget.grant(CompressionOffer()) for _ in range(100)]
    assert grants[-1].step == "none"
    for grant in grants:
        budget.release(grant)
    assert budget.used_bytes == 0
    assert not any(budget.sockets.values())
    assert budget.grant(CompressionOffer()).step == "15_bits"


def test_a_budget_of_nothing_grants_nothing():
    assert CompressionBudget(0).grant(CompressionOffer()).step == "none"


def test_a_window_that_may_not_be_chosen_is_counted_in_full():
    budget = CompressionBudget(1 * MIB)
    grants = [budget.grant(CompressionOffer(is_in_limitable=False)) for _ in range(40)]
    granted = [grant for grant in grants if grant.step != "none"]
    assert {grant.in_bits for grant in granted} == {15}
    assert all(grant.size_bytes >= inflater_bytes(15) for grant in granted)


def test_a_client_that_asks_for_less_is_counted_for_less():
    budget = CompressionBudget()
    grant = budget.grant(CompressionOffer(in_bits=10, keeps_context_out=False))
    assert grant.size_bytes == inflater_bytes(10)


def test_each_step_is_told_of_once_until_there_is_room_again():
    told = []
    budget = CompressionBudget(8 * MIB, lambda step, budget: told.append((step, budget.budget_bytes)))
    fill(budget)
    budget.grant(CompressionOffer())
    assert told == [(step, 8 * MIB) for step in ("12_bits", "10_bits", "per_message", "none")]


def test_a_step_is_told_of_anew_after_there_was_room():
    told = []
    budget = CompressionBudget(300 * 1024, lambda step, _: told.append(step))
    for _ in range(2):
        grants = [budget.grant(CompressionOffer()) for _ in range(2)]
        for grant in grants:
            budget.release(grant)
    assert told == ["12_bits", "12_bits"]


def test_clients_and_upstreams_have_one_budget_and_are_counted_apart():
    budget = CompressionBudget(1 * MIB)
    towards = CompressionOffer(is_in_limitable=False, may_lose_context=False)
    grants = []
    while not grants or grants[-1].step != "none":
        grants.append(budget.grant(towards, "upstream"))
    assert [*dict.fromkeys(grant.step for grant in grants)] == ["15_bits", "12_bits", "10_bits", "none"]
    assert budget.sockets["upstream", "15_bits"] == [grant.step for grant in grants].count("15_bits")
    assert budget.sockets["client", "15_bits"] == 0
    assert budget.grant(CompressionOffer()).step in ("per_message", "none")
    for grant in grants:
        budget.release(grant, "upstream")
    assert not any(count for (peer, _), count in budget.sockets.items() if peer == "upstream")


@given(
    budget_bytes=st.integers(0, 2 * MIB),
    steps=st.lists(st.none() | OFFERS | st.integers(0, MIB), max_size=60),
    data=st.data(),
)
def test_what_is_counted_is_the_sum_of_what_is_held_and_never_over_the_budget(
    budget_bytes: int, steps: list[CompressionOffer | int | None], data: st.DataObject
):
    """An offer stands for a socket that opens, a number for a stream of so many bytes, None for the end of one of them."""
    budget = CompressionBudget(budget_bytes)
    held = []
    for step in steps:
        if isinstance(step, CompressionOffer):
            grant = budget.grant(step)
            assert grant.in_bits <= step.in_bits
            assert grant.out_bits <= step.out_bits
            assert grant.step == "none" or step.is_in_limitable or grant.in_bits == step.in_bits
            held.append(grant)
        elif step is not None:
            if budget.take(step):
                held.append(step)
        elif held:
            ended = held.pop(data.draw(st.integers(0, len(held) - 1)))
            if isinstance(ended, CompressionGrant):
                budget.release(ended)
            else:
                budget.give_back(ended)
        grants = [each for each in held if isinstance(each, CompressionGrant)]
        streams = [each for each in held if not isinstance(each, CompressionGrant)]
        assert budget.used_bytes == sum(grant.size_bytes for grant in grants) + sum(streams) <= budget_bytes
        assert sum(budget.sockets.values()) == len(grants)
