"""Thought signatures: what Gemini signs of its reasoning and wants back on the part where it stood.

A signature may stand on a function call (the first of calls made together), on text, on a thought, or on an empty part at
the end of a streamed answer. A block keeps it with that place. It is good for the model that gave it alone: another one
answers "Corrupted thought signature" (seen on routes that change models, 2026).
"""

from typing import Literal

import msgspec

from landline.wire.items import Item

VENDOR = "gemini"
"""`Signed.by` of these blocks."""
SKIP_CHECK = "skip_thought_signature_validator"
"""In place of the signature of a call that has none, because another vendor's model made it or a client dropped it (Gemini
API, "Thought signatures", FAQ). The server takes it as it stands."""


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signature and the part that it stood on."""

    kind: Literal["call", "text", "thought"]
    signature: str
    model: str
    call_id: str = ""
    """Of a call."""
    start: int = 0
    end: int = 0
    """Of text and thoughts: where the signed part stood in the text that was said without a break, in characters."""


_DECODER: msgspec.json.Decoder[Block] = msgspec.json.Decoder(Block)


def encode_block(block: Block) -> str:
    """The block as its reasoning item keeps it."""
    return msgspec.json.encode(block).decode()


def read_blocks(item: Item, model: str) -> list[Block] | None:
    """The blocks of a reasoning item that this model can use; None if another one signed it, or nobody."""
    if item.signed is None or item.signed.by != VENDOR:
        return None
    blocks = [_DECODER.decode(block) for block in item.signed.blocks]
    return [block for block in blocks if block.model == model] or None
