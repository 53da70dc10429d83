"""Rows of the monitor add up, and their JSON is read back as it was."""

import re
from pathlib import Path

import msgspec

from landline.ledger import ByteCounts, Ledger, Split
from landline.monitor.rows import make_detail, total_up
from landline.monitor.state import Change, Snapshot
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


DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "monitor.md"


def members_of(shape: msgspec.inspect.Type) -> set[str]:
    """The names of all members below, at any depth."""
    match shape:
        case msgspec.inspect.StructType(fields=fields):
            below = [{field.encode_name} | members_of(field.type) for field in fields]
            return set[str]().union(*below)
        case msgspec.inspect.ListType(item_type=item):
            return members_of(item)
        case msgspec.inspect.UnionType(types=types):
            return set[str]().union(*map(members_of, types))
        case _:
            return set()


def test_every_member_of_the_state_is_documented_and_no_other() -> None:
    rows = DOCUMENT.read_text(encoding="utf-8").partition("| member | in | what it is |")[2].partition("\n\n")[0]
    documented = {name for row in rows.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    documented |= {name for name in re.findall(r"`(\w+)`", rows) if name in LISTED_BELOW}
    told = members_of(msgspec.inspect.type_info(Snapshot)) | members_of(msgspec.inspect.type_info(Change))
    assert told == documented


LISTED_BELOW = {
    *("tools", "instructions", "history", "new_items", "other"),
    *("input", "cached", "cache_write", "output", "reasoning"),
    *("priced_turns", "paid_usd", "cache_saved_usd"),
    *("kind", "text"),
}
"""Members that stand in the text of the row of what they are parts of."""
