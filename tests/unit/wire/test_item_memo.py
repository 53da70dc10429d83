"""ItemMemo: what was decoded, checked and digested before is not decoded, checked and digested again."""

import json

import msgspec
import pytest

from landline.session.admission import CreateOrigin, admit
from landline.session.turn import Turn
from landline.wire import requests
from landline.wire.canonical import canonical_digest
from landline.wire.errors import ApiError
from landline.wire.item_memo import ITEM_BYTES, ItemMemo
from landline.wire.items import Item, Signed, decode_item
from landline.wire.requests import CreateRequest, decode_create, decode_items

HELLO = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "done"}


def _raws(*items: object) -> list[msgspec.Raw]:
    return [msgspec.Raw(json.dumps(each).encode()) for each in items]


def _admit(memo: ItemMemo, tenant: str = "t", **fields: object) -> Turn | ApiError:
    request = decode_create(json.dumps({"model": "m"} | fields))
    assert isinstance(request, CreateRequest)
    origin = CreateOrigin(tenant=tenant, known_items=memo.of(tenant))
    return admit(request, response_id="resp_1", now=1.0, origin=origin)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes of every item that was decoded."""
    seen: list[bytes] = []

    def decode_and_note(raw: bytes | msgspec.Raw) -> Item:
        seen.append(bytes(raw))
        return decode_item(raw)

    monkeypatch.setattr(requests, "decode_item", decode_and_note)
    return seen


def test_a_history_that_comes_again_is_decoded_only_where_it_is_new(decoded: list[bytes]) -> None:
    memo = ItemMemo(2**20)
    first = _admit(memo, input=[HELLO, CALL])
    decoded.clear()
    second = _admit(memo, input=[HELLO, CALL, OUTPUT])
    assert [json.loads(raw) for raw in decoded] == [OUTPUT]
    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    assert second.items[:2] == first.items
    assert second.items == decode_items(_raws(HELLO, CALL, OUTPUT), "input")


def test_tenants_never_meet(decoded: list[bytes]) -> None:
    memo = ItemMemo(2**20)
    _admit(memo, input=[HELLO])
    _admit(memo, tenant="another", input=[HELLO])
    assert len(decoded) == 2


def test_what_continues_a_response_is_not_kept(decoded: list[bytes]) -> None:
    memo = ItemMemo(2**20)
    for _ in range(2):
        _admit(memo, input=[OUTPUT], previous_response_id="resp_0")
    assert len(decoded) == 2


def test_what_is_refused_is_refused_again_at_its_own_place() -> None:
    memo = ItemMemo(2**20)
    wrong = {"role": "user", "content": [{"type": "input_text"}]}
    _admit(memo, input=[HELLO])
    for before in ([HELLO], [HELLO, HELLO]):
        refused = _admit(memo, input=[*before, wrong])
        assert isinstance(refused, ApiError)
        assert refused.param == f"input[{len(before)}].content[0]"


def test_a_message_of_chat_completions_is_refused_again() -> None:
    memo = ItemMemo(2**20)
    for _ in range(2):
        refused = _admit(memo, input=[{"role": "tool", "content": "done"}])
        assert isinstance(refused, ApiError)
        assert refused.param == "input[0].role"


def test_other_bytes_of_the_same_meaning_are_another_item(decoded: list[bytes]) -> None:
    known = ItemMemo(2**20).of("t")
    for raw in (b'{"role":"user","content":"x"}', b'{"role": "user", "content": "x"}'):
        decode_items([msgspec.Raw(raw)], "input", known)
    assert len(decoded) == 2


def test_digests_are_canonical_whether_or_not_the_item_is_known() -> None:
    memo = ItemMemo(2**20)
    item = decode_item(json.dumps(HELLO).encode())
    assert memo.digests("t", [item]) == [canonical_digest(item)]
    memo.keep("t", item)
    assert memo.find("t", [item.raw]) == [item]
    assert memo.digests("t", [item]) == [canonical_digest(item)]


def test_what_an_item_means_beyond_its_bytes_is_digested() -> None:
    memo = ItemMemo(2**20)
    plain = decode_item(b'{"type":"reasoning","summary":[]}')
    signed = msgspec.structs.replace(plain, signed=Signed(by="anthropic", blocks=("{}",)))
    memo.digests("t", [plain])
    assert memo.digests("t", [signed]) == [canonical_digest(signed)]


def test_memory_stays_under_the_budget_and_what_is_asked_for_stays() -> None:
    count = 20
    items = [decode_item(json.dumps({"role": "user", "content": f"{number:04}"}).encode()) for number in range(count)]
    memo = ItemMemo(count // 2 * (len(items[0].raw) + ITEM_BYTES))
    for item in items:
        memo.keep("t", item)
        assert memo.find("t", [items[0].raw]) == [items[0]]
    held = [item for item in items if memo.find("t", [item.raw]) != [None]]
    assert items[0] in held
    assert items[-1] in held
    assert len(held) <= count // 2


@pytest.mark.parametrize("budget_bytes", [0, 100])
def test_nothing_is_kept_that_the_budget_does_not_hold(budget_bytes: int) -> None:
    memo = ItemMemo(budget_bytes)
    item = decode_item(json.dumps(HELLO).encode())
    memo.keep("t", item)
    assert memo.find("t", [item.raw]) == [None]
    assert memo.digests("t", [item]) == [canonical_digest(item)]
