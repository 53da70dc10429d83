"""How a turn's model is asked: its context compacted or truncated first, where the request wants that."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
import structlog

from landline.dialects.dialect import Prompt
from landline.routing.choice import Choice
from landline.sealing import Sealer
from landline.session.compaction import BYTES_PER_TOKEN, Plan, plan_compaction
from landline.session.lineage import Link
from landline.session.truncation import drop_oldest
from landline.session.turn import Turn
from landline.upstream.target import Target
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import (
    Accepted,
    Compacted,
    CompactionStarted,
    Failed,
    Finished,
    ModelEvent,
    Relayed,
    TextDelta,
    UsageReported,
    relayed_text,
)
from landline.wire.requests import CreateRequest

_SECOND_TRY_SHARE = 4
"""A model that thinks before it writes may need this much more room than its summary."""

_log = structlog.stdlib.get_logger(__name__)

Batches = AsyncGenerator[list[ModelEvent], None]


def prompt_of(turn: Turn, choice: Choice[Target]) -> Prompt:
    """What the turn asks of its model: the whole history, as a model reads it, and the settings."""
    return Prompt(
        history=turn.history.shown if turn.history is not None else None,
        request=turn.request,
        model=choice.model,
        response_id=turn.response_id,
        affinity_key=turn.affinity_key,
        tenant=turn.tenant,
        line_id=turn.line_id,
        body=turn.body,
        meter=turn.meter,
        is_compaction=turn.is_compaction,
    )


def ask(turn: Turn, choice: Choice[Target], sealer: Sealer) -> Batches:
    """What the model says, and what is done to its context before that, as model events."""
    prompt = prompt_of(turn, choice)
    if choice.target.compacts:
        return _answer(choice, prompt)
    if turn.history is not None and not turn.request.is_warm_up:
        if turn.is_compaction:
            return _only_compact(turn, choice, prompt, plan_compaction(turn.history, keeps_newest=False), sealer)
        if turn.request.compact_threshold is not None:
            return _compact_and_answer(turn, choice, prompt, turn.history, sealer)
    return _answer(choice, prompt)


def _answer(choice: Choice[Target], prompt: Prompt) -> Batches:
    if prompt.request.truncation == "auto" and prompt.history is not None:
        return _truncate_and_answer(choice, prompt, prompt.history)
    return choice.target.stream(prompt)


async def _only_compact(turn: Turn, choice: Choice[Target], prompt: Prompt, plan: Plan, sealer: Sealer) -> Batches:
    """A turn that answers nothing: one compaction of everything so far."""
    async with aclosing(_compact(turn, choice, prompt, plan, sealer)) as batches:
        async for batch in batches:
            yield [*batch, Finished()] if isinstance(batch[-1], Compacted) else batch


async def _compact_and_answer(
    turn: Turn, choice: Choice[Target], prompt: Prompt, history: Link, sealer: Sealer
) -> Batches:
    """A compaction of everything before the newest step if the context is over the threshold, then the answer."""
    plan = plan_compaction(history, keeps_newest=True, threshold_tokens=prompt.request.compact_threshold)
    if plan.head is not None and await _is_over_threshold(choice, prompt, history):
        async with aclosing(_compact(turn, choice, prompt, plan, sealer)) as batches:
            async for batch in batches:
                yield batch
                last = batch[-1]
                if isinstance(last, Failed):
                    return
                if isinstance(last, Compacted):
                    prompt = msgspec.structs.replace(prompt, history=Link(None, last.opened))
    async with aclosing(_answer(choice, prompt)) as batches:
        async for batch in batches:
            yield batch


async def _compact(turn: Turn, choice: Choice[Target], prompt: Prompt, plan: Plan, sealer: Sealer) -> Batches:
    """Has the model write the summary. Ends in `Compacted` or `Failed`."""
    tries = [_summary_request(turn, plan.summary_tokens)]
    tries.append(_summary_request(turn, plan.summary_tokens * _SECOND_TRY_SHARE, has_tools=False))
    texts: list[str] = []
    spent = UsageReported(0, 0)
    is_started = False
    for request in tries:
        asked = msgspec.structs.replace(prompt, history=plan.prompt, request=request, is_compaction=False)
        async with aclosing(choice.target.stream(asked)) as batches:
            async for batch in batches:
                for event in batch:
                    match event:
                        case Accepted() | Relayed() if not is_started:
                            is_started = True
                            yield [Accepted(), CompactionStarted()]
                        case TextDelta(text):
                            texts.append(text)
                        case Relayed():
                            texts.append(relayed_text(event))
                        case UsageReported():
                            spent = _sum(spent, event)
                        case Failed():
                            yield [event]
                            return
                        case _:
                            pass
        if "".join(texts).strip():
            break
    summary = "".join(texts).strip()
    if not summary:
        yield [spent, Failed(api_error("model_error", "The model wrote no summary of the conversation."))]
        return
    token = sealer.seal(turn.tenant, "compaction", plan.payload(summary))
    _log.info("compacted", response_id=turn.response_id, summary_chars=len(summary), read_tokens=spent.input_tokens)
    started: Sequence[ModelEvent] = () if is_started else (Accepted(), CompactionStarted())
    yield [*started, spent, Compacted(token, plan.opened(summary), plan.covers)]


async def _truncate_and_answer(choice: Choice[Target], prompt: Prompt, history: Link) -> Batches:
    """Leaves out the oldest part of the conversation for as long as the target refuses its length."""
    while True:
        error: ApiError | None = None
        async with aclosing(choice.target.stream(prompt)) as batches:
            async for batch in batches:
                error = _overflow(batch)
                if error is not None:
                    break
                yield batch
        if error is None:
            return
        shorter = drop_oldest(history)
        if shorter is None:
            yield [Failed(error)]
            return
        _log.info("truncated", response_id=prompt.response_id, items=history.item_count - shorter.item_count)
        history = shorter
        prompt = msgspec.structs.replace(prompt, history=history)


async def _is_over_threshold(choice: Choice[Target], prompt: Prompt, history: Link) -> bool:
    """Whether the context has more tokens than the request allows.

    Known is what the model reported for the turn before; what came since has at most a token a byte. Only between those
    two bounds is it counted.
    """
    threshold = prompt.request.compact_threshold
    assert threshold is not None
    known_tokens, new_bytes = _known_tokens(history)
    if not known_tokens:
        new_bytes += len(prompt.request.instructions or "") + sum(len(tool) for tool in prompt.request.tools or ())
    if known_tokens > threshold or known_tokens + new_bytes <= threshold:
        return known_tokens > threshold
    counted = await choice.target.count_tokens(prompt)
    if isinstance(counted, ApiError):
        _log.info("context_not_counted", response_id=prompt.response_id, code=counted.code)
        counted = known_tokens + new_bytes // BYTES_PER_TOKEN
    return counted > threshold


def _known_tokens(history: Link) -> tuple[int, int]:
    """Tokens of the longest prefix that a model reported, and the bytes of what a model reads behind it."""
    new_bytes = 0
    link: Link | None = history
    while link is not None:
        if link.context_tokens is not None:
            return link.context_tokens, new_bytes
        if any(item.type == "compaction" for item in link.items):
            break
        new_bytes += sum(len(item.raw) for item in link.items)
        link = link.parent
    return 0, history.shown.size_bytes


def _summary_request(turn: Turn, max_tokens: int, *, has_tools: bool = True) -> CreateRequest:
    """The turn's request, asking for a summary: its front (instructions, tools) stays, so that the prefix is warm."""
    return msgspec.structs.replace(
        turn.request,
        tools=turn.request.tools if has_tools else None,
        tool_choice="none" if has_tools and turn.request.tools else None,
        max_output_tokens=max_tokens,
        text=None,
        top_logprobs=None,
        include=None,
    )


def _overflow(batch: list[ModelEvent]) -> ApiError | None:
    """The error of a target that refused the prompt for its length: a lone `Failed`."""
    first = batch[0]
    return first.error if isinstance(first, Failed) and first.error.code == "context_length_exceeded" else None


def _sum(left: UsageReported, right: UsageReported) -> UsageReported:
    return UsageReported(
        left.input_tokens + right.input_tokens,
        left.output_tokens + right.output_tokens,
        left.cached_tokens + right.cached_tokens,
        left.reasoning_tokens + right.reasoning_tokens,
        left.cache_write_tokens + right.cache_write_tokens,
    )
