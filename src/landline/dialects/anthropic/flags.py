"""What differs between Claude models, API versions and gateways that all speak the Messages API."""

from typing import Literal

import msgspec

Forwarded = Literal["safety_identifier", "service_tier"]


class AnthropicFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit the current models on Anthropic's own API (November 2026)."""

    api_version: str = "2023-06-01"
    """The `anthropic-version` header. Every gateway knows this one; `2026-10-21` takes no sampling parameters at all."""
    betas: tuple[str, ...] = ()
    """Values of the `anthropic-beta` header, as in `interleaved-thinking-2025-05-14`."""
    max_tokens: int = 32_000
    """`max_tokens` of requests that name no `max_output_tokens`; the API wants one. It includes thinking."""
    thinking: Literal["adaptive", "budget", "off"] = "adaptive"
    """How `reasoning` is asked for: `adaptive` thinking with an effort (4.6 and later), a `budget` of tokens (up to 4.5),
    or not at all, for models and gateways without thinking."""
    no_thinking: Literal["disabled", "between_tools", "low_effort"] = "disabled"
    """What `reasoning.effort` `none` says: `disabled` (up to Opus 5), `between_tools` (Sonnet 5.5), or the lowest effort,
    for models that always think (Opus 5.5, Fable and Mythos)."""
    drop_stale_thinking: bool = False
    """Has the API leave out earlier thinking whose system prompt, tools or history changed since, where it would refuse
    the request (accounts made since 2026-08-31); for clients that change instructions or tools between turns."""
    sampling: Literal["send", "refuse"] = "send"
    """Whether `temperature` and `top_p` other than their defaults are sent, for the API to answer (models since Opus 4.7 and
    API version 2026-10-21 have none and refuse them), or refused here, without a request."""
    strict_tools: bool = True
    """Whether a function's `strict` is passed on, as far as the API can hold calls to its schema."""
    cache: Literal["auto", "explicit", "off"] = "auto"
    """Where the prompt cache's breakpoints are: at the ends of tools, system prompt and the last turns, only where the
    client puts its own (`prompt_cache_breakpoint`), or nowhere."""
    cache_ttl: Literal["5m", "1h"] = "5m"
    """How long the cache keeps what was read up to a breakpoint."""
    warm_up: Literal["skip", "prefill"] = "skip"
    """`prefill` sends a warm-up as a request for no token, which fills the cache (a write costs more than plain input);
    `skip` answers it without a request."""
    forward: tuple[Forwarded, ...] = ("safety_identifier",)
    """Settings passed on when the client gave them: `safety_identifier` as `metadata.user_id`, and `service_tier`."""
    extra_body: dict[str, object] = {}
    """More members of every request body; they replace ours of the same name."""
    affinity_headers: tuple[str, ...] = ()
    """Headers that tell a router in front of the API which conversation this is."""
