"""What differs between servers that all say they speak Responses."""

from typing import Literal

import msgspec


class ResponsesFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit OpenAI and Azure."""

    store: Literal["pass", "never"] = "pass"
    """Whether the upstream is told to store as the client says, or `store: false` always."""
    compaction: Literal["upstream", "landline"] = "upstream"
    """Who compacts: the upstream, whose compactions only it can read, or Landline with the upstream's model."""
    foreign_reasoning: Literal["omit", "send"] = "omit"
    """Reasoning in plain text, or that another vendor signed, is left out; servers of open models and another Landline can
    use it. Reasoning that the upstream may have encrypted itself is always sent back as it came."""
    keep_reasoning: bool = True
    """Whether a model that reasons is asked for `reasoning.encrypted_content` where its server stores nothing, even if the
    client did not: else the next turn could not give it back."""
    cache_key: bool = False
    """Whether a turn without `prompt_cache_key` gets one that names its conversation."""
    affinity_headers: tuple[str, ...] = ("X-Session-Id",)
    """Headers that tell a router in front of replicas which conversation this is."""
    warm_up: Literal["pass", "skip"] = "pass"
    """Whether a warm-up (`generate: false`) goes to the upstream's socket, or is answered without a request, as over HTTP
    it always is: Vercel and LocalAI know none."""
    deltas: bool = True
    """Whether the upstream's socket is sent only what is new, behind `previous_response_id`; if not, the whole history."""
    instructions_with_previous: Literal["send", "omit"] = "send"
    """Whether `instructions` may stand beside `previous_response_id`. xAI refuses that (November 2026); those that the chain
    began with hold there."""
