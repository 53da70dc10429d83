"""What does the compression of a socket cost in memory, is it counted right, and what does each narrower step lose?

For each step of `CompressionBudget`, a fresh process makes 1,000 sockets' ends of permessage-deflate, as a handshake makes
them, and sends a message of 80 kB through each in both directions: the growth of its resident memory is set beside what
is counted. Then the bytes that a Codex-like socket leaves: up, 21 creates with 17.8 kB of tools and 3.6 kB of digits each;
down, 20 turns that echo the tools three times, with 64 small deltas between. At last, how many sockets a budget holds. The
same for sockets to upstreams, whose inflaters are aiohttp's.

    python benchmarks/compression_memory.py
"""

import json
import random
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

from aiohttp.compression_utils import ZLibDecompressor
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from landline.compression_budget import (
    DEFAULT_BUDGET_BYTES,
    STEPS,
    CompressionBudget,
    CompressionOffer,
    Peer,
    Step,
    StepName,
)
from landline.server.compression import LineDeflate, LineDeflateFactory
from landline.upstream.line_socket import UPSTREAM_OFFER, LineCompressor
from outbound_compression import SYNC_TAIL_BYTES, codex_turns
from setting import REPOSITORY, describe_setting, write_result

SOCKETS = 1000
MESSAGE_BYTES = 80_000
CREATES = 21
TURNS = 20
CLIENT_OFFER = CompressionOffer()
USUAL: list[tuple[str, str | None]] = [("client_max_window_bits", None)]
SCHEMA = REPOSITORY / "tests" / "openresponses" / "openapi.json"


def main() -> None:
    if len(sys.argv) > 1:
        measure = {"client": _grown_bytes, "upstream": _grown_upstream_bytes}[sys.argv[1]]
        print(measure(next(step.name for step in STEPS if step.name == sys.argv[2])))
        return
    lines = [
        "# The memory of compression",
        "",
        f"`python benchmarks/compression_memory.py`: {SOCKETS:,} sockets a step, each in use in both directions; the file's",
        "head says exactly what is measured.",
        "",
        *describe_setting("landline", "websockets"),
        f"- zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "",
        "| step | bytes counted a socket | bytes measured | bytes left, up | bytes left, down | sockets in 512 MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    held = _fill(CompressionBudget(DEFAULT_BUDGET_BYTES))
    for step in STEPS:
        _, server = _negotiate(step.name)
        counted = _budget_at(step.name).grant(CompressionOffer()).size_bytes
        measured = _measure("client", step.name)
        up, down = _left(step.name)
        lines.append(
            f"| {server.words} | {counted:,} | {measured:,} ({measured / counted - 1:+.1%}) | {up:.1%} | {down:.1%} "
            f"| {held[step.name]:,} |"
        )
    lines += [
        "",
        "Alone, a message's inflater lives as long as its fragments are still coming, and is counted for that; between",
        "messages there is none.",
        "",
        "| step, to upstreams | bytes counted a socket | bytes measured | bytes left, up |",
        "| --- | --- | --- | --- |",
    ]
    for step in STEPS:
        if step.keeps_context:
            counted = _budget_at(step.name, UPSTREAM_OFFER).grant(UPSTREAM_OFFER).size_bytes
            measured = _measure("upstream", step.name)
            words = f"deflate, in 15-bit window, out {step.out_bits}-bit window"
            lines.append(
                f"| {words} | {counted:,} | {measured:,} ({measured / counted - 1:+.1%}) | {_left_up(step):.1%} |"
            )
    lines += ["", "Not shown: CPU, and the memory of the sockets themselves."]
    write_result("compression_memory", lines)


def _measure(peer: Peer, step: StepName) -> int:
    """What a fresh process measures."""
    run = subprocess.run([sys.executable, __file__, peer, step], capture_output=True, check=True)
    return int(run.stdout)


def _negotiate(step: StepName) -> tuple[dict[str, str | None], LineDeflate]:
    """The answer to a usual offer when memory is so short that it gets this step, and the server's end."""
    answer, server = LineDeflateFactory(_budget_at(step)).process_request_params(USUAL, [])
    assert isinstance(server, LineDeflate)
    return dict(answer), server


def _budget_at(step: StepName, offer: CompressionOffer = CLIENT_OFFER) -> CompressionBudget:
    """One of which the next socket with this offer gets this step."""
    budget = CompressionBudget(16 * 1024 * 1024)
    while (grant := budget.grant(offer)).step != step:
        pass
    budget.release(grant)
    return budget


def _fill(budget: CompressionBudget) -> Counter[str]:
    held: Counter[str] = Counter()
    while (grant := budget.grant(CompressionOffer())).step != "none":
        held[grant.step] += 1
    return held


def _grown_bytes(step: StepName) -> int:
    """Resident memory for each of many ends that were used; those without context are caught in mid-message."""
    answer, first = _negotiate(step)
    client = _client(answer)
    message = Frame(Opcode.TEXT, random.Random(1).randbytes(MESSAGE_BYTES).hex().encode()[:MESSAGE_BYTES])
    sent = client.encode(message)
    is_alone = "client_no_context_takeover" in answer
    if is_alone:
        sent = Frame(Opcode.TEXT, sent.data[:-100], fin=False, rsv1=True)
    _use(first, sent, message)
    grant = _budget_at(step).grant(CompressionOffer())
    before = _resident_bytes()
    agreed = PerMessageDeflate(is_alone, False, 15, 15)
    ends = [LineDeflate(agreed, grant) for _ in range(SOCKETS)]
    for end in ends:
        _use(end, sent, message)
    return (_resident_bytes() - before) // SOCKETS


def _grown_upstream_bytes(step: StepName) -> int:
    """The same for ends of sockets to upstreams."""
    message = random.Random(1).randbytes(MESSAGE_BYTES // 2).hex().encode()
    grant = _budget_at(step, UPSTREAM_OFFER).grant(UPSTREAM_OFFER)

    def use() -> tuple[LineCompressor, ZLibDecompressor]:
        compressor = LineCompressor(grant.out_bits, grant.memory_level)
        decompressor = ZLibDecompressor(suppress_deflate_header=True)
        decompressor.decompress_sync(compressor.compress_sync(message) + compressor.flush(zlib.Z_SYNC_FLUSH))
        return compressor, decompressor

    first = use()
    before = _resident_bytes()
    ends = [first, *(use() for _ in range(SOCKETS))]
    return (_resident_bytes() - before) // (len(ends) - 1)


def _use(end: LineDeflate, received: Frame, answered: Frame) -> None:
    end.decode(received)
    end.encode(answered)


def _client(answer: dict[str, str | None]) -> PerMessageDeflate:
    is_alone = "client_no_context_takeover" in answer
    client_bits = int(answer["client_max_window_bits"] or 15)
    return PerMessageDeflate(False, is_alone, 15, client_bits, {"memLevel": 5})


def _left(step: StepName) -> tuple[float, float]:
    """The share of a Codex-like socket's bytes that is left after compression, up and down."""
    answer, server = _negotiate(step)
    client = _client(answer)
    creates = _creates()
    answers = [frame for turn in codex_turns(TURNS) for frame in turn]
    up = sum(len(client.encode(Frame(Opcode.TEXT, each)).data) for each in creates)
    down = sum(len(server.encode(Frame(Opcode.TEXT, each)).data) for each in answers)
    return up / sum(map(len, creates)), down / sum(map(len, answers))


def _left_up(step: Step) -> float:
    """The share of a Codex-like socket's uploads that is left on the way to the upstream."""
    compressor = LineCompressor(step.out_bits, step.memory_level)
    creates = _creates()
    sizes = [len(compressor.compress_sync(each)) + len(compressor.flush(zlib.Z_SYNC_FLUSH)) for each in creates]
    return (sum(sizes) - SYNC_TAIL_BYTES * len(sizes)) / sum(map(len, creates))


def _creates() -> list[bytes]:
    source = random.Random(1)
    tools = json.dumps(json.loads(SCHEMA.read_text())["components"]["schemas"])[:17_800]
    creates: list[bytes] = []
    for _ in range(CREATES):
        output = {"type": "function_call_output", "call_id": f"call_{source.randbytes(12).hex()}"}
        output["output"] = source.randbytes(1800).hex()
        create = {"type": "response.create", "model": "m", "stream": True, "store": False, "tools": tools}
        create |= {"previous_response_id": f"resp_{source.randbytes(24).hex()}", "input": [output]}
        creates.append(json.dumps(create, separators=(",", ":")).encode())
    return creates


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
