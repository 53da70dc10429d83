import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.cli.top.text import count, dollars, percent, seconds, size, span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (size(0), "0 B"),
        (size(999), "999 B"),
        (size(1254), "1.25 kB"),
        (size(34_512_000), "34.5 MB"),
        (size(999_600), "1.00 MB"),
        (size(-2_000), "-2.00 kB"),
        (count(9_999), "9,999"),
        (count(12_345), "12.3 k"),
        (percent(1, 0), "-"),
        (percent(999_999, 1_000_000), "99.9 %"),
        (percent(1, 1_000_000), "0.1 %"),
        (percent(3, 3), "100 %"),
        (percent(0, 3), "0 %"),
        (percent(-5, 10), "-50.0 %"),
        (seconds(None), "-"),
        (seconds(0.0013), "1.3 ms"),
        (seconds(0.45), "450 ms"),
        (seconds(2.314), "2.31 s"),
        (seconds(12.34), "12.3 s"),
        (seconds(200), "3 min 20 s"),
        (dollars(0), "$0"),
        (dollars(0.0000001), "<$0.000001"),
        (dollars(0.0000123), "$0.000012"),
        (dollars(0.041), "$0.0410"),
        (dollars(0.9996), "$1.00"),
        (dollars(12.3), "$12.30"),
        (dollars(-0.25), "-$0.250"),
        (dollars(12_345), "$12.3 k"),
        (span(3_700), "1 h 1 min"),
        (span(200_000), "2 d 7 h"),
    ],
)
def test_numbers_are_written_as_on_the_monitor_page(text: str, expected: str):
    assert text == expected


@given(st.integers(-(10**15), 10**15))
def test_sizes_and_counts_have_a_column_of_eight(value: int):
    assert len(size(abs(value))) <= 8
    assert len(count(abs(value))) <= 7
