import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import Times, TokenCost
from landline.ledger.turn_line import TEXT_MAX_CHARS, turn_line
from support.ledger.entries import ENTRY, changed

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


def pairs_of(line: str) -> dict[str, str]:
    """The line as a reader of logfmt takes it apart; fails if anything is left over."""
    assert "".join(found.group() for found in _PAIR.finditer(line)) == line
    pairs = _PAIR.findall(line)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_every_field_is_documented() -> None:
    everything = changed(is_warm_up=True, tenant="someone", error_code="model_error", error_status=500)
    document = (Path(__file__).resolve().parents[3] / "docs" / "ledger.md").read_text(encoding="utf-8")
    fields = set(pairs_of(turn_line(everything))) - {"event"}
    rows = [row for row in document.splitlines() if row.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert fields <= documented


def test_line_says_everything_of_a_turn() -> None:
    assert pairs_of(turn_line(ENTRY)) == {
        "response_id": "resp_1",
        "event": "turn_ended",
        "outcome": "completed",
        "transport": "socket",
        "session": "sess_1",
        "lane": "main",
        "model": "demo",
        "target": "one",
        "reason": "warm",
        "affinity": "soft",
        "prefix_items": "0",
        "tries": "2",
        "requests": "3",
        "resends": "1",
        "compactions": "0",
        "wire_in": "300",
        "wire_out": "900",
        "payload_in": "1000",
        "payload_out": "4000",
        "stateless": "50000",
        "upstream_out": "700",
        "upstream_in": "800",
        "tools": "500",
        "instructions": "200",
        "history": "0",
        "new_items": "250",
        "other": "50",
        "input_tokens": "12000",
        "cached_tokens": "11500",
        "output_tokens": "41",
        "reasoning_tokens": "11",
        "queued_s": "0.002000",
        "first_event_s": "0.400000",
        "output_token_s": "0.020000",
        "total_s": "1.200000",
        "saved_s": "0.061000",
        "paid_usd": "0.004720500",
        "cache_saved_usd": "-0.000039910",
    }


def test_what_there_is_not_is_left_out() -> None:
    nothing = {"session_id": "", "lane": "", "model": "", "target": "", "times": Times(total=0.5), "cost": TokenCost()}
    entry = changed(**nothing, outcome="refused")
    told = pairs_of(turn_line(entry))
    left_out = {"session", "lane", "tenant", "model", "target", "reason", "affinity", "error", "warm_up"}
    assert not told.keys() & (
        left_out | {"queued_s", "first_event_s", "output_token_s", "saved_s", "paid_usd", "cache_saved_usd"}
    )


def test_what_was_special_is_said() -> None:
    told = pairs_of(turn_line(changed(is_warm_up=True, error_code="model_error", tenant="team")))
    assert (told["warm_up"], told["error"], told["tenant"]) == (
        "true",
        "model_error",
        "team",
    )


@pytest.mark.parametrize("field", ["model", "lane", "session_id", "target", "error_code", "tenant"])
@given(name=st.text(min_size=1))
def test_no_name_breaks_the_line(field: str, name: str) -> None:
    line = turn_line(changed(**{field: name}))
    assert len(line.splitlines()) == 1
    assert "outcome" in pairs_of(line)


def test_a_models_name_is_cut() -> None:
    assert pairs_of(turn_line(changed(model="m" * 5000)))["model"] == "m" * TEXT_MAX_CHARS
