import msgspec

from landline.ledger import ByteCounts, Ledger, Split
from landline.monitor.rows import make_detail, total_up
from support.ledger.synthetic import MadeUpAgents


def total_of(split: Split) -> int:
    return sum(msgspec.structs.astuple(split))


def test_a_warm_up_would_not_have_been_sent_in_any_part() -> None:
    agents = MadeUpAgents(Ledger())
    agents.open("sess_1")
    agents.turn("sess_1", is_warm_up=True, bytes=ByteCounts(uploaded=900, payload_in=30_000, stateless=0))
    session = agents.ledger.session("sess_1")
    assert session is not None
    assert make_detail(session).unsaved == Split()
    assert total_up(agents.ledger).unsaved == Split()


def test_parts_of_a_warm_up_and_a_short_turn_are_what_would_have_been() -> None:
    agents = MadeUpAgents(Ledger())
    split = Split(tools=17_800, instructions=11_600, new_items=300, other=300)
    agents.turn("sess_1", is_warm_up=True, split=split, bytes=ByteCounts(payload_in=30_000, stateless=0))
    agents.turn("sess_1", split=split, bytes=ByteCounts(payload_in=30_000, stateless=30_000))
    unsaved = total_up(agents.ledger).unsaved
    assert total_of(unsaved) == 30_000
    assert unsaved.new_items == 600
