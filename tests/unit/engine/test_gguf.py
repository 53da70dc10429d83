from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gguf_files import write_gguf
from landline.engine.gguf import GgufHead, NotGgufError, read_gguf_head

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
