"""The state that watchers are shown: every member of it is documented."""

import re
from pathlib import Path

import msgspec

from landline.monitor.state import Change, Snapshot

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
    *("kind", "text"),
}
"""Members that stand in the text of the row of what they are parts of."""
