"""SSE: any split of the bytes gives the same payloads."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from landline.wire.sse import DONE, SseDecoder, encode_sse

RECORDS = [b'{"a":1}', b"plain", b'{"text":"\xc3\xa9"}', b"[DONE]"]


def stream(newline: bytes) -> bytes:
    records = [b"event: x", b"data: " + RECORDS[0], b"", b": comment", b"data:" + RECORDS[1], b"id: 7", b"", b""]
    records += [b"data: " + RECORDS[2], b"", b"retry: 10", b"data: " + RECORDS[3], b"", b""]
    return newline.join(records)


@given(st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200), max_size=20))
def test_any_split_gives_the_same_payloads(newline: bytes, cuts: list[int]) -> None:
    data = stream(newline)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    decoder = SseDecoder()
    payloads = [each for start, end in itertools.pairwise(edges) for each in decoder.feed(data[start:end])]
    assert payloads + list(decoder.end()) == RECORDS


def test_lines_of_one_record_are_joined() -> None:
    assert list(SseDecoder().feed(b"data: a\ndata: b\n\n")) == [b"a\nb"]


def test_unterminated_last_record_is_given_at_the_end() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"data: a")) == []
    assert list(decoder.end()) == [b"a"]


def test_encoded_event_decodes_to_its_data() -> None:
    record = encode_sse("response.created", b'{"type":"response.created"}')
    assert record == b'event: response.created\ndata: {"type":"response.created"}\n\n'
    assert list(SseDecoder().feed(record + DONE)) == [b'{"type":"response.created"}', b"[DONE]"]
