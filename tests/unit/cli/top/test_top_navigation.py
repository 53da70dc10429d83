import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.cli.top.navigation import Key, decode_keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", [Key.QUIT]),
        (b"jk", [Key.DOWN, Key.UP]),
        (b"\x1b[A\x1b[B", [Key.UP, Key.DOWN]),
        (b"\x1bOA", [Key.UP]),
        (b"\x1b", [Key.BACK]),
        (b"\r", [Key.ENTER]),
        (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        (b"\x1b[1;5Aq", [Key.QUIT]),
        (b"\x1b[15~j", [Key.DOWN]),
        (b"zsx", [Key.SORT]),
        (b"", []),
    ],
)
def test_keys_are_read_from_what_terminals_send(data: bytes, keys: list[Key]):
    assert decode_keys(data) == keys


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reading(data: bytes):
    assert all(isinstance(key, Key) for key in decode_keys(data))
