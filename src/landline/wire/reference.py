"""What Landline does with each part of the published API, one row each; source of the OpenAPI document and docs/api.md.

Tests compare the rows with the wire types: a create field, item type or event without a row fails, and so does a row whose
treatment differs from what the server does.
"""

from typing import Literal

import msgspec

from landline.wire.requests import CHAT_MEMBERS

Treatment = Literal["honoured", "echoed", "ignored", "refused"]
"""`honoured`: does what the API says. `echoed`: appears in the response, without effect. `ignored`: accepted, without
effect. `refused`: 400 `unsupported_parameter`, because leaving it out would change what was asked."""


class FieldRow(msgspec.Struct, frozen=True):
    """One field of the create body."""

    name: str
    treatment: Treatment
    text: str


class ItemRow(msgspec.Struct, frozen=True):
    """One type of item: whether clients send it, whether responses hold it."""

    type: str
    is_input: bool
    is_output: bool
    text: str


class KindRow(msgspec.Struct, frozen=True):
    """One tool kind or event and how it is handled."""

    type: str
    text: str


_RECOMMENDED = (
    "Without it: what the authors of an embedded model recommend (the catalogue, or `general.sampling.*` of a GGUF file), "
    "as the response then says; 1 at any other target, or what its vendor takes."
)

CREATE_FIELDS = (
    FieldRow("model", "honoured", "Needed: a name of the configuration, or any where `*` is configured."),
    FieldRow(
        "input", "honoured", "A string (one user message) or items; may be left out after `previous_response_id`."
    ),
    FieldRow(
        "instructions", "honoured", "Come first in the prompt of this turn; never inherited from an earlier response."
    ),
    FieldRow(
        "previous_response_id",
        "honoured",
        "Continues that response: a stored one, or on a socket also any that it still remembers. Not with `conversation`.",
    ),
    FieldRow(
        "conversation",
        "honoured",
        "An id or `{id}`: its items come first and the turn's are added to it. One response at a time writes to a "
        "conversation; another one is a 409 `conversation_locked`. Needs `store`.",
    ),
    FieldRow(
        "tools",
        "honoured",
        "Functions, custom tools and namespaces of them; what becomes of other kinds is said below.",
    ),
    FieldRow("tool_choice", "honoured", "A hard constraint. One that names a tool which is not offered is a 400."),
    FieldRow("parallel_tool_calls", "honoured", "False: at most one call a turn, where the target can be told so."),
    FieldRow(
        "max_output_tokens",
        "honoured",
        "At least 16, or what `limits.min_output_tokens` says. Reasoning counts; a response that reaches it is "
        "`incomplete`.",
    ),
    FieldRow("max_tool_calls", "echoed", "Counts calls of hosted tools, and there are none."),
    FieldRow("temperature", "honoured", f"Passed to the model. {_RECOMMENDED}"),
    FieldRow("top_p", "honoured", f"Passed to the model. {_RECOMMENDED}"),
    FieldRow("presence_penalty", "honoured", "Passed to the model."),
    FieldRow("frequency_penalty", "honoured", "Passed to the model."),
    FieldRow("top_logprobs", "honoured", "Alternatives for each token; also turns log-probabilities on."),
    FieldRow(
        "text",
        "honoured",
        "`format` of `json_schema` and `json_object` is enforced where the target can; `verbosity` is passed on if the "
        "target is configured so, else echoed.",
    ),
    FieldRow("reasoning", "honoured", "`effort` is passed to the model; the rest is echoed or has no effect."),
    FieldRow(
        "include",
        "honoured",
        "`message.output_text.logprobs` and `reasoning.encrypted_content`; others name hosted tools and have no effect.",
    ),
    FieldRow("store", "honoured", "True unless it is false; false never touches the store."),
    FieldRow(
        "stream", "honoured", "Over HTTP: server-sent events. On a socket every response is streamed; it is ignored."
    ),
    FieldRow("stream_options", "ignored", "Events are never padded: `include_obfuscation` has no effect."),
    FieldRow("background", "honoured", "Needs `store`: the response outlives its connection and is fetched by its id."),
    FieldRow(
        "context_management",
        "honoured",
        '`[{type: "compaction", compact_threshold: N}]`: beyond N tokens the history is compacted within the response, '
        "which then goes on.",
    ),
    FieldRow(
        "truncation",
        "honoured",
        "`auto` leaves the oldest out of what does not fit, never half a tool call; else 400 `context_length_exceeded`.",
    ),
    FieldRow(
        "metadata",
        "echoed",
        "At most 16 pairs, keys up to 64 and values up to 512 characters; kept with the response.",
    ),
    FieldRow("prompt", "refused", "There are no prompt templates."),
    FieldRow(
        "prompt_cache_key", "honoured", "Requests with the same key go to the same warm place where there is a choice."
    ),
    FieldRow("prompt_cache_retention", "echoed", "How long a prompt stays warm is the configuration's business."),
    FieldRow("prompt_cache_options", "honoured", "`prewarm: true` makes a warm-up of the request; the rest is echoed."),
    FieldRow("safety_identifier", "echoed", "At most 128 characters; passed on if the target is configured so."),
    FieldRow("service_tier", "echoed", "`auto` becomes `default`; passed on if the target is configured so."),
    FieldRow("user", "echoed", "Passed on if the target is configured so."),
    FieldRow("multi_agent", "refused", "The multi-agent beta is not built."),
    *(FieldRow(name, "refused", f"Chat completions' own; use {instead}.") for name, instead in CHAT_MEMBERS.items()),
    FieldRow("moderation", "ignored", "Nothing is moderated here."),
    FieldRow("image", "ignored", "There are no settings for images."),
    FieldRow("access_programs", "ignored", "OpenAI's own."),
    FieldRow("background_options", "ignored", "Background work starts at once."),
    FieldRow("client_metadata", "ignored", "Codex CLI's private notes."),
    FieldRow("type", "honoured", "Socket only, where it is `response.create`; ignored over HTTP."),
    FieldRow(
        "generate",
        "honoured",
        "False makes a warm-up: the prompt is read, nothing is generated, the id can be continued.",
    ),
    FieldRow("stream_id", "honoured", "Socket only: the lane, 1 to 256 of `A-Z a-z 0-9 _ . -`; ignored over HTTP."),
)
"""Unknown fields are ignored, because real clients and proxies add private ones; a wrong type is a 400."""

ITEM_TYPES = (
    ItemRow(
        "message", True, True, "`system` and `developer` messages are instructions, `assistant` ones the model's own."
    ),
    ItemRow("function_call", True, True, "Answered by a `function_call_output` of the same `call_id`."),
    ItemRow("function_call_output", True, False, "Without a call before it: 400 `tool_call_not_found`."),
    ItemRow("custom_tool_call", True, True, "A call whose input is free text."),
    ItemRow("custom_tool_call_output", True, False, "As `function_call_output`."),
    ItemRow("reasoning", True, True, "Its readable text goes back to models that take reasoning."),
    ItemRow("compaction", True, True, "Stands for what came before it; its content is sealed and opened only here."),
    ItemRow("compaction_trigger", True, False, "Asks for a compaction now."),
    ItemRow("item_reference", True, False, "Replaced by the stored item of that id; an unknown one is a 404."),
    ItemRow("additional_tools", True, False, "Tools for this and all later turns of the history."),
)
"""Items of other types are kept as they are and played back."""

TOOL_KINDS = (
    KindRow("function", "Offered to the model; `strict` and `parameters` are enforced where the target can."),
    KindRow(
        "custom",
        "Offered as a function of one string where the target knows no free-text tools; a grammar is described to it.",
    ),
    KindRow("namespace", "Its tools are offered under joined names, and called under their own."),
)
"""Hosted and built-in tools (`web_search`, `mcp`, `shell` …) are accepted and echoed, but not offered to the model."""

SERVER_EVENTS = (
    KindRow("response.created", "First event of every response: it exists, and will have a terminal event."),
    KindRow("response.queued", "A background response waits for its turn."),
    KindRow("response.in_progress", "The model is at work. Warm-ups leave it out."),
    KindRow("response.completed", "Terminal: the response is whole."),
    KindRow(
        "response.incomplete",
        "Terminal: it ended early, `incomplete_details.reason` says why; also ends a cancelled one.",
    ),
    KindRow("response.failed", "Terminal: it broke, `error` says why."),
    KindRow("response.output_item.added", "An item begins, still empty."),
    KindRow("response.output_item.done", "The item as it stands in the response's `output`."),
    KindRow("response.content_part.added", "A part of a message or of reasoning begins, still empty."),
    KindRow("response.content_part.done", "The whole part."),
    KindRow("response.output_text.delta", "More text."),
    KindRow("response.output_text.done", "The whole text of the part."),
    KindRow("response.refusal.delta", "More of a refusal."),
    KindRow("response.refusal.done", "The whole refusal."),
    KindRow("response.function_call_arguments.delta", "More of a call's arguments."),
    KindRow("response.function_call_arguments.done", "The whole arguments."),
    KindRow("response.custom_tool_call_input.delta", "More of a custom tool's input."),
    KindRow("response.custom_tool_call_input.done", "The whole input."),
    KindRow("response.reasoning_summary_part.added", "A part of a reasoning summary begins."),
    KindRow("response.reasoning_summary_part.done", "The whole part."),
    KindRow("response.reasoning_summary_text.delta", "More of the summary."),
    KindRow("response.reasoning_summary_text.done", "The whole text of the summary's part."),
    KindRow("response.reasoning_text.delta", "More raw reasoning (OpenAI's name, the default)."),
    KindRow("response.reasoning_text.done", "The whole raw reasoning of the part."),
    KindRow("response.reasoning.delta", 'The same under Open Responses\' name (`event_names = "open_responses"`).'),
    KindRow("response.reasoning.done", "The same under Open Responses' name."),
    KindRow("response.compaction.compacting", "The summary of a compaction item is being written."),
    KindRow(
        "response.steer.accepted", "Socket only: a steer is queued; the successor's `response.created` commits it."
    ),
    KindRow("response.steer.pending", "Socket only: the response waits for its client, and the steer with it."),
    KindRow(
        "response.steer.failed", "Socket only: a steer was not taken, or could not be applied; its input is given back."
    ),
    KindRow("keepalive", "Says nothing, in long silences: some clients' idle timers count only text."),
    KindRow(
        "error",
        "Over HTTP within a stream, before `response.failed`; on a socket the answer to a request that created nothing.",
    ),
)

CLIENT_EVENTS = (
    KindRow("response.create", "The create body at the top level, with `generate` and `stream_id`."),
    KindRow(
        "response.steer", "User messages for a running response, which makes way for a successor that has read them."
    ),
    KindRow(
        "response.cancel",
        "Ends a running response early; an unknown id is ignored. In no published type, sent by real clients.",
    ),
    KindRow("response.processed", "Ignored; older Codex CLIs send it."),
)
