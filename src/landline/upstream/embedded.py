"""The embedded model as a target: llama.cpp's server in a child process, asked in the chat-completions dialect.

What is ours: which slot a lineage runs in (`engine.slots`), tool calls that are enforced (`engine.tool_plan`), and a
child that may die without taking a line with it (`engine.child`).
"""

import contextlib
from contextlib import AbstractAsyncContextManager

import aiohttp
import msgspec
import structlog
from msgspec.structs import astuple

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.chat_completions.dialect import count_requests
from landline.dialects.dialect import Prompt
from landline.dialects.tools import ToolSet
from landline.engine.call_reader import CallReader
from landline.engine.catalog import ModelFile
from landline.engine.child import ChildFailedError, ModelChild
from landline.engine.prefixes import OutputMemo
from landline.engine.settings import EngineSettings
from landline.engine.slots import WAIT_BYTES, SlotBook, SlotKeeper, SlotLease
from landline.engine.tool_plan import chat_template_of, knows_tools
from landline.upstream.counted import on_live_connection
from landline.upstream.counting import Counters, count_by_reading
from landline.upstream.embedded_request import FLAGS, Asked, ModelLimits, build_request, lineage_of, read_turn
from landline.upstream.http_reply import HttpDeadlines, HttpReply, HttpServer, open_session
from landline.upstream.oddities import OddityLog
from landline.upstream.target import KnownReply, Reply, Traffic
from landline.wire.errors import ApiError, api_error
from landline.wire.model_events import Accepted, Failed, ModelEvent, ReasoningDelta, TextDelta, UsageReported
from landline.wire.responses import Sampling

_DEADLINES = HttpDeadlines(connect_s=5.0, read_idle_s=3600.0)
"""A long prefill on a slow machine is silent for minutes; the child's death is noticed at once."""
_SLOT_TIMEOUT = aiohttp.ClientTimeout(total=60.0)
_DEATH_NOTICE_S = 3.0
"""How long after a broken connection the child's death may take to show: on a busy machine, a large process takes its time
to be gone."""
_TRANSPORT_CODES = frozenset(("upstream_error", "upstream_unavailable"))
_NEVER_BYTES = 2**62
"""A GPU reads a prompt again sooner than another turn ends."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("landline.engine")


class EmbeddedTarget:
    """One model file, run here."""

    def __init__(self, name: str, model: ModelFile, settings: EngineSettings | None = None) -> None:
        self.name = name
        self.model = model
        self.sampling = Sampling(*(1.0 if value is None else value for value in astuple(model.sampling)))
        """What turns are run with that say nothing of it."""
        self.settings = settings or EngineSettings()
        self._dialect = ChatCompletions(FLAGS)
        wait_bytes = WAIT_BYTES if self.settings.gpu_layers == 0 else _NEVER_BYTES
        self._keeper = SlotKeeper(SlotBook(self.settings.slots, self.settings.park_bytes, wait_bytes), self)
        self._child = ModelChild(model, self.settings, on_death=self._keeper.reset)
        self._oddities = OddityLog(name)
        self._session: aiohttp.ClientSession | None = None
        self._limits = ModelLimits(
            name=model.name,
            context_tokens=self._child.context_per_slot,
            knows_tools=knows_tools(chat_template_of(model.head, self.settings)),
            reads_images=self.settings.mmproj is not None,
            max_output_tokens=self.settings.max_output_tokens,
            sampling=self.sampling,
        )

    @property
    def model_name(self) -> str:
        """What the model calls itself in lists."""
        return self.model.name

    @property
    def context_tokens(self) -> int:
        """Tokens that one conversation can have, its answer included."""
        return self._child.context_per_slot

    @property
    def child_pid(self) -> int | None:
        """The model's process; None while there is none."""
        return self._child.pid

    @property
    def compacts(self) -> bool:
        return False

    async def open(self) -> None:
        """Loads the model. Raises `ChildFailedError` with llama.cpp's last lines when that fails."""
        self._session = open_session(_DEADLINES)
        try:
            await self._child.start()
        except ChildFailedError:
            await self.close()
            raise
        self._keeper.slot_dir = self._child.slot_dir

    async def close(self) -> None:
        """Ends the model's process and deletes what was parked."""
        await self._child.stop()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def is_ready(self) -> bool:
        return self._child.is_ready

    def ask(self, prompt: Prompt) -> Reply:
        """The reply to one turn. Closing it stops the model at its next token; its KV stays."""
        asked = read_turn(prompt, self._dialect, self._limits)
        return KnownReply(Failed(asked)) if isinstance(asked, ApiError) else _EmbeddedReply(self, prompt, asked)

    async def count_tokens(self, prompt: Prompt, traffic: Traffic) -> int | ApiError:
        """What the child's own template and tokenizer make of the prompt; nothing is prefilled and no slot is taken."""
        asked = read_turn(prompt, self._dialect, self._limits)
        if isinstance(asked, ApiError):
            return asked
        request = build_request(prompt, asked, 0, self._dialect, self._limits, is_fallback=False)
        if isinstance(request, ApiError):
            return request
        if not await self._child.wait_ready(self.settings.restart_wait_s):
            return self.down()
        [counter, *_] = count_requests(request.body)
        count = await Counters().count(
            self._open_session(), f"{self._child.base_url}/v1", [counter], self._authorization()
        )
        return count if count is not None else await count_by_reading(self.ask, prompt, traffic)

    async def save(self, slot: int, file: str) -> bool:
        """Writes a slot's state to a file of the slot folder."""
        return await self._slot_action(slot, "save", file)

    async def restore(self, slot: int, file: str) -> bool:
        """Reads a slot's state back."""
        return await self._slot_action(slot, "restore", file)

    def take_slot(self, prompt: Prompt, asked: Asked) -> AbstractAsyncContextManager[SlotLease]:
        """A slot for the turn, as long as it runs."""
        return self._keeper.acquire(lineage_of(prompt, asked))

    async def wait_ready(self) -> int | None:
        """Waits for the process, which may be starting anew: its number, None if it takes too long."""
        is_ready = await self._child.wait_ready(self.settings.restart_wait_s)
        return self._child.starts if is_ready else None

    async def has_died(self, error: ApiError, start: int) -> bool:
        """Whether a turn failed because the process of this number died."""
        return error.code in _TRANSPORT_CODES and await self._child.wait_death(start, _DEATH_NOTICE_S)

    def open_reply(
        self, prompt: Prompt, asked: Asked, slot: int, traffic: Traffic, *, is_fallback: bool
    ) -> HttpReply | ApiError:
        """The process's own reply to the turn, still to be opened."""
        request = build_request(prompt, asked, slot, self._dialect, self._limits, is_fallback=is_fallback)
        if isinstance(request, ApiError):
            return request
        server = HttpServer(
            name=self.name,
            session=self._open_session(),
            base_url=f"{self._child.base_url}/v1",
            decode_error=self._dialect.decode_error,
            oddities=self._oddities,
            headers=self._authorization(),
            secrets=(self._child.api_key,),
            deadlines=_DEADLINES,
            is_repeatable=True,  # nobody pays twice for what the process may have begun
        )
        decoder = self._dialect.open_decoder(prompt)
        return HttpReply(server, request, decoder, response_id=prompt.response_id, traffic=traffic)

    def down(self) -> ApiError:
        """The answer while the process is not there."""
        return api_error("server_is_overloaded", f"The model {self.model_name!r} is being restarted.")

    def died(self) -> ApiError:
        """The answer to a turn in which the process died."""
        message = f"The process of the model {self.model_name!r} died during the turn; it is being restarted."
        return api_error("model_error", message)

    async def _slot_action(self, slot: int, action: str, file: str, *, is_again: bool = False) -> bool:
        starts = self._child.starts

        async def send() -> aiohttp.ClientResponse:
            return await self._open_session().post(
                f"{self._child.base_url}/slots/{slot}",
                params={"action": action},
                json={"filename": file},
                headers=self._authorization(),
                timeout=_SLOT_TIMEOUT,
            )

        try:
            async with await on_live_connection(send, is_repeatable=True) as response:
                if response.status == 200:
                    return True
                _log.warning("slot.refused", action=action, slot=slot, answer=(await response.text())[:300])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("slot.unreachable", action=action, slot=slot, error=repr(error))
            may_try_again = action == "restore" and not is_again  # once: the file may be what it dies of
            if may_try_again and await self._child.wait_death(starts, _DEATH_NOTICE_S):
                is_back = await self._child.wait_ready(self.settings.restart_wait_s)
                return is_back and await self._slot_action(slot, action, file, is_again=True)
        return False

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError(f"target {self.name!r} is not open")
        return self._session

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._child.api_key}"}


class _EmbeddedReply:
    """One turn in one slot: asked again if the process was just being replaced, or did not take the grammar."""

    def __init__(self, target: EmbeddedTarget, prompt: Prompt, asked: Asked) -> None:
        self.traffic = Traffic()
        self._target = target
        self._prompt = prompt
        self._asked = asked
        self._slot = contextlib.AsyncExitStack()
        self._seat: SlotLease | None = None
        self._memo = OutputMemo()
        self._reply: HttpReply | None = None
        self._calls: CallReader | None = None
        self._start = 0
        """Which process was asked."""
        self._failed: list[ModelEvent] = []
        """A batch that ends in a failure of the transport, while it is found out whether the process died of it."""

    @property
    def has_more(self) -> bool:
        return self._reply is not None and self._reply.has_more

    async def open(self) -> list[ModelEvent]:
        target = self._target
        if await target.wait_ready() is None:
            return [Failed(target.down())]
        seat = self._seat = await self._slot.enter_async_context(target.take_slot(self._prompt, self._asked))
        batch = await self._ask(seat, is_fallback=False)
        if seat.is_lost and isinstance(batch[0], Failed):
            _log.info("turn.asked_again", target=target.name, died=True, without_grammar=False)
            batch = await self._ask(seat, is_fallback=False, is_second=True)
        if self._asked.plan.way == "enforced":
            # Only what comes first tells whether the grammar was taken, and nobody may have heard of it by then.
            while _is_silent(batch) and (more := await self._next()):
                batch = [*batch, *more]
            if _is_unconstrained(batch):
                _log.info("turn.asked_again", target=target.name, died=seat.is_lost, without_grammar=True)
                batch = await self._ask(seat, is_fallback=True, is_second=seat.is_lost)
        self._memo.feed(batch)
        return batch

    async def read(self) -> list[ModelEvent]:
        batch = await self._next()
        self._memo.feed(batch)
        return batch

    async def close(self) -> None:
        if self._reply is not None:
            await self._reply.close()
        if self._seat is not None:
            self._seat.output = self._memo.digest()
        await self._slot.aclose()

    async def _ask(self, seat: SlotLease, *, is_fallback: bool, is_second: bool = False) -> list[ModelEvent]:
        target, asked = self._target, self._asked
        if self._reply is not None:
            await self._reply.close()
            self._reply = None
        start = await target.wait_ready()
        if start is None:
            return [Failed(target.died() if is_second else target.down())]
        reply = target.open_reply(self._prompt, asked, seat.slot, self.traffic, is_fallback=is_fallback)
        if isinstance(reply, ApiError):
            return [Failed(reply)]
        self._reply, self._start = reply, start
        if asked.plan.way != "none" and not self._prompt.request.is_warm_up:
            call_ids = f"call_{self._prompt.response_id.removeprefix('resp_')[:48]}"
            self._calls = CallReader(ToolSet(asked.plan.tools).find_called, call_ids)
        batch = self._convert(await reply.open())
        return await self._explain(batch) if isinstance(batch[-1], Failed) else batch

    async def _next(self) -> list[ModelEvent]:
        reply = self._reply
        while reply is not None and not (reply.is_over and not self._failed):
            batch = self._failed or self._convert(await reply.read())
            if batch:
                return await self._explain(batch) if isinstance(batch[-1], Failed) else batch
        return []

    async def _explain(self, batch: list[ModelEvent]) -> list[ModelEvent]:
        """A failed batch; if it failed because the process died, it says so."""
        last, self._failed = batch[-1], batch
        assert isinstance(last, Failed)
        if self._seat is not None and await self._target.has_died(last.error, self._start):
            self._seat.is_lost = True
            batch = [*batch[:-1], Failed(self._target.died())]
        self._failed = []
        return batch

    def _convert(self, batch: list[ModelEvent]) -> list[ModelEvent]:
        events = [_spoken(event) for event in batch] if self._asked.has_grammar else batch
        events = self._calls.read(events) if self._calls is not None and events else events
        return [_without_output(event) for event in events] if self._prompt.request.is_warm_up else events


def _is_silent(batch: list[ModelEvent]) -> bool:
    """Whether nothing was written yet but space."""
    return all(
        isinstance(event, Accepted) or (isinstance(event, TextDelta) and not event.text.strip()) for event in batch
    )


def _is_unconstrained(batch: list[ModelEvent]) -> bool:
    """Whether text came where only a call could: llama.cpp drops a grammar that it cannot compile without a word."""
    return any(isinstance(event, TextDelta) and event.text.strip() for event in batch)


def _spoken(event: ModelEvent) -> ModelEvent:
    """Under a grammar of ours there is no thinking: with a template that opens the thinking itself, llama.cpp takes the
    answer for it."""
    return TextDelta(event.text) if isinstance(event, ReasoningDelta) else event


def _without_output(event: ModelEvent) -> ModelEvent:
    """The server cannot prefill without sampling one token, which nobody gets."""
    return msgspec.structs.replace(event, output_tokens=0) if isinstance(event, UsageReported) else event
