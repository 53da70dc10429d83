"""Text that servers say once more, or so far, and text that only looks like it."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.streamed_text import StreamedText


def read(pieces: Sequence[str], *, ends_with_last: bool = False) -> str:
    said = StreamedText()
    last = len(pieces) - 1
    fed = [said.feed(piece, is_last=ends_with_last and at == last) for at, piece in enumerate(pieces)]
    return "".join([*fed, said.end()])


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["So", "So it", "So it is."], "So it is."),
        (["So it", "So it is", "So it is", "So it is here", "So it is here."], "So it is here."),
        (["Bonn", "Bonn is", "Bonn is it", " too"], "Bonn is it too"),
        (["Hello", "Hello, you"], "Hello, you"),
        (["It rains", "It rains a lot."], "It rains a lot."),
    ],
)
def test_text_so_far_is_said_once(pieces: list[str], text: str) -> None:
    assert read(pieces) == text


@pytest.mark.parametrize(
    "pieces",
    [
        ["ha", "ha"],
        ["ha", "haha", "hahaha", "hahahaha"],
        ["no ", "no problem"],
        ["Well, ", "well"],
        [" a", " ab", " abc", " abcd", " abcdefgh"],
        ["\n", "\n\n", "\n\nNow then"],
        ["1", "10", "100"],
        ["la la la ", "la la la "],
    ],
)
@pytest.mark.parametrize("ends_with_last", [False, True])
def test_what_may_be_meant_is_kept(pieces: list[str], ends_with_last: bool) -> None:
    assert read(pieces, ends_with_last=ends_with_last) == "".join(pieces)


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["It is ", "here now", "It is here now"], "It is here now"),
        (["It is here", "It is here"], "It is here"),
        (["It is ", "here", " now", "It is here now."], "It is here now."),
        (["Now here is the answer", "Now here is the answer, and more"], "Now here is the answer, and more"),
    ],
)
def test_a_last_piece_that_says_everything_says_only_what_is_new(pieces: list[str], text: str) -> None:
    assert read(pieces, ends_with_last=True) == text


@given(st.lists(st.text("abc ", min_size=1, max_size=3), max_size=12), st.text(max_size=4))
def test_a_whole_message_adds_what_was_not_said(pieces: list[str], rest: str) -> None:
    pieces = ["- ", *pieces]
    said = StreamedText()
    fed = "".join(said.feed(piece) for piece in pieces)
    whole = "".join(pieces) + rest
    assert fed + said.settle(whole) + said.end() == whole


def test_a_whole_message_behind_text_so_far_adds_what_was_not_said() -> None:
    said = StreamedText()
    assert said.feed("It") + said.feed("It is") + said.settle("It is here") + said.end() == "It is here"


def test_a_whole_message_that_is_another_adds_nothing() -> None:
    said = StreamedText()
    assert [said.feed("One"), said.feed(" two"), said.settle("Three"), said.end()] == ["One", " two", "", ""]


@given(st.lists(st.sampled_from(["a", "b", "ab", " ", "aba", "word"]), max_size=10))
def test_nothing_is_said_that_no_piece_says(pieces: list[str]) -> None:
    assert set(read(pieces)) == set("".join(pieces))


def test_other_text_is_said_at_once() -> None:
    said = StreamedText()
    pieces = ["The", " sun", " shines", " there", "."]
    assert [said.feed(piece) for piece in pieces] == pieces
    assert list(itertools.repeat("", 1)) == [said.end()]


@pytest.mark.parametrize("piece", ["word ", "ha", "=", "\n", "a longer piece of text "])
def test_a_piece_that_comes_again_and_again_is_said_as_it_comes(piece: str) -> None:
    said = StreamedText()
    assert [said.feed(piece) for _ in range(64)] == [piece] * 64
    assert said.end() == ""
