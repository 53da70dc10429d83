"""The model's process: started, watched, restarted with backoff when it dies, stopped for sure.

The parent holds the child's stdin open; whatever ends the parent closes it, and the child ends (`child_main`).
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from landline.engine.catalog import ModelFile
from landline.engine.child_main import ChildReady, ChildSpec
from landline.engine.footprint import footprint_of, memory_bytes
from landline.engine.settings import EngineSettings
from landline.engine.tool_plan import choose_chat_template

_LOG_LINES = 200
_ERROR_LINES = 15
_FIRST_BACKOFF_S = 0.25
_LAST_BACKOFF_S = 30.0
_DOUBLINGS = 7
"""Of the first backoff until the last is reached."""
_LIVED_LONG_S = 60.0
"""A child that lived this long starts the backoff anew."""
_STOP_S = 5.0
_RAM_DISK = Path("/dev/shm")

_READY: msgspec.json.Decoder[ChildReady] = msgspec.json.Decoder(ChildReady)
_log: structlog.stdlib.BoundLogger = structlog.get_logger("landline.engine")


class ChildFailedError(Exception):
    """The model's process did not come up; the message holds its last log lines."""


class ModelChild:
    """One llama.cpp server process over its deaths and restarts. `start` first, `stop` last."""

    def __init__(self, model: ModelFile, settings: EngineSettings, on_death: Callable[[], None] | None = None) -> None:
        self.settings = settings
        self.footprint = footprint_of(model, settings)
        self.context_per_slot = self.footprint.context_tokens
        self.api_key = secrets.token_urlsafe(24)
        """Other users of this machine reach loopback ports too."""
        self.base_url = ""
        self.slot_dir: Path | None = None
        """Where the child saves slots; None until started, or when parking is off."""
        self.starts = 0
        """How often a process came up; the KV of an earlier one is gone."""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._model = model
        self.on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._started_at = 0.0

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Starts the process and waits until it serves. Raises `ChildFailedError`."""
        self._tell_footprint()
        self.slot_dir = _make_slot_dir(self.settings)
        try:
            await self._spawn()
        except BaseException:
            self._remove_slot_dir()
            raise
        self._watching = asyncio.create_task(self._watch(), name="landline-model-child")

    def _tell_footprint(self) -> None:
        """Logged before the memory is taken: a process that is killed for taking too much logs nothing afterwards."""
        takes = self.footprint
        _log.info(
            "model.loading",
            model=self._model.name,
            slots=takes.slots,
            context_per_slot=takes.context_tokens,
            kv_bytes=takes.kv_bytes,
            weights_bytes=takes.weights_bytes,
        )
        if takes.is_clamped:
            _log.warning(
                "model.context_clamped",
                model=self._model.name,
                asked_for=takes.asked_tokens,
                trained_for=takes.context_tokens,
            )
        memory = memory_bytes()
        if memory is not None and takes.total_bytes > memory:
            _log.warning("model.memory_short", needs_bytes=takes.total_bytes, memory_bytes=memory)

    async def stop(self) -> None:
        """Ends the process, by force if it does not end by itself; safe to call twice."""
        self._stopping.set()
        grace_s = _STOP_S if self.is_ready else 0.0  # one that is still loading does not look at its pipe
        self._ready.clear()
        await self._end_process(grace_s)
        if self._watching is not None:
            await self._watching
            self._watching = None
        self._remove_slot_dir()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether the process serves, at once or within the time."""
        if self._ready.is_set():
            return True  # a wait of no time would be over before it looked
        try:
            await asyncio.wait_for(self._ready.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def wait_death(self, starts: int, timeout_s: float) -> bool:
        """Whether the process that was the `starts`-th is dead, or dies within the time."""
        process = self._process
        if self.starts != starts or process is None or not self.is_ready:
            return True
        has_ended = await _ends_within(process, timeout_s)
        if has_ended and self._process is process:
            self._ready.clear()  # the watching task may see it later, and whoever waits for the next one must not get this
        return has_ended

    async def _spawn(self) -> None:
        began = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # never a module out of the folder that the server was started in
            "-m",
            "landline.engine.child_main",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            start_new_session=True,  # Ctrl-C is for the parent, which lets turns finish
        )
        self._reading = asyncio.create_task(self._read_log(self._process))
        try:
            ready = await asyncio.wait_for(self._handshake(self._process), self.settings.start_timeout_s)
        except TimeoutError as error:
            await self._end_process(0.0)
            raise ChildFailedError(
                self._failure(f"it did not load within {self.settings.start_timeout_s:g} s")
            ) from error
        except asyncio.CancelledError:
            await self._end_process(0.0)
            raise
        if ready.error:
            await self._end_process(0.0)
            raise ChildFailedError(self._failure(ready.error))
        self.base_url = f"http://127.0.0.1:{ready.port}"
        self.starts += 1
        self._started_at = time.monotonic()
        self._ready.set()
        _log.info("model.started", model=self._model.name, pid=self.pid, start_s=round(self._started_at - began, 3))

    async def _handshake(self, process: asyncio.subprocess.Process) -> ChildReady:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the child was started without pipes")
        spec = ChildSpec(
            model=self._model.path,
            api_key=self.api_key,
            slots=self.settings.slots,
            context_per_slot=self.context_per_slot,
            threads=self.settings.threads or usable_cores(),
            gpu_layers=self.settings.gpu_layers,
            slot_dir=f"{self.slot_dir}/" if self.slot_dir is not None else "",
            chat_template=choose_chat_template(self._model.head, self.settings),
            mmproj=self.settings.mmproj or "",
        )
        try:
            process.stdin.write(msgspec.json.encode(spec) + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
            return _READY.decode(line)
        except (ConnectionError, msgspec.DecodeError):
            return ChildReady(error=f"it ended with exit status {await process.wait()}")

    async def _watch(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            if self._process is not None:
                status = await self._process.wait()
                self._ready.clear()
                if self._stopping.is_set():
                    return
                _log.error(
                    "model.died", model=self._model.name, pid=self.pid, exit_status=status, log=self._last_lines()
                )
                if self.on_death is not None:
                    self.on_death()
                failures = 0 if time.monotonic() - self._started_at > _LIVED_LONG_S else failures
            if await self._stops_within(backoff_s(failures)):
                return
            failures += 1
            try:
                await self._spawn()
            except (ChildFailedError, OSError) as error:
                self._process = None
                _log.error("model.start_failed", model=self._model.name, error=str(error))

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _end_process(self, grace_s: float) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if grace_s == 0 or not await _ends_within(process, grace_s):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        if process.stderr is None:
            return
        while line := await _read_line(process.stderr):
            self.log.append(line.decode(errors="replace").rstrip())

    def _last_lines(self) -> str:
        return "\n".join(list(self.log)[-_ERROR_LINES:])

    def _failure(self, reason: str) -> str:
        return f"The model {self._model.path} could not be started: {reason}. llama.cpp's last lines:\n{self._last_lines()}"

    def _remove_slot_dir(self) -> None:
        if self.slot_dir is not None:
            shutil.rmtree(self.slot_dir, ignore_errors=True)
            self.slot_dir = None


def backoff_s(failures: int) -> float:
    """How long to wait until the next start, after so many in a row that failed or did not live long."""
    is_longest = failures >= _DOUBLINGS  # a power of a number without a limit overflows in the end
    return _LAST_BACKOFF_S if is_longest else min(_FIRST_BACKOFF_S * 2**failures, _LAST_BACKOFF_S)


def usable_cores() -> int:
    """The cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _ends_within(process: asyncio.subprocess.Process, seconds: float) -> bool:
    if process.returncode is not None:
        return True
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or a piece of one that is longer than the reader's buffer; b"" at the end."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.read(error.consumed)


def _make_slot_dir(settings: EngineSettings) -> Path | None:
    if settings.park_bytes == 0:
        return None
    if settings.park_dir is not None:
        parent = Path(settings.park_dir).expanduser()
        parent.mkdir(parents=True, exist_ok=True)
    else:
        parent = _RAM_DISK if _has_room(_RAM_DISK, 2 * settings.park_bytes) else Path(tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix="landline-slots-", dir=parent))


def _has_room(folder: Path, size_bytes: int) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= size_bytes
