"""The time that smaller uploads save: what a sender that starts slowly would take, and never more than was measured."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from landline.ledger.upload_time import UploadPath, UploadSample, measured_path, saved_s, upload_s

WINDOW = 14_600
SIZES = st.integers(min_value=0, max_value=10**8)
RTTS = st.floats(min_value=1e-5, max_value=2.0)
RATES = st.floats(min_value=1e3, max_value=1e10)
PATHS = st.builds(UploadPath, RTTS | st.just(0.0), st.integers(14_600, 700_000), RATES | st.just(0.0))
SAMPLES = st.builds(
    UploadSample, st.integers(16_384, 10**8), st.floats(min_value=1e-6, max_value=600.0), RATES | st.just(0.0)
)


@pytest.mark.parametrize(
    ("rtt_s", "rate", "size_bytes", "expected_s"),
    [
        (0.0, 0.0, 10**6, 0.0),
        (0.0, 1e6, 10**6, 1.0),
        (0.1, 0.0, WINDOW, 0.0),
        (0.1, 0.0, WINDOW + 1, 0.1),
        (0.1, 0.0, 3 * WINDOW, 0.1),
        (0.1, 0.0, 3 * WINDOW + 1, 0.2),
        (0.1, 0.0, 7 * WINDOW + 1, 0.3),
        (0.1, 1e9, 3 * WINDOW + 1, 0.2),
        (0.1, 146_000.0, 10 * WINDOW, 1.0),
        (0.1, 438_000.0, 9 * WINDOW, 0.2 + 6 * WINDOW / 438_000),
    ],
    ids=[
        "nothing known",
        "rate only",
        "one window",
        "a byte more",
        "two windows",
        "a byte more than two",
        "more than three",
        "a rate that does not matter",
        "the first window covers the rate",
        "the window grows until it covers the rate",
    ],
)
def test_an_upload_waits_for_round_trips_until_its_window_covers_the_rate(
    rtt_s: float, rate: float, size_bytes: int, expected_s: float
) -> None:
    assert upload_s(UploadPath(rtt_s, WINDOW, rate), size_bytes) == pytest.approx(expected_s)


@given(path=PATHS, size_bytes=SIZES, more_bytes=SIZES)
def test_more_bytes_never_take_less(path: UploadPath, size_bytes: int, more_bytes: int) -> None:
    assert upload_s(path, size_bytes + more_bytes) >= upload_s(path, size_bytes) * (1 - 1e-9)


@given(rtt_s=RTTS, size_bytes=SIZES, rate=RATES, faster=st.floats(min_value=1.0, max_value=1e3))
def test_a_higher_rate_never_takes_longer(rtt_s: float, size_bytes: int, rate: float, faster: float) -> None:
    slow, fast = UploadPath(rtt_s, WINDOW, rate), UploadPath(rtt_s, WINDOW, rate * faster)
    assert upload_s(fast, size_bytes) <= upload_s(slow, size_bytes) * (1 + 1e-9)


@given(path=PATHS, without_bytes=SIZES, uploaded_bytes=SIZES, more_bytes=SIZES)
def test_a_claim_is_never_negative_and_grows_with_what_was_not_uploaded(
    path: UploadPath, without_bytes: int, uploaded_bytes: int, more_bytes: int
) -> None:
    claimed_s = saved_s(path, without_bytes, uploaded_bytes)
    assert 0.0 <= claimed_s <= upload_s(path, without_bytes)
    assert saved_s(path, without_bytes + more_bytes, uploaded_bytes) >= claimed_s - 1e-9
    assert saved_s(path, without_bytes, uploaded_bytes + more_bytes) <= claimed_s + 1e-9
    if uploaded_bytes >= without_bytes:
        assert claimed_s == 0.0


@given(without_bytes=SIZES, uploaded_bytes=SIZES)
def test_without_a_measurement_nothing_is_claimed(without_bytes: int, uploaded_bytes: int) -> None:
    assert saved_s(UploadPath(0.0, WINDOW, 0.0), without_bytes, uploaded_bytes) == 0.0


@given(rtt_s=RTTS, window=st.integers(14_600, 700_000), sample=SAMPLES)
def test_a_path_never_predicts_more_than_was_measured(rtt_s: float, window: int, sample: UploadSample) -> None:
    path = measured_path(rtt_s, window, sample)
    assert upload_s(path, sample.size_bytes) <= sample.duration_s * 1.05 + 1e-9
    assert path.rate == 0.0 or path.rate >= sample.peak_rate


@given(path=PATHS, size_bytes=st.integers(min_value=20_000, max_value=10**8))
def test_a_sender_that_starts_slowly_is_never_taken_for_a_slower_one(path: UploadPath, size_bytes: int) -> None:
    """A sample of just the modelled sender leads to no larger claims than the true path."""
    assume(path.rtt_s and path.rate)
    sample = UploadSample(size_bytes, upload_s(path, size_bytes), path.rate)
    found = measured_path(path.rtt_s, path.first_window, sample)
    for without_bytes in (size_bytes // 2, size_bytes, size_bytes * 10):
        assert saved_s(found, without_bytes, 1_000) <= saved_s(path, without_bytes, 1_000) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("sample", "path"),
    [
        (None, UploadPath(0.05, WINDOW)),
        (UploadSample(300_000, 0.308, 1.3e6), UploadPath(0.05, WINDOW, 1.3e6)),
        (UploadSample(300_000, 0.24, 4e6), UploadPath(0.05, WINDOW)),
        (UploadSample(300_000, 0.1, 4e6), UploadPath(0.0, WINDOW)),
        (UploadSample(300_000, 0.26, 1e5), UploadPath(0.0, WINDOW, 300_000 / 0.26)),
    ],
    ids=[
        "round trips are known alone",
        "limited by the rate",
        "limited by round trips",
        "sent faster than round trips allow",
        "at one pace from the first byte on",
    ],
)
def test_a_body_shows_what_limited_it(sample: UploadSample | None, path: UploadPath) -> None:
    assert measured_path(0.05, WINDOW, sample) == path
