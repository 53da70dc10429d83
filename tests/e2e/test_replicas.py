"""Two replicas of a model behind one name: each turn lands where its conversation is warm, also after one was killed."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from support.clients.agent_sessions import AT_ONCE, KINDS, Session, Sessions
from support.servers.replica import Replica, Report
from support.servers.running import RunningServer

SESSIONS = 100
TURNS = 20
WARM_SHARE = 0.99
COMEBACK_S = 40.0
"""The breaker's longest wait and some more."""


def _config(*replicas: Replica) -> str:
    targets = "".join(
        f'[targets.{each.name}]\ndialect = "chat_completions"\nbase_url = "{each.base_url}"\n' for each in replicas
    )
    names = ", ".join(f'"{each.name}"' for each in replicas)
    return f'[store]\nurl = "memory"\n{targets}[models."*"]\ntargets = [{names}]\n'


def _later_turns(sessions: Sequence[Session], start: int = 1) -> list[Report]:
    """What was answered from each session's turn `start` on; the first turn is 0."""
    return [report for session in sessions for report in session.reports[start:]]


def _print_share(what: str, reports: Sequence[Report]) -> float:
    warm = sum(report.is_warm for report in reports)
    print(f"{what}: {warm} of {len(reports)} turns on the warm replica ({warm / len(reports):.2%})")
    return warm / len(reports)


async def test_turns_land_on_the_replica_that_served_the_turn_before(tmp_path: Path) -> None:
    with Replica("a") as a, Replica("b") as b, RunningServer(_config(a, b), tmp_path) as landline:
        async with Sessions(landline.base_url) as sessions:
            await sessions.open(SESSIONS)
            for _ in range(TURNS):
                await sessions.take_round()
    assert _print_share("interleaved", _later_turns(sessions.all)) >= WARM_SHARE
    homes = Counter(session.reports[0].replica for session in sessions.all)
    print(f"sessions by replica: {dict(homes)}")
    assert max(homes.values()) <= 0.75 * SESSIONS  # whoever answers sooner is asked more often
    for session in sessions.all:
        assert session.failed_turns == 0
        assert len({report.session for report in session.reports}) == 1, "the name of the session changed"
    assert len({session.reports[0].session for session in sessions.all}) == SESSIONS
    reasons = Counter(re.findall(r"turn_ended .*reason=(\w+)", landline.log))
    print(f"reasons: {dict(reasons)}")
    assert sum(reasons.values()) == SESSIONS * TURNS
    assert reasons["warm"] >= WARM_SHARE * SESSIONS * (TURNS - 1)


async def test_killed_replicas_sessions_go_on_elsewhere_and_it_is_used_again(tmp_path: Path) -> None:
    with Replica("a") as a, Replica("b") as b, RunningServer(_config(a, b), tmp_path) as landline:
        async with Sessions(landline.base_url) as sessions:
            await sessions.open(SESSIONS // 2)
            for _ in range(5):
                await sessions.take_round()
            await _kill_during_a_round(sessions, a)
            for _ in range(5):
                await sessions.take_round()
            moved = _later_turns(sessions.all, start=7)
            assert {report.replica for report in moved} == {"b"}
            assert _print_share("after one was killed", moved) == 1.0
            await asyncio.to_thread(a.start)
            await _wait_until_used(sessions, "a")
            await sessions.take_round()
            assert _print_share("after it came back", [each.reports[-1] for each in sessions.all]) == 1.0


async def _kill_during_a_round(sessions: Sessions, replica: Replica) -> None:
    """One turn of each kind of client is in the middle of its answer, and others are on their way."""
    at_home = [session for session in sessions.all if session.reports[-1].replica == replica.name]
    cut = [next(session for session in at_home if session.kind == kind) for kind in range(KINDS)]
    turns: list[asyncio.Task[object]] = [
        asyncio.create_task(session.take_turn("hold", replica.name)) for session in cut
    ]
    await asyncio.to_thread(replica.wait_until_held, KINDS)
    turns.append(asyncio.create_task(sessions.take_round(without=cut)))
    await asyncio.to_thread(replica.kill)
    await asyncio.gather(*turns)
    assert {session.failed_turns for session in cut} == {1}
    assert sum(session.failed_turns for session in sessions.all) <= KINDS + AT_ONCE


async def _wait_until_used(sessions: Sessions, name: str) -> None:
    """Begins conversations until one of them is served by the replica."""
    started = time.monotonic()
    while True:
        [session] = await sessions.open(1)
        if (await session.take_turn()).replica == name:
            print(f"used again {time.monotonic() - started:.1f} s after it came back")
            return
        assert time.monotonic() - started < COMEBACK_S
