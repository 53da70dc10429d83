"""What does AIPerf, which is not ours, measure of conversations over sockets and over HTTP?

Runs AIPerf (`make aiperf` installs it) against a Landline whose upstream is a script: the same conversations through the
socket's transport and through AIPerf's own, then a synthesized agentic workload through the socket. All use the offline tokenizer.
AIPerf's summaries are kept beside the table, without paths.

    python benchmarks/aiperf_sockets.py [--conversations 500] [--turns 20] [--concurrency 8] [--folder FOLDER]
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from setting import REPOSITORY, RESULTS_FOLDER, describe_setting
from support.servers.running import RunningServer

BIN = REPOSITORY / ".venv-aiperf" / "bin"
TOKENIZER = "aiperf-responses-websocket/bpe-8k"
ANSWER_TOKENS = 32
TRANSCRIPT: list[list[dict[str, Any]]] = [
    [
        {"type": "text_deltas", "count": ANSWER_TOKENS, "text": "word "},
        {"type": "usage", "input_tokens": 100, "output_tokens": ANSWER_TOKENS},
    ]
]
CONFIGURATION = """
[limits]
min_output_tokens = 1
[store]
url = "memory"
[targets.scripted]
dialect = "scripted"
transcript = "answers.json"
[models."scripted"]
targets = ["scripted"]
"""
COMMON = (
    f"profile --model scripted --endpoint-type responses --streaming --tokenizer {TOKENIZER} --random-seed 1 "
    "--extra-inputs store:false --ui none --no-gpu-telemetry --no-server-metrics --workers-max 2 --export-http-trace"
)
AGENTIC = "--custom-dataset-type mooncake_trace --no-fixed-schedule --num-conversations 2 --concurrency 2 --input-file"
METRICS = {
    "turns a second": ("request_throughput", ("avg",)),
    "time to first token, ms": ("time_to_first_token", ("p50", "p99")),
    "turn, ms": ("request_latency", ("p50", "p99")),
    "input, tokens": ("input_sequence_length", ("p50", "max")),
    "sent a turn, KiB": ("http_req_data_sent", ("p50", "max")),
    "received a turn, KiB": ("http_req_data_received", ("p50", "max")),
}
_PRIVATE = frozenset(("input_config", "run_info", "benchmark_id"))
"""Members of AIPerf's summary that hold paths and the whole configuration."""


class Case(NamedTuple):
    name: str
    transport: str
    words: str
    """What is asked, for AIPerf's command line."""


class Outcome(NamedTuple):
    case: Case
    summary: dict[str, Any]
    """AIPerf's own, without `_PRIVATE`."""
    turns: int
    conversations: int
    errors: int
    sent_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--conversations", type=int, default=500)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument(
        "--folder", type=Path, help="keeps AIPerf's artefacts here; a run that lies there is not repeated"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = (options.folder or Path(scratch)).resolve()
        outcomes = _run(folder, _cases(folder, options.conversations, options.turns, options.concurrency))
    _write(outcomes, options.concurrency)


def _cases(folder: Path, conversations: int, turns: int, concurrency: int) -> list[Case]:
    sizes = f"--isl 200 --isl-stddev 0 --osl {ANSWER_TOKENS} --concurrency {concurrency}"
    words = f"--num-conversations {conversations} --conversation-turn-mean {turns} --conversation-turn-stddev 0 {sizes}"
    agentic = f"{AGENTIC} {folder / 'agentic-code.jsonl'}"
    return [
        Case("websocket", "responses-websocket", words),
        Case("http", "http", words),
        Case("agentic-code", "responses-websocket", agentic),
    ]


def _run(folder: Path, cases: list[Case]) -> list[Outcome]:
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([BIN / "python", "-m", "aiperf_responses_websocket.tokenizer", folder / "tokenizer"], check=True)
    (folder / "answers.json").write_text(json.dumps(TRANSCRIPT))
    environment = os.environ | {"HF_HOME": str(folder / "tokenizer"), "HF_HUB_OFFLINE": "1"}
    if not (folder / "agentic-code.jsonl").exists():
        made = folder / "synthesized"
        synthesize = f"synthesize agentic-code --num-sessions 2 --seed 1 --output {made}"
        subprocess.run([BIN / "aiperf", *synthesize.split()], env=environment, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(next(made.rglob("dataset.jsonl")), folder / "agentic-code.jsonl")
    with RunningServer(CONFIGURATION, folder) as server:
        for case in cases:
            out = folder / case.name
            if not (out / "profile_export_aiperf.json").exists():
                url = f"--url http://127.0.0.1:{server.port} --transport {case.transport} --output-artifact-dir {out}"
                words = f"{COMMON} {url} {case.words}".split()
                subprocess.run([BIN / "aiperf", *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    return [_outcome(case, folder / case.name) for case in cases]


def _outcome(case: Case, artefacts: Path) -> Outcome:
    summary: dict[str, Any] = json.loads((artefacts / "profile_export_aiperf.json").read_text())
    lines = (artefacts / "profile_export.jsonl").read_text().splitlines()
    records: list[dict[str, Any]] = [json.loads(line) for line in lines]
    sent_kb: list[float] = [each["metrics"]["http_req_data_sent"]["value"] for each in records if "error" not in each]
    return Outcome(
        case,
        {name: value for name, value in summary.items() if name not in _PRIVATE},
        turns=len(records),
        conversations=len({each["metadata"]["x_correlation_id"] for each in records}),
        errors=sum("error" in each for each in records),
        sent_mib=sum(sent_kb) / 1024,
    )


def _write(outcomes: list[Outcome], concurrency: int) -> None:
    kept = RESULTS_FOLDER / "aiperf"
    kept.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        (kept / f"{outcome.case.name}.json").write_text(json.dumps(outcome.summary, indent=1) + "\n")
    text = "\n".join(_report(outcomes, concurrency)) + "\n"
    print(text)
    (kept / "README.md").write_text(text)


def _report(outcomes: list[Outcome], concurrency: int) -> list[str]:
    rows = {
        "conversations": [f"{each.conversations:,}" for each in outcomes],
        "turns": [f"{each.turns:,}" for each in outcomes],
        "**errors**": [f"**{each.errors}**" for each in outcomes],
        "sent in all, MiB": [f"{each.sent_mib:,.1f}" for each in outcomes],
    }
    for label, (metric, kinds) in METRICS.items():
        rows[f"{label} ({', '.join(kinds)})"] = [
            " / ".join(f"{each.summary[metric][kind]:,.1f}" for kind in kinds) for each in outcomes
        ]
    return [
        "# AIPerf over sockets and over HTTP",
        "",
        f"`python benchmarks/aiperf_sockets.py`: the same conversations over both transports, {concurrency} at once, one run each,",
        f"`store: false`, a new message of 200 tokens a turn, answers of {ANSWER_TOKENS} deltas at once; then two sessions of",
        "`aiperf synthesize agentic-code` over sockets, with their pauses. A token is one of the offline tokenizer's.",
        "",
        *describe_setting("landline"),
        f"- AIPerf {outcomes[0].summary['aiperf_version']}, on the same machine, with two workers",
        "",
        f"| what | {' | '.join(each.case.name for each in outcomes)} |",
        f"| --- |{' --- |' * len(outcomes)}",
        *(f"| {label} | {' | '.join(cells)} |" for label, cells in rows.items()),
        "",
        "AIPerf's own summaries of the runs are beside this page. Not shown: a model (the script answers at once), a line (loopback",
        "costs nothing to upload on), and a capacity: AIPerf takes more CPU than what it measures, and times include its own queues.",
        "On a machine with other work, as load averages tell, errors and bytes are a result and times are none.",
    ]


if __name__ == "__main__":
    main()
