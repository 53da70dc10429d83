"""Is it worth compressing what a server streams, and how? Bytes and CPU time of zlib's settings on Codex-like turns.

One socket, 20 turns. Each turn's response echoes about 18 kB of tools in `response.created`, `response.in_progress` and
`response.completed`, as Codex CLI's does, with 64 text deltas of some 190 bytes between them. The tools are cut out of the
Open Responses schema. "All" compresses every frame, "large" only those over 1 kB; with context takeover one compressor
lives as long as the socket, without it each frame has a fresh one. Only zlib is timed, not the socket.

    python benchmarks/outbound_compression.py
"""

import json
import secrets
import time
import zlib
from typing import Any

from setting import REPOSITORY, describe_setting, write_result

TURNS = 20
DELTAS = 64
TOOL_BYTES = 18_000
WORDS = ("the ", "answer ", "is ", "forty-two ", "because ")
LARGE_BYTES = 1024
REPETITIONS = 5
SYNC_TAIL_BYTES = 4
SCHEMA = REPOSITORY / "tests" / "openresponses" / "openapi.json"


def main() -> None:
    turns = codex_turns(TURNS)
    plain = sum(len(frame) for turn in turns for frame in turn)
    lines = [
        "# Compressing what is streamed",
        "",
        f"`python benchmarks/outbound_compression.py`: {TURNS} turns on one socket, {plain:,} bytes plain, 15-bit window;",
        f"best of {REPETITIONS} runs. The file's head says exactly what is timed.",
        "",
        *describe_setting("landline"),
        f"- zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "",
        "| frames | takeover | level | memLevel | bytes left | µs a delta | µs a large frame | µs a turn |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, takeover, level, memory in _settings():
        size, small_us, large_us = _measure(turns, kind == "all", takeover, level, memory)
        turn_us = (small_us * DELTAS if kind == "all" else 0.0) + large_us * 3
        small = f"{small_us:.1f}" if kind == "all" else "-"
        keeps = "yes" if takeover else "no"
        lines.append(
            f"| {kind} | {keeps} | {level} | {memory} | {size / plain:.1%} | {small} | {large_us:.0f} | {turn_us:.0f} |"
        )
    lines += ["", "Not shown: headers of frames, packets and TLS records, which coalescing the writes saves as well."]
    write_result("outbound_compression", lines)


def _settings() -> list[tuple[str, bool, int, int]]:
    chosen = [("all", True, level, 5) for level in (1, 3, 4, 6, 9)]
    return [*chosen, ("all", True, 6, 8), ("large", True, 6, 5), ("large", False, 6, 5), ("all", False, 6, 5)]


def codex_turns(count: int) -> list[list[bytes]]:
    """The events of one socket's turns, as JSON."""
    return [_turn(number) for number in range(count)]


def _turn(number: int) -> list[bytes]:
    tools = json.dumps(json.loads(SCHEMA.read_text())["components"]["schemas"])[:TOOL_BYTES]
    ids = {"id": f"resp_{secrets.token_hex(24)}", "previous_response_id": f"resp_{secrets.token_hex(24)}"}
    item_id = f"msg_{secrets.token_hex(24)}"
    response = {**ids, "object": "response", "created_at": 1_790_000_000 + number, "tools": tools}

    def whole(kind: str, sequence_number: int) -> dict[str, object]:
        return {"type": f"response.{kind}", "sequence_number": sequence_number, "response": response}

    events = [whole("created", 0), whole("in_progress", 1)]
    for index in range(DELTAS):
        place = {"item_id": item_id, "output_index": 0, "content_index": 0}
        delta: dict[str, Any] = {"delta": secrets.choice(WORDS), "logprobs": []}
        events.append({"type": "response.output_text.delta", "sequence_number": index + 2, **place, **delta})
    events.append(whole("completed", DELTAS + 2))
    return [json.dumps(event, separators=(",", ":")).encode() for event in events]


def _measure(
    turns: list[list[bytes]], compresses_all: bool, takeover: bool, level: int, memory: int
) -> tuple[int, float, float]:
    """Bytes that leave, and the best microseconds for a small and for a large frame."""
    best_small = best_large = float("inf")
    size = 0
    for _ in range(REPETITIONS):
        compressor = zlib.compressobj(level, zlib.DEFLATED, -15, memory)
        size = 0
        seconds = {"small": 0.0, "large": 0.0}
        for frame in (frame for turn in turns for frame in turn):
            kind = "large" if len(frame) > LARGE_BYTES else "small"
            if kind == "small" and not compresses_all:
                size += len(frame)
                continue
            start = time.perf_counter()
            if not takeover:
                compressor = zlib.compressobj(level, zlib.DEFLATED, -15, memory)
            data = compressor.compress(frame) + compressor.flush(zlib.Z_SYNC_FLUSH)
            seconds[kind] += time.perf_counter() - start
            size += len(data) - SYNC_TAIL_BYTES
        best_small = min(best_small, seconds["small"] * 1e6 / (TURNS * DELTAS))
        best_large = min(best_large, seconds["large"] * 1e6 / (TURNS * 3))
    return size, best_small, best_large


if __name__ == "__main__":
    main()
