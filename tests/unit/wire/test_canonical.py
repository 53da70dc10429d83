"""Canonical items: rewriting by clients is invisible, a changed character is not."""

import msgspec
import pytest

from landline.wire.canonical import canonical, item_digest
from landline.wire.items import decode_item


@pytest.mark.parametrize(
    ("ours", "played_back"),
    [
        (
            (
                b'{"type":"message","id":"msg_1","status":"completed","role":"assistant",'
                b'"content":[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]}'
            ),
            b'{"role":"assistant","content":"Hi"}',
        ),
        (
            b'{"role":"user","content":"Hi"}',
            b'{"content":[{"type":"input_text","text":"Hi"}],"role":"user","type":"message","status":null}',
        ),
        (
            b'{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}","status":"completed"}',
            b'{"arguments":"{}","call_id":"c","name":"f","type":"function_call","namespace":null}',
        ),
        (
            b'{"type":"reasoning","id":"rs_1","summary":[],"content":[]}',
            b'{"type":"reasoning","summary":[],"encrypted_content":null}',
        ),
        (
            b'{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"a"}],"encrypted_content":"x"}',
            b'{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"a"}]}',
        ),
    ],
)
def test_played_back_item_is_the_same(ours: bytes, played_back: bytes) -> None:
    assert canonical(decode_item(ours)) == canonical(decode_item(played_back))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (b'{"role":"user","content":"Hi"}', b'{"role":"user","content":"hi"}'),
        (b'{"role":"user","content":"Hi"}', b'{"role":"developer","content":"Hi"}'),
        (
            b'{"role":"user","content":"ab"}',
            b'{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]}',
        ),
        (
            b'{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}',
            b'{"type":"function_call","call_id":"d","name":"f","arguments":"{}"}',
        ),
        (
            b'{"role":"user","content":[{"type":"input_image","image_url":"data:a"}]}',
            b'{"role":"user","content":[{"type":"input_image","image_url":"data:b"}]}',
        ),
    ],
)
def test_changed_item_is_another(left: bytes, right: bytes) -> None:
    assert canonical(decode_item(left)) != canonical(decode_item(right))


def test_sealed_reasoning_means_what_it_opens_to() -> None:
    plain = decode_item(b'{"type":"reasoning","content":[{"type":"reasoning_text","text":"a"}]}')
    sealed = decode_item(b'{"type":"reasoning","summary":[],"encrypted_content":"x"}')
    assert canonical(msgspec.structs.replace(sealed, opened=(plain,))) == canonical(plain) != canonical(sealed)
    assert item_digest(plain) == item_digest(msgspec.structs.replace(plain, id="rs_1"))
