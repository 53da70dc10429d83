"""Carries out what the slot book decides: turns wait for slots, states are saved and restored, files deleted."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Protocol, assert_never

import msgspec
import structlog

from landline.engine.prefixes import Lineage
from landline.engine.slots import DropFile, Grant, RestoreSlot, SaveSlot, SlotBook

_log: structlog.stdlib.BoundLogger = structlog.get_logger("landline.engine")


class SlotPort(Protocol):
    """How slots are saved and restored in the model's process, which may be dead when it is asked.

    Both return whether it was done; a restore waits for a process that is being replaced, because the file stays good.
    """

    async def save(self, slot: int, file: str) -> bool: ...

    async def restore(self, slot: int, file: str) -> bool: ...


class Seat(msgspec.Struct):
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
        self._waiting: dict[str, asyncio.Future[Grant]] = {}

    @contextlib.asynccontextmanager
    async def acquire(self, lineage: Lineage) -> AsyncGenerator[Seat]:
        """Waits for a slot, makes it warm, and keeps it for the turn."""
        turn_id = str(next(self._turns))
        grant = await self._wait_for_grant(turn_id, lineage)
        preparing = asyncio.ensure_future(self._prepare(grant))
        try:
            await asyncio.shield(preparing)
        except BaseException:  # the turn is cancelled; what was begun ends first
            preparing.add_done_callback(lambda _: self._release(turn_id, Seat(grant.slot, 0.0, is_lost=True)))
            raise
        seat = Seat(grant.slot, grant.queued_s)
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

    async def _wait_for_grant(self, turn_id: str, lineage: Lineage) -> Grant:
        waiting: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting[turn_id] = waiting
        self._book.enqueue(turn_id, lineage, time.monotonic())
        self._pass_grants()
        try:
            return await waiting
        except asyncio.CancelledError:
            self._waiting.pop(turn_id, None)
            self._book.withdraw(turn_id)
            if waiting.done() and not waiting.cancelled():
                self._abandon(waiting.result())
            raise

    def _pass_grants(self) -> None:
        for grant in self._book.grants(time.monotonic()):
            waiting = self._waiting.pop(grant.turn_id)
            if waiting.cancelled():
                self._abandon(grant)
            else:
                waiting.set_result(grant)

    async def _prepare(self, grant: Grant) -> None:
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

    def _abandon(self, grant: Grant) -> None:
        """A granted turn that will not run: nothing was carried out."""
        for command in grant.commands:
            match command:
                case SaveSlot() | RestoreSlot():
                    self._book.lost(command)
                case DropFile(file):
                    self._delete(file)
                case _:
                    assert_never(command)
        self._release(grant.turn_id, Seat(grant.slot, 0.0, is_lost=True))

    def _release(self, turn_id: str, seat: Seat) -> None:
        self._book.release(turn_id, seat.output, is_lost=seat.is_lost)
        self._pass_grants()

    def _delete(self, file: str) -> None:
        if self.slot_dir is not None:
            try:
                (self.slot_dir / file).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("slot.file_left", file=file, error=str(error))
