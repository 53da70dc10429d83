"""What others wrote is printed without what could steer a terminal or hide in it."""

import json
import unicodedata

import pytest

from landline.terminal import escaped, one_line, printable

VISIBLE_OR_NEEDED = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Of the format characters: joiners, and signs of Arabic, Syriac and Kaithi that are seen."""


def test_nothing_of_a_dangerous_category_is_printed() -> None:
    every = "".join(map(chr, range(0x110000)))
    left = {each for each in printable(every) if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left == set("\n\t" + VISIBLE_OR_NEEDED)


def test_everything_else_is_printed() -> None:
    letters = "".join(
        each for each in map(chr, range(0x110000)) if unicodedata.category(each)[0] in "LMNPS" or each == " "
    )
    assert printable(letters) == letters


def test_an_escape_sequence_is_plain_text_wherever_it_is_cut() -> None:
    text = "a\x1b[31mb\x1b]8;;http://evil\x07c\x9b2J\u202ed"
    whole = printable(text)
    assert whole == "a[31mb]8;;http://evilc2Jd"
    assert all(printable(text[:cut]) + printable(text[cut:]) == whole for cut in range(len(text)))


def test_one_line_is_one_line() -> None:
    assert one_line("a\n  sent 0 B\r\n\tb\u2028c\x85d") == "a sent 0 B bcd"


@pytest.mark.parametrize("text", ["tab\there", "esc\x1b[2J", "bidi\u202e\u2066", "tag\U000e0041", "line\nfeed\u2029"])
def test_escapes_are_those_of_json(text: str) -> None:
    line = escaped(text)
    assert line.isprintable()
    assert json.loads(f'"{line}"') == text


def test_plain_text_stays_what_it_is() -> None:
    text = "Ein Wort, ein שלום, ein 🧑\u200d🚀."
    assert printable(text) == text
    assert one_line(text) == text
