"""How long uploads take on a client's connection, as far as it was measured, and what a smaller upload saves of that.

Pure: `server.upload_meter` measures. docs/ledger.md derives the method. Wherever a measurement leaves room, the reading with the
smaller claim is taken.
"""

import msgspec

INITIAL_SEGMENTS = 10
"""A sender's first window after a pause (RFC 6928; restarted after a pause by RFC 5681 §4.1)."""
SAMPLE_MIN_BYTES = 16 * 1024
"""Behind the first read of a body. Less says nothing of a rate: it may have been on its way together."""
_SLACK = 1.05
"""Room for the clock and the event loop, when a path's prediction is compared with what was measured."""


class UploadPath(msgspec.Struct, frozen=True, gc=False):
    """What is known of the way from a client."""

    rtt_s: float
    """The shortest round trip that was seen; 0 if no waits for round trips may be claimed."""
    first_window: int
    """Bytes that a sender may have on the way after a pause, before anything is acknowledged."""
    rate: float = 0.0
    """Bytes a second; 0 if no body was limited by the rate so far."""


class UploadSample(msgspec.Struct, frozen=True, gc=False):
    """One large body as it arrived, sent in one go."""

    size_bytes: int
    duration_s: float
    """From its first read to its last one."""
    peak_rate: float
    """Bytes a second in the fastest stretch of it."""


def upload_s(path: UploadPath, size_bytes: int) -> float:
    """How long after its first byte the last byte of a body arrives, when the sender was idle before.

    The sender's window doubles with each round trip until it covers the rate; before that, it waits out each round trip.
    """
    window, left, waited_s = path.first_window, size_bytes, 0.0
    enough = path.rate * path.rtt_s
    while path.rtt_s and left > window and (not path.rate or window < enough):
        left -= window
        window *= 2
        waited_s += path.rtt_s
    return waited_s + (left / path.rate if path.rate else 0.0)


def saved_s(path: UploadPath, without_bytes: int, uploaded_bytes: int) -> float:
    """What it saves to upload less; 0 if it is not less."""
    if uploaded_bytes >= without_bytes:
        return 0.0
    return max(upload_s(path, without_bytes) - upload_s(path, uploaded_bytes), 0.0)


def explains(path: UploadPath, sample: UploadSample) -> bool:
    """Whether the path predicts no more than the body took."""
    return upload_s(path, sample.size_bytes) <= sample.duration_s * _SLACK


def measured_path(rtt_s: float, first_window: int, sample: UploadSample | None = None) -> UploadPath:
    """The path that explains the sample, and never predicts that it took longer than it did."""
    unlimited = UploadPath(rtt_s, first_window)
    if sample is None:
        return unlimited
    # One more round trip than a doubling window needs: acknowledgements that are delayed slow its growth.
    is_rate_limited = sample.duration_s > upload_s(unlimited, sample.size_bytes) + rtt_s
    rate = max(sample.peak_rate, sample.size_bytes / sample.duration_s) if is_rate_limited else 0.0
    path = UploadPath(rtt_s, first_window, rate)
    if explains(path, sample):
        return path
    # The sender does not wait as this says, so waits are not claimed here: it paces, or was not idle before.
    return UploadPath(0.0, first_window, rate)
