"""permessage-deflate as Landline grants it: 15-bit windows and context takeover in both directions (RFC 7692), less when
memory is short.

Everything that is sent is compressed, small deltas too: `docs/adr/0005-compress-every-frame-to-the-client.md` says why,
`benchmarks/outbound_compression.py` measures it.
"""

import zlib
from collections.abc import Sequence

import structlog
from websockets.exceptions import NegotiationError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import CTRL_OPCODES, Frame
from websockets.typing import ExtensionParameter

from landline.compression_budget import (
    STEPS,
    WINDOW_BITS,
    CompressionBudget,
    CompressionGrant,
    CompressionOffer,
    StepName,
)

LEVEL = 6
MIN_LONE_BYTES = 1024
"""Without context takeover a smaller frame shrinks too little to pay for a fresh compressor."""
NOT_OFFERED = "none offered by the client"
"""Shown for a socket whose client could save most of its upload by one option."""
_SYNC_TAIL_BYTES = 4
"""RFC 7692 §7.2.1: the 00 00 FF FF of a sync flush is not sent."""

_log = structlog.stdlib.get_logger(__name__)


class LineDeflateFactory(ServerPerMessageDeflateFactory):
    """Answers one socket's offers of permessage-deflate out of a budget. Close it with the socket.

    Narrower windows and no takeover are granted when asked for, and when the budget has no more.
    """

    def __init__(self, budget: CompressionBudget) -> None:
        super().__init__(client_max_window_bits=WINDOW_BITS)
        self._budget = budget
        self._grant: CompressionGrant | None = None
        self._extension: LineDeflate | None = None

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """The parameters of the answer and the extension; raises NegotiationError to pass the offer over."""
        if ("server_max_window_bits", "8") in params:
            raise NegotiationError("zlib has no raw deflate with an 8-bit window")
        if self._grant is not None:
            raise NegotiationError("another offer of this socket was answered")
        answer, agreed = super().process_request_params(params, accepted_extensions)
        grant = self._grant = self._budget.grant(_offer(params, agreed))
        if grant.step == "none":
            raise NegotiationError("no memory is left for compression")
        self._extension = LineDeflate(agreed, grant)
        return _answer(answer, grant), self._extension

    @property
    def words(self) -> str:
        """The agreed compression, as logs and monitor show it."""
        if self._extension is not None:
            words = self._extension.words
        elif self._grant is not None:
            words = "none"
        else:
            return NOT_OFFERED
        is_reduced = self._grant is not None and self._grant.step != STEPS[0].name
        return f"{words} (memory is short)" if is_reduced else words

    def close(self) -> None:
        """Gives the memory back. Nothing is sent or read any more."""
        grant, self._grant = self._grant, None
        if grant is not None:
            self._budget.release(grant)
        if self._extension is not None:
            self._extension.close()


class LineDeflate(PerMessageDeflate):
    """The agreed extension; the compressor (150 KiB with a 15-bit window) exists only once something was sent."""

    def __init__(self, agreed: PerMessageDeflate, grant: CompressionGrant) -> None:
        super().__init__(
            remote_no_context_takeover=agreed.remote_no_context_takeover or not grant.keeps_context,
            local_no_context_takeover=True,
            remote_max_window_bits=grant.in_bits,
            local_max_window_bits=grant.out_bits,
        )
        self._memory_level = grant.memory_level
        self._keeps_context = grant.keeps_context and not agreed.local_no_context_takeover
        self._compressor: zlib._Compress | None = None  # pyright: ignore[reportPrivateUsage]

    @property
    def words(self) -> str:
        """The agreed compression, as logs and monitor show it."""
        received = _side(self.remote_max_window_bits, keeps_context=not self.remote_no_context_takeover)
        sent = _side(self.local_max_window_bits, keeps_context=self._keeps_context)
        return f"deflate, {sent}" if sent == received else f"deflate, in {received}, out {sent}"

    def encode(self, frame: Frame) -> Frame:
        """Compresses a data frame. Every message we send is one frame; RSV1 tells for each whether it is compressed."""
        if frame.opcode in CTRL_OPCODES or (not self._keeps_context and len(frame.data) < MIN_LONE_BYTES):
            return frame
        compressor = self._compressor
        if compressor is None or not self._keeps_context:
            compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -self.local_max_window_bits, self._memory_level)
            self._compressor = compressor if self._keeps_context else None
        data = compressor.compress(frame.data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return Frame(frame.opcode, data[:-_SYNC_TAIL_BYTES], rsv1=True)

    def close(self) -> None:
        """Lets go of zlib's memory: nothing is read or sent any more."""
        self._compressor = None
        self.__dict__.pop("decoder", None)


def warn_of_reduction(step: StepName, budget: CompressionBudget) -> None:
    """For a budget that runs short."""
    _log.warning("compression_reduced", granted=step, used_bytes=budget.used_bytes, budget_bytes=budget.budget_bytes)


def _offer(params: Sequence[ExtensionParameter], agreed: PerMessageDeflate) -> CompressionOffer:
    return CompressionOffer(
        in_bits=agreed.remote_max_window_bits,
        out_bits=agreed.local_max_window_bits,
        is_in_limitable=any(name == "client_max_window_bits" for name, _ in params),
        keeps_context_out=not agreed.local_no_context_takeover,
    )


def _answer(answer: list[ExtensionParameter], grant: CompressionGrant) -> list[ExtensionParameter]:
    """The answer with what the client must know: its own window and takeover. Ours may be less than it reckons with."""
    granted: list[ExtensionParameter] = [
        (name, str(grant.in_bits)) if name == "client_max_window_bits" else (name, value) for name, value in answer
    ]
    if not grant.keeps_context and ("client_no_context_takeover", None) not in granted:
        granted.append(("client_no_context_takeover", None))
    return granted


def _side(window_bits: int, *, keeps_context: bool) -> str:
    return f"{window_bits}-bit window" if keeps_context else "each message alone"
