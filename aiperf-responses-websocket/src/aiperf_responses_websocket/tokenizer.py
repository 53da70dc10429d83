"""`python -m aiperf_responses_websocket.tokenizer FOLDER` makes a tokenizer that AIPerf finds without a network.

It is a byte-level BPE, learnt from the text that AIPerf makes its prompts of, and no model's own: its counts compare runs with
each other, not with a model's bill. FOLDER becomes a Hugging Face cache, because AIPerf's worker processes look nowhere else
when they are offline: a path to a folder fails there.
"""

import hashlib
import json
import sys
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

NAME = "aiperf-responses-websocket/bpe-8k"
"""For `--tokenizer`, with `HF_HOME=FOLDER HF_HUB_OFFLINE=1`."""
VOCABULARY_SIZE = 8_192
END_OF_TEXT = "<|endoftext|>"
_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END_OF_TEXT,
    "eos_token": END_OF_TEXT,
    "clean_up_tokenization_spaces": False,
    "model_max_length": 10_000_000,
}


def write_tokenizer(folder: Path) -> None:
    """Writes it into the cache in this folder; the same one each time."""
    learnt = _learn().to_str()
    revision = hashlib.sha1(learnt.encode(), usedforsecurity=False).hexdigest()
    entry = folder / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = entry / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    (entry / "refs").mkdir(exist_ok=True)
    (entry / "refs" / "main").write_text(revision)
    (snapshot / "tokenizer.json").write_text(learnt, encoding="utf-8")
    (snapshot / "tokenizer_config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")


def _learn() -> Tokenizer:
    corpus = files("aiperf").joinpath("dataset/generator/assets/shakespeare.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.splitlines(keepends=True), trainer)
    return tokenizer


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m aiperf_responses_websocket.tokenizer FOLDER")
    write_tokenizer(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
