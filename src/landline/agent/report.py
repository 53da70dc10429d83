"""What a run says while it goes on, and the numbers it leaves behind."""

from typing import Literal, Protocol

import msgspec

from landline.agent.answer import TokenCounts
from landline.agent.exchange import Exchange, Transport

Outcome = Literal["answered", "gave_up", "failed"]
"""`gave_up`: the model had its turns and gave no answer; `failed`: the line or the server did."""


class CallReport(msgspec.Struct, frozen=True):
    """One tool call that was run."""

    name: str
    arguments: str
    output_bytes: int
    is_error: bool


class TurnReport(msgspec.Struct, frozen=True, kw_only=True):
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
    """How a run ended."""

    outcome: Outcome
    message: str
    """Why there is no answer; empty when there is one."""
    answer: str
    """The last text of the model, also when it broke off."""
    turns: tuple[TurnReport, ...]

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
    """Told in this order: per turn `turn_started`, `text` and `note` as they come, `tool_ran`…, `turn_ended`; then `run_ended`."""

    def turn_started(self, number: int) -> None: ...
    def text(self, delta: str) -> None: ...
    def note(self, text: str) -> None: ...
    def tool_ran(self, call: CallReport) -> None: ...
    def turn_ended(self, turn: TurnReport) -> None: ...
    def run_ended(self, result: RunResult) -> None: ...


class SilentReporter:
    """Says nothing: for benchmarks and for callers who only want the result."""

    def turn_started(self, number: int) -> None:
        pass

    def text(self, delta: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def tool_ran(self, call: CallReport) -> None:
        pass

    def turn_ended(self, turn: TurnReport) -> None:
        pass

    def run_ended(self, result: RunResult) -> None:
        pass


def turn_report(
    number: int, exchange: Exchange, tokens: TokenCounts | None, calls: tuple[CallReport, ...]
) -> TurnReport:
    """One turn's numbers with what the model and the tools did in it."""
    return TurnReport(
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
