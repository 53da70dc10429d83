"""The real AIPerf against a real Landline: `make aiperf` runs it. No network, no model: a scripted target answers."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiperf_responses_websocket.settings import ENV_PREFIX
from aiperf_responses_websocket.tokenizer import NAME, write_tokenizer

AIPERF = Path(sysconfig.get_path("scripts")) / "aiperf"
TIMEOUT_S = 600.0
ADDRESS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")
ANSWER_TOKENS = 16
TRANSCRIPT = [
    [
        {"type": "text_deltas", "count": ANSWER_TOKENS // 2, "text": "word "},
        {"type": "delay", "ms": 20},
        {"type": "text_deltas", "count": ANSWER_TOKENS // 2, "text": "word "},
        {"type": "usage", "input_tokens": 100, "output_tokens": ANSWER_TOKENS},
    ]
]
CONFIGURATION = """
[limits]
min_output_tokens = {least}
[store]
url = "memory"
[targets.scripted]
dialect = "scripted"
transcript = "answers.json"
[models."scripted"]
targets = ["scripted"]
"""


@pytest.fixture(scope="session")
def tokenizer_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


class Bench:
    """A Landline, and AIPerf runs against it."""

    def __init__(self, url: str, folder: Path, tokenizer_home: Path) -> None:
        self._url = url
        self._tokenizer_home = tokenizer_home
        self.folder = folder

    def aiperf(self, *words: str, **settings: str) -> None:
        """Runs AIPerf with settings of the transport; fails with its output."""
        environment = {**os.environ, "HF_HOME": str(self._tokenizer_home), "HF_HUB_OFFLINE": "1"}
        environment |= {ENV_PREFIX + name: value for name, value in settings.items()}
        ran = subprocess.run(
            [AIPERF, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]

    def profile(self, transport: str, *words: str, **settings: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The summary of a run, and the records of its measured phase."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        common = f"--model scripted --url {self._url} --endpoint-type responses --transport {transport} --streaming"
        fixed = f"--tokenizer {NAME} --random-seed 1 --extra-inputs store:false --extra-inputs ignore_eos:true"
        quiet = "--ui none --no-gpu-telemetry --no-server-metrics --workers-max 1 --export-http-trace"
        self.aiperf("profile", *f"{common} {fixed} {quiet} --output-artifact-dir {out}".split(), *words, **settings)
        records = [json.loads(line) for line in (out / "profile_export.jsonl").read_text().splitlines()]
        measured = [each for each in records if each["metadata"]["benchmark_phase"] == "profiling"]
        return json.loads((out / "profile_export_aiperf.json").read_text()), measured


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path, tokenizer_home: Path) -> Iterator[Bench]:
    """A Landline that allows what the test's parameter says: the least `max_output_tokens`."""
    landline = os.environ.get("LANDLINE") or shutil.which("landline")
    assert landline, "Expected Landline's command in the variable `LANDLINE` or on the path: run `make aiperf`."
    (tmp_path / "answers.json").write_text(json.dumps(TRANSCRIPT))
    (tmp_path / "landline.toml").write_text(CONFIGURATION.format(least=getattr(request, "param", 16)))
    command = [landline, "serve", "--port", "0", "--log-level", "warning", "--config", tmp_path / "landline.toml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            lines = iter(server.stdout.readline, "")
            found = next((match for line in lines if (match := ADDRESS.search(line))), None)
            assert found, "Landline did not start."
            yield Bench(f"http://127.0.0.1:{found[1]}", tmp_path, tokenizer_home)
        finally:
            server.terminate()


def conversations(count: int, turns: int) -> list[str]:
    made = f"--num-conversations {count} --conversation-turn-mean {turns} --conversation-turn-stddev 0 --concurrency 2"
    return f"{made} --isl 300 --isl-stddev 0 --osl {ANSWER_TOKENS}".split()


def by_turn(records: list[dict[str, Any]], metric: str) -> list[float]:
    """A metric of one conversation, in the order of its turns."""
    first = records[0]["metadata"]["x_correlation_id"]
    of_one = [each for each in records if each["metadata"]["x_correlation_id"] == first]
    of_one.sort(key=lambda each: each["metadata"]["turn_index"])
    return [each["metrics"][metric]["value"] for each in of_one]


def assert_no_errors(summary: dict[str, Any], records: list[dict[str, Any]], count: int) -> None:
    assert [each.get("error") for each in records] == [None] * count
    assert summary["request_count"]["avg"] == count


def test_only_the_socket_sends_no_more_as_the_history_grows(bench: Bench) -> None:
    sent: dict[str, list[float]] = {}
    for transport in ("responses-websocket", "http"):
        summary, records = bench.profile(transport, *conversations(3, 4))
        assert_no_errors(summary, records, 12)
        assert summary["time_to_first_token"]["avg"] > 0
        assert summary["inter_token_latency"]["avg"] > 0
        assert summary["usage_completion_tokens"]["avg"] == ANSWER_TOKENS
        lengths = by_turn(records, "input_sequence_length")
        assert lengths == sorted(lengths)
        assert lengths[3] > 3 * lengths[0]
        sent[transport] = by_turn(records, "http_req_data_sent")
        if transport == "responses-websocket":
            assert by_turn(records, "http_req_connection_reused") == [0, 1, 1, 1]
    assert sent["http"][3] > 3 * sent["http"][0]
    assert max(sent["responses-websocket"]) < 2 * min(sent["responses-websocket"])


def test_lanes_deflate_and_both_warm_ups_work_together(bench: Bench) -> None:
    settings = {"LANES": "2", "DEFLATE": "1", "PREWARM": "1", "WARMUP_PHASE": "prefill"}
    words = [*conversations(3, 3), "--warmup-request-count", "2"]
    summary, records = bench.profile("responses-websocket", *words, **settings)
    assert_no_errors(summary, records, 9)
    assert {each["metrics"]["http_req_connection_reused"]["value"] for each in records} == {1}
    assert max(by_turn(records, "http_req_data_sent")) < 1.0  # KiB; the text alone has 1.2 and more


def test_a_synthesized_agentic_workload_is_replayed(bench: Bench) -> None:
    bench.aiperf("synthesize", "agentic-code", "--num-sessions", "1", "--seed", "1", "--output", "made")
    [made] = (bench.folder / "made").rglob("dataset.jsonl")
    turns = [json.loads(line) for line in made.read_text().splitlines()[:6]]
    without_pauses = [{name: value for name, value in turn.items() if name != "delay"} for turn in turns]
    (bench.folder / "trace.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in without_pauses))
    words = "--input-file trace.jsonl --custom-dataset-type mooncake_trace --no-fixed-schedule"
    summary, records = bench.profile("responses-websocket", *words.split(), "--num-conversations", "1")
    assert_no_errors(summary, records, 6)
    lengths, sent = by_turn(records, "input_sequence_length"), by_turn(records, "http_req_data_sent")
    assert lengths == sorted(lengths)
    assert sum(sent[1:]) < sent[0]


@pytest.mark.parametrize("bench", [1], indirect=True)
def test_an_agentic_trace_is_replayed_with_its_warm_up_and_subagents(bench: Bench) -> None:
    traces = bench.folder / "traces"
    traces.mkdir()
    for number in range(2):
        (traces / f"{number}.json").write_text(json.dumps(agentic_trace(f"trace-{number}")))
    scenario = "--scenario inferencex-agentx-mvp --unsafe-override --benchmark-duration 6 --concurrency 2"
    words = f"{scenario} --input-file traces --custom-dataset-type weka_trace"
    summary, records = bench.profile("responses-websocket", *words.split())
    assert_no_errors(summary, records, len(records))
    assert {each["metadata"].get("agent_depth", 0) for each in records} == {0, 1}


def agentic_trace(name: str) -> dict[str, Any]:
    """Six calls with a subagent of two after the second, in the format of Weka's traces: sizes and times only."""
    block = 64

    def request(ids: list[int], at_s: float) -> dict[str, Any]:
        sizes = {"in": len(ids) * block, "out": ANSWER_TOKENS, "hash_ids": ids}
        return {"t": at_s, "type": "s", "model": "scripted", "stop": "tool_use", "api_time": 0.1, **sizes}

    calls = [request(list(range(1, 12 + 2 * turn)), turn * 0.5) for turn in range(6)]
    subagent = {
        "t": 0.6,
        "type": "subagent",
        "agent_id": "agent_001",
        "subagent_type": "Explore",
        "status": "completed",
        "duration_ms": 300,
        "models": ["scripted"],
        "requests": [request(list(range(1_001, 1_008 + turn)), 0.65 + turn * 0.15) for turn in range(2)],
    }
    requests = [*calls[:2], subagent, *calls[2:]]
    return {"id": name, "models": ["scripted"], "block_size": block, "hash_id_scope": "local", "requests": requests}
