"""The settings of an embedded target; each field is a configuration key of the same name."""

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the model is run. The defaults suit a small model on a few CPU cores."""

    slots: Count = 4
    """Lineages whose KV cache is live at once, and so turns that run at once; more turns queue."""
    context_per_slot: Count = 4096
    """Tokens of context that each slot has; never more than the model was trained for. KV memory is taken at the
    start: 23 KB a token for the default model, so 4 slots of 4096 take 377 MB."""
    threads: Count | None = None
    """CPU threads; None means one for each core this process may use."""
    gpu_layers: Annotated[int, msgspec.Meta(ge=-1)] = 0
    """Layers put on a GPU, -1 for all; needs an xllamacpp wheel built for it. Flash attention follows: off on a CPU,
    where it makes short prefills 2.4 times slower, automatic with a GPU."""
    park_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024 * 1024 * 1024
    """Bytes that the files of parked lineages may take; 0 parks nothing."""
    park_dir: str | None = None
    """Where parked lineages are kept; None chooses a RAM disk if it has twice `park_bytes` free, else the temporary
    folder. Emptied when the target closes."""
    mmproj: str | None = None
    """A multimodal projector (GGUF) that lets the model read images."""
    chat_template: str | None = None
    """A file with a Jinja chat template to use in place of the model's own."""
    max_output_tokens: Count | None = None
    """What a turn may generate when its request names no limit; None means what is left of the slot's context."""
    start_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0
    """How long loading may take."""
    restart_wait_s: Seconds = 30.0
    """How long a turn waits for a model process that is being restarted before it fails; 0 lets it fail at once."""
