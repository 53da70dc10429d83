"""The prefix index: whole histories become continuations, nothing else changes."""

import itertools
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.dialects.chat_completions import ChatCompletions, ChatCompletionsFlags
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.routing.choice import Route
from landline.routing.router import Router
from landline.sealing import Sealer
from landline.session.admission import CreateOrigin, admit
from landline.session.lineage import Link
from landline.session.turn import Turn, TurnEnded
from landline.stores.memory import MemoryStore
from landline.turns.opening import Opener
from landline.turns.parts import RunnerSettings
from landline.turns.prefixes import LINK_BYTES, PrefixIndex, PrefixSettings
from landline.turns.runner import TurnRunner
from landline.upstream.target import Target, Traffic
from landline.wire.canonical import canonical
from landline.wire.errors import ApiError
from landline.wire.item_memo import ITEM_BYTES
from landline.wire.items import Item, Signed, decode_item
from landline.wire.model_events import Accepted, Finished, ModelEvent, ReasoningDelta, TextDelta
from landline.wire.requests import CreateRequest, decode_create
from support.conversations.client_spellings import (
    ANSWER,
    BARE_CALL,
    BARE_OUTPUT,
    CALL,
    CONVERSATION,
    OUTPUT,
    QUESTION,
    REASONING,
    SPELLINGS,
    JsonItem,
    played_back,
)
from support.turns.reply import replying, updates_of

NEXT: JsonItem = {"role": "user", "content": "And in Lima?"}
SEALER = Sealer([b"a secret of some length"])
TOKEN = SEALER.seal("t", "reasoning", json.dumps({"content": REASONING["content"]}).encode())


def items_of(values: Sequence[JsonItem]) -> tuple[Item, ...]:
    """The items as a turn reads them: sealed reasoning is opened where it does not speak for itself."""
    read = tuple(
        decode_item(
            msgspec.json.encode({**value, "encrypted_content": TOKEN} if "encrypted_content" in value else value)
        )
        for value in values
    )
    return Opener(SEALER).open_input("t", read)


def link(*runs: Sequence[JsonItem]) -> Link:
    made: Link | None = None
    for run in runs:
        made = Link(made, items_of(run))
    assert made is not None
    return made


def turn_of(items: Sequence[Item], *, tenant: str = "t", **fields: Any) -> Turn:
    request = decode_create(json.dumps({"model": "m", **fields}))
    assert isinstance(request, CreateRequest)
    return Turn("resp_1", request, Link(None, items) if items else None, 1.0, items=tuple(items), tenant=tenant)


def adopt(index: PrefixIndex, values: Sequence[JsonItem], **more: Any) -> Link:
    return adopted(index, items_of(values), **more)


def adopted(index: PrefixIndex, items: Sequence[Item], **more: Any) -> Link:
    history = index.adopt(turn_of(items, **more))[0].history
    assert history is not None
    return history


def known_part(history: Link) -> list[Item]:
    """What stands on remembered links: everything but the newest link's items."""
    return history.parent.all_items() if history.parent is not None else []


SERVED = link([QUESTION], [REASONING, CALL], [OUTPUT], [BARE_CALL], [BARE_OUTPUT], [ANSWER])


def index_with(*lineages: Link, tenant: str = "t") -> PrefixIndex:
    index = PrefixIndex()
    for lineage in lineages:
        index.remember(tenant, lineage)
    return index


def rendered(history: Link, flags: ChatCompletionsFlags) -> Any:
    """The messages that a model gets; tool arguments by what they say."""
    request = CreateRequest(model="m")
    asked = ChatCompletions(flags).build_request(Prompt(history.shown, request, "m"))
    assert isinstance(asked, UpstreamRequest)
    messages = json.loads(asked.body)["messages"]
    for message in messages:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


@pytest.mark.parametrize("flags", [ChatCompletionsFlags(), ChatCompletionsFlags(reasoning_field="none")])
@pytest.mark.parametrize("client", SPELLINGS)
def test_whole_history_becomes_a_continuation_and_reads_the_same(client: str, flags: ChatCompletionsFlags) -> None:
    sent = [*played_back(client), NEXT]
    history = adopt(index_with(SERVED), sent)
    assert history.parent is SERVED
    assert [json.loads(item.raw) for item in history.items] == [NEXT]
    assert rendered(history, flags) == rendered(link(sent), flags)
    assert history.digest == link(sent).digest


@pytest.mark.parametrize("client", SPELLINGS)
def test_reasoning_that_a_client_leaves_out_does_not_come_back(client: str) -> None:
    sent = [item for item in played_back(client) if item["type" if "type" in item else "role"] != "reasoning"]
    history = adopt(index_with(SERVED), [*sent, NEXT])
    assert [item.raw for item in known_part(history)] == [item.raw for item in items_of([QUESTION])]
    assert "clock." not in str(rendered(history, ChatCompletionsFlags()))


def test_signature_that_a_client_does_not_play_back_does_not_come_back() -> None:
    bare = items_of([{name: value for name, value in REASONING.items() if name != "encrypted_content"}])[0]
    signed = msgspec.structs.replace(bare, signed=Signed("anthropic", ("{}",)))
    served = Link(Link(link([QUESTION]), [signed]), items_of([ANSWER]))
    index = index_with(served)
    history = adopted(index, [*items_of([QUESTION]), bare, *items_of([ANSWER, NEXT])])
    assert history.all_items()[1].signed is None
    assert adopted(index, [*items_of([QUESTION]), signed, *items_of([ANSWER, NEXT])]).parent is served


def test_signature_comes_back_to_a_client_that_plays_its_reasoning_back_under_its_id() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "so"}]}
    [bare] = items_of([thought])
    signed = msgspec.structs.replace(bare, signed=Signed("anthropic", ("{}",)))
    index = index_with(Link(Link(link([QUESTION]), [signed]), items_of([ANSWER])))
    history = adopted(index, [*items_of([QUESTION]), bare, *items_of([ANSWER, NEXT])])
    assert history.all_items()[1].signed == signed.signed
    [renamed] = items_of([{**thought, "id": "rs_2"}])
    other = adopted(index, [*items_of([QUESTION]), renamed, *items_of([ANSWER, NEXT])])
    assert other.all_items()[1].signed is None


def test_compaction_that_does_not_open_here_is_not_exchanged_for_one_that_does() -> None:
    closed = decode_item(b'{"type":"compaction","encrypted_content":"x"}')
    opened = msgspec.structs.replace(closed, opened=items_of([QUESTION]))
    for remembered, sent in ((closed, opened), (opened, closed)):
        index = index_with(Link(link([QUESTION]), [remembered]))
        history = adopted(index, [*items_of([QUESTION]), sent, *items_of([NEXT])])
        assert known_part(history) == list(items_of([QUESTION]))
        assert history.items[0].opened == sent.opened
        assert len(known_part(adopted(index, [*items_of([QUESTION]), remembered, *items_of([NEXT])]))) == 2


def test_tools_in_the_history_stay_in_force() -> None:
    tools: JsonItem = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]}
    history = adopt(index_with(link([tools, QUESTION], [ANSWER])), [tools, QUESTION, ANSWER, NEXT])
    assert [item.type for item in history.tool_items] == ["additional_tools"]
    assert history.item_count == 4


def test_history_that_is_known_whole_is_taken_as_it_is() -> None:
    served = link([QUESTION], [ANSWER])
    index = index_with(served)
    assert adopt(index, [QUESTION]) is served.parent
    assert adopt(index, [QUESTION, ANSWER]) is served


def test_tenants_never_meet() -> None:
    index = index_with(SERVED)
    history = adopt(index, [*CONVERSATION, NEXT], tenant="other")
    assert history.parent is None
    index.remember("other", history)
    assert adopt(index, [*CONVERSATION, NEXT]).parent is SERVED


@pytest.mark.parametrize(
    ("fields", "changes"),
    [({"previous_response_id": "resp_0"}, {}), ({"conversation": "conv_1"}, {"conversation_id": "conv_1"})],
)
def test_turn_with_a_parent_is_left_alone(fields: dict[str, Any], changes: dict[str, Any]) -> None:
    turn = msgspec.structs.replace(turn_of(items_of([*CONVERSATION, NEXT]), **fields), **changes)
    assert index_with(SERVED).adopt(turn)[0] is turn


def test_turn_without_any_item_is_left_alone() -> None:
    turn = turn_of([])
    assert index_with(SERVED).adopt(turn)[0] is turn
    index = PrefixIndex()
    index.remember("t", None)
    assert index.size_bytes == 0


def test_budget_of_nothing_turns_it_off() -> None:
    index = PrefixIndex(PrefixSettings(budget_bytes=0))
    index.remember("t", SERVED)
    assert index.size_bytes == 0
    assert adopt(index, [*CONVERSATION, NEXT]).parent is None


def cost(*links: Link) -> int:
    return sum(LINK_BYTES + sum(len(item.raw) + ITEM_BYTES for item in each.items) for each in links)


def test_continued_lineage_is_one_branch_and_costs_its_new_links() -> None:
    index = index_with(SERVED)
    assert index.size_bytes == cost(*SERVED.chain())
    grown = Link(adopt(index, [*CONVERSATION, NEXT]), items_of([ANSWER]))
    index.remember("t", grown)
    assert index.size_bytes == cost(*grown.chain())


def test_copy_of_what_is_remembered_costs_nothing() -> None:
    index = index_with(SERVED)
    copy = link(*([item] for item in CONVERSATION))
    copy.context_tokens = 7
    index.remember("t", copy)
    assert index.size_bytes == cost(*SERVED.chain())
    index.remember("t", Link(copy, items_of([NEXT])))
    newest = adopt(index, [*CONVERSATION, NEXT])
    assert newest.parent is SERVED
    assert index.size_bytes == cost(*newest.chain())


def test_least_recently_used_branch_is_forgotten_first() -> None:
    branches = [link([{"role": "user", "content": name}], [ANSWER]) for name in "abc"]
    index = PrefixIndex(PrefixSettings(budget_bytes=(cost(*branches[0].chain()) * 2 + 100) * 4 // 3))
    for branch in branches[:2]:
        index.remember("t", branch)
    adopt(index, [{"role": "user", "content": "a"}, ANSWER, NEXT])
    index.remember("t", branches[2])
    found = [adopt(index, [{"role": "user", "content": name}, ANSWER, NEXT]).parent for name in "abc"]
    assert found == [branches[0], None, branches[2]]


WORDS = st.sampled_from([{"role": role, "content": text} for role in ("user", "assistant") for text in ("a", "b")])
HISTORIES = st.lists(st.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=4)


@given(st.lists(HISTORIES, max_size=4), st.lists(WORDS, min_size=1, max_size=8))
def test_longest_remembered_prefix_is_taken_and_never_a_false_one(
    lineages: list[list[list[JsonItem]]], sent: list[JsonItem]
) -> None:
    history = adopt(index_with(*(link(*runs) for runs in lineages)), sent)
    assert [canonical(item) for item in history.all_items()] == [canonical(item) for item in items_of(sent)]
    longest = max((len(each) for each in remembered_ends(lineages) if each == sent[: len(each)]), default=0)
    assert len(sent) == longest or len(known_part(history)) == longest
    assert history.digest == link(sent).digest


def remembered_ends(lineages: list[list[list[JsonItem]]]) -> list[list[JsonItem]]:
    """The histories that end where a link does. Of a lineage whose beginning is known already, however it was cut, only
    the links behind that are new."""
    ends: list[list[JsonItem]] = []
    for runs in lineages:
        own = [list(itertools.chain(*runs[:count])) for count in range(1, len(runs) + 1)]
        ends += own[max((place for place, each in enumerate(own, 1) if each in ends), default=0) :]
    return ends


@given(st.lists(st.tuples(st.integers(0, 5), HISTORIES), max_size=30), st.integers(0, 40_000))
def test_memory_counts_shared_links_once_and_stays_under_its_budget(
    steps: list[tuple[int, list[list[JsonItem]]]], budget_bytes: int
) -> None:
    index = PrefixIndex(PrefixSettings(budget_bytes=budget_bytes))
    made: list[Link] = []
    for place, runs in steps:
        base = made[place % len(made)] if made else None
        for run in runs:
            base = Link(base, items_of(run))
        assert base is not None
        made.append(base)
        index.remember("t", base)
        found = {id(each): each for one in made for each in adopted(index, one.all_items()).chain()}
        assert index.size_bytes <= budget_bytes
        assert index.size_bytes <= cost(*found.values())


class FakeTarget:
    """A target made of one stream function."""

    name = "fake"
    compacts = False

    def __init__(self, stream: Callable[[Prompt], AsyncGenerator[list[ModelEvent], None]]) -> None:
        self._stream = stream

    @replying
    def ask(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        return self._stream(prompt)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        raise NotImplementedError


async def test_runner_remembers_what_it_ran() -> None:
    prompts: list[Prompt] = []

    async def stream(prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        prompts.append(prompt)
        yield [Accepted(), ReasoningDelta("Hm."), TextDelta("Noon."), Finished()]

    ids = itertools.count()
    target: Target = FakeTarget(stream)
    runner = TurnRunner(
        Router({"m": [Route(target, None)]}),
        MemoryStore(),
        new_id=lambda prefix: f"{prefix}_{next(ids)}",
        settings=RunnerSettings(),
    )

    async def run(items: list[Any]) -> TurnEnded:
        request = decode_create(json.dumps({"model": "m", "input": items, "store": False}))
        assert isinstance(request, CreateRequest)
        turn = admit(request, response_id=f"resp_{next(ids)}", now=1.0, origin=CreateOrigin(tenant="t"))
        assert isinstance(turn, Turn)
        *_, ended = [update async for update in updates_of(runner, turn)]
        assert isinstance(ended, TurnEnded)
        return ended

    first = await run([QUESTION])
    output = [json.loads(item.raw) for item in first.output]
    second = await run([QUESTION, *output, NEXT])
    assert prompts[1].history is not None
    assert prompts[1].history.parent is first.history
    assert [canonical(item) for item in second.output] == [canonical(item) for item in first.output]
