"""The slot book against a model of a server: slots and files hold token lists, commands are carried out literally.

Then the keeper, with slots that are only written down.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from landline.engine.prefixes import Lineage, output_digest, seed_of
from landline.engine.slots import MIN_KEEP_BYTES, DropFile, RestoreSlot, SaveSlot, SlotBook, SlotGrant, SlotKeeper
from landline.session.lineage import Link, extend
from landline.wire.items import Item, encode_item

AMPLE = 10**9
FILE_BYTES_PER_ITEM = 100


def say(role: str, text: str) -> Item:
    """An item that is large enough to be worth keeping."""
    return encode_item({"type": "message", "role": role, "content": text.ljust(MIN_KEEP_BYTES, ".")})


def written(text: str) -> bytes | None:
    return output_digest(text.ljust(MIN_KEEP_BYTES, "."))


def lineage_of(history: Link | None, seed: str = "") -> Lineage:
    return Lineage(seed_of([seed.encode()]), len(seed), history)


class FakeServer:
    """What the slots and files hold, item by item, as llama.cpp would."""

    def __init__(self, slots: int, park_bytes: int = AMPLE, wait_bytes: int = AMPLE) -> None:
        self.book = SlotBook(slots, park_bytes, wait_bytes)
        self.slots: list[list[bytes]] = [[] for _ in range(slots)]
        self.files: dict[str, list[bytes]] = {}
        self.busy: dict[str, int] = {}
        self.wanted: dict[str, Lineage] = {}
        self.clock = 0.0

    def start(self, turn_id: str, lineage: Lineage) -> list[tuple[SlotGrant, int]]:
        self.clock += 1
        self.book.enqueue(turn_id, lineage, self.clock)
        self.wanted[turn_id] = lineage
        return self.admit()

    def admit(self) -> list[tuple[SlotGrant, int]]:
        """Carries out every grant; returns each with the number of items that were warm."""
        return [(grant, self.carry_out(grant)) for grant in self.book.grants(self.clock)]

    def carry_out(self, grant: SlotGrant) -> int:
        assert grant.slot not in self.busy.values()
        self.busy[grant.turn_id] = grant.slot
        busy = {slot for turn_id, slot in self.busy.items() if turn_id != grant.turn_id}
        for command in grant.commands:
            match command:
                case SaveSlot(slot, file):
                    assert slot not in busy
                    self.files[file] = list(self.slots[slot])
                    for drop in self.book.saved(file, FILE_BYTES_PER_ITEM * len(self.slots[slot])):
                        del self.files[drop.file]
                case RestoreSlot(slot, file):
                    assert slot == grant.slot
                    self.slots[slot] = list(self.files[file])
                case DropFile(file):
                    del self.files[file]
        self.book.prepared(grant.turn_id)
        history = self.wanted[grant.turn_id].history
        prompt = [item.raw for item in history.all_items()] if history is not None else []
        held = self.slots[grant.slot]
        warm = next(
            (at for at, (a, b) in enumerate(zip(held, prompt, strict=False)) if a != b), min(len(held), len(prompt))
        )
        self.slots[grant.slot] = prompt
        return warm

    def finish(self, turn_id: str, answer: Item | None) -> list[tuple[SlotGrant, int]]:
        slot = self.busy.pop(turn_id)
        if answer is not None:
            self.slots[slot] = [*self.slots[slot], answer.raw]
        text = None if answer is None else msgspec.json.decode(answer.raw)["content"]
        self.book.release(turn_id, output_digest(text))
        return self.admit()

    def run(self, turn_id: str, history: Link | None, answer: Item | None) -> tuple[SlotGrant, int]:
        """A whole turn while nothing else runs."""
        [granted] = self.start(turn_id, lineage_of(history))
        self.finish(turn_id, answer)
        return granted


def test_a_continuation_runs_in_its_parents_slot_without_commands() -> None:
    server = FakeServer(4)
    history = extend(None, [say("user", "hello")])
    first, _ = server.run("1", history, say("assistant", "hi"))
    history = extend(extend(history, [say("assistant", "hi")]), [say("user", "go on")])
    second, warm = server.run("2", history, None)
    assert (second.slot, second.commands, warm) == (first.slot, (), 2)


def test_a_fork_copies_its_parent_and_both_go_on_warm() -> None:
    server = FakeServer(4)
    root = extend(None, [say("user", "hello")])
    answered = extend(root, [say("assistant", "hi")])
    server.run("1", root, say("assistant", "hi"))
    left, right = extend(answered, [say("user", "left")]), extend(answered, [say("user", "right")])
    first, _ = server.run("2", left, say("assistant", "L"))
    second, warm = server.run("3", right, say("assistant", "R"))
    assert first.slot != second.slot
    assert warm == 2
    left = extend(extend(left, [say("assistant", "L")]), [say("user", "more")])
    right = extend(extend(right, [say("assistant", "R")]), [say("user", "more")])
    assert server.run("4", left, None)[1] == 4
    assert server.run("5", right, None)[1] == 4


def test_a_second_answer_to_a_prompt_keeps_the_first_one_warm() -> None:
    server = FakeServer(4)
    root = extend(None, [say("user", "hello")])
    server.run("1", root, say("assistant", "one"))
    server.run("2", root, say("assistant", "two"))
    for turn_id, answer in (("3", "one"), ("4", "two")):
        history = extend(extend(root, [say("assistant", answer)]), [say("user", "go on")])
        assert server.run(turn_id, history, None)[1] == 2


def test_a_parked_lineage_is_woken() -> None:
    server = FakeServer(2)
    histories = [extend(None, [say("user", f"hello {number}")]) for number in range(3)]
    for number, history in enumerate(histories):
        server.run(f"first-{number}", history, say("assistant", "hi"))
    assert len(server.files) == 1
    history = extend(extend(histories[0], [say("assistant", "hi")]), [say("user", "go on")])
    grant, warm = server.run("again", history, None)
    assert warm == 2
    assert any(isinstance(command, RestoreSlot) for command in grant.commands)


def test_nothing_is_parked_without_a_budget() -> None:
    server = FakeServer(1, park_bytes=0)
    for number in range(3):
        grant, _ = server.run(str(number), extend(None, [say("user", f"hello {number}")]), None)
        assert grant.commands == ()


def test_turns_wait_in_order_and_learn_how_long() -> None:
    server = FakeServer(1)
    history = extend(None, [say("user", "hello")])
    assert len(server.start("1", lineage_of(history))) == 1
    assert server.start("2", lineage_of(history)) == []
    assert server.start("3", lineage_of(history)) == []
    server.clock += 5
    [(grant, _)] = server.finish("1", None)
    assert (grant.turn_id, grant.queued_s) == ("2", 6)
    server.book.withdraw("3")
    assert server.finish("2", None) == []


def test_other_instructions_are_another_lineage() -> None:
    server = FakeServer(4)
    history = extend(None, [say("user", "hello")])
    [(first, _)] = server.start("1", lineage_of(history, "Be kind."))
    server.finish("1", None)
    [(second, _)] = server.start("2", lineage_of(history, "Be brief."))
    assert first.slot != second.slot


def test_a_new_lineage_starts_from_a_large_front_that_another_one_has() -> None:
    server = FakeServer(4)
    front = "x" * 10_000
    [(first, _)] = server.start("1", lineage_of(extend(None, [say("user", "one")]), front))
    server.finish("1", None)
    [(second, _)] = server.start("2", lineage_of(extend(None, [say("user", "two")]), front))
    assert [type(command) for command in second.commands] == [SaveSlot, RestoreSlot, DropFile]
    assert second.slot != first.slot


def test_a_new_process_has_empty_slots_and_keeps_its_files() -> None:
    server = FakeServer(1)
    one, two = (extend(None, [say("user", text)]) for text in ("one", "two"))
    server.run("1", one, None)
    server.run("2", two, None)
    server.book.reset()
    server.slots = [[]]
    assert server.run("3", two, None)[1] == 0
    assert server.run("4", one, None)[1] == 1


def test_a_turn_that_was_granted_before_a_restart_frees_nothing_after_it() -> None:
    server = FakeServer(1)
    history = extend(None, [say("user", "hello")])
    server.start("1", lineage_of(history))
    server.book.reset()
    server.busy.clear()
    server.start("2", lineage_of(history))
    server.book.release("1", None)
    assert server.start("3", lineage_of(history)) == []


def test_a_lost_slot_is_not_taken_for_warm() -> None:
    server = FakeServer(1)
    server.start("1", lineage_of(extend(None, [say("user", "hello")])))
    server.busy.clear()
    server.book.release("1", None, is_lost=True)
    [(grant, _)] = server.start("2", lineage_of(extend(None, [say("user", "good morning")])))
    assert grant.commands == ()  # nothing to be parked


@pytest.mark.parametrize("items_kept", [2, 5])
def test_the_least_recently_used_file_goes_first_when_the_budget_is_spent(items_kept: int) -> None:
    server = FakeServer(1, park_bytes=items_kept * FILE_BYTES_PER_ITEM)
    histories = [extend(None, [say("user", f"hello {number}")]) for number in range(8)]
    for number, history in enumerate(histories):
        server.run(str(number), history, None)
    kept = [history for history in histories[:-1] if [history.items[0].raw] in server.files.values()]
    assert kept == histories[7 - items_kept : 7]


def test_a_turn_waits_for_a_running_slot_that_holds_much_of_its_history_and_lets_others_pass() -> None:
    server = FakeServer(3, wait_bytes=MIN_KEEP_BYTES)
    root = extend(None, [say("user", "hello")])
    server.run("warm-up", root, None)
    [(first, _)] = server.start("1", lineage_of(extend(root, [say("user", "left")])))
    assert server.start("2", lineage_of(extend(root, [say("user", "right")]))) == []
    [(other, _)] = server.start("3", lineage_of(extend(None, [say("user", "other")])))
    assert other.slot != first.slot
    [(second, warm)] = server.finish("1", say("assistant", "L"))
    assert (second.turn_id, warm) == ("2", 1)
    assert second.slot not in (first.slot, other.slot)


def test_a_turn_does_not_wait_for_a_little() -> None:
    server = FakeServer(2, wait_bytes=10 * MIN_KEEP_BYTES)
    root = extend(None, [say("user", "hello")])
    server.start("1", lineage_of(extend(root, [say("user", "left")])))
    assert len(server.start("2", lineage_of(extend(root, [say("user", "right")])))) == 1


class Tree:
    """Conversations that grow by turns: every node is a prompt and the answers that were given to it."""

    def __init__(self) -> None:
        self.ends: list[Link | None] = [None]
        self.ran: list[list[bytes]] = []
        self.turns = 0

    def prompt(self, choice: int, words: str) -> Link:
        history = extend(self.ends[choice % len(self.ends)], [say("user", words)])
        assert history is not None
        return history

    def longest_known(self, history: Link) -> int:
        prompt = [item.raw for item in history.all_items()]
        return max((_common(prompt, ran) for ran in self.ran), default=0)


def _common(one: list[bytes], other: list[bytes]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


_STEPS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from("abc"), st.sampled_from(["x", "y", ""])), min_size=1, max_size=40
)


@given(slots=st.integers(1, 4), steps=_STEPS)
@example(slots=1, steps=[(0, "a", "x"), (1, "a", "x"), (0, "a", "x"), (1, "a", "x")])
def test_with_room_to_park_nothing_that_was_computed_is_ever_computed_again(
    slots: int, steps: list[tuple[int, str, str]]
) -> None:
    server, tree = FakeServer(slots), Tree()
    for choice, words, answered in steps:
        history = tree.prompt(choice, words)
        answer = say("assistant", answered) if answered else None
        known = tree.longest_known(history)
        tree.turns += 1
        _, warm = server.run(str(tree.turns), history, answer)
        assert warm >= known
        end = extend(history, [answer] if answer is not None else [])
        tree.ran.append([item.raw for item in history.all_items()] + ([answer.raw] if answer is not None else []))
        tree.ends += [history, end]


@given(
    slots=st.integers(1, 3),
    wait_bytes=st.sampled_from([MIN_KEEP_BYTES, 3 * MIN_KEEP_BYTES]),
    park_bytes=st.sampled_from([0, 3 * FILE_BYTES_PER_ITEM, AMPLE]),
    steps=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=40),
)
def test_every_turn_starts_once_whoever_waits_for_whom(
    slots: int, wait_bytes: int, park_bytes: int, steps: list[tuple[int, str, bool]]
) -> None:
    server, tree = FakeServer(slots, park_bytes, wait_bytes), Tree()
    started: list[str] = []
    for number, (choice, words, is_finished) in enumerate(steps):
        history = tree.prompt(choice, words)
        tree.ends.append(history)
        started += _ids(server.start(str(number), lineage_of(history)))
        if is_finished and server.busy:
            started += _ids(server.finish(next(iter(server.busy)), say("assistant", "x")))
    while server.busy:
        started += _ids(server.finish(next(iter(server.busy)), None))
    assert sorted(started, key=int) == [str(number) for number in range(len(steps))]
    assert server.book.queue_length == 0


@given(
    slots=st.integers(1, 3),
    park_bytes=st.sampled_from([0, 3 * FILE_BYTES_PER_ITEM, AMPLE]),
    steps=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab"), st.booleans()), min_size=1, max_size=40),
)
def test_turns_at_once_never_share_a_slot_and_start_in_order(
    slots: int, park_bytes: int, steps: list[tuple[int, str, bool]]
) -> None:
    server, tree = FakeServer(slots, park_bytes), Tree()
    asked: list[str] = []
    started: list[str] = []
    histories: dict[str, Link] = {}
    for choice, words, is_finished in steps:
        tree.turns += 1
        turn_id = str(tree.turns)
        asked.append(turn_id)
        histories[turn_id] = tree.prompt(choice, words)
        started += _ids(server.start(turn_id, lineage_of(histories[turn_id])))
        if is_finished and server.busy:
            oldest = next(iter(server.busy))
            tree.ends.append(extend(histories[oldest], [say("assistant", "x")]))
            started += _ids(server.finish(oldest, say("assistant", "x")))
        assert server.book.queue_length == 0 or len(server.busy) == slots
        assert server.book.parked_bytes <= park_bytes
    while server.busy:
        started += _ids(server.finish(next(iter(server.busy)), None))
    assert started == asked
    assert set(server.files) == set(_parked_files(server.book))


def _ids(granted: list[tuple[SlotGrant, int]]) -> list[str]:
    return [grant.turn_id for grant, _ in granted]


def _parked_files(book: SlotBook) -> Iterator[str]:
    yield from book._parked


class WrittenSlots:
    """Saves empty files and remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, int]] = []
        self.is_down = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.was_asked = asyncio.Event()

    async def save(self, slot: int, file: str) -> bool:
        self.asked.append(("save", slot))
        self.was_asked.set()
        await self.may_go_on.wait()
        if not self.is_down:
            (self.folder / file).write_bytes(bytes(100))
        return not self.is_down

    async def restore(self, slot: int, file: str) -> bool:
        self.asked.append(("restore", slot))
        return not self.is_down and (self.folder / file).exists()


@pytest.fixture
def slots(tmp_path: Path) -> WrittenSlots:
    return WrittenSlots(tmp_path)


def keeper_of(slots: WrittenSlots, count: int, park_bytes: int = 10_000) -> SlotKeeper:
    keeper = SlotKeeper(SlotBook(count, park_bytes), slots)
    keeper.slot_dir = slots.folder
    return keeper


def history(text: str, before: Link | None = None) -> Link | None:
    return extend(before, [encode_item({"type": "message", "role": "user", "content": text.ljust(MIN_KEEP_BYTES)})])


def lineage(text: str) -> Lineage:
    return Lineage(seed_of([]), 0, history(text))


async def run(keeper: SlotKeeper, asked: Lineage) -> int:
    async with keeper.acquire(asked) as seat:
        return seat.slot


async def test_a_turn_waits_until_a_slot_is_free(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        second = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
        assert keeper.queue_length == 1
    assert await second == 0


async def test_a_waiting_turn_that_is_cancelled_leaves_the_queue(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        waiting = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert keeper.queue_length == 0
    assert await run(keeper, lineage("three")) == 0


async def test_a_turn_that_is_cancelled_as_it_gets_its_slot_gives_it_back(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        waiting = asyncio.create_task(run(keeper, lineage("two")))
        await asyncio.sleep(0)
    waiting.cancel()  # its slot was granted a moment ago
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await run(keeper, lineage("three")) == 0


async def test_a_turn_that_is_cancelled_while_a_state_is_saved_frees_its_slot_after_that(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    await run(keeper, lineage("one"))
    slots.may_go_on.clear()
    second = asyncio.create_task(run(keeper, lineage("two")))
    await slots.was_asked.wait()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    third = asyncio.create_task(run(keeper, lineage("one")))
    await asyncio.sleep(0)
    assert keeper.queue_length == 1
    slots.may_go_on.set()
    assert await third == 0
    assert slots.asked == [("save", 0), ("restore", 0)]


async def test_a_parked_file_is_deleted_when_it_was_woken(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    for text in ("one", "two", "one"):
        await run(keeper, lineage(text))
    assert slots.asked == [("save", 0), ("save", 0), ("restore", 0)]
    assert [path.name for path in slots.folder.iterdir()] == ["lineage-2.kv"]


async def test_files_over_the_budget_are_deleted(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1, park_bytes=250)
    for number in range(6):
        await run(keeper, lineage(str(number)))
    assert len(list(slots.folder.iterdir())) == 2


async def test_a_save_that_fails_parks_nothing(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    slots.is_down = True
    await run(keeper, lineage("one"))
    await run(keeper, lineage("two"))
    slots.is_down = False
    await run(keeper, lineage("one"))
    assert ("restore", 0) not in slots.asked


async def test_after_a_reset_slots_are_free_and_the_old_turn_takes_none(slots: WrittenSlots) -> None:
    keeper = keeper_of(slots, 1)
    async with keeper.acquire(lineage("one")):
        keeper.reset()
        async with keeper.acquire(lineage("two")) as seat:
            assert seat.slot == 0
