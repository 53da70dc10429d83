"""What the spelling of JSON costs, against Python's own two spellings of the same text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.wire.spelling import escape_bytes, excess_bytes, is_spaced

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")
TEXTS = st.text(st.one_of(CHARACTERS, st.sampled_from('\\u"\n\x00é語😀')))


@given(TEXTS)
def test_escapes_are_what_utf8_does_without(text: str) -> None:
    escaped, plain = json.dumps(text).encode(), json.dumps(text, ensure_ascii=False).encode()
    assert len(escaped) - escape_bytes(escaped) == len(plain)
    assert escape_bytes(plain) == 0


@pytest.mark.parametrize("text", ["C:\\users\\u00e9", "\\\\u4e2d", "ends in \\", "\\"])
def test_an_escaped_backslash_begins_no_escape(text: str) -> None:
    assert escape_bytes(json.dumps(text).encode()) == 0


@given(st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_excess_is_what_compact_json_in_utf8_does_without(value: object) -> None:
    spelled = json.dumps(value).encode()
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(spelled) - excess_bytes(spelled) == len(compact)
    assert excess_bytes(compact) == 0


def test_spaces_are_told_from_the_first_member() -> None:
    for text, spaced in (('{"a": 1}', True), ('{"a":1, "b": 2}', False), ('"no member"', False), ("", False)):
        assert is_spaced(text) is is_spaced(text.encode()) is spaced
