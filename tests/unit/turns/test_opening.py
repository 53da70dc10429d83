"""Sealed items are opened where they come in, and only those."""

import msgspec

from landline.session.compaction import plan_compaction
from landline.session.lineage import Link, extend
from landline.turns.opening import Opener
from landline.turns.sealing import Sealer
from landline.wire.errors import ApiError
from landline.wire.items import Item, encode_item

SEALER = Sealer(["a secret of enough characters"])
OPENER = Opener(SEALER)


def message(text: str) -> Item:
    return encode_item({"type": "message", "role": "user", "content": text})


def compaction(tenant: str = "t") -> Item:
    history = extend(None, [message("one")])
    assert history is not None
    payload = plan_compaction(history, keeps_newest=False).payload("what was")
    return encode_item({"type": "compaction", "encrypted_content": SEALER.seal(tenant, "compaction", payload)})


def reasoning(encrypted_content: str | None, content: list[object] | None = None) -> Item:
    fields = {"type": "reasoning", "summary": [], "encrypted_content": encrypted_content, "content": content}
    return encode_item(fields)


THOUGHTS = b'[{"type":"reasoning_text","text":"hm"}]'


def test_input_without_sealed_items_is_not_even_copied() -> None:
    items = (
        message("one"),
        reasoning("from elsewhere", [{"type": "reasoning_text", "text": "plain"}]),
        reasoning(None),
    )
    assert OPENER.open_input("t", items) is items


def test_compaction_opens_to_what_stands_for_it() -> None:
    opened = OPENER.open_input("t", (message("zero"), compaction()))
    assert not isinstance(opened, ApiError)
    assert opened[0].opened is None
    assert opened[1].opened is not None
    assert [item.role for item in opened[1].opened] == ["user", "user"]
    assert len(opened[1].covers) == 1


def test_compaction_of_another_tenant_names_its_place() -> None:
    refused = OPENER.open_input("t", (message("zero"), compaction("other")))
    assert isinstance(refused, ApiError)
    assert (refused.code, refused.param) == ("invalid_encrypted_content", "input[1].encrypted_content")


def test_what_is_open_already_is_not_opened_again() -> None:
    opened = OPENER.open_input("t", (compaction(),))
    assert not isinstance(opened, ApiError)
    assert OPENER.open_input("another", opened) is opened


def test_sealed_reasoning_is_read_and_foreign_reasoning_is_passed_over() -> None:
    items = (reasoning(SEALER.seal("t", "reasoning", THOUGHTS)), reasoning("gAAAAB"), reasoning("gAAAAB", []))
    opened = OPENER.open_input("t", items)
    assert not isinstance(opened, ApiError)
    assert opened[1:] == items[1:]
    [plain] = opened[0].opened or ()
    assert msgspec.json.decode(plain.raw)["content"] == msgspec.json.decode(THOUGHTS)


def test_reasoning_seal_does_not_open_as_a_compaction() -> None:
    swapped = encode_item({"type": "compaction", "encrypted_content": SEALER.seal("t", "reasoning", THOUGHTS)})
    assert isinstance(OPENER.open_input("t", (swapped,)), ApiError)


def test_stored_history_is_opened_from_the_first_sealed_item_on() -> None:
    root = Link(None, [message("one")])
    tip = Link(Link(Link(root, [compaction()]), [message("two")]), [message("three")])
    opened = OPENER.open_history("t", tip, param="previous_response_id")
    assert isinstance(opened, Link)
    assert opened.chain()[0] is root
    assert len(opened.shown.all_items()) == 4
    assert opened.digest == tip.digest


def test_stored_history_without_sealed_items_stays_the_same() -> None:
    tip = Link(Link(None, [message("one")]), [message("two")])
    assert OPENER.open_history("t", tip, param="conversation") is tip
    assert OPENER.open_history("t", None, param="conversation") is None


def test_stored_compaction_whose_key_is_gone_is_an_error_of_what_named_it() -> None:
    refused = OPENER.open_history("t", Link(None, [compaction("other")]), param="conversation")
    assert isinstance(refused, ApiError)
    assert refused.param == "conversation"
