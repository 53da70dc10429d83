"""What running a model takes: the context that each slot really gets, and the memory for it."""

import os
from pathlib import Path

import msgspec

from landline.engine.catalog import ModelFile
from landline.engine.settings import EngineSettings


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """Of one embedded target."""

    slots: int
    context_tokens: int
    """For each slot."""
    asked_tokens: int
    """What the settings ask for; the model may have been trained for less."""
    weights_bytes: int
    kv_bytes: int | None
    """Of all slots, taken at the start; an upper bound. None where the model's file does not tell."""

    @property
    def is_clamped(self) -> bool:
        """Whether the slots get less context than the settings ask for."""
        return self.context_tokens < self.asked_tokens

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + (self.kv_bytes or 0)


def footprint_of(model: ModelFile, settings: EngineSettings) -> Footprint:
    """What the model takes with these settings."""
    asked = settings.context_per_slot
    tokens = min(asked, model.head.context_tokens or asked)
    files = [model.path, *([settings.mmproj] if settings.mmproj is not None else [])]
    per_token = model.head.kv_token_bytes
    return Footprint(
        slots=settings.slots,
        context_tokens=tokens,
        asked_tokens=asked,
        weights_bytes=sum(_size_bytes(Path(file)) for file in files),
        kv_bytes=per_token * tokens * settings.slots if per_token is not None else None,
    )


def describe_footprint(footprint: Footprint) -> list[str]:
    """A sentence each on context and memory, and one if the context was cut or the machine has less memory than that."""
    slots = "1 slot" if footprint.slots == 1 else f"{footprint.slots} slots"
    each = " each" if footprint.slots > 1 else ""
    kv = (
        f"its KV cache takes up to {_size(footprint.kv_bytes)}"
        if footprint.kv_bytes is not None
        else "the file does not tell how much its KV cache takes"
    )
    context = f"Context: {slots} of {footprint.context_tokens:,} tokens{each}"
    told = [f"{context}; {kv}, the weights {_size(footprint.weights_bytes)}."]
    if footprint.is_clamped:
        told.append(
            f"The context asked for, {footprint.asked_tokens:,} tokens, is more than the model was trained for: "
            f"each slot has {footprint.context_tokens:,}."
        )
    memory = memory_bytes()
    if memory is not None and footprint.total_bytes > memory:
        told.append(
            f"That is more than the {_size(memory)} of memory here: ask for fewer slots (`slots`, `--slots`) or less "
            "context (`context_per_slot`, `--context`)."
        )
    return told


def memory_bytes() -> int | None:
    """The memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _size_bytes(file: Path) -> int:
    try:
        return file.expanduser().stat().st_size
    except OSError:  # told with its reason when it is loaded
        return 0


def _size(value_bytes: int) -> str:
    return f"{value_bytes / 1e9:.1f} GB" if value_bytes >= 1e9 else f"{value_bytes / 1e6:.0f} MB"
