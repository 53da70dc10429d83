"""The embedded model as a target: llama.cpp's server in a child process, asked in the chat-completions dialect.

What is ours: which slot a lineage runs in (`engine.slots`), tool calls that are enforced (`engine.tool_plan`), and a
child that may die without taking a line with it (`engine.child`).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import aiohttp
import msgspec
import structlog
from msgspec.structs import astuple

from landline.dialects.chat_completions import ChatCompletions
from landline.dialects.chat_completions.dialect import count_requests
from landline.dialects.dialect import Prompt, UpstreamRequest
from landline.dialects.tools import ToolSet
from landline.engine.call_reader import CallReader
from landline.engine.catalog import ModelFile
from landline.engine.child import ChildFailedError, ModelChild
from landline.engine.prefixes import OutputMemo
from landline.engine.settings import EngineSettings
from landline.engine.slots import WAIT_BYTES, Seat, SlotBook, SlotKeeper
from landline.engine.tool_plan import CallPlan, chat_template_of, knows_tools
from landline.upstream.counted import on_live_connection
from landline.upstream.counting import Counters, count_by_reading
from landline.upstream.embedded_request import FLAGS, Asked, ModelLimits, build_request, lineage_of, read_turn
from landline.upstream.http import HttpDeadlines, open_session, stream_request
from landline.upstream.oddities import OddityLog
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

    async def stream(self, prompt: Prompt) -> AsyncGenerator[list[ModelEvent], None]:
        """Runs one turn. Closing the generator stops the model at its next token; its KV stays."""
        asked = read_turn(prompt, self._dialect, self._limits)
        if isinstance(asked, ApiError):
            yield [Failed(asked)]
            return
        if not await self._child.wait_ready(self.settings.restart_wait_s):
            yield [Failed(self._down())]
            return
        async with self._keeper.acquire(lineage_of(prompt, asked)) as seat:
            memo = OutputMemo()
            try:
                async with aclosing(self._ask(prompt, asked, seat)) as batches:
                    async for batch in batches:
                        memo.feed(batch)
                        yield batch
            finally:
                seat.output = memo.digest()

    async def count_tokens(self, prompt: Prompt) -> int | ApiError:
        """What the child's own template and tokenizer make of the prompt; nothing is prefilled and no slot is taken."""
        asked = read_turn(prompt, self._dialect, self._limits)
        if isinstance(asked, ApiError):
            return asked
        request = build_request(prompt, asked, 0, self._dialect, self._limits, is_fallback=False)
        if isinstance(request, ApiError):
            return request
        if not await self._child.wait_ready(self.settings.restart_wait_s):
            return self._down()
        [counter, *_] = count_requests(request.body)
        count = await Counters().count(
            self._open_session(), f"{self._child.base_url}/v1", [counter], self._authorization()
        )
        return count if count is not None else await count_by_reading(self.stream, prompt)

    async def save(self, slot: int, file: str) -> bool:
        """Writes a slot's state to a file of the slot folder."""
        return await self._slot_action(slot, "save", file)

    async def restore(self, slot: int, file: str) -> bool:
        """Reads a slot's state back."""
        return await self._slot_action(slot, "restore", file)

    async def _ask(self, prompt: Prompt, asked: Asked, seat: Seat) -> AsyncGenerator[list[ModelEvent], None]:
        """Asks the child; again if it was just being replaced, and if it did not take the grammar."""
        is_accepted = is_regranted = is_fallback = False
        while True:
            if not await self._child.wait_ready(self.settings.restart_wait_s):
                yield [Failed(self._died() if is_regranted else self._down())]
                return
            starts = self._child.starts
            request = build_request(prompt, asked, seat.slot, self._dialect, self._limits, is_fallback=is_fallback)
            if isinstance(request, ApiError):
                yield [Failed(request)]
                return
            is_again = False
            async with aclosing(self._send(prompt, asked, request)) as batches:
                async for batch in batches:
                    failed = batch[-1]
                    if isinstance(failed, Failed) and await self._has_died(failed.error, starts):
                        seat.is_lost = True
                        is_again = not is_accepted and not is_regranted
                        is_regranted = True
                        batch[-1] = Failed(self._died())
                    elif not is_fallback and _is_unconstrained(asked.plan, batch):
                        is_again = is_fallback = True
                    if is_again:
                        break
                    told = [event for event in batch if not (is_accepted and isinstance(event, Accepted))]
                    is_accepted = is_accepted or isinstance(batch[0], Accepted)
                    if told:
                        yield told
            if not is_again:
                return
            _log.info("turn.asked_again", target=self.name, died=is_regranted, without_grammar=is_fallback)

    async def _has_died(self, error: ApiError, starts: int) -> bool:
        """Whether the turn failed because the process did."""
        return error.code in _TRANSPORT_CODES and await self._child.wait_death(starts, _DEATH_NOTICE_S)

    async def _send(
        self, prompt: Prompt, asked: Asked, request: UpstreamRequest
    ) -> AsyncGenerator[list[ModelEvent], None]:
        decoder = self._dialect.open_decoder(prompt)
        reader = None
        if asked.plan.way != "none" and not prompt.request.is_warm_up:
            callable_tools = ToolSet(asked.plan.tools)
            reader = CallReader(callable_tools.find_called, f"call_{prompt.response_id.removeprefix('resp_')[:48]}")
        request = msgspec.structs.replace(request, headers={**request.headers, **self._authorization()})
        async with aclosing(
            stream_request(
                self._open_session(),
                f"{self._child.base_url}/v1",
                request,
                decoder,
                self._dialect.decode_error,
                meter=prompt.meter,
                target_name=self.name,
                secrets=(self._child.api_key,),
                deadlines=_DEADLINES,
                on_oddities=partial(self._oddities.tell, prompt.response_id),
                is_repeatable=True,  # nobody pays twice for what the process may have begun
            )
        ) as batches:
            async for batch in batches:
                events = [_spoken(event) for event in batch] if asked.has_grammar else batch
                events = reader.read(events) if reader is not None else events
                if prompt.request.is_warm_up:
                    events = [_without_output(event) for event in events]
                if events:
                    yield events

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

    def _down(self) -> ApiError:
        return api_error("server_is_overloaded", f"The model {self.model_name!r} is being restarted.")

    def _died(self) -> ApiError:
        message = f"The process of the model {self.model_name!r} died during the turn; it is being restarted."
        return api_error("model_error", message)


def _is_unconstrained(plan: CallPlan, batch: list[ModelEvent]) -> bool:
    """Whether text came where only a call could: llama.cpp drops a grammar that it cannot compile without a word."""
    return plan.way == "enforced" and any(isinstance(event, TextDelta) and event.text.strip() for event in batch)


def _spoken(event: ModelEvent) -> ModelEvent:
    """Under a grammar of ours there is no thinking: with a template that opens the thinking itself, llama.cpp takes the
    answer for it."""
    return TextDelta(event.text) if isinstance(event, ReasoningDelta) else event


def _without_output(event: ModelEvent) -> ModelEvent:
    """The server cannot prefill without sampling one token, which nobody gets."""
    return msgspec.structs.replace(event, output_tokens=0) if isinstance(event, UsageReported) else event
