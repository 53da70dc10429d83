"""How fast a client's uploads arrive, and the time that its turns save by uploading less. One meter a connection.

The protocols report reads that leave a body incomplete, and those that complete it; `server.account` asks for claims. A body
that comes in one read costs nothing here.
"""

import asyncio
import socket
import struct
import sys
import time

from landline.ledger.upload_time import (
    INITIAL_SEGMENTS,
    SAMPLE_MIN_BYTES,
    UploadPath,
    UploadSample,
    explains,
    measured_path,
    saved_s,
)
from landline.session.create_bytes import TurnBytes

STRETCH_S, STRETCH_BYTES = 0.01, 16 * 1024
"""Stretches of a body whose rates are compared are at least so long, and so large: else one packet more or less in a read would
be taken for another rate."""
RTT_KEPT_S = 10.0
"""The kernel is asked again after so long: it takes 7 µs."""
RATIO_MIN_BYTES = 16 * 1024
"""Creates from this size on show how a body compresses by itself: a smaller one compresses less, and its head weighs more."""
_ETHERNET_SEGMENT = 1460
_TCP_INFO_BYTES = 152
_ADVERTISED_SEGMENT, _MIN_RTT = 84, 148
"""Offsets in Linux' `struct tcp_info` (include/uapi/linux/tcp.h) of `tcpi_advmss` (bytes) and `tcpi_min_rtt` (µs)."""
_NO_RTT = 0xFFFFFFFF
_U32 = struct.Struct("=I")


class UploadMeter:
    """Times large bodies, and claims what turns saved."""

    __slots__ = (
        "_began_at",
        "_body_ratio",
        "_owed_bytes",
        "_path",
        "_path_at",
        "_peak_rate",
        "_read_bytes",
        "_sample",
        "_stretch_at",
        "_stretch_bytes",
        "_transport",
        "is_timing",
    )

    def __init__(self, transport: asyncio.BaseTransport | None = None) -> None:
        """Without a transport nothing is ever claimed."""
        self.is_timing = False
        """Whether a body has begun and is not complete."""
        self._transport = transport
        self._began_at = 0.0
        self._read_bytes = 0
        self._peak_rate = 0.0
        self._stretch_at = 0.0
        self._stretch_bytes = 0
        self._sample: UploadSample | None = None
        self._path: UploadPath | None = None
        self._path_at = 0.0
        self._body_ratio: float | None = None
        self._owed_bytes = 0

    def note_read(self, size_bytes: int, *, is_partial: bool) -> None:
        """So many bytes were read, and a body is incomplete that was sent in one go; or it was, and now is complete."""
        now = time.monotonic()
        if not self.is_timing:
            self._begin(size_bytes, now)
            return
        self._read_bytes += size_bytes
        self._stretch_bytes += size_bytes
        stretch_s = now - self._stretch_at
        if stretch_s >= STRETCH_S and self._stretch_bytes >= STRETCH_BYTES:
            self._peak_rate = max(self._peak_rate, self._stretch_bytes / stretch_s)
            self._stretch_at, self._stretch_bytes = now, 0
        if not is_partial:
            self._end(now)

    def claim_s(self, measured: TurnBytes, create_bytes: int, received_bytes: int) -> float | None:
        """What a turn saved by uploading less, in seconds; None if nothing can be said. `create_bytes` are those of its create on
        the wire, `received_bytes` all that the turn uploaded.

        What a turn uploaded beyond what a client without a session would have is taken off the claims of those behind it.
        """
        ratio = self._ratio_of(create_bytes, measured.create.payload)
        if ratio is None:
            return None
        without_bytes = int(measured.stateless * ratio) - self._owed_bytes
        self._owed_bytes = max(received_bytes - without_bytes, 0)
        if self._owed_bytes:
            return 0.0
        path = self._current_path()
        return saved_s(path, without_bytes, received_bytes) if path is not None else None

    def _begin(self, size_bytes: int, now: float) -> None:
        self.is_timing = True
        self._began_at = self._stretch_at = now
        self._read_bytes, self._stretch_bytes, self._peak_rate = size_bytes, 0, 0.0

    def _end(self, now: float) -> None:
        self.is_timing = False
        duration_s = now - self._began_at
        if self._read_bytes < SAMPLE_MIN_BYTES or duration_s <= 0:
            return
        sample, kept, path = UploadSample(self._read_bytes, duration_s, self._peak_rate), self._sample, self._path
        says_more = kept is None or sample.size_bytes >= kept.size_bytes
        if says_more or path is None or not explains(path, sample):
            self._sample = sample
            self._find_path(now)

    def _ratio_of(self, create_bytes: int, payload_bytes: int) -> float | None:
        """How much of a body's bytes would be on the wire if this client compressed it as it compresses here: 1 without
        compression; None if it compresses, and no create so far shows how much."""
        if self._body_ratio is None and payload_bytes >= RATIO_MIN_BYTES and create_bytes:
            self._body_ratio = min(create_bytes / payload_bytes, 1.0)
        if self._body_ratio is not None:
            return self._body_ratio
        return 1.0 if create_bytes >= payload_bytes else None

    def _current_path(self) -> UploadPath | None:
        now = time.monotonic()
        if not self._path_at or now - self._path_at > RTT_KEPT_S:
            self._find_path(now)
        return self._path

    def _find_path(self, now: float) -> None:
        if self._transport is not None:
            self._path_at = now
            known = read_round_trip(self._transport)
            self._path = measured_path(*known, self._sample) if known is not None else None

    def close(self) -> None:
        """The connection is lost: its socket is not asked again."""
        self._transport = None


def read_round_trip(transport: asyncio.BaseTransport) -> tuple[float, int] | None:
    """The shortest round trip of a TCP connection in seconds, and its peer's first window in bytes; None where the kernel
    does not tell."""
    connection = transport.get_extra_info("socket")
    if connection is None or sys.platform != "linux":
        return None
    try:
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < _TCP_INFO_BYTES:
        return None
    (min_rtt_us,) = _U32.unpack_from(info, _MIN_RTT)
    (segment,) = _U32.unpack_from(info, _ADVERTISED_SEGMENT)
    if min_rtt_us in (0, _NO_RTT):
        return None
    return min_rtt_us / 1e6, INITIAL_SEGMENTS * max(segment, _ETHERNET_SEGMENT)
