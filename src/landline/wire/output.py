"""Output items and their parts as Landline writes them; what came from elsewhere keeps its own bytes."""

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from landline.wire.items import Signed
from landline.wire.model_events import LogprobEntry

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class OutputTextPart(msgspec.Struct, frozen=True, tag="output_text"):
    text: str
    annotations: list[Raw] = msgspec.field(default_factory=list[Raw])
    logprobs: list[LogprobEntry] = msgspec.field(default_factory=list[LogprobEntry])


class RefusalPart(msgspec.Struct, frozen=True, tag="refusal"):
    refusal: str


class ReasoningTextPart(msgspec.Struct, frozen=True, tag="reasoning_text"):
    text: str


class SummaryTextPart(msgspec.Struct, frozen=True, tag="summary_text"):
    text: str


class OutputMessage(msgspec.Struct, frozen=True, tag="message"):
    id: str
    status: ItemStatus
    role: Literal["assistant"]
    content: list[Raw]


class OutputReasoning(msgspec.Struct, frozen=True, tag="reasoning"):
    id: str
    summary: list[Raw]
    content: list[Raw]
    encrypted_content: str | UnsetType = UNSET
    """The content sealed, for clients that play it back and keep nothing here."""


class SealedReasoning(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `encrypted_content` holds: the reasoning's text, and what its vendor signed."""

    content: list[Raw] = msgspec.field(default_factory=list[Raw])
    signed: Signed | None = None


class OutputCompaction(msgspec.Struct, frozen=True, tag="compaction"):
    id: str
    encrypted_content: str


class OutputFunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class OutputCustomToolCall(msgspec.Struct, frozen=True, tag="custom_tool_call"):
    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET
