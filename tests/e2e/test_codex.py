"""The Codex CLI from npm, unmodified, against Landline: over its socket, over HTTP, custom tools and code mode."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.clients.codex import CODE_MODE_SLUG, PLAIN_TOOLS_SLUG, CodexRun, run_codex
from support.fakes.chat import Script
from support.fakes.scenario import Scenario, assert_continues
from support.scripts.chat import Answer, Call, Refused, call, custom_call
from support.servers.byte_relay import ByteRelay, client_messages, client_requests
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 20


def test_twenty_shell_calls_go_as_deltas_over_one_socket(
    landline: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(*(call("exec_command", cmd=f"echo number {number}") for number in range(CALLS)), _DONE)
    run, relay = _run(landline, scenario, tmp_path)
    assert run.answer == "All done.", run.report
    upgrade = relay.connections[0].response_head
    assert b"permessage-deflate" in upgrade
    assert b"client_no_context_takeover" not in upgrade
    window = re.search(rb"client_max_window_bits=(\d+)", upgrade)
    assert window is None or window[1] == b"15"
    frames = _socket_frames(relay)
    assert len(frames) == CALLS + 2
    warm_up, first, *deltas = frames
    assert (warm_up["generate"], "previous_response_id" in warm_up) == (False, False)
    assert first["previous_response_id"]
    assert all(frame["store"] is False and frame["stream"] is True for frame in frames)
    assert [[item["type"] for item in frame["input"]] for frame in deltas] == [["function_call_output"]] * CALLS
    # The warm-up has tools and a developer message, which a chat-completions server cannot take ahead of a turn.
    assert len(scenario.received) == CALLS + 1
    scenario.assert_conversation()
    for number, received in enumerate(scenario.received[1:]):
        assert f"number {number}" in str(received.messages[-1]["content"])


def test_parallel_calls_are_answered_together(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    calls = tuple(Call("exec_command", {"cmd": f"echo parallel {number}"}) for number in range(3))
    scenario = scripted(Answer("Three at once.", reasoning="Let me see.", calls=calls), _DONE)
    run, relay = _run(landline, scenario, tmp_path)
    assert run.answer == "All done.", run.report
    assert [item["type"] for item in _socket_frames(relay)[-1]["input"]] == ["function_call_output"] * 3
    scenario.assert_conversation()


def test_cut_line_is_resumed_with_the_same_conversation(
    landline: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    half = Answer("All done.", pause_after=2)
    scenario = scripted(call("exec_command", cmd="echo before the cut"), half, half)

    def cut(relay: ByteRelay) -> None:
        scenario.wait_for_requests(2)
        relay.cut()
        scenario.release()
        scenario.release()

    run, relay = _run(landline, scenario, tmp_path, during=cut)
    assert run.answer == "All done.", run.report
    assert len(relay.connections) == 2
    resent = json.loads(client_messages(relay.connections[1])[-1])
    assert resent.get("previous_response_id") is None
    first, *asked_again = scenario.received
    assert all(each.messages == asked_again[0].messages for each in asked_again)
    assert_continues(first, asked_again[0])


def test_rate_limit_is_waited_out(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    limited = Refused(429, "Too fast.", type="rate_limit_error", headers={"retry-after": "1"})
    scenario = scripted(call("exec_command", cmd="echo before the limit"), limited, _DONE)
    run, _ = _run(landline, scenario, tmp_path)
    assert run.answer == "All done.", run.report
    assert scenario.received[1].messages == scenario.received[2].messages


def test_falls_back_to_http_when_sockets_are_off(
    landline_without_sockets: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    scenario = scripted(call("exec_command", cmd="echo over http"), _DONE)
    run, relay = _run(landline_without_sockets, scenario, tmp_path)
    assert run.answer == "All done.", run.report
    upgrades = [each for each in relay.connections if each.is_websocket]
    assert [each.response_head.split(b" ")[1] for each in upgrades] == [b"426"]
    posts = [request for each in relay.connections if not each.is_websocket for request, _ in client_requests(each)]
    assert [request.method for request in posts] == [b"POST", b"POST"]
    scenario.assert_conversation()


def test_custom_apply_patch_changes_a_file(landline: RunningServer, scripted: Script, tmp_path: Path) -> None:
    patch = "*** Begin Patch\n*** Add File: made.txt\n+by a patch\n*** End Patch\n"
    scenario = scripted(custom_call("apply_patch", patch), _DONE)
    run, relay = _run(landline, scenario, tmp_path, like=PLAIN_TOOLS_SLUG)
    assert run.answer == "All done.", run.report
    assert (tmp_path / "work" / "made.txt").read_text() == "by a patch\n"
    assert [item["type"] for item in _socket_frames(relay)[-1]["input"]] == ["custom_tool_call_output"]
    scenario.assert_conversation()


def test_code_mode_calls_a_custom_tool_in_a_namespace(
    landline: RunningServer, scripted: Script, tmp_path: Path
) -> None:
    script = "const r = await tools.exec_command({cmd: 'echo from code mode'}); text(r.output);"
    scenario = scripted(custom_call("exec", script), custom_call("exec", script), _DONE)
    run, relay = _run(landline, scenario, tmp_path, like=CODE_MODE_SLUG)
    assert run.answer == "All done.", run.report
    warm_up, first, *deltas = _socket_frames(relay)
    assert (warm_up["generate"], warm_up["input"]) == (False, [])
    assert "tools" not in first
    assert first["input"][0]["type"] == "additional_tools"
    assert [[item["type"] for item in frame["input"]] for frame in deltas] == [["custom_tool_call_output"]] * 2
    assert "from code mode" in str(scenario.received[-1].messages[-1]["content"])
    offered = [received.body["tools"] for received in scenario.received]
    assert offered[0] == offered[1] == offered[2]
    scenario.assert_conversation()


_DONE = Answer("All done.")


def _run(
    server: RunningServer,
    scenario: Scenario,
    folder: Path,
    *,
    like: str = "",
    during: Callable[[ByteRelay], None] | None = None,
) -> tuple[CodexRun, ByteRelay]:
    """Runs one task; `during` is called beside it."""
    work_folder = folder / "work"
    work_folder.mkdir()
    with ByteRelay(server.port) as relay, ThreadPoolExecutor(1) as beside:
        done = beside.submit(during, relay) if during is not None else None
        run = run_codex(
            "Do what is to be done.",
            base_url=relay.base_url,
            model=scenario.model,
            home=folder / "home",
            work_folder=work_folder,
            like=like,
        )
        if done is not None:
            done.result()
    return run, relay


def _socket_frames(relay: ByteRelay) -> list[dict[str, Any]]:
    """All frames of the one socket that Codex opened."""
    (connection,) = relay.connections
    assert connection.is_websocket
    return [json.loads(message) for message in client_messages(connection)]
