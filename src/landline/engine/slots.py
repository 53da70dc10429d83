"""Slots of the model's process: which lineage's KV is in which slot or parked file, and who may use a slot.

`SlotBook` decides, without I/O; `SlotKeeper` carries out what it decides: turns wait for slots, states are saved and
restored, files deleted.

The book decides warmth, never correctness: the server compares the tokens of every prompt with what its slot holds and
reuses the common prefix, whatever this book believes. A slot is described by the digests of the prompt that it last ran;
what the model then wrote is known by a digest of its text, enough to tell the continuation of an answer from a second
answer to the same prompt.
"""

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Protocol, assert_never

import msgspec
import structlog

from landline.engine.prefixes import Lineage, Prefix

MIN_KEEP_BYTES = 256
"""JSON bytes of history below which nothing is copied or parked: some 60 tokens, prefilled in 0.3 s on two
cores with the default model, against 10 ms for a save and a restore of as many."""


WAIT_BYTES = 4096
"""JSON bytes of prefix for which a turn waits until the slot that runs it is free to be copied, rather than read them
again: about 1000 tokens, 5 s on two cores, and slower for every turn beside it."""


class SaveSlot(msgspec.Struct, frozen=True):
    """Write the slot's state to a file; then tell `SlotBook.saved` or `SlotBook.lost`."""

    slot: int
    file: str


class RestoreSlot(msgspec.Struct, frozen=True):
    """Replace the slot's state by the file's. If that fails, `SlotBook.lost`; the turn runs cold."""

    slot: int
    file: str


class DropFile(msgspec.Struct, frozen=True):
    """Delete the file."""

    file: str


SlotCommand = SaveSlot | RestoreSlot | DropFile


class SlotGrant(msgspec.Struct, frozen=True):
    """A turn owns a slot from now until `SlotBook.release`. Carry out the commands in order, then `SlotBook.prepared`."""

    turn_id: str
    slot: int
    commands: tuple[SlotCommand, ...]
    queued_s: float


class _Held(msgspec.Struct):
    """What a slot or file holds."""

    keys: set[bytes]
    newest: bytes
    size_bytes: int
    output: bytes | None = None
    """Digest of what was generated after the newest key; None for nothing."""


class _Slot(msgspec.Struct):
    held: _Held | None = None
    owner: str | None = None
    lent_to: str | None = None
    """The turn that copies this slot's state right now."""
    used_at: int = 0

    @property
    def is_idle(self) -> bool:
        return self.owner is None and self.lent_to is None


class _Parked(msgspec.Struct):
    held: _Held
    used_at: int
    size_bytes: int = 0
    is_saved: bool = False
    lent_to: str | None = None

    @property
    def is_usable(self) -> bool:
        return self.is_saved and self.lent_to is None


class _Waiting(msgspec.Struct, frozen=True):
    turn_id: str
    lineage: Lineage
    since: float


class _Find(msgspec.Struct, frozen=True):
    """The best place that holds a prefix of a turn's lineage."""

    prefix: Prefix
    place: _Slot | _Parked
    has_tail: bool
    """Whether running there would overwrite what another branch may still need."""


class SlotBook:
    """The book of one model process. Every method is a decision; the caller carries out what it returns."""

    def __init__(self, slot_count: int, park_bytes: int, wait_bytes: int = WAIT_BYTES) -> None:
        self._slots = [_Slot() for _ in range(slot_count)]
        self._parked: dict[str, _Parked] = {}
        self._queue: deque[_Waiting] = deque()
        self._park_bytes = park_bytes
        self._wait_bytes = wait_bytes
        self._clock = 0
        self._files_made = 0

    def enqueue(self, turn_id: str, lineage: Lineage, now: float) -> None:
        """A turn asks for a slot; `grants` says when it has one."""
        self._queue.append(_Waiting(turn_id, lineage, now))

    def grants(self, now: float) -> list[SlotGrant]:
        """Gives slots to waiting turns, first come first served, while there are any. A turn whose history is warm in a
        slot that is running, and nowhere else, lets others pass until that slot is free."""
        granted: list[SlotGrant] = []
        for waiting in list(self._queue):
            if not any(slot.is_idle for slot in self._slots):
                break
            if not self._is_worth_waiting(waiting.lineage):
                self._queue.remove(waiting)
                granted.append(self._grant(waiting, now))
        return granted

    def withdraw(self, turn_id: str) -> None:
        """A waiting turn no longer wants a slot."""
        self._queue = deque(waiting for waiting in self._queue if waiting.turn_id != turn_id)

    def prepared(self, turn_id: str) -> None:
        """The commands of the turn's grant are done; what they borrowed is free again."""
        for place in (*self._slots, *self._parked.values()):
            if place.lent_to == turn_id:
                place.lent_to = None

    def saved(self, file: str, size_bytes: int) -> list[DropFile]:
        """A file was written; returns what must go to stay within the budget, the longest unused first."""
        entry = self._parked.get(file)
        if entry is None:
            return []
        entry.size_bytes = size_bytes
        entry.is_saved = True
        excess = self.parked_bytes - self._park_bytes
        drops: list[DropFile] = []
        for name, each in sorted(self._parked.items(), key=lambda pair: pair[1].used_at):
            if excess > 0 and each.is_usable:
                del self._parked[name]
                excess -= each.size_bytes
                drops.append(DropFile(name))
        return drops

    def lost(self, command: SaveSlot | RestoreSlot) -> None:
        """A command failed: the file is no use, and a slot that was to be restored holds nothing known."""
        self._parked.pop(command.file, None)

    def release(self, turn_id: str, output: bytes | None, *, is_lost: bool = False) -> None:
        """The turn is over; its slot keeps the lineage warm unless its state is lost. `output` is the digest of what was
        generated, None for nothing."""
        for slot in self._slots:
            if slot.owner == turn_id:
                slot.owner = None
                slot.used_at = self._tick()
                if slot.held is not None:
                    slot.held.output = output
                if is_lost:
                    slot.held = None
        self.prepared(turn_id)

    def reset(self) -> None:
        """The process is new: no slot holds or runs anything; files stay good, and waiting turns wait on."""
        self._slots = [_Slot() for _ in self._slots]
        self._parked = {name: entry for name, entry in self._parked.items() if entry.is_saved}

    @property
    def parked_bytes(self) -> int:
        """Bytes of the files that are written."""
        return sum(entry.size_bytes for entry in self._parked.values() if entry.is_saved)

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def _grant(self, waiting: _Waiting, now: float) -> SlotGrant:
        find = self._find(waiting.lineage)
        commands: list[SlotCommand] = []
        if find is None or (find.has_tail and find.prefix.size_bytes < MIN_KEEP_BYTES):
            slot = self._make_room(None, commands)
        elif isinstance(find.place, _Parked):
            slot = self._wake(find.place, waiting.turn_id, commands, keep=find.has_tail)
        elif find.has_tail and self._park_bytes > 0:
            slot = self._fork(find.place, waiting.turn_id, commands)
        else:
            slot = find.place
        slot.owner = waiting.turn_id
        slot.used_at = self._tick()
        slot.held = _hold(waiting.lineage, slot.held if find is not None and slot is find.place else None)
        return SlotGrant(waiting.turn_id, self._slots.index(slot), tuple(commands), now - waiting.since)

    def _is_worth_waiting(self, lineage: Lineage) -> bool:
        """Whether a place that is in use holds much more of the lineage than any that is not."""
        running = [slot.held for slot in self._slots if not slot.is_idle and slot.held is not None]
        running += [entry.held for entry in self._parked.values() if not entry.is_usable]
        if not running or self._park_bytes == 0:
            return False
        usable = [held for _, held in self._usable_places()]
        longest_running = 0
        for prefix in lineage.prefixes():
            if any(prefix.key in held.keys for held in usable):
                return longest_running - prefix.size_bytes >= self._wait_bytes
            if not longest_running and any(prefix.key in held.keys for held in running):
                longest_running = prefix.size_bytes
        return longest_running >= self._wait_bytes

    def _find(self, lineage: Lineage) -> _Find | None:
        """The longest known prefix; among equals the place that loses nothing, and a slot before a file."""
        for prefix in lineage.prefixes():
            finds = [
                _Find(prefix, place, _has_tail(held, prefix))
                for place, held in self._usable_places()
                if prefix.key in held.keys
            ]
            if finds:
                return min(finds, key=_preference)
        return None

    def _usable_places(self) -> Iterable[tuple[_Slot | _Parked, _Held]]:
        for slot in self._slots:
            if slot.is_idle and slot.held is not None:
                yield slot, slot.held
        for entry in self._parked.values():
            if entry.is_usable:
                yield entry, entry.held

    def _fork(self, source: _Slot, turn_id: str, commands: list[SlotCommand]) -> _Slot:
        """Both branches go on warm: the source keeps its state, the turn gets a copy in another slot."""
        slot = self._make_room(source, commands)
        if slot is source:  # the only idle slot: its state is parked, and the turn goes on in place
            return slot
        file = self._new_file()
        source.lent_to = turn_id
        commands += (
            SaveSlot(self._slots.index(source), file),
            RestoreSlot(self._slots.index(slot), file),
            DropFile(file),
        )
        return slot

    def _wake(self, entry: _Parked, turn_id: str, commands: list[SlotCommand], *, keep: bool) -> _Slot:
        file = next(name for name, each in self._parked.items() if each is entry)
        slot = self._make_room(None, commands)
        commands.append(RestoreSlot(self._slots.index(slot), file))
        if keep:
            entry.lent_to = turn_id
            entry.used_at = self._tick()
        else:
            del self._parked[file]
            commands.append(DropFile(file))
        return slot

    def _make_room(self, source: _Slot | None, commands: list[SlotCommand]) -> _Slot:
        """An idle slot to overwrite: an empty one, else the least recently used, parked first; the source only if it is
        the last one."""
        idle = [slot for slot in self._slots if slot.is_idle]
        slot = min(idle, key=lambda each: (each is source, each.held is not None, each.used_at))
        if slot.held is not None and slot.held.size_bytes >= MIN_KEEP_BYTES and self._park_bytes > 0:
            file = self._new_file()
            self._parked[file] = _Parked(slot.held, slot.used_at)
            commands.append(SaveSlot(self._slots.index(slot), file))
        slot.held = None  # what is parked is not what will run here, though it may begin alike
        return slot

    def _new_file(self) -> str:
        self._files_made += 1
        return f"lineage-{self._files_made}.kv"

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def _hold(lineage: Lineage, before: _Held | None) -> _Held:
    """What a slot holds once it runs this lineage; a continuation adds its new keys, O(new)."""
    prefixes = lineage.prefixes()
    newest = next(prefixes)
    if before is not None and newest.key == before.newest:
        return _Held(keys=before.keys, newest=newest.key, size_bytes=newest.size_bytes)
    keys = {newest.key}
    for prefix in prefixes:
        if before is not None and prefix.key == before.newest:
            before.keys |= keys
            keys = before.keys
            break
        keys.add(prefix.key)
    return _Held(keys=keys, newest=newest.key, size_bytes=newest.size_bytes)


def _has_tail(held: _Held, prefix: Prefix) -> bool:
    if held.newest != prefix.key:
        return True
    return held.output is not None and prefix.follower is None


def _preference(find: _Find) -> tuple[bool, bool, bool]:
    held = find.place.held
    is_other_answer = held is not None and held.output != find.prefix.follower
    return find.has_tail, is_other_answer, isinstance(find.place, _Parked)


_log: structlog.stdlib.BoundLogger = structlog.get_logger("landline.engine")


class SlotPort(Protocol):
    """How slots are saved and restored in the model's process, which may be dead when it is asked.

    Both return whether it was done; a restore waits for a process that is being replaced, because the file stays good.
    """

    async def save(self, slot: int, file: str) -> bool: ...

    async def restore(self, slot: int, file: str) -> bool: ...


class SlotLease(msgspec.Struct):
    """A turn's slot while it runs. The turn fills in what it leaves behind."""

    slot: int
    queued_s: float
    output: bytes | None = None
    """Digest of what was generated (`prefixes.output_digest`)."""
    is_lost: bool = False
    """The slot's state is gone or unknown."""


class SlotKeeper:
    """The slots of one model process."""

    def __init__(self, book: SlotBook, port: SlotPort) -> None:
        self.slot_dir: Path | None = None
        """Where the process saves slots."""
        self._book = book
        self._port = port
        self._turns = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[SlotGrant]] = {}

    @contextlib.asynccontextmanager
    async def acquire(self, lineage: Lineage) -> AsyncGenerator[SlotLease]:
        """Waits for a slot, makes it warm, and keeps it for the turn."""
        turn_id = str(next(self._turns))
        grant = await self._wait_for_grant(turn_id, lineage)
        preparing = asyncio.ensure_future(self._prepare(grant))
        try:
            await asyncio.shield(preparing)
        except BaseException:  # the turn is cancelled; what was begun ends first
            preparing.add_done_callback(lambda _: self._release(turn_id, SlotLease(grant.slot, 0.0, is_lost=True)))
            raise
        seat = SlotLease(grant.slot, grant.queued_s)
        _log.debug("slot.taken", slot=seat.slot, queued_s=round(seat.queued_s, 3), commands=len(grant.commands))
        try:
            yield seat
        finally:
            self._release(turn_id, seat)

    def reset(self) -> None:
        """The process is gone; its slots are empty when it is back."""
        self._book.reset()
        self._pass_grants()

    @property
    def queue_length(self) -> int:
        return self._book.queue_length

    async def _wait_for_grant(self, turn_id: str, lineage: Lineage) -> SlotGrant:
        waiting: asyncio.Future[SlotGrant] = asyncio.get_running_loop().create_future()
        self._waiting[turn_id] = waiting
        self._book.enqueue(turn_id, lineage, time.monotonic())
        self._pass_grants()
        try:
            return await waiting
        except asyncio.CancelledError:
            self._waiting.pop(turn_id, None)
            self._book.withdraw(turn_id)
            if waiting.done() and not waiting.cancelled():  # granted in the step in which it was cancelled
                self._abandon(waiting.result())
            raise

    def _pass_grants(self) -> None:
        for grant in self._book.grants(time.monotonic()):
            waiting = self._waiting.pop(grant.turn_id)
            if waiting.cancelled():
                self._abandon(grant)
            else:
                waiting.set_result(grant)

    async def _prepare(self, grant: SlotGrant) -> None:
        for command in grant.commands:
            match command:
                case SaveSlot(slot, file):
                    if await self._port.save(slot, file):
                        self._note_saved(file)
                    else:
                        self._book.lost(command)
                case RestoreSlot(slot, file):
                    if not await self._port.restore(slot, file):
                        self._book.lost(command)
                case DropFile(file):
                    self._delete(file)
                case _:
                    assert_never(command)
        self._book.prepared(grant.turn_id)
        if grant.commands:
            self._pass_grants()

    def _note_saved(self, file: str) -> None:
        try:
            size_bytes = (self.slot_dir / file).stat().st_size if self.slot_dir is not None else 0
        except FileNotFoundError:
            size_bytes = 0
        for drop in self._book.saved(file, size_bytes):
            self._delete(drop.file)

    def _abandon(self, grant: SlotGrant) -> None:
        """A granted turn that will not run: nothing was carried out."""
        for command in grant.commands:
            match command:
                case SaveSlot() | RestoreSlot():
                    self._book.lost(command)
                case DropFile(file):
                    self._delete(file)
                case _:
                    assert_never(command)
        self._release(grant.turn_id, SlotLease(grant.slot, 0.0, is_lost=True))

    def _release(self, turn_id: str, seat: SlotLease) -> None:
        self._book.release(turn_id, seat.output, is_lost=seat.is_lost)
        self._pass_grants()

    def _delete(self, file: str) -> None:
        if self.slot_dir is not None:
            try:
                (self.slot_dir / file).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("slot.file_left", file=file, error=str(error))
