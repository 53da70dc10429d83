"""permessage-deflate as Landline grants it: a 15-bit window and context takeover in both directions (RFC 7692).

Everything that is sent is compressed, small deltas too: `docs/adr/0005-compress-every-frame-to-the-client.md` says why,
`benchmarks/outbound_compression.py` measures it.
"""

import zlib
from collections.abc import Sequence

from websockets.exceptions import NegotiationError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import CTRL_OPCODES, Frame
from websockets.typing import ExtensionParameter

WINDOW_BITS = 15
LEVEL = 6
MEMORY_LEVEL = 5
MIN_LONE_BYTES = 1024
"""Without context takeover a smaller frame shrinks too little to pay for a fresh compressor."""
_SYNC_TAIL_BYTES = 4
"""RFC 7692 §7.2.1: the 00 00 FF FF of a sync flush is not sent."""


class LineDeflateFactory(ServerPerMessageDeflateFactory):
    """Answers an offer of permessage-deflate; narrower windows and no takeover are granted only when asked for."""

    def __init__(self) -> None:
        super().__init__(client_max_window_bits=WINDOW_BITS)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """The parameters of the answer and the extension; raises NegotiationError to pass the offer over."""
        if ("server_max_window_bits", "8") in params:
            raise NegotiationError("zlib has no raw deflate with an 8-bit window")
        answer, agreed = super().process_request_params(params, accepted_extensions)
        return answer, LineDeflate(agreed)


class LineDeflate(PerMessageDeflate):
    """The agreed extension; the compressor (144 KiB) exists only once something was sent."""

    def __init__(self, agreed: PerMessageDeflate) -> None:
        super().__init__(
            remote_no_context_takeover=agreed.remote_no_context_takeover,
            local_no_context_takeover=True,
            remote_max_window_bits=agreed.remote_max_window_bits,
            local_max_window_bits=agreed.local_max_window_bits,
        )
        self._keeps_context = not agreed.local_no_context_takeover
        self._compressor: zlib._Compress | None = None  # pyright: ignore[reportPrivateUsage]

    def encode(self, frame: Frame) -> Frame:
        """Compresses a data frame. Every message we send is one frame; RSV1 tells for each whether it is compressed."""
        if frame.opcode in CTRL_OPCODES or (not self._keeps_context and len(frame.data) < MIN_LONE_BYTES):
            return frame
        compressor = self._compressor
        if compressor is None or not self._keeps_context:
            compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -self.local_max_window_bits, MEMORY_LEVEL)
            self._compressor = compressor if self._keeps_context else None
        data = compressor.compress(frame.data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return Frame(frame.opcode, data[:-_SYNC_TAIL_BYTES], rsv1=True)
