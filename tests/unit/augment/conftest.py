"""A tiny masked LM with a known vocabulary, and a small vectors file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizer,
)

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
WORDS = """
    the a an of to and in is it was don t s they good bad fine great film movie story plot quick
    brown fox dog cat lazy slow ran walked guitar piano music city paris red grey
""".split()  # noqa: SIM905 - a list of words reads best as words
MARKS = [*".,'!?-()[]#3"]
VOCABULARY = list(
    dict.fromkeys([*SPECIALS, *MARKS, *LETTERS, *(f"##{x}" for x in LETTERS), *WORDS, "[unused1]"])
)
MANY_TOKENS = ["ukulele", "banjos", "wonderful", "splendid", "terrible", "unfussily"]


def make_masked_lm(folder: Path, *, positions: int = 128, seed: int = 0) -> Path:
    """Save a random BERT masked LM over ``VOCABULARY``; big weights make it opinionated."""
    return _save(BertForMaskedLM, folder, seed, positions)


def make_classifier(folder: Path, labels: Sequence[str] = ("no", "yes"), seed: int = 4) -> Path:
    """Save a random classifier over ``VOCABULARY``; a single label makes it a regression."""
    named = {"id2label": dict(enumerate(labels)), "num_labels": len(labels)}
    return _save(BertForSequenceClassification, folder, seed, 128, **named)


def _save(kind: Any, folder: Path, seed: int, positions: int, **settings: Any) -> Path:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        **settings,
    )
    model = kind(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(VOCABULARY)})
    tokenizer.save_pretrained(folder)
    assert len(tokenizer) == len(VOCABULARY)
    return folder


def make_vectors(path: Path, words: list[str] | None = None, dimensions: int = 8) -> Path:
    """Write random vectors as GloVe text."""
    generator = np.random.default_rng(3)
    lines = [
        " ".join([word, *(f"{x:.4f}" for x in generator.normal(size=dimensions))])
        for word in words or [*WORDS, *MANY_TOKENS]
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def mlm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_masked_lm(tmp_path_factory.mktemp("mlm"))


@pytest.fixture(scope="session")
def vectors_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vectors(tmp_path_factory.mktemp("vectors") / "vectors.txt")


@pytest.fixture(scope="session")
def classifier_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of RTE: its label names in the other order."""
    return make_classifier(tmp_path_factory.mktemp("teacher"), ("not_entailment", "entailment"))
