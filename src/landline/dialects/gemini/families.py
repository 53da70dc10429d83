"""What a Gemini model takes and demands, by its name.

Sources: Gemini API guides "Thinking", "Thought signatures" and "Function calling", the guides of Gemini 3, 3.5, 3.7 and
3.8 Flash and of Gemini 4 Argon (October 2026). `MINIMAL` is refused from 3.7 on and by every Pro model; 3 Pro had no
`MEDIUM`.
"""

import re
from typing import Literal

import msgspec

from landline.dialects.gemini.flags import GeminiFlags, ThinkingLevel

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_NEWEST = (99, 0)
"""Of names without a version (`gemini-flash-latest`)."""


class Family(msgspec.Struct, frozen=True):
    """What one model takes and demands."""

    thinking: Literal["level", "budget", "none"]
    levels: tuple[ThinkingLevel, ...]
    min_budget: int
    """Tokens of thinking that cannot be switched off."""
    max_budget: int
    needs_signatures: bool
    takes_media_inside: bool
    """Whether function responses may hold images and files."""
    takes_schema_with_tools: bool
    """Whether the form of the answer may be set while functions are declared; up to 2.5 the API refuses it ("Function
    calling with a response mime type: 'application/json' is unsupported")."""


def family_of(model: str, flags: GeminiFlags) -> Family:
    """The family of a model, as the flags correct it."""
    version = _version_of(model)
    is_pro = "pro" in model
    return Family(
        thinking=_thinking_of(version) if flags.thinking == "auto" else flags.thinking,
        levels=flags.thinking_levels or _levels_of(version, is_pro=is_pro),
        min_budget=128 if is_pro else 0,
        max_budget=32768 if is_pro else 24576,
        needs_signatures=version >= (3, 0) if flags.signatures == "auto" else flags.signatures == "required",
        takes_media_inside=version >= (3, 0) if flags.tool_media == "auto" else flags.tool_media == "inside",
        takes_schema_with_tools=version >= (3, 0)
        if flags.schema_with_tools == "auto"
        else flags.schema_with_tools == "send",
    )


def _version_of(model: str) -> tuple[int, int]:
    """The version in the name; the newest for a Gemini without one, the oldest for another model (Gemma …)."""
    found = _VERSION.search(model)
    if found is None:
        return _NEWEST if "gemini" in model else (0, 0)
    return int(found[1]), int(found[2] or 0)


def _thinking_of(version: tuple[int, int]) -> Literal["level", "budget", "none"]:
    if version >= (3, 0):
        return "level"
    return "budget" if version >= (2, 5) else "none"


def _levels_of(version: tuple[int, int], *, is_pro: bool) -> tuple[ThinkingLevel, ...]:
    if is_pro:
        return ("LOW", "HIGH") if version == (3, 0) else ("LOW", "MEDIUM", "HIGH")
    return ("LOW", "MEDIUM", "HIGH") if version >= (3, 7) else ("MINIMAL", "LOW", "MEDIUM", "HIGH")
