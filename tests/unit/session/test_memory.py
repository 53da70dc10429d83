"""Connection memory: found again, bounded, shared history counted once."""

from hypothesis import given
from hypothesis import strategies as st

from landline.session.lineage import Link
from landline.session.memory import Remembered, ResponseMemory
from landline.wire.items import Item


def item(size: int) -> Item:
    return Item(raw=b"x" * size, type="message")


def reachable_bytes(entries: list[Remembered]) -> int:
    links = {id(link): link for entry in entries for link in (entry.history.chain() if entry.history else [])}
    return sum(len(each.raw) for link in links.values() for each in link.items)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 50), st.booleans()), max_size=60), st.integers(10, 400))
def test_memory_counts_shared_links_once_and_stays_under_budget(
    steps: list[tuple[int, int, bool]], budget_bytes: int
) -> None:
    memory = ResponseMemory(budget_bytes)
    made: list[Remembered] = []
    for number, (parent, size, forget) in enumerate(steps):
        if forget and made:
            memory.forget(made[parent % len(made)].response_id)
        else:
            link = Link(made[parent % len(made)].history if made else None, [item(size)])
            made.append(Remembered(f"resp_{number}", link, None))
            memory.remember(made[-1])
        alive = [each for each in made if memory.find(each.response_id) is not None]
        assert memory.size_bytes == reachable_bytes(alive) <= budget_bytes
        assert len(memory) == len(alive)


def test_least_recently_used_response_is_forgotten_first() -> None:
    memory = ResponseMemory(100)
    for name in ("a", "b", "c"):
        memory.remember(Remembered(name, Link(None, [item(30)]), None))
    assert memory.find("a") is not None
    memory.remember(Remembered("d", Link(None, [item(30)]), None))
    assert [name for name in "abcd" if memory.find(name)] == ["a", "c", "d"]


def test_history_over_budget_is_not_kept() -> None:
    memory = ResponseMemory(10)
    memory.remember(Remembered("a", Link(None, [item(11)]), None))
    assert memory.find("a") is None
    assert memory.size_bytes == 0


def test_warm_up_without_items_is_remembered() -> None:
    memory = ResponseMemory(10)
    memory.remember(Remembered("a", None, "lane"))
    assert memory.find("a") is not None
    memory.forget("a")
    memory.forget("a")
    assert memory.find("a") is None
