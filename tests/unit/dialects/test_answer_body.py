"""Bodies of answers as records: streams, whole objects, arrays of records."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.answer_body import AnswerBody

BODIES = {
    b"": [],
    b" \n": [],
    b'data: {"a":1}\n\ndata: {"b":2}': [b'{"a":1}', b'{"b":2}'],
    b'\n: waiting\n\ndata: {"a":1}\n\n': [b'{"a":1}'],
    b' {"a": 1}\n': [b' {"a": 1}\n'],
    b'[{"a": 1},\r\n {"b": [2]}]': [b'{"a": 1}', b'{"b": [2]}'],
    b"[]": [],
    b'[{"a": 1},': [b'[{"a": 1},'],
    b"<html></html>": [],
}


def records(chunks: list[bytes]) -> list[bytes]:
    body = AnswerBody()
    read = [payload for chunk in chunks for payload in body.feed(chunk)]
    return [*read, *body.end()]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_its_records_however_it_comes(body: bytes) -> None:
    assert records([body]) == BODIES[body]
    assert records([body[i : i + 1] for i in range(len(body))]) == BODIES[body]


@given(st.sampled_from(list(BODIES)), st.data())
def test_what_is_no_stream_is_kept_whole(body: bytes, data: st.DataObject) -> None:
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4))), len(body)]
    read = AnswerBody()
    for start, end in itertools.pairwise(edges):
        list(read.feed(body[start:end]))
    is_stream = body.lstrip()[:1] not in (b"", b"{", b"[")
    assert (read.is_stream, read.whole) == (is_stream, None if is_stream else body)
