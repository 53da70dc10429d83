"""What differs between servers and models that all say they speak generateContent."""

from typing import Literal

import msgspec

ThinkingLevel = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"]


class GeminiFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit the Gemini API (`https://generativelanguage.googleapis.com/v1beta`).

    `auto` goes by the model's name: see `families`.
    """

    thinking: Literal["auto", "level", "budget", "none"] = "auto"
    """How `reasoning.effort` is said: as a `thinkingLevel` (Gemini 3 and later), as a `thinkingBudget` (2.5), or not at all."""
    thinking_levels: tuple[ThinkingLevel, ...] = ()
    """The levels that the model takes, lowest first; none given goes by the model's name."""
    signatures: Literal["auto", "required", "optional"] = "auto"
    """Whether the model refuses function calls without a thought signature; then calls that have none get the value that
    skips the check."""
    tool_media: Literal["auto", "inside", "after"] = "auto"
    """Whether images and files of tool outputs go inside the function response or after it."""
    schema_with_tools: Literal["auto", "send", "tell"] = "auto"
    """Whether the answer's form (`text.format`) is sent as a setting beside tools, or told in the system instruction: models
    up to 2.5 refuse the two together."""
    call_ids: bool = True
    """Whether function calls and responses carry their ids; some gateways refuse the member."""
    extra_body: dict[str, object] = {}
    """More members of every request body, as in `{"safetySettings": […]}`; they replace ours of the same name, but those of
    `generationConfig` are added to ours."""
