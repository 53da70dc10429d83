"""What a turn says to the embedded model's server: tools, limits and settings on top of the chat-completions dialect."""

import msgspec
from msgspec import UnsetType

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags, RequestOverrides
from landline.dialects.chat_completions.settings import choice_member
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.tools import ToolSet, choose_tools
from landline.engine.constraints import answer_members, schema_fault
from landline.engine.prefixes import Lineage, seed_of
from landline.engine.tool_plan import CallPlan, plan_calls, plan_overrides
from landline.wire.errors import ApiError, api_error
from landline.wire.requests import CreateRequest
from landline.wire.responses import Sampling

FLAGS = ChatCompletionsFlags(
    warm_up="prefill",
    forward=(),
    affinity_headers=(),
)
_STRING_SHARE = 4
"""A string without a limit may have a quarter of the context's tokens as characters, about a sixteenth of its room."""
_IMAGE_MARK = b'"type":"image_url"'


class Asked(msgspec.Struct, frozen=True):
    """A turn's tools and what is done about them."""

    tool_set: ToolSet
    plan: CallPlan
    has_grammar: bool
    """Whether everything that the model writes is held by a grammar of ours: then it cannot think first."""


class ModelLimits(msgspec.Struct, frozen=True):
    """What the model at hand can do."""

    name: str
    context_tokens: int
    knows_tools: bool
    reads_images: bool
    max_output_tokens: int | None
    """For requests that name no limit."""
    sampling: Sampling
    """For requests that say nothing of it."""


def read_turn(prompt: Prompt, dialect: ChatCompletions, limits: ModelLimits) -> Asked | ApiError:
    """How the turn will be asked, or why it cannot be."""
    tool_set = dialect.tool_set(prompt)
    if isinstance(tool_set, ApiError):
        return tool_set
    chosen = choose_tools(tool_set, prompt.request.tool_choice)
    if isinstance(chosen, ApiError):
        return chosen
    fault = _schema_fault(prompt.request, tool_set)
    if fault is not None:
        return fault
    plan = plan_calls(chosen.tools, choice_member(chosen, FLAGS), knows_tools=limits.knows_tools)
    is_object = "grammar" in _answer_members(prompt.request, plan, limits)
    return Asked(tool_set, plan, has_grammar=is_object or plan.way == "enforced")


def _schema_fault(request: CreateRequest, tool_set: ToolSet) -> ApiError | None:
    """Why a schema of the turn cannot be enforced: llama.cpp would fail without a name for it, or pass over it."""
    for tool in tool_set.tools:
        fault = schema_fault(tool.parameters)
        if fault is not None:
            return api_error("invalid_value", f"The schema of the tool {tool.name!r} {fault}.", param="tools")
    wanted = request.text.format if request.text is not None else None
    if wanted is None or isinstance(wanted.schema, UnsetType):
        return None
    fault = schema_fault(bytes(wanted.schema))
    return api_error("invalid_value", f"The schema {fault}.", param="text.format") if fault is not None else None


def lineage_of(prompt: Prompt, asked: Asked) -> Lineage:
    """The turn's history and what stands in front of it in the prompt: instructions and tools."""
    front = [(prompt.request.instructions or "").encode(), *(tool.json for tool in asked.tool_set.tools)]
    return Lineage(seed_of(front), sum(len(part) for part in front), prompt.history)


def build_request(
    prompt: Prompt, asked: Asked, slot: int, dialect: ChatCompletions, limits: ModelLimits, *, is_fallback: bool
) -> UpstreamRequest | ApiError:
    """The request that runs the turn in a slot. `is_fallback` leaves the grammar of a call to the server's converter."""
    forced = plan_overrides(
        asked.plan,
        asked.tool_set.tools,
        knows_tools=limits.knows_tools,
        string_chars=_string_chars(limits),
        is_fallback=is_fallback,
    )
    answer = _answer_members(prompt.request, asked.plan, limits)
    omit = forced.omit | {"response_format"} if "grammar" in answer else forced.omit
    members = {"id_slot": slot, "cache_prompt": True, **_defaults(prompt.request, limits), **answer, **forced.members}
    overrides = RequestOverrides(members=members, omit=omit, system_suffix=forced.system_suffix)
    request = dialect.build_request(prompt, overrides)
    if not isinstance(request, ApiError) and not limits.reads_images and _IMAGE_MARK in request.body:
        message = f"The model {limits.name!r} cannot read images: its target has no `mmproj` file."
        return api_error("unsupported_content", message, param="input")
    return request


def _defaults(request: CreateRequest, limits: ModelLimits) -> dict[str, object]:
    """What the response says of settings that the client left out; llama.cpp's own defaults differ (0.8 and 0.95)."""
    defaults: dict[str, object] = {}
    if request.temperature is None:
        defaults["temperature"] = limits.sampling.temperature
    if request.top_p is None:
        defaults["top_p"] = limits.sampling.top_p
    if request.max_output_tokens is None and limits.max_output_tokens is not None and not request.is_warm_up:
        defaults["max_tokens"] = limits.max_output_tokens
    return defaults


def _answer_members(request: CreateRequest, plan: CallPlan, limits: ModelLimits) -> dict[str, object]:
    if plan.way == "enforced":
        return {}
    return answer_members(request.text, _string_chars(limits), may_use_grammar=plan.way != "server")


def _string_chars(limits: ModelLimits) -> int:
    return max(limits.context_tokens // _STRING_SHARE, 64)
