"""Profiles of vendors and servers as data: base URLs, dialects, keys, and settings that differ from the defaults.

Read by `config` and by docs/profiles.md. A profile holds defaults for a target (`profile = "groq"`); what the configuration
file sets takes precedence. A vendor that differs in what no flag covers needs a flag in its dialect, not code here.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

DialectName = Literal["chat_completions", "anthropic", "gemini", "responses"]


class VendorApi(msgspec.Struct, frozen=True, kw_only=True):
    """One API of a vendor: its dialect and where it is."""

    dialect: DialectName
    base_url: str | None
    """None if every user has a URL of their own, as in `Profile.url_example`."""
    settings: Mapping[str, object] = {}
    """Keys of a target that differ from their defaults, as the configuration file writes them."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor or server."""

    vendor: str
    """The vendor's name in its own spelling."""
    apis: tuple[VendorApi, ...]
    """Its APIs, the best one for agents first; `dialect` in the configuration file selects another one."""
    key_envs: tuple[str, ...] = ()
    """Environment variables that hold its key by convention; the first one that is set is used."""
    needs_key: bool = True
    """Whether it requires a key."""
    is_local: bool = False
    """Whether users run it themselves: then `base_url` is its default address."""
    url_example: str = ""
    """Example of a user's own URL."""
    source: str
    """The documentation or report, and its date."""
    note: str = ""
    """A note for users, for docs/profiles.md."""

    def api(self, dialect: object) -> VendorApi | None:
        """The API of a dialect; the first one for None."""
        apis = [api for api in self.apis if dialect is None or api.dialect == dialect]
        return apis[0] if apis else None


_NOT_CLAUDE: dict[str, object] = {"thinking": "budget", "strict_tools": False, "cache": "off"}
"""For other models behind the Messages API: thinking by budget, no strict tools and no cache breakpoints, which they ignore or
refuse."""

_OWN_MESSAGES: dict[str, object] = {**_NOT_CLAUDE, "key_header": "Authorization"}
"""The same for servers that users run, which expect the key in `Authorization`, as chat completions do."""

PROFILES: dict[str, Profile] = {
    "openai": Profile(
        vendor="OpenAI",
        apis=(
            VendorApi(
                dialect="responses",
                base_url="https://api.openai.com/v1",
                # Its longest-thinking models say nothing but keepalives for many minutes.
                settings={"transport": "websocket", "socket": {"lanes": 16}, "silence_s": 1800.0},
            ),
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.openai.com/v1",
                settings={
                    "developer_role": "developer",
                    "system_position": "anywhere",
                    "custom_tools": "custom",
                    "reasoning_field": "none",
                    "max_tokens_field": "max_completion_tokens",
                    "forward": ["prompt_cache_key", "safety_identifier", "service_tier", "verbosity"],
                    "affinity_headers": [],
                },
            ),
        ),
        key_envs=("OPENAI_API_KEY",),
        source="developers.openai.com, guide on WebSocket mode, and the openai 3.54.0 types (November 2026)",
        note="16 responses at once on a socket, each on a lane; sockets close at 60 minutes.",
    ),
    "azure": Profile(
        vendor="Azure OpenAI",
        apis=(
            VendorApi(dialect="responses", base_url=None, settings={"transport": "websocket", "key_header": "api-key"}),
            VendorApi(
                dialect="chat_completions",
                base_url=None,
                settings={
                    "key_header": "api-key",
                    "developer_role": "developer",
                    "system_position": "anywhere",
                    "reasoning_field": "none",
                    "max_tokens_field": "max_completion_tokens",
                    "affinity_headers": [],
                },
            ),
        ),
        key_envs=("AZURE_OPENAI_API_KEY",),
        url_example="https://RESOURCE.openai.azure.com/openai/v1",
        source="learn.microsoft.com, Responses API in WebSocket mode (November 2026)",
        note="The model is the name of your deployment. One response at a time on a socket. For Entra ID, set "
        '`key_header = "Authorization"` and name a variable with a token.',
    ),
    "xai": Profile(
        vendor="xAI",
        apis=(
            VendorApi(
                dialect="responses",
                base_url="https://api.x.ai/v1",
                settings={
                    "transport": "websocket",
                    "instructions_with_previous": "omit",
                    "socket": {"max_age_s": 1380.0},
                },
            ),
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.x.ai/v1",
                settings={"system_position": "anywhere"},  # no order of roles is demanded (docs.x.ai, chat)
            ),
        ),
        key_envs=("XAI_API_KEY",),
        source="docs.x.ai, WebSocket mode (November 2026); anomalyco/opencode#48227 for the instructions",
        note="Sockets close at 25 minutes and are left after 23; one response at a time on each. Instructions beside "
        "`previous_response_id` are refused, so they go with the first turn of a chain.",
    ),
    "vercel": Profile(
        vendor="Vercel AI Gateway",
        apis=(
            VendorApi(
                dialect="responses",
                base_url="https://ai-gateway.vercel.sh/v1",
                settings={
                    "transport": "websocket",
                    "warm_up": "skip",
                    "socket": {
                        "max_age_s": 720.0,
                        "idle_close_s": 270.0,
                        "max_frame_bytes": 4 * 1024 * 1024 - 1,
                        "has_one_model": True,
                    },
                },
            ),
            VendorApi(
                dialect="chat_completions",
                base_url="https://ai-gateway.vercel.sh/v1",
                settings={"reasoning_field": "reasoning"},
            ),
            VendorApi(
                dialect="anthropic",
                base_url="https://ai-gateway.vercel.sh/v1",
                settings={"key_header": "Authorization"},
            ),
        ),
        key_envs=("AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
        source="vercel.com/docs/ai-gateway, Responses over WebSocket (updated 2026-09-08)",
        note="Sockets close at about 13 minutes or after 5 idle ones, take frames of 4 MiB and one model each.",
    ),
    "openrouter": Profile(
        vendor="OpenRouter",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://openrouter.ai/api/v1",
                settings={"reasoning_field": "reasoning", "reasoning_details": True},
            ),
            VendorApi(dialect="responses", base_url="https://openrouter.ai/api/v1", settings={"store": "never"}),
            VendorApi(
                dialect="anthropic",
                base_url="https://openrouter.ai/api/v1",
                settings={"key_header": "Authorization", "affinity_headers": ["X-Session-Id"]},
            ),
        ),
        key_envs=("OPENROUTER_API_KEY",),
        source="openrouter.ai/docs: reasoning tokens, provider sticky routing, create a message (November 2026)",
        note="`X-Session-Id` keeps a conversation at one provider, which keeps its cache warm. Their Responses API is "
        "stateless.",
    ),
    "groq": Profile(
        vendor="Groq",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.groq.com/openai/v1",
                settings={
                    "reasoning_field": "reasoning",
                    "max_tokens_field": "max_completion_tokens",
                    "forward": ["user"],
                    "affinity_headers": [],
                },
            ),
            VendorApi(dialect="responses", base_url="https://api.groq.com/openai/v1", settings={"store": "never"}),
        ),
        key_envs=("GROQ_API_KEY",),
        source="console.groq.com/docs/openai (November 2026); janhq/jan#8136 (2026-05) and vercel/ai#8057 for reasoning; "
        "zed-industries/zed#36215 for prompt_cache_key",
        note="Unknown members are refused, `prompt_cache_key`, `logprobs` and `top_logprobs` among them. Models that do "
        'not reason refuse reasoning too: set `reasoning_field = "none"` for them.',
    ),
    "together": Profile(
        vendor="Together AI",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.together.ai/v1",
                settings={"reasoning_field": "reasoning"},
            ),
            VendorApi(dialect="responses", base_url="https://api.together.ai/v1", settings={"store": "never"}),
        ),
        key_envs=("TOGETHER_API_KEY",),
        source="docs.together.ai, OpenAI compatibility, and Responses API (November 2026)",
        note="Their Responses API keeps nothing and is meant for a few models.",
    ),
    "fireworks": Profile(
        vendor="Fireworks AI",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.fireworks.ai/inference/v1",
                settings={"affinity_headers": ["x-session-affinity"]},
            ),
            VendorApi(dialect="responses", base_url="https://api.fireworks.ai/inference/v1"),
            VendorApi(
                dialect="anthropic",
                base_url="https://api.fireworks.ai/inference/v1",
                settings={**_NOT_CLAUDE, "affinity_headers": ["x-session-affinity"]},
            ),
        ),
        key_envs=("FIREWORKS_API_KEY",),
        source="docs.fireworks.ai/guides/prompt-caching (November 2026)",
        note="Caches are per replica; `x-session-affinity` leads a conversation to the one it was on.",
    ),
    "deepseek": Profile(
        vendor="DeepSeek",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.deepseek.com",
                settings={"reasoning_placeholder": " ", "affinity_headers": []},
            ),
            VendorApi(
                dialect="responses",
                base_url="https://api.deepseek.com",
                settings={"store": "never", "foreign_reasoning": "send", "affinity_headers": []},
            ),
            VendorApi(dialect="anthropic", base_url="https://api.deepseek.com/anthropic/v1", settings=_NOT_CLAUDE),
        ),
        key_envs=("DEEPSEEK_API_KEY",),
        source="api-docs.deepseek.com, thinking mode, and Responses API (November 2026); MoonshotAI/kimi-cli#2141 (2026-05) "
        "and theopenco/llmgateway#2093 for messages without reasoning",
        note="Reasoning of a turn with tool calls has to be sent back, as `reasoning_content`; a space stands for that of "
        "another vendor's model. Their Responses API keeps nothing.",
    ),
    "mistral": Profile(
        vendor="Mistral AI",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.mistral.ai/v1",
                settings={
                    "role_order": "strict",
                    "call_ids": "alphanumeric_9",
                    "reasoning_field": "none",
                    "stream_usage": False,
                    "forward": ["prompt_cache_key"],
                    "affinity_headers": [],
                },
            ),
        ),
        key_envs=("MISTRAL_API_KEY",),
        source="charmbracelet/crush#1590 (2025-12), editor-code-assistant/eca#231 (2025-12), Gitlawb/openclaude#739 "
        "(2026-04); strandsagents.com, Mistral model provider, for prompt_cache_key; anomalyco/opencode#1680 for ids, "
        "zed-industries/zed#37021 (2026-04) for the order of roles",
        note="Unknown members are refused with 422, `reasoning_content` and `max_completion_tokens` among them. Usage "
        "comes with the last chunk unasked.",
    ),
    "cerebras": Profile(
        vendor="Cerebras",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.cerebras.ai/v1",
                settings={
                    "reasoning_field": "reasoning",
                    "max_tokens_field": "max_completion_tokens",
                    "forward": ["user"],
                    "affinity_headers": [],
                },
            ),
        ),
        key_envs=("CEREBRAS_API_KEY",),
        source="inference-docs.cerebras.ai, reasoning; zed-industries/zed#36215; Kilo-Org/kilocode#10375 (2026-05)",
        note="Unknown members are refused, `reasoning_content` among them.",
    ),
    "moonshot": Profile(
        vendor="Moonshot AI (Kimi)",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.moonshot.ai/v1",
                settings={
                    "max_tokens_field": "max_completion_tokens",
                    "reasoning_placeholder": " ",
                    "affinity_headers": [],
                },
            ),
            VendorApi(dialect="anthropic", base_url="https://api.moonshot.ai/anthropic/v1", settings=_NOT_CLAUDE),
        ),
        key_envs=("MOONSHOT_API_KEY", "KIMI_API_KEY"),
        source="platform.moonshot.ai/docs, use of Kimi K2 thinking; platform.kimi.ai/docs (November 2026); "
        "theopenco/llmgateway#2093 (2026-04) for messages without reasoning",
        note="In China the URL is `https://api.moonshot.cn/v1`. Thinking models refuse calls whose `reasoning_content` is "
        "gone, and have fixed sampling parameters.",
    ),
    "zai": Profile(
        vendor="Z.ai (GLM)",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="https://api.z.ai/api/paas/v4",
                settings={"stream_usage": False, "forward": [], "affinity_headers": []},
            ),
            VendorApi(dialect="anthropic", base_url="https://api.z.ai/api/anthropic/v1", settings=_NOT_CLAUDE),
        ),
        key_envs=("ZAI_API_KEY", "Z_AI_API_KEY"),
        source="docs.z.ai, chat completion (November 2026); java.agentscope.io, GLM, for what it does not take",
        note="For the coding plan the URL is `https://api.z.ai/api/coding/paas/v4`. `tool_choice` is only `auto`. Usage comes "
        "with the last chunk unasked.",
    ),
    "anthropic": Profile(
        vendor="Anthropic",
        apis=(VendorApi(dialect="anthropic", base_url="https://api.anthropic.com/v1"),),
        key_envs=("ANTHROPIC_API_KEY",),
        source="docs.anthropic.com, API overview, and the anthropic 2.12.0 types (November 2026)",
        note='For an OAuth token, set `key_header = "Authorization"` and name its variable.',
    ),
    "gemini": Profile(
        vendor="Google Gemini",
        apis=(
            VendorApi(dialect="gemini", base_url="https://generativelanguage.googleapis.com/v1beta"),
            VendorApi(
                dialect="chat_completions",
                base_url="https://generativelanguage.googleapis.com/v1beta/openai",
                settings={"reasoning_field": "none", "forward": [], "affinity_headers": []},
            ),
        ),
        key_envs=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        source="ai.google.dev/api, and the google-genai 3.4.0 types (November 2026)",
        note="The chat-completions way loses thought signatures; it is there for comparison.",
    ),
    "vllm": Profile(
        vendor="vLLM",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="http://127.0.0.1:8000/v1",
                settings={"reasoning_field": "reasoning", "warm_up": "prefill"},
            ),
            VendorApi(
                dialect="responses",
                base_url="http://127.0.0.1:8000/v1",
                settings={"store": "never", "foreign_reasoning": "send"},
            ),
            VendorApi(dialect="anthropic", base_url="http://127.0.0.1:8000/v1", settings=_OWN_MESSAGES),
        ),
        key_envs=("VLLM_API_KEY",),
        needs_key=False,
        is_local=True,
        source="vllm-project/vllm#27752, #33402 (2026-01) and #38488 for the reasoning field",
        note="Before 0.19 the field was `reasoning_content`. Start it with `--enable-auto-tool-choice` and its "
        "`--tool-call-parser`, and with `--enable-prompt-tokens-details` to see cached tokens.",
    ),
    "sglang": Profile(
        vendor="SGLang",
        apis=(
            VendorApi(
                dialect="chat_completions", base_url="http://127.0.0.1:30000/v1", settings={"warm_up": "prefill"}
            ),
        ),
        needs_key=False,
        is_local=True,
        source="docs.sglang.ai, server arguments (November 2026)",
        note="Start it with `--enable-cache-report` to see cached tokens.",
    ),
    "llama-server": Profile(
        vendor="llama.cpp's llama-server",
        apis=(
            VendorApi(dialect="chat_completions", base_url="http://127.0.0.1:8080/v1", settings={"warm_up": "prefill"}),
            VendorApi(dialect="anthropic", base_url="http://127.0.0.1:8080/v1", settings=_OWN_MESSAGES),
        ),
        key_envs=("LLAMA_API_KEY",),
        needs_key=False,
        is_local=True,
        source="ggml-org/llama.cpp, tools/server/README.md (November 2026)",
        note="Its port is Landline's own default; give one of the two another.",
    ),
    "ollama": Profile(
        vendor="Ollama",
        apis=(
            VendorApi(
                dialect="chat_completions",
                base_url="http://127.0.0.1:11434/v1",
                settings={"reasoning_field": "reasoning", "warm_up": "prefill"},
            ),
            VendorApi(
                dialect="responses",
                base_url="http://127.0.0.1:11434/v1",
                settings={"store": "never", "foreign_reasoning": "send"},
            ),
            VendorApi(dialect="anthropic", base_url="http://127.0.0.1:11434/v1", settings=_NOT_CLAUDE),
        ),
        needs_key=False,
        is_local=True,
        source="ollama/ollama, docs/api/openai-compatibility.mdx and anthropic-compatibility.mdx; anomalyco/opencode#34798 "
        "for the reasoning field",
        note="Its context is short unless `OLLAMA_CONTEXT_LENGTH` says otherwise; what does not fit is dropped unsaid.",
    ),
    "lmstudio": Profile(
        vendor="LM Studio",
        apis=(
            VendorApi(dialect="chat_completions", base_url="http://127.0.0.1:1234/v1", settings={"warm_up": "prefill"}),
            VendorApi(dialect="responses", base_url="http://127.0.0.1:1234/v1", settings={"foreign_reasoning": "send"}),
            VendorApi(dialect="anthropic", base_url="http://127.0.0.1:1234/v1", settings=_OWN_MESSAGES),
        ),
        key_envs=("LM_API_TOKEN",),
        needs_key=False,
        is_local=True,
        source="lmstudio.ai/docs, API changelog: Responses since 0.3.29, Anthropic since 0.4.1",
    ),
    "litellm": Profile(
        vendor="LiteLLM proxy",
        apis=(
            VendorApi(dialect="chat_completions", base_url="http://127.0.0.1:4000/v1"),
            VendorApi(dialect="responses", base_url="http://127.0.0.1:4000/v1"),
            VendorApi(
                dialect="anthropic", base_url="http://127.0.0.1:4000/v1", settings={"key_header": "Authorization"}
            ),
        ),
        key_envs=("LITELLM_PROXY_API_KEY", "LITELLM_API_KEY"),
        needs_key=False,
        is_local=True,
        source="docs.litellm.ai, proxy quick start (November 2026)",
    ),
    "landline": Profile(
        vendor="another Landline",
        apis=(
            VendorApi(
                dialect="responses",
                base_url="http://127.0.0.1:8080/v1",
                settings={
                    "transport": "websocket",
                    "foreign_reasoning": "send",
                    "socket": {"lanes": 16, "max_frame_bytes": 128 * 1024 * 1024},
                },
            ),
        ),
        key_envs=("LANDLINE_API_KEY",),
        needs_key=False,
        is_local=True,
        source="this repository, `[limits]` of docs/configuration.md",
        note="Its port is this one's own default; give one of the two another.",
    ),
}
"""Every profile by the name that a configuration gives it."""
