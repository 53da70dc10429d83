"""Real clients on a server that has no memory left for wide compression windows: they go on, and it is visible."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import openai
import pytest
from prometheus_client import parser
from prometheus_client.samples import Sample

from landline.compression_budget import deflater_bytes, inflater_bytes
from support.clients.codex import run_codex
from support.fakes.chat import FakeChatServer
from support.fakes.responses import AZURE, FakeResponses
from support.scripts.chat import Answer, call
from support.servers.byte_relay import ByteRelay, client_messages
from support.servers.running import RunningServer

pytestmark = pytest.mark.client

CALLS = 5


def _config(fake: FakeChatServer, budget_bytes: int) -> str:
    return f"""
[server]
compression_bytes = {budget_bytes}
[targets.fake]
dialect = "chat_completions"
base_url = "{fake.base_url}"
[models."*"]
targets = ["fake"]
"""


@pytest.mark.parametrize(
    ("budget_bytes", "answered", "words"),
    [
        (400_000, b"permessage-deflate; client_max_window_bits=15", "deflate, 15-bit window"),
        (60_000, b"permessage-deflate; client_max_window_bits=12", "deflate, 12-bit window (memory is short)"),
        (
            15_000,
            b"permessage-deflate; client_max_window_bits=12; client_no_context_takeover",
            "deflate, each message alone (memory is short)",
        ),
        (0, None, "none (memory is short)"),
    ],
)
def test_codex_gets_along_with_what_is_left(
    fake_chat: FakeChatServer, tmp_path: Path, budget_bytes: int, answered: bytes | None, words: str
) -> None:
    scenario = fake_chat.scenario([*(call("exec_command", cmd=f"echo {number}") for number in range(CALLS)), _DONE])
    (tmp_path / "work").mkdir()
    with RunningServer(_config(fake_chat, budget_bytes), tmp_path) as landline, ByteRelay(landline.port) as relay:
        run = run_codex(
            "Count.",
            base_url=relay.base_url,
            model=scenario.model,
            home=tmp_path / "home",
            work_folder=tmp_path / "work",
        )
        [session] = _sessions(landline)
        log = landline.log
    assert run.answer == "All done.", run.report
    scenario.assert_conversation()
    head = relay.connections[0].response_head.lower()
    assert _extensions(head) == answered
    assert len(client_messages(relay.connections[0])) == CALLS + 2
    assert session["compression"] == words
    assert log.count("compression_reduced") == (0 if budget_bytes == 400_000 else 1)


@pytest.mark.parametrize(
    ("budget_bytes", "granted", "used_bytes"),
    [(2**20, "15_bits", inflater_bytes(15) + deflater_bytes(15, 5)), (0, "none", 0)],
)
def test_a_socket_to_an_upstream_is_counted_like_a_client_s(
    tmp_path: Path, budget_bytes: int, granted: str, used_bytes: int
) -> None:
    """The client's own socket is in no row: the openai package for Python offers no compression."""
    with (
        FakeResponses(Answer("Here."), manners=AZURE).in_thread() as fake,
        RunningServer(_upstream_config(fake, budget_bytes), tmp_path) as landline,
        openai.OpenAI(base_url=landline.base_url, api_key="none").responses.connect() as line,
    ):
        line.response.create(model="any", input="Is anyone there?")
        completed = next(event for event in line if event.type == "response.completed")
        lines = {
            (sample.labels["peer"], sample.labels["granted"]): sample.value
            for sample in _samples(landline, "landline_compressed_lines")
        }
        used = {sample.labels["use"]: sample.value for sample in _samples(landline, "landline_memory_bytes")}
    assert completed.response.output_text == "Here."
    assert {key: count for key, count in lines.items() if count} == {("upstream", granted): 1}
    assert used["compression"] == used_bytes
    assert ["Sec-WebSocket-Extensions" in head for head in fake.upgrades] == [bool(budget_bytes)]


def _upstream_config(fake: FakeResponses, budget_bytes: int) -> str:
    return f"""
[server]
compression_bytes = {budget_bytes}
[targets.up]
dialect = "responses"
base_url = "{fake.base_url}"
transport = "websocket"
[models."*"]
targets = ["up"]
"""


def _samples(landline: RunningServer, name: str) -> list[Sample]:
    with urllib.request.urlopen(f"http://127.0.0.1:{landline.port}/metrics") as answer:
        families = parser.text_string_to_metric_families(answer.read().decode())
    return [sample for family in families for sample in family.samples if sample.name == name]


_DONE = Answer("All done.")


def _extensions(head: bytes) -> bytes | None:
    values = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"sec-websocket-extensions")]
    return values[0] if values else None


def _sessions(landline: RunningServer) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{landline.port}/monitor/state") as answer:
        return json.load(answer)["sessions"]["rows"]
