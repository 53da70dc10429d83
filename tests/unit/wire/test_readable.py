"""What comes from outside can be read as a whole, or it is known where it cannot."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.wire.readable import MAX_DEPTH, find_unreadable

HALF = "half of a surrogate pair"


def deep(levels: int, inside: str = "") -> str:
    return (
        '{"a":[' * (levels // 2)
        + ("[" if levels % 2 else "")
        + inside
        + ("]" if levels % 2 else "")
        + "]}" * (levels // 2)
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    st.booleans(),
)
def test_json_is_readable(value: object, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    assert find_unreadable(text) is None
    assert find_unreadable(text.encode()) is None


@pytest.mark.parametrize(
    "odd",
    [
        b'{"a":1,"a":2}',
        b"1e308",
        b"-1.5E+300",
        b"1e-400",
        b"9" * 4300,
        b"0." + b"3" * 5000,
        b'"\\u0000"',
        b'"\\ud83d\\uDE00"',
        b'"a backslash \\\\ud800"',
        b" [ ] \r\n\t",
        b'"' + b"[{" * 1000 + b'"',
        b"[" + b",".join([b"{}"] * 1000) + b"]",
        deep(MAX_DEPTH).encode(),
        b"true",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_merely_odd_is_readable(odd: bytes) -> None:
    assert find_unreadable(odd) is None


@pytest.mark.parametrize(
    ("broken", "is_json", "says"),
    [
        (b"1e400", True, "number"),
        (b"-2E+309", True, "number"),
        (b"1" * 400 + b".0", True, "number"),
        (b"7" * 4301, True, "4,300 digits"),
        (b"-" + b"7" * 5000, True, "4,300 digits"),
        (b'"\xff"', False, "UTF-8"),
        (b'"\xc3"', False, "UTF-8"),
        (b'"\xed\xa0\x80"', False, "UTF-8"),
        (b'"\xc0\xaf"', False, "UTF-8"),
        (b'{"\xfe":1}', False, "UTF-8"),
        (b'"\\ud800"', False, HALF),
        (b'"\\uDBFFx"', False, HALF),
        (b'"\\udc00 and more"', False, HALF),
        (b'{"\\ud83d":1}', False, HALF),
        (b'"\\ud83d\\ud83d"', False, HALF),
        (b"NaN", False, "JSON"),
        (b"-Infinity", False, "JSON"),
        (b'"a\x01b"', False, "JSON"),
        (b'"two\nlines"', False, "JSON"),
        (b"01", False, "JSON"),
        (b"[1,]", False, "JSON"),
        (b"{} {}", False, "JSON"),
        (b"\xef\xbb\xbf{}", False, "JSON"),
        (b"", False, "JSON"),
        (deep(MAX_DEPTH + 1).encode(), False, f"{MAX_DEPTH} levels"),
        (deep(900).encode(), False, f"{MAX_DEPTH} levels"),
        (b"[" * 100_000 + b"]" * 100_000, False, f"{MAX_DEPTH} levels"),
        (b"[" * 100_000, False, f"{MAX_DEPTH} levels"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_cannot_be_read_again_is_told(broken: bytes, is_json: bool, says: str) -> None:
    unreadable = find_unreadable(broken)
    assert unreadable is not None
    assert unreadable.is_json is is_json
    assert says in str(unreadable)


@pytest.mark.parametrize("broken", [b"1e400", b"8" * 5000, b'"\xff"'], ids=["float", "integer", "bytes"])
@pytest.mark.parametrize(
    ("around", "where"),
    [
        (b"%s", ""),
        (b'{"a": 1, "b": %s}', "b"),
        (b'{"input":[{"x":1},{"content":[{"deep":%s}]}],"z":2}', "input[1].content[0].deep"),
        (b"[[], [%s]]", "[1][0]"),
        (b'{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":%s}}}}}}}}}', "a.b.c.d.e.f.g.h"),
    ],
)
def test_the_place_is_told_as_far_as_it_is_worth_it(around: bytes, broken: bytes, where: str) -> None:
    unreadable = find_unreadable(around % broken)
    assert unreadable is not None
    assert unreadable.where == where


def test_half_a_pair_is_told_by_its_byte() -> None:
    unreadable = find_unreadable(b'{"input":"cut \\ud83d"}')
    assert unreadable is not None
    assert "byte 14" in str(unreadable)


@given(st.binary(max_size=40))
def test_what_is_found_readable_can_be_decoded(data: bytes) -> None:
    if find_unreadable(data) is None:
        msgspec.json.encode(msgspec.json.decode(data))


@given(
    text=st.text('[]{}"\\a', max_size=12),
    levels=st.sampled_from((1, 12, 40, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 30)),
    places=st.lists(st.booleans(), min_size=MAX_DEPTH + 30, max_size=MAX_DEPTH + 30),
)
def test_brackets_and_quotes_in_strings_do_not_count_as_depth(text: str, levels: int, places: list[bool]) -> None:
    value: object = text
    for is_object in places[: levels - 1]:
        value = {text: value, "x": text} if is_object else [text, value]
    siblings = [{text: text}] * (MAX_DEPTH + 1)
    data = json.dumps([value, *siblings]).encode()
    assert (find_unreadable(data) is None) == (levels <= MAX_DEPTH)
