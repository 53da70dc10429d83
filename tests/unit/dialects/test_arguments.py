"""Arguments of a call that come in any pieces, said once, twice or so far."""

import itertools
import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.arguments import ArgumentsReader

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
CUTS = st.lists(st.integers(1, 60), max_size=8)


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    edges = [0, *sorted({at for at in cuts if at < len(text)}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def so_far(pieces: Sequence[str]) -> list[str]:
    return list(itertools.accumulate(pieces))


QUIRKS: dict[str, Callable[[list[str]], list[str]]] = {
    "plain": list,
    "again at the end": lambda pieces: [*pieces, "".join(pieces)],
    "again in pieces": lambda pieces: [*pieces, *pieces],
    "again, spaced otherwise": lambda pieces: [*pieces, json.dumps(json.loads("".join(pieces)), indent=1)],
    "so far": so_far,
    "so far, the last one twice": lambda pieces: [*so_far(pieces), "".join(pieces)],
    "blanks around it": lambda pieces: [" \n", *pieces, "\n"],
    "an empty object first": lambda pieces: ["{}", *pieces],
    "a brace too much": lambda pieces: [*pieces, "}"],
    "encoded twice": lambda pieces: cut(json.dumps("".join(pieces)), [3, 7]),
}


def read(pieces: Sequence[str], *, is_cut: bool = False) -> str:
    reader = ArgumentsReader()
    return "".join([*(reader.feed(piece) for piece in pieces), reader.end(is_cut=is_cut)])


@given(value=OBJECTS, cuts=CUTS, quirk=st.sampled_from(sorted(QUIRKS)), escapes=st.booleans())
def test_what_is_said_in_any_way_comes_out_once(
    value: dict[str, object], cuts: list[int], quirk: str, escapes: bool
) -> None:
    pieces = cut(json.dumps(value, ensure_ascii=escapes), cuts)
    assert json.loads(read(QUIRKS[quirk](pieces))) == value


@given(value=OBJECTS, cuts=CUTS)
def test_pieces_of_one_value_are_given_as_they_are(value: dict[str, object], cuts: list[int]) -> None:
    text = json.dumps(value)
    assert read(cut(text, cuts)) == text


@given(value=OBJECTS, cuts=CUTS, end=st.integers(0, 60))
def test_what_was_cut_is_not_completed(value: dict[str, object], cuts: list[int], end: int) -> None:
    text = json.dumps(value)[:end]
    reader = ArgumentsReader()
    given = "".join([*map(reader.feed, cut(text, cuts)), reader.end(is_cut=True)])
    assert given == text
    assert reader.is_truncated == (0 < end < len(json.dumps(value)))


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [""],
        ["  "],
        ["null"],
        ["nu", "ll"],
        ['""'],
        ['"', 'null"'],
        ["\n", "null "],
        ["[]"],
        [" [ ]\n"],
        ["[]", "[]"],
    ],
)
def test_no_arguments_are_an_empty_object(pieces: list[str]) -> None:
    assert read(pieces) == "{}"


@pytest.mark.parametrize("pieces", [[], [""], ["  "]])
def test_a_call_that_was_cut_before_its_arguments_has_none(pieces: list[str]) -> None:
    assert read(pieces, is_cut=True) == ""


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["city", "=Oslo"], "city=Oslo"),
        (["nullable"], "nullable"),
        (["{a: 1}", " {b: 2}"], "{a: 1} {b: 2}"),
        (["3"], "3"),
        (['"Oslo"'], '"Oslo"'),
        (["[1,", "[1,", "2]]"], "[1,[1,2]]"),
        (['{"a":[', '{"a":[', "1]}", "]}"], '{"a":[{"a":[1]}]}'),
        (['{"a":[', '{"a":[1', '{"a":[1,2]}'], '{"a":[1,2]}'),
        (['{"a":', '{"a":1}'], '{"a":1}'),
        (["{", '{"a"', '{"a":1}'], '{"a":1}'),
        (["null", '{"a":1}'], '{"a":1}'),
        (["[]", '{"a":1}'], '{"a":1}'),
        (["[", "]"], "[]"),
        (['{"a":"x"}', '{"a":"xy","b":[1]}', '{"a":"xy","b":[1,2]}'], '{"a":"xy","b":[1,2]}'),
        (['{"a":1}</tool', "_call>"], '{"a":1}'),
        (['{"n":1e999}'], '{"n":1e999}'),
        (['{"a":' + "[" * 100_000], '{"a":' + "[" * 100_000),
    ],
    ids=lambda value: str(value)[:40],
)
def test_text_that_is_odd_is_read_as_it_is_meant(pieces: list[str], said: str) -> None:
    assert read(pieces) == said


def test_pieces_are_given_as_soon_as_they_are_sure() -> None:
    reader = ArgumentsReader()
    assert [reader.feed(piece) for piece in ("{", '"a":', "[1", "]", "}")] == ["{", '"a":', "[1", "]", ""]
    assert (reader.is_whole, reader.release(), reader.feed('{"a":[1]}'), reader.end(is_cut=False)) == (
        True,
        "}",
        "",
        "",
    )


def test_what_the_last_piece_says_as_a_whole_is_not_cut() -> None:
    reader = ArgumentsReader()
    given = reader.feed('{"a": ') + reader.feed('{"a": "x"}')
    assert not reader.is_truncated
    assert given + reader.end(is_cut=False) == '{"a": "x"}'


def test_objects_that_are_not_the_same_are_calls_of_their_own() -> None:
    reader = ArgumentsReader()
    assert reader.feed('{"a":1}{"a":2}{"a":1}') + reader.end(is_cut=False) == '{"a":1}'
    assert reader.others == ['{"a":2}']


def test_what_is_settled_completes_what_was_given() -> None:
    reader = ArgumentsReader()
    assert [reader.feed('{"a":'), reader.settle('{"a":1}'), reader.end(is_cut=False)] == ['{"a":', "", "1}"]
    reader = ArgumentsReader()
    assert [reader.feed('{"a":'), reader.settle('{ "a":1}'), reader.end(is_cut=False)] == ['{"a":', "", ""]
