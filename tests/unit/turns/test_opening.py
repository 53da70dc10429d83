"""Sealed items are opened where they come in, and only those."""

import msgspec

from landline.sealing import Sealer
from landline.session.compaction import plan_compaction
from landline.session.lineage import Link, extend
from landline.session.turn import Turn
from landline.turns.opening import Opener, unreadable
from landline.wire.items import Item, Signed, encode_item
from landline.wire.requests import CreateRequest

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


THOUGHTS = b'{"content":[{"type":"reasoning_text","text":"hm"}]}'


def test_input_without_sealed_items_is_not_even_copied() -> None:
    items = (
        message("one"),
        reasoning("from elsewhere", [{"type": "reasoning_text", "text": "plain"}]),
        reasoning(None),
    )
    assert OPENER.open_input("t", items) is items


def test_compaction_opens_to_what_stands_for_it() -> None:
    opened = OPENER.open_input("t", (message("zero"), compaction()))
    assert opened[0].opened is None
    assert opened[1].opened is not None
    assert [item.role for item in opened[1].opened] == ["user", "user"]
    assert len(opened[1].covers) == 1


def turn_over(history: Link | None, items: tuple[Item, ...] = (), conversation_id: str | None = None) -> Turn:
    request = CreateRequest()
    return Turn("resp_1", request, history, 1.0, items=items, conversation_id=conversation_id)


def test_compaction_of_another_tenant_stays_sealed_and_names_its_place() -> None:
    items = OPENER.open_input("t", (message("zero"), compaction("other")))
    assert items[1].opened is None
    refused = unreadable(turn_over(Link(None, items), items))
    assert refused is not None
    assert (refused.code, refused.param) == ("invalid_encrypted_content", "input[1].encrypted_content")


def test_compaction_that_opens_makes_what_is_sealed_before_it_readable() -> None:
    sealed = Link(None, [compaction("other"), message("one")])
    assert unreadable(turn_over(sealed)) is not None
    assert unreadable(turn_over(Link(sealed, OPENER.open_input("t", (compaction(),))))) is None
    assert unreadable(turn_over(None)) is None


def test_what_is_open_already_is_not_opened_again() -> None:
    opened = OPENER.open_input("t", (compaction(),))
    assert OPENER.open_input("another", opened) is opened


def test_sealed_reasoning_is_read_and_foreign_reasoning_is_passed_over() -> None:
    items = (reasoning(SEALER.seal("t", "reasoning", THOUGHTS)), reasoning("gAAAAB"), reasoning("gAAAAB", []))
    opened = OPENER.open_input("t", items)
    assert opened[1:] == items[1:]
    assert opened[0].opened is not None
    [plain] = opened[0].opened
    assert msgspec.json.decode(plain.raw)["content"] == msgspec.json.decode(THOUGHTS)["content"]


def test_what_a_vendor_signed_comes_back_with_its_reasoning() -> None:
    payload = b'{"signed":{"by":"anthropic","blocks":["{}"]}}'
    [opened] = OPENER.open_input("t", (reasoning(SEALER.seal("t", "reasoning", payload)),))
    assert (opened.signed, opened.opened) == (Signed("anthropic", ("{}",)), None)
    assert OPENER.open_input("t", (opened,)) == (opened,)


def test_reasoning_seal_does_not_open_as_a_compaction() -> None:
    swapped = encode_item({"type": "compaction", "encrypted_content": SEALER.seal("t", "reasoning", THOUGHTS)})
    [item] = OPENER.open_input("t", (swapped,))
    assert item.opened is None


def test_stored_history_is_opened_from_the_first_sealed_item_on() -> None:
    root = Link(None, [message("one")])
    tip = Link(Link(Link(root, [compaction()]), [message("two")]), [message("three")])
    opened = OPENER.open_history("t", tip)
    assert isinstance(opened, Link)
    assert opened.chain()[0] is root
    assert len(opened.shown.all_items()) == 4
    assert opened.digest == tip.digest


def test_stored_history_without_sealed_items_stays_the_same() -> None:
    tip = Link(Link(None, [message("one")]), [message("two")])
    assert OPENER.open_history("t", tip) is tip
    assert OPENER.open_history("t", None) is None


def test_stored_compaction_whose_key_is_gone_is_an_error_of_what_named_it() -> None:
    history = OPENER.open_history("t", Link(None, [compaction("other")]))
    named = [unreadable(turn_over(history, conversation_id=each)) for each in ("conv_1", None)]
    assert [each.param for each in named if each is not None] == ["conversation", "previous_response_id"]
