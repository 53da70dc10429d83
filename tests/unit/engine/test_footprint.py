"""What a model takes is known before it is loaded."""

from pathlib import Path
from typing import Any

import pytest

from landline.engine import footprint
from landline.engine.catalog import resolve_model
from landline.engine.footprint import describe_footprint, footprint_of
from landline.engine.settings import EngineSettings
from support.engine.gguf_files import Value, write_gguf

SHAPE: dict[str, Value] = {
    "general.architecture": "a",
    "a.context_length": 8192,
    "a.block_count": 30,
    "a.embedding_length": 576,
    "a.attention.head_count": 9,
    "a.attention.head_count_kv": 3,
}


def describe(tmp_path: Path, metadata: dict[str, Value], **settings: Any) -> list[str]:
    model = resolve_model(str(write_gguf(tmp_path / "m.gguf", metadata)))
    return describe_footprint(footprint_of(model, EngineSettings(**settings)))


def test_memory_is_that_of_all_slots(tmp_path: Path) -> None:
    [told] = describe(tmp_path, SHAPE, slots=4, context_per_slot=4096)
    assert told == "Context: 4 slots of 4,096 tokens each; its KV cache takes up to 377 MB, the weights 0 MB."


def test_context_beyond_what_the_model_was_trained_for_is_cut_and_told(tmp_path: Path) -> None:
    told, cut = describe(tmp_path, SHAPE, slots=1, context_per_slot=32768)
    assert told.startswith("Context: 1 slot of 8,192 tokens; its KV cache takes up to 189 MB")
    assert cut == ("The context asked for, 32,768 tokens, is more than the model was trained for: each slot has 8,192.")


def test_a_file_that_tells_nothing_is_not_guessed_at(tmp_path: Path) -> None:
    [told] = describe(tmp_path, {}, slots=2, context_per_slot=32768)
    assert told.startswith("Context: 2 slots of 32,768 tokens each; the file does not tell how much its KV cache takes")


def test_less_memory_than_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "memory_bytes", lambda: 100_000_000)
    _, short = describe(tmp_path, SHAPE, slots=4, context_per_slot=4096)
    assert short.startswith("That is more than the 100 MB of memory here: ask for fewer slots")
