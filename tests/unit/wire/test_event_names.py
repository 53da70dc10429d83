"""Names of events: the ones that the typed events have."""

from typing import get_args

from landline.wire import event_names
from landline.wire.event_names import ANNOUNCING, DELTAS, ITEM_EVENTS, TERMINAL
from landline.wire.events import AuthoredEvent, TerminalEvent

TAGS = {kind.__struct_config__.tag: kind for kind in get_args(AuthoredEvent)}


def test_every_name_is_that_of_a_typed_event() -> None:
    names = {value for name, value in vars(event_names).items() if name.isupper() and isinstance(value, str)}
    assert names <= set(TAGS)


def test_sets_hold_the_events_that_have_these_fields() -> None:
    assert {kind.__struct_config__.tag for kind in get_args(TerminalEvent)} == TERMINAL
    assert {tag for tag, kind in TAGS.items() if "response" in kind.__struct_fields__} == TERMINAL | ANNOUNCING
    assert {tag for tag, kind in TAGS.items() if "delta" in kind.__struct_fields__} == DELTAS
    assert {tag for tag, kind in TAGS.items() if "item" in kind.__struct_fields__} == ITEM_EVENTS
