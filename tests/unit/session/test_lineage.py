"""Lineage: structure is shared, digests name histories, renderings are made once."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.session.lineage import Link, extend, extend_digests
from landline.wire.items import Item, decode_item


def message(text: str, **more: str) -> Item:
    extra = "".join(f',"{key}":"{value}"' for key, value in more.items())
    return decode_item(f'{{"role":"user","content":"{text}"{extra}}}'.encode())


texts = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=12)


@given(texts, st.data())
def test_digest_depends_on_items_and_not_on_how_they_are_split_into_links(
    words: list[str], data: st.DataObject
) -> None:
    whole = Link(None, [message(word) for word in words])
    split: Link | None = None
    rest = list(words)
    while rest:
        taken = data.draw(st.integers(1, len(rest)))
        split = Link(split, [message(word) for word in rest[:taken]])
        rest = rest[taken:]
    assert split is not None
    assert split.digest == whole.digest
    assert list(split.digests_newest_first()) == list(whole.digests_newest_first())
    assert split.item_count == whole.item_count == len(words)
    assert split.size_bytes == whole.size_bytes
    assert [item.raw for item in split.all_items()] == [item.raw for item in whole.all_items()]


@given(texts, st.data())
def test_items_behind_the_end_of_a_link_are_those_of_the_links_that_follow(
    words: list[str], data: st.DataObject
) -> None:
    made: Link | None = None
    ends = [0]
    for start in range(0, len(words), 2):
        made = Link(made, [message(word) for word in words[start : start + 2]])
        ends.append(made.item_count)
    assert made is not None
    count = data.draw(st.sampled_from(ends))
    assert made.items_behind(count) == made.all_items()[count:]


@given(texts, texts)
def test_different_histories_have_different_digests(left: list[str], right: list[str]) -> None:
    digests = [Link(None, [message(word) for word in words]).digest for words in (left, right)]
    assert (digests[0] == digests[1]) == (left == right)


def test_long_lineage_is_digested_without_recursion() -> None:
    link: Link | None = None
    for number in range(5000):
        link = extend(link, [message(str(number))])
    assert link is not None
    assert len(link.digest) == 16
    assert link.depth == 5000


def test_a_fork_shares_its_parent() -> None:
    root = Link(None, [message("root")])
    left, right = Link(root, [message("left")]), Link(root, [message("right")])
    assert left.parent is right.parent
    assert left.digest != right.digest
    assert next(iter(root.digests_newest_first())) in set(left.digests_newest_first())


def test_state_is_carried_along_once_per_link_and_key() -> None:
    steps: list[int] = []

    def count(before: int | None, items: Sequence[Item]) -> int:
        steps.append(len(items))
        return (before or 0) + len(items)

    root = Link(None, [message("a"), message("b")])
    assert root.folds("count", count) == [2]
    child = Link(root, [message("c")])
    assert child.folds("count", count) == [2, 3]
    assert steps == [2, 1]
    child.folds("other", count)
    assert len(steps) == 4


def test_states_are_right_on_every_branch_whoever_was_asked_before() -> None:
    def spell(before: str | None, items: Sequence[Item]) -> str:
        return (before or "") + "".join(item.raw.decode() for item in items)

    def expected(link: Link) -> list[str]:
        return ["".join(item.raw.decode() for item in each.all_items()) for each in link.chain()]

    root = Link(None, [message("root")])
    branch = root
    for word in ("a", "b", "c"):
        branch = Link(branch, [message(word)])
        assert branch.folds("spell", spell) == expected(branch)
    assert branch.parent is not None
    fork = Link(branch.parent, [message("d")])
    for link in (fork, root, branch, fork, branch.parent):
        assert link.folds("spell", spell) == expected(link)


def test_states_that_were_given_stay_as_they_were() -> None:
    root = Link(None, [message("a")])
    given = root.folds("count", lambda _, items: len(items))
    Link(root, [message("b")]).folds("count", lambda _, items: len(items))
    given.clear()
    assert root.folds("count", lambda _, items: len(items)) == [1]


def test_a_step_that_breaks_leaves_nothing_wrong_behind() -> None:
    def fail(before: int | None, items: Sequence[Item]) -> int:
        raise ValueError("broken")

    root = Link(None, [message("a")])
    assert root.folds("count", lambda _, items: len(items)) == [1]
    child = Link(root, [message("b"), message("c")])
    with pytest.raises(ValueError, match="broken"):
        child.folds("count", fail)
    assert child.folds("count", lambda _, items: len(items)) == [1, 2]


def test_additional_tools_stay_in_force_down_the_lineage() -> None:
    tools = decode_item(b'{"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"f"}]}')
    first = Link(None, [tools])
    later = Link(Link(first, [message("a")]), [tools])
    assert first.tool_items == (tools,)
    assert later.tool_items == (tools, tools)


def test_extending_with_nothing_is_the_same_lineage() -> None:
    link = Link(None, [message("a")])
    assert extend(link, []) is link
    assert extend(None, []) is None


@given(st.lists(texts, min_size=1, max_size=5), st.data())
def test_items_after_a_digest_are_those_behind_its_prefix(links: list[list[str]], data: st.DataObject) -> None:
    link: Link | None = None
    for words in links:
        link = extend(link, [message(word) for word in words])
    assert link is not None
    items = link.all_items()
    kept = data.draw(st.integers(1, len(items)))
    prefix = extend_digests(b"", items[:kept])[-1]
    assert link.items_after(prefix) == items[kept:]


def test_no_items_follow_a_digest_of_another_history() -> None:
    link = Link(Link(None, [message("a")]), [message("b")])
    assert link.items_after(Link(None, [message("b")]).digest) is None
