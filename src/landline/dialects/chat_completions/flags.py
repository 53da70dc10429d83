"""What differs between servers that all say they speak chat completions."""

from typing import Literal

import msgspec

Forwarded = Literal["prompt_cache_key", "user", "service_tier", "safety_identifier", "verbosity"]


class ChatCompletionsFlags(msgspec.Struct, frozen=True, kw_only=True):
    """The defaults suit vLLM, SGLang, llama-server, Ollama and DeepSeek."""

    developer_role: Literal["system", "developer"] = "system"
    """The role that carries `instructions` and developer messages; open models know only `system`."""
    system_position: Literal["anywhere", "start"] = "start"
    """`start` joins all leading system messages into one and sends later ones as user messages: the chat templates of many
    open models (Qwen 3.5 and later) allow a single system message, at the beginning, and refuse any other request.
    `anywhere` sends each where it stands, for APIs that take that."""
    custom_tools: Literal["function", "custom"] = "function"
    """How a custom tool is offered: as a function of one string `input`, or as a chat `custom` tool."""
    reasoning_field: Literal["reasoning_content", "reasoning", "none"] = "reasoning_content"
    """The member of assistant messages that carries earlier reasoning back. Both are read, whatever this says."""
    reasoning_placeholder: str = ""
    """What stands there in assistant messages without reasoning, as of another vendor's model, where a server refuses a
    message without the member; an empty one leaves it out."""
    reasoning_details: bool = False
    """Whether `reasoning_details` that a vendor signed or encrypted are kept, and sent back in place of that member."""
    call_ids: Literal["max_40", "alphanumeric_9"] = "max_40"
    """The ids of calls that a server takes: those of up to 40 characters, or only those of nine letters and digits. Others
    are sent as ids that are made of them."""
    role_order: Literal["any", "strict"] = "any"
    """`strict` puts a word of the model between a tool's output and the user's next message, and one of the user's behind
    the model's last words, for servers that refuse these orders."""
    stream_usage: bool = True
    """Whether to ask for token counts by `stream_options.include_usage`."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Which member carries `max_output_tokens`; OpenAI's own reasoning models take only
    `max_completion_tokens`."""
    warm_up: Literal["skip", "prefill"] = "skip"
    """`prefill` sends a warm-up as a request for one token; `skip` answers it without a request."""
    tool_images: bool = False
    """Whether tool messages may carry images and files; if not, a user message after them does."""
    forward: tuple[Forwarded, ...] = ("prompt_cache_key", "user")
    """Settings passed on under their own names when the client gave them."""
    extra_body: dict[str, object] = {}
    """More members of every request body; they replace ours of the same name."""
    affinity_headers: tuple[str, ...] = ("X-Session-Id",)
    """Headers that tell a router in front of replicas which conversation this is."""


class RequestOverrides(msgspec.Struct, frozen=True, kw_only=True):
    """What one request says differently, for callers that know more about the server than the dialect does."""

    members: dict[str, object] = {}
    """Members added to the body or put in place of ours, as in `{"id_slot": 3, "cache_prompt": True}`."""
    omit: frozenset[str] = frozenset()
    """Members left out, as in `{"tools", "tool_choice"}`."""
    system_suffix: str = ""
    """Text that follows the system message (a tool description of our own, say)."""
