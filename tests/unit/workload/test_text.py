"""Made-up text is as compressible as the text that it stands for, and has exactly the size that was asked for."""

import json
import zlib
from pathlib import Path

import pytest

from landline.workload import make_task, recorded_profile
from landline.workload.text import TextSource

ROOT = Path(__file__).resolve().parents[3]


def deflated_bytes(pieces: list[bytes]) -> int:
    """As a socket sends them one after the other: level 6, the widest window, context kept."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return sum(len(compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)) for piece in pieces)


def json_text(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


@pytest.mark.parametrize("size_bytes", [0, 1, 2, 3, 60, 61, 62, 63, 3705, 17470])
def test_text_has_its_size_as_a_json_string(size_bytes: int) -> None:
    assert len(json_text(TextSource(1, 0.03).take(size_bytes))) == size_bytes + len(b'""')


def test_text_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    one, again, other = (TextSource(seed, 0.03).take(500) for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_messages_and_tools_deflate_as_the_recorded_ones_did(seed: int) -> None:
    profile = recorded_profile()
    task = make_task(profile, seed=seed)
    assert deflated_bytes([b"".join(task.messages)]) == pytest.approx(profile.messages_deflated_bytes, rel=0.05)
    assert deflated_bytes([task.tools]) == pytest.approx(profile.tools_deflated_bytes, rel=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_outputs_deflate_no_better_than_the_source_code_that_agents_read(seed: int) -> None:
    profile = recorded_profile()
    outputs = [json_text(step.output) for step in make_task(profile, seed=seed).steps]
    size = profile.calls[0].output_bytes
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "src" / "landline").rglob("*.py"))]
    real = [json_text(source[:size]) for source in sources if len(source) > size]
    ours, theirs = ratio(outputs), ratio(real)
    assert theirs * 0.75 < ours < theirs


def ratio(pieces: list[bytes]) -> float:
    return sum(map(len, pieces)) / deflated_bytes(pieces)
