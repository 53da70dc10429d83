"""The agent: asks, runs the tools that the model calls, sends their outputs, until the model answers; and what it reports."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Protocol

import msgspec
from msgspec import Raw

from landline.agent.answer import Call, ModelAnswer, TokenCounts, describe
from landline.agent.connection import Endpoint, Exchange, ServerConnection, Transport, open_connection
from landline.agent.conversation import ConversationLog, RequestSettings, ToolChoiceWord, call_output, user_message
from landline.agent.folder_tools import LocalTool, encode_tools, run_tool
from landline.engine.catalog import CATALOGUE

Outcome = Literal["answered", "gave_up", "failed"]
"""`gave_up`: the model used its turns without an answer; `failed`: the connection or the server failed."""


class CallReport(msgspec.Struct, frozen=True):
    """One tool call that was run."""

    name: str
    arguments: str
    output_bytes: int
    is_error: bool


class TurnFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One turn in numbers; `Exchange` says what each means."""

    number: int
    transport: Transport
    is_delta: bool
    payload_bytes: int
    stateless_bytes: int
    wire_sent_bytes: int | None
    wire_received_bytes: int | None
    tokens: TokenCounts | None
    first_event_s: float | None
    first_delta_s: float | None
    total_s: float
    calls: tuple[CallReport, ...]
    notes: tuple[str, ...]


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, with the numbers of its turns."""

    outcome: Outcome
    message: str
    """Why there is no answer; empty when there is one."""
    answer: str
    """The last text of the model, also when it broke off."""
    turns: tuple[TurnFigures, ...]

    @property
    def payload_bytes(self) -> int:
        return sum(turn.payload_bytes for turn in self.turns)

    @property
    def stateless_bytes(self) -> int:
        return sum(turn.stateless_bytes for turn in self.turns)

    @property
    def wire_sent_bytes(self) -> int | None:
        counted = [turn.wire_sent_bytes for turn in self.turns if turn.wire_sent_bytes is not None]
        return sum(counted) if len(counted) == len(self.turns) else None


class Reporter(Protocol):
    """Called in this order: per turn `turn_started`, `text` and `note` as they come, `tool_ran`…, `turn_ended`; then `run_ended`."""

    def turn_started(self, number: int) -> None: ...
    def text(self, delta: str) -> None: ...
    def note(self, text: str) -> None: ...
    def tool_ran(self, call: CallReport) -> None: ...
    def turn_ended(self, turn: TurnFigures) -> None: ...
    def run_ended(self, result: RunResult) -> None: ...


class SilentReporter:
    """Reports nothing: for benchmarks and for callers who only want the result."""

    def turn_started(self, number: int) -> None:
        pass

    def text(self, delta: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def tool_ran(self, call: CallReport) -> None:
        pass

    def turn_ended(self, turn: TurnFigures) -> None:
        pass

    def run_ended(self, result: RunResult) -> None:
        pass


def make_turn_report(
    number: int, exchange: Exchange, tokens: TokenCounts | None, calls: tuple[CallReport, ...]
) -> TurnFigures:
    """One turn's numbers with what the model and the tools did in it."""
    return TurnFigures(
        number=number,
        transport=exchange.transport,
        is_delta=exchange.is_delta,
        payload_bytes=exchange.payload_bytes,
        stateless_bytes=exchange.stateless_bytes,
        wire_sent_bytes=exchange.wire_sent_bytes,
        wire_received_bytes=exchange.wire_received_bytes,
        tokens=tokens,
        first_event_s=exchange.first_event_s,
        first_delta_s=exchange.first_delta_s,
        total_s=exchange.total_s,
        calls=calls,
        notes=exchange.notes,
    )


INSTRUCTIONS = "Use the tools to look into the folder. Then answer the question shortly."
"""Short, because a small model reads every word and has a small context."""
PLAIN_WORDS = "Answer in plain words now."
"""Said once to a model that wrote nothing, or a tool call as text: small ones do."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a run, and what every request repeats."""

    model: str | None = None
    """None asks for the first one the server lists."""
    instructions: str | None = INSTRUCTIONS
    max_turns: int = 12
    max_output_tokens: int | None = None
    temperature: float | None = None
    """None leaves it to the server; some models refuse any."""
    must_look_first: bool = True
    """The first turn must call a tool (`tool_choice: "required"`): small models otherwise chat."""
    must_answer_last: bool = True
    """In the last turn, and after a repeated call, no tool may be called: the model answers with what it has."""
    max_same_calls: int | None = 2
    """How often one call with the same arguments is run; None for tools that mean it."""


async def run_agent(
    question: str,
    *,
    endpoint: Endpoint,
    tools: Mapping[str, LocalTool],
    settings: AgentSettings | None = None,
    reporter: Reporter | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> RunResult:
    """Runs one question to its end. Whatever the server or the model does is in the result; nothing is raised for it."""
    settings = settings or AgentSettings()
    reporter = reporter or SilentReporter()
    async with open_connection(endpoint, sleep=sleep) as connection:
        model = settings.model if settings.model is not None else await connection.fetch_first_model()
        if not isinstance(model, str):
            result = RunResult(outcome="failed", message=describe(model), answer="", turns=())
        else:
            conversation = ConversationLog(
                RequestSettings(
                    model=model,
                    instructions=settings.instructions,
                    tools=Raw(encode_tools(tools)),
                    max_output_tokens=settings.max_output_tokens,
                    temperature=settings.temperature,
                )
            )
            conversation.append([user_message(question)])
            if (row := CATALOGUE.get(model)) is not None and row.caveat:
                reporter.note(f"{model} has {row.caveat}. Name another one with --model.")
            result = await _Run(connection, conversation, tools, settings, reporter).turns_until_answer()
    reporter.run_ended(result)
    return result


class _Run:
    """One question's turns."""

    def __init__(
        self,
        connection: ServerConnection,
        conversation: ConversationLog,
        tools: Mapping[str, LocalTool],
        settings: AgentSettings,
        reporter: Reporter,
    ) -> None:
        self._connection = connection
        self._conversation = conversation
        self._tools = tools
        self._settings = settings
        self._reporter = reporter
        self._seen: Counter[tuple[str, bytes]] = Counter()
        self._turns: list[TurnFigures] = []
        self._answer = ""
        self._was_nudged = False

    async def turns_until_answer(self) -> RunResult:
        for number in range(1, self._settings.max_turns + 1):
            ended = await self._turn(number)
            if ended is not None:
                return ended
        return self._result("gave_up", f"the model gave up: {self._settings.max_turns} turns without an answer")

    async def _turn(self, number: int) -> RunResult | None:
        """One response and its tool calls; a result when the run is over."""
        self._reporter.turn_started(number)
        exchange = await self._connection.ask(
            self._conversation, self._tool_choice(number), on_text=self._reporter.text, on_note=self._reporter.note
        )
        ending = exchange.ending
        answer = ending if isinstance(ending, ModelAnswer) else None
        calls = await self._run_calls(answer.calls) if answer is not None else ()
        report = make_turn_report(number, exchange, answer.tokens if answer is not None else None, calls)
        self._turns.append(report)
        self._reporter.turn_ended(report)
        if not isinstance(ending, ModelAnswer):
            return self._result("failed", describe(ending))
        self._answer = ending.text or ending.refusal or self._answer
        return self._end_of(ending)

    def _end_of(self, answer: ModelAnswer) -> RunResult | None:
        """The run's result if this answer ends it."""
        limit = self._settings.max_same_calls
        if answer.calls:
            call, times = self._most_repeated(answer.calls)
            if limit is None or times <= limit:
                return None
            return self._result(
                "gave_up", f"the model gave up: it asked {times} times for {call.name} {call.arguments}"
            )
        if answer.refusal is not None:
            return self._result("gave_up", "the model refused to answer")
        if answer.incomplete_reason is not None:
            hint = "; --max-output-tokens allows more" if answer.incomplete_reason == "max_output_tokens" else ""
            return self._result(
                "gave_up", f"the model gave up: its answer broke off ({answer.incomplete_reason}){hint}"
            )
        flaw = _flaw(answer.text)
        if flaw is None:
            return self._result("answered", "")
        if self._was_nudged or len(self._turns) == self._settings.max_turns:
            return self._result("gave_up", f"the model gave up: {flaw}")
        self._was_nudged = True
        self._reporter.note(f"{flaw}; asking for plain words")
        self._conversation.append([user_message(PLAIN_WORDS)])
        return None

    async def _run_calls(self, calls: tuple[Call, ...]) -> tuple[CallReport, ...]:
        reports: list[CallReport] = []
        for call in calls:
            self._seen[_sameness(call)] += 1
            output = await asyncio.to_thread(run_tool, self._tools, call.name, call.arguments)
            self._conversation.append([call_output(call.call_id, output.text)])
            report = CallReport(call.name, call.arguments, len(output.text.encode()), output.is_error)
            self._reporter.tool_ran(report)
            reports.append(report)
        return tuple(reports)

    def _most_repeated(self, calls: tuple[Call, ...]) -> tuple[Call, int]:
        call = max(calls, key=lambda each: self._seen[_sameness(each)])
        return call, self._seen[_sameness(call)]

    def _tool_choice(self, number: int) -> ToolChoiceWord:
        settings = self._settings
        if number == 1 and settings.must_look_first and self._tools:
            return "required"
        if self._was_nudged:
            return "none"
        is_last = number == settings.max_turns
        is_stuck = (
            settings.max_same_calls is not None and max(self._seen.values(), default=0) >= settings.max_same_calls
        )
        return "none" if settings.must_answer_last and (is_last or is_stuck) else "auto"

    def _result(self, outcome: Outcome, message: str) -> RunResult:
        return RunResult(outcome=outcome, message=message, answer=self._answer, turns=tuple(self._turns))


class _CallAsText(msgspec.Struct):
    name: str
    arguments: dict[str, object]


_CALLS_AS_TEXT: msgspec.json.Decoder[_CallAsText] = msgspec.json.Decoder(_CallAsText)


def _flaw(text: str) -> str | None:
    """Why a text is no answer; None if it is one."""
    if not text.strip():
        return "an empty answer"
    try:
        _CALLS_AS_TEXT.decode(text.strip().partition("\n")[0])
    except msgspec.DecodeError:
        return None
    return "a tool call written as text"


def _sameness(call: Call) -> tuple[str, bytes]:
    """A call's identity: its arguments as JSON values, so that spacing and key order make no difference."""
    try:
        return call.name, msgspec.json.encode(msgspec.json.decode(call.arguments), order="sorted")
    except msgspec.DecodeError:
        return call.name, call.arguments.encode()
