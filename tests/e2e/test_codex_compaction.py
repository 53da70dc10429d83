"""The Codex CLI's two ways to compact, on its socket: remote (a trigger) and local (a summary that it asks for)."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.clients.codex import CodexRun, resume_codex, run_codex
from support.fakes.chat import Script
from support.fakes.scenario import Received, Scenario
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 6
SUMMARY = "SUMMARY: the first steps are done, go on with the next one."
LIMIT_TOKENS = 14_000
"""Codex compacts when a response reports more; its prompt and tools are some 10,000 by the fake's count."""


class Working:
    """A model that makes its calls one by one, whatever else it is asked for in between, and ends."""

    def __init__(self) -> None:
        self.calls = 0
        self.summaries = 0

    def answer(self, received: Received) -> Answer:
        newest = json.dumps(received.messages[-1])
        if "replaced by a summary" in newest or "CHECKPOINT COMPACTION" in newest:
            self.summaries += 1
            return Answer(SUMMARY)
        if self.calls == CALLS:
            return Answer("All done.")
        self.calls += 1
        return call("exec_command", cmd=f"echo step {self.calls}; head -c 6000 /dev/zero | tr '\\0' x")


def test_remote_compaction_goes_on_with_what_was_kept(
    landline: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    model = Working()
    scenario = scripted.choosing(model.answer)
    run, relay = _run(landline, scenario, tmp_path, provider_name="OpenAI")
    assert run.answer == "All done.", run.report
    assert model.summaries >= 1, run.report
    frames = _frames(relay)
    triggered = [place for place, frame in enumerate(frames) if _types(frame)[-1:] == ["compaction_trigger"]]
    assert len(triggered) == model.summaries
    after = frames[triggered[0] + 1]
    assert after.get("previous_response_id") is None
    assert _types(after)[-1] == "compaction"
    first = next(each for each in scenario.received if SUMMARY in json.dumps(each.messages))
    said = [json.dumps(message) for message in first.messages]
    assert sum("Do what is to be done." in text for text in said) == 1
    assert sum("You are a coding agent" in text for text in said) == 1
    assert all(SUMMARY in json.dumps(each.messages) for each in scenario.received[scenario.received.index(first) :])
    assert [each.refused for each in scenario.received if each.refused] == []


def test_local_compaction_is_a_turn_like_any_other(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    model = Working()
    scenario = scripted.choosing(model.answer)
    run, relay = _run(landline, scenario, tmp_path, provider_name="mine")
    assert run.answer == "All done.", run.report
    assert model.summaries >= 1, run.report
    assert not any("compaction" in " ".join(_types(frame)) for frame in _frames(relay))
    assert SUMMARY in json.dumps(scenario.received[-1].messages)
    assert [each.refused for each in scenario.received if each.refused] == []


def test_compacted_thread_is_resumed_by_another_process(
    landline: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    model = Working()
    scenario = scripted.choosing(model.answer)
    home, work_folder = tmp_path / "home", tmp_path / "work"
    work_folder.mkdir()
    first = run_codex(
        "Do what is to be done.",
        base_url=landline.base_url,
        model=scenario.model,
        home=home,
        work_folder=work_folder,
        provider_name="OpenAI",
        settings={"model_auto_compact_token_limit": LIMIT_TOKENS},
    )
    assert first.answer == "All done.", first.report
    asked = len(scenario.received)
    resumed = resume_codex("And what did you do?", home=home, work_folder=work_folder)
    assert resumed.answer == "All done.", resumed.report
    newest = [each for each in scenario.received[asked:] if "And what did you do?" in json.dumps(each.messages[-1])]
    assert newest, resumed.report
    assert SUMMARY in json.dumps(newest[-1].messages)
    assert [each.refused for each in scenario.received if each.refused] == []


def _run(server: RunningServer, scenario: Scenario, folder: Path, *, provider_name: str) -> tuple[CodexRun, ByteRelay]:
    work_folder = folder / "work"
    work_folder.mkdir()
    with ByteRelay(server.port) as relay:
        run = run_codex(
            "Do what is to be done.",
            base_url=relay.base_url,
            model=scenario.model,
            home=folder / "home",
            work_folder=work_folder,
            provider_name=provider_name,
            settings={"model_auto_compact_token_limit": LIMIT_TOKENS},
        )
    return run, relay


def _frames(relay: ByteRelay) -> list[dict[str, Any]]:
    """The frames of all sockets, one after the other."""
    sockets = [each for each in relay.connections if each.is_websocket]
    return [json.loads(message) for socket in sockets for message in client_messages(socket)]


def _types(frame: dict[str, Any]) -> list[str]:
    return [item["type"] for item in frame["input"]]
