"""The input of a custom tool out of streamed one-string arguments."""

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landline.dialects.tool_calls import CustomInputDecoder

TEXT = st.text(st.characters(codec="utf-8"))

ENDLESS = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"


def decode(arguments: str, cuts: list[int] | None = None) -> str:
    decoder = CustomInputDecoder()
    edges = [0, *sorted(cut for cut in cuts or [] if cut < len(arguments)), len(arguments)]
    pieces = [decoder.feed(arguments[start:end]) for start, end in itertools.pairwise(edges)]
    return "".join(pieces) + decoder.end()


@given(
    text=TEXT, cuts=st.lists(st.integers(0, 80), max_size=6), escapes=st.booleans(), indent=st.sampled_from([None, 2])
)
@example(text="😀\u2028\\u00e9\n", cuts=list(range(40)), escapes=True, indent=None)
def test_any_string_in_any_split_is_what_json_says(
    text: str, cuts: list[int], escapes: bool, indent: int | None
) -> None:
    assert decode(json.dumps({"input": text}, ensure_ascii=escapes, indent=indent), cuts) == text


@given(text=TEXT)
def test_one_character_at_a_time_is_the_same(text: str) -> None:
    arguments = json.dumps({"input": text})
    assert decode(arguments, list(range(len(arguments)))) == text


@given(text=TEXT, cuts=st.lists(st.integers(0, 80), max_size=6))
def test_text_in_place_of_arguments_is_given_as_it_came(text: str, cuts: list[int]) -> None:
    plain = "*" + text
    assert decode(plain, cuts) == plain


def test_characters_come_out_as_soon_as_they_are_certain() -> None:
    decoder = CustomInputDecoder()
    pieces = [decoder.feed(piece) for piece in ('{"input"', ': "ab', "\\", "nc", '"}')]
    assert pieces == ["", "ab", "", "\nc", ""]
    assert decoder.end() == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", ""),
        ("{}", "{}"),
        ('{"patch": "p"}', "p"),
        ('{"why": "w", "input": "p"}', "p"),
        ('{"a": "1", "b": "2"}', '{"a": "1", "b": "2"}'),
        ('{"input": {"x": 1}}', '{"x": 1}'),
        ('{"input": ""}', ""),
        ('{"input": "p", "why": "w"}', "p"),
        ('{"inp', '{"inp'),
        ('{"input": "cut', "cut"),
        ('{"input": "cut\\u00', "cut\\u00"),
        ('{"input": "\\x41"}', "\\x41"),
        ('{"input": "\\u12G4"}', "\\u12G4"),
        ('{"input": "\\ud83d!"}', "\ufffd!"),
        ('{"input": "\\udc00"}', "\ufffd"),
        ('{"input": "\\ud83d\\n"}', "\ufffd\n"),
        ("[1]", "[1]"),
        (ENDLESS, ENDLESS),
    ],
)
def test_other_shapes_lose_no_text(arguments: str, text: str) -> None:
    assert decode(arguments) == text
    assert decode(arguments, list(range(len(arguments)))) == text
