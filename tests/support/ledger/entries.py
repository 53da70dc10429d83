"""Entries of made-up turns: one that went well, to be changed, and any at all."""

from typing import get_args

import msgspec
from hypothesis import strategies as st

from landline.ledger import ByteCounts, Entry, Split, Times, TokenCost, Tokens
from landline.ledger.entry import Outcome
from landline.session.turn import Transport

ENTRY = Entry(
    response_id="resp_1",
    tenant="",
    session_id="sess_1",
    transport="socket",
    lane="main",
    model="demo",
    target="one",
    upstream_model="demo-upstream",
    reason="warm",
    affinity="soft",
    tries=2,
    resends=1,
    upstream_requests=3,
    compactions=0,
    is_warm_up=False,
    is_streamed=True,
    created_at=1_790_000_000.5,
    started_at=1_790_000_000.0,
    outcome="completed",
    finish_reason="tool_call",
    bytes=ByteCounts(
        wire_in=300,
        wire_out=900,
        payload_in=1_000,
        payload_out=4_000,
        stateless=50_000,
        upstream_out=700,
        upstream_in=800,
        uploaded=300,
    ),
    split=Split(tools=500, instructions=200, history=0, new_items=250, other=50),
    tokens=Tokens(input=12_000, cached=11_500, cache_write=100, output=41, reasoning=11),
    cost=TokenCost(priced_turns=1, paid=4_720_500_000, cache_saved=-39_909_500),
    times=Times(queued=0.002, first_event=0.4, total=1.2, per_output_token=0.02, saved=0.061),
)
SIZES = st.integers(min_value=0, max_value=2**40)
SECONDS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def changed(**changes: object) -> Entry:
    """The entry with other fields."""
    return msgspec.structs.replace(ENTRY, **changes)


def entries(models: st.SearchStrategy[str], targets: st.SearchStrategy[str]) -> st.SearchStrategy[Entry]:
    """Any turns of these models at these targets."""
    times = st.builds(
        Times,
        queued=st.none() | SECONDS,
        first_event=st.none() | SECONDS,
        total=SECONDS,
        per_output_token=st.none() | SECONDS,
        saved=st.none() | SECONDS,
    )
    return st.builds(
        changed,
        model=models,
        target=targets,
        outcome=st.sampled_from([outcome for each in get_args(Outcome) for outcome in get_args(each) or (each,)]),
        transport=st.sampled_from(get_args(Transport)),
        bytes=st.builds(ByteCounts, **dict.fromkeys(ByteCounts.__struct_fields__, SIZES)),
        tokens=st.builds(Tokens, **dict.fromkeys(Tokens.__struct_fields__, SIZES)),
        cost=st.builds(TokenCost, **dict.fromkeys(TokenCost.__struct_fields__, SIZES)),
        times=times,
    )
