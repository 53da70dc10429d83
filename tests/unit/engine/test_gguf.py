from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landline.engine.gguf import GgufHead, NotGgufError, read_gguf_head
from landline.wire.responses import Sampling
from support.engine.gguf_files import Value, write_gguf

METADATA = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "tokenizer.ggml.tokens": ["a", "bc", ""],
    "tokenizer.ggml.scores": [1, 2, 3],
    "general.quantized": True,
    "llama.rope.freq_base": 10000.0,
    "llama.context_length": 2048,
    "tokenizer.chat_template": "{{ messages }}",
}


@pytest.mark.parametrize("version", [2, 3])
def test_the_head_is_read_past_all_kinds_of_values(tmp_path: Path, version: int) -> None:
    path = write_gguf(tmp_path / "model.gguf", METADATA, version)
    assert read_gguf_head(path) == GgufHead("llama", "Tiny", 2048, "{{ messages }}")


def test_what_a_file_does_not_say_is_none(tmp_path: Path) -> None:
    assert read_gguf_head(write_gguf(tmp_path / "model.gguf", {})) == GgufHead("", None, None, None)


def test_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotGgufError, match="version 1"):
        read_gguf_head(write_gguf(tmp_path / "model.gguf", {}, version=1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400))
def test_a_cut_file_is_refused_or_read(tmp_path: Path, cut: int) -> None:
    whole = write_gguf(tmp_path / "model.gguf", METADATA).read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: max(len(whole) - 32 - cut, 0)])
    if cut == 0:
        assert read_gguf_head(path).name == "Tiny"
    else:
        with pytest.raises(NotGgufError):
            read_gguf_head(path)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, Sampling()),
        ({"general.sampling.temp": 0.6, "general.sampling.top_p": 0.95}, Sampling(0.6, 0.95)),
        ({"general.sampling.temp": 1}, Sampling(1.0, None)),
        ({"general.sampling.temp": 0, "general.sampling.top_k": 20}, Sampling(0.0, None)),
        ({"general.sampling.temp": 7.5, "general.sampling.top_p": -1.0}, Sampling()),
        ({"general.sampling.temp": float("nan"), "general.sampling.top_p": True}, Sampling()),
        ({"general.sampling.temp": "warm"}, Sampling()),
    ],
    ids=str,
)
def test_recommended_sampling_is_read_as_it_was_meant(
    tmp_path: Path, metadata: dict[str, Value], expected: Sampling
) -> None:
    assert read_gguf_head(write_gguf(tmp_path / "model.gguf", metadata)).sampling == expected


SHAPE: dict[str, Value] = {
    "general.architecture": "a",
    "a.block_count": 4,
    "a.embedding_length": 64,
    "a.attention.head_count": 8,
}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (SHAPE, 4 * 8 * (8 + 8) * 2),
        (SHAPE | {"a.attention.head_count_kv": 2}, 4 * 2 * (8 + 8) * 2),
        (SHAPE | {"a.attention.head_count_kv": [2, 0, 0, 1]}, 3 * (8 + 8) * 2),
        (SHAPE | {"a.attention.key_length": 32, "a.attention.value_length": 16}, 4 * 8 * (32 + 16) * 2),
        (SHAPE | {"a.attention.head_count": [8, 8, 8, 8], "a.attention.head_count_kv": 1}, 4 * 1 * (8 + 8) * 2),
        ({"general.architecture": "a"}, None),
        (SHAPE | {"a.attention.head_count": 0}, None),
        (SHAPE | {"a.block_count": "four"}, None),
    ],
    ids=str,
)
def test_size_of_the_cache_follows_from_the_shape(
    tmp_path: Path, metadata: dict[str, Value], expected: int | None
) -> None:
    assert read_gguf_head(write_gguf(tmp_path / "model.gguf", metadata)).kv_token_bytes == expected
