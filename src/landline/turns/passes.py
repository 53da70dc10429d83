"""What a target is asked for one turn, question after question, and what is made of its replies. Pure: no I/O, no clock.

A turn whose context is compacted asks for a summary first, once more if none came, and then for the answer. A turn that
may be truncated asks again with a shorter conversation for as long as the target refuses its length. Any other asks once.
"""

from collections.abc import Callable, Sequence

import msgspec

from landline.dialects.dialect import Prompt
from landline.routing.health import verdict
from landline.session.compaction import Plan, plan_compaction
from landline.session.lineage import Link
from landline.session.truncation import drop_oldest
from landline.session.turn import Turn
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
_NOTHING_SPENT = UsageReported(0, 0)


class Question(msgspec.Struct, frozen=True, eq=False):
    """What one reply is to answer."""

    history: Link | None
    """As a model reads it."""
    request: CreateRequest
    is_summary: bool = False
    """Whether the text is wanted for a compaction, and is not the client's."""
    dropped_items: int = 0
    """How many items truncation has left out of the history since the question before."""


class Passes:
    """The questions of one turn at one target. Ask `question`, give every batch of its reply to `hear`; `question` is then
    the same, another one, or None when the turn is over."""

    def __init__(self, turn: Turn, plan: Plan | None, seal: Callable[[bytes], str]) -> None:
        """`plan`: the compaction that is to be made first, if any; `seal` makes a compaction's `encrypted_content`."""
        self._turn = turn
        self._plan = plan
        self._seal = seal
        self._has_begun = False
        """Whether anything that a client hears of was passed on."""
        self._texts: list[str] = []
        self._spent = _NOTHING_SPENT
        self._is_second_summary = False
        self.question: Question | None
        if plan is not None:
            self.question = self._summary_question(plan)
        else:
            self.question = Question(turn.history.shown if turn.history is not None else None, turn.request)

    def hear(self, batch: list[ModelEvent]) -> list[ModelEvent]:
        """What of the batch the response is made of."""
        question = self.question
        assert question is not None, "nothing was asked"
        return self._hear_summary(batch) if question.is_summary else self._hear_answer(question, batch)

    def _hear_answer(self, question: Question, batch: list[ModelEvent]) -> list[ModelEvent]:
        first, last = batch[0], batch[-1]
        if isinstance(first, Failed) and first.error.code == "context_length_exceeded" and not self._has_begun:
            shorter = self._shorten(question)
            if shorter is not None:
                self.question = shorter
                return []
        self._has_begun = self._has_begun or not isinstance(first, Accepted) or len(batch) > 1
        if isinstance(last, Finished | Failed):
            self.question = None
        return batch

    def _shorten(self, question: Question) -> Question | None:
        if question.request.truncation != "auto" or question.history is None:
            return None
        shorter = drop_oldest(question.history)
        if shorter is None:
            return None
        dropped_items = question.history.item_count - shorter.item_count
        return Question(shorter, question.request, dropped_items=dropped_items)

    def _hear_summary(self, batch: list[ModelEvent]) -> list[ModelEvent]:
        heard: list[ModelEvent] = []
        for event in batch:
            match event:
                case Accepted() | Relayed() if not self._has_begun:
                    heard += self._begin_compaction()
                case TextDelta(text):
                    self._texts.append(text)
                case Relayed():
                    self._texts.append(relayed_text(event))
                case UsageReported():
                    self._spent = _sum(self._spent, event)
                case Failed():
                    self.question = None
                    return [*heard, event]
                case Finished():
                    return heard + self._end_summary()
                case _:
                    pass
        return heard

    def _end_summary(self) -> list[ModelEvent]:
        plan = self._plan
        assert plan is not None, "a summary was asked for"
        summary = "".join(self._texts).strip()
        if not summary and not self._is_second_summary:
            self._is_second_summary = True
            self.question = self._summary_question(plan)
            return []
        if not summary:
            self.question = None
            return [self._spent, Failed(api_error("model_error", "The model wrote no summary of the conversation."))]
        opened = plan.opened(summary)
        compacted = Compacted(self._seal(plan.payload(summary)), opened, plan.covers)
        heard = [*self._begin_compaction(), self._spent, compacted]
        self._has_begun = False  # of the answer, which may still be refused for its length
        if self._turn.is_compaction:
            self.question = None
            return [*heard, Finished()]
        self.question = Question(Link(None, opened), self._turn.request)
        return heard

    def _begin_compaction(self) -> list[ModelEvent]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [Accepted(), CompactionStarted()]

    def _summary_question(self, plan: Plan) -> Question:
        """The turn's request, asking for a summary: its front (instructions, tools) stays, so that the prefix is warm."""
        request = self._turn.request
        has_tools = not self._is_second_summary
        request = msgspec.structs.replace(
            request,
            tools=request.tools if has_tools else None,
            tool_choice="none" if has_tools and request.tools else None,
            max_output_tokens=plan.summary_tokens * (_SECOND_TRY_SHARE if self._is_second_summary else 1),
            text=None,
            top_logprobs=None,
            include=None,
        )
        return Question(plan.prompt, request, is_summary=True)


def plan_of(turn: Turn, *, compacts_itself: bool) -> Plan | None:
    """The compaction that the turn asks for: of everything if that is all it does, else of what is before its newest step,
    to be made if the context `is_over_threshold`. None if there is none, or if the upstream makes its own."""
    if compacts_itself or turn.history is None or turn.request.is_warm_up:
        return None
    if turn.is_compaction:
        return plan_compaction(turn.history, keeps_newest=False)
    threshold = turn.request.compact_threshold
    if threshold is None:
        return None
    plan = plan_compaction(turn.history, keeps_newest=True, threshold_tokens=threshold)
    return plan if plan.head is not None else None


class ContextSize(msgspec.Struct, frozen=True):
    """What is known of a context's length without counting it."""

    known_tokens: int
    """Of the longest prefix that a model reported; 0 if none."""
    new_bytes: int
    """Of what a model reads behind it, which has at most a token a byte."""

    def is_over(self, threshold_tokens: int) -> bool | None:
        """Whether it has more tokens than that; None if only counting tells."""
        if self.known_tokens > threshold_tokens:
            return True
        return False if self.known_tokens + self.new_bytes <= threshold_tokens else None


def context_size(turn: Turn) -> ContextSize:
    """The size of the turn's context."""
    new_bytes = 0
    link = turn.history
    while link is not None:
        if link.context_tokens:
            return ContextSize(link.context_tokens, new_bytes)
        if any(item.type == "compaction" for item in link.items):
            break
        new_bytes += sum(len(item.raw) for item in link.items)
        link = link.parent
    size_bytes = turn.history.shown.size_bytes if turn.history is not None else 0
    size_bytes += len(turn.request.instructions or "") + sum(len(tool) for tool in turn.request.tools or ())
    return ContextSize(0, size_bytes)


def passed_on(events: Sequence[ModelEvent]) -> ApiError | None:
    """The error of a target that took nothing, where another one may do better."""
    first = events[0]
    return first.error if isinstance(first, Failed) and verdict(first.error) != "final" else None


def plain_prompt(turn: Turn, model: str) -> Prompt:
    """The turn as it stands, neither compacted nor truncated."""
    history = turn.history.shown if turn.history is not None else None
    return prompt_of(turn, model, Question(history, turn.request))


def prompt_of(turn: Turn, model: str, question: Question) -> Prompt:
    """What the question is to the target's model."""
    return Prompt(
        history=question.history,
        request=question.request,
        model=model,
        response_id=turn.response_id,
        affinity_key=turn.affinity_key,
        tenant=turn.tenant,
        line_id=turn.line_id,
        body=turn.body,
        is_compaction=turn.is_compaction and not question.is_summary,
    )


def _sum(left: UsageReported, right: UsageReported) -> UsageReported:
    return UsageReported(
        left.input_tokens + right.input_tokens,
        left.output_tokens + right.output_tokens,
        left.cached_tokens + right.cached_tokens,
        left.reasoning_tokens + right.reasoning_tokens,
        left.cache_write_tokens + right.cache_write_tokens,
    )
