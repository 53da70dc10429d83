"""Sums and entries put into the rows that watchers are shown."""

from collections.abc import Mapping, Sequence
from math import ceil

from landline.ledger.entry import ByteCounts, Entry, Split
from landline.ledger.ledger import Ledger, LiveSession
from landline.ledger.prices import TokenCost
from landline.ledger.sums import Sums
from landline.monitor.state import (
    ChoiceRow,
    CostSums,
    LaneRow,
    ModelRow,
    SessionDetail,
    SessionRow,
    SessionState,
    TargetRow,
    Totals,
    TurnRow,
)
from landline.routing.router import RoutedTurns, TargetHealth


def total_up(ledger: Ledger) -> Totals:
    """The sums of the process."""
    sums = ledger.process
    counts, split = sums.bytes, sums.split
    return Totals(
        uploaded_bytes=counts.uploaded,
        stateless_bytes=counts.stateless,
        saved_bytes=counts.saved,
        saved_s=sums.saved_s,
        timed_turns=sums.timed_turns,
        downloaded_bytes=counts.wire_out,
        overhead_in_bytes=ledger.overhead_in_bytes,
        overhead_out_bytes=ledger.overhead_out_bytes,
        payload_bytes=counts.payload_in,
        upstream_out_bytes=counts.upstream_out,
        upstream_in_bytes=counts.upstream_in,
        sent=split,
        unsaved=_unsaved(counts, split),
        turns=sums.turns,
        failed_turns=sums.failed_turns,
        warm_turns=sums.warm_turns,
        soft_turns=sums.soft_turns,
        hard_turns=sums.hard_turns,
        resends=sums.resends,
        running_turns=ledger.running_turns,
        open_lines=ledger.open_lines,
        tokens=sums.tokens,
        cost=_cost_sums(sums.cost),
    )


def make_row(session: LiveSession) -> SessionRow:
    """One line of the list of sessions."""
    sums = session.sums
    counts = sums.bytes
    last = session.turns[-1] if session.turns else None
    return SessionRow(
        id=session.session_id,
        transport=session.transport,
        state=_state(session),
        opened_at=session.opened_at,
        last_at=session.last_at,
        compression=session.compression,
        lanes=len(session.lanes),
        model=last.model if last else "",
        target=last.target if last else "",
        turns=sums.turns,
        failed_turns=sums.failed_turns,
        warm_turns=sums.warm_turns,
        running_turns=session.running,
        uploaded_bytes=counts.uploaded,
        stateless_bytes=counts.stateless,
        saved_bytes=counts.saved,
        saved_s=sums.saved_s,
        timed_turns=sums.timed_turns,
        downloaded_bytes=counts.wire_out,
        overhead_in_bytes=session.overhead_in_bytes,
        overhead_out_bytes=session.overhead_out_bytes,
        tokens=sums.tokens,
        cost=_cost_sums(sums.cost),
    )


def make_detail(session: LiveSession, *, after: int = 0) -> SessionDetail:
    """One session with every turn that is remembered of it and comes after the one of that number."""
    sums = session.sums
    counts, split = sums.bytes, sums.split
    first = max(sums.turns - len(session.turns), after) + 1
    newest = [session.turns[place] for place in range(first - sums.turns - 1, 0)]
    return SessionDetail(
        row=make_row(session),
        payload_bytes=counts.payload_in,
        sent=split,
        unsaved=_unsaved(counts, split),
        lanes=[_lane_row(name, sums) for name, sums in session.lanes.items()],
        turns=[_turn_row(number, entry) for number, entry in enumerate(newest, first)],
        newest_items=list(session.newest_items),
    )


def target_rows(health: Sequence[TargetHealth], sums: Mapping[str, Sums]) -> list[TargetRow]:
    """Every configured target, used or not."""
    return [_target_row(each, sums.get(each.target) or Sums()) for each in health]


def choice_rows(served: Sequence[RoutedTurns]) -> list[ChoiceRow]:
    """Why targets were chosen."""
    return [ChoiceRow(each.target, each.reason, each.affinity, each.turns) for each in served]


def model_rows(sums: Mapping[str, Sums]) -> list[ModelRow]:
    """Every model that was asked for, the one that uploaded most first."""
    rows = [_model_row(name, each) for name, each in sums.items()]
    return sorted(rows, key=lambda row: (-row.stateless_bytes, row.name))


def _state(session: LiveSession) -> SessionState:
    if session.running:
        return "running"
    if session.is_ended:
        return "ended"
    return "open" if session.is_open else "idle"


def _unsaved(counts: ByteCounts, split: Split) -> Split:
    """The stateless bytes by part: those that came, and the history for the rest. A part counts at most what is left,
    because a warm-up's tools came although a stateless client sends no warm-up."""
    left, parts = counts.stateless, [split.new_items, split.tools, split.instructions, split.other]
    for place, part in enumerate(parts):
        parts[place] = min(part, left)
        left -= parts[place]
    new_items, tools, instructions, other = parts
    return Split(tools=tools, instructions=instructions, history=left, new_items=new_items, other=other)


def _cost_sums(cost: TokenCost) -> CostSums:
    return CostSums(priced_turns=cost.priced_turns, paid_usd=cost.paid_usd, cache_saved_usd=cost.cache_saved_usd)


def _target_row(health: TargetHealth, sums: Sums) -> TargetRow:
    counts = sums.bytes
    return TargetRow(
        name=health.target,
        state=health.state,
        wait_s=ceil(health.wait_s),
        in_flight=health.in_flight,
        turns=sums.turns,
        failed_turns=sums.failed_turns,
        failures=health.failures,
        warm_turns=sums.warm_turns,
        upstream_out_bytes=counts.upstream_out,
        upstream_in_bytes=counts.upstream_in,
        tokens=sums.tokens,
    )


def _model_row(name: str, sums: Sums) -> ModelRow:
    counts = sums.bytes
    return ModelRow(
        name=name,
        turns=sums.turns,
        failed_turns=sums.failed_turns,
        warm_turns=sums.warm_turns,
        uploaded_bytes=counts.uploaded,
        stateless_bytes=counts.stateless,
        saved_bytes=counts.saved,
        tokens=sums.tokens,
        cost=_cost_sums(sums.cost),
    )


def _lane_row(name: str, sums: Sums) -> LaneRow:
    counts = sums.bytes
    return LaneRow(
        name=name,
        turns=sums.turns,
        failed_turns=sums.failed_turns,
        uploaded_bytes=counts.uploaded,
        stateless_bytes=counts.stateless,
    )


def _turn_row(number: int, entry: Entry) -> TurnRow:
    return TurnRow(
        number=number,
        response_id=entry.response_id,
        lane=entry.lane,
        model=entry.model,
        target=entry.target,
        reason=entry.reason,
        affinity=entry.affinity,
        outcome=entry.outcome,
        error_code=entry.error_code,
        is_warm_up=entry.is_warm_up,
        tries=entry.tries,
        resends=entry.resends,
        compactions=entry.compactions,
        created_at=entry.created_at,
        uploaded_bytes=entry.bytes.uploaded,
        payload_bytes=entry.bytes.payload_in,
        stateless_bytes=entry.bytes.stateless,
        downloaded_bytes=entry.bytes.wire_out,
        tokens=entry.tokens,
        cost=_cost_sums(entry.cost),
        queued_s=entry.times.queued,
        first_event_s=entry.times.first_event,
        total_s=entry.times.total,
        saved_s=entry.times.saved,
    )
