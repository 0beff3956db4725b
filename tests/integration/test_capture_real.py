"""Taps on a real encoder with real sentences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertModel

from augment.sources.read import read_source
from augment.tasks import get_task
from distill.models.capture import ActivationCapture


def test_minilm_scores_are_queries_times_keys(shared: Path) -> None:
    """MiniLM's own query and key layers, caught and multiplied: equal to 1e-4 of the scores."""
    folder = shared / "models" / "minilm-l6-mlm"
    model = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = read_source(get_task("mrpc"), str(shared / "data" / "glue" / "mrpc")).splits["train"]
    pairs = [rows[column].to_pylist()[:8] for column in ("sentence1", "sentence2")]
    inputs = tokenizer(*pairs, padding=True, return_tensors="pt")
    caught: dict[str, torch.Tensor] = {}
    for layer in (2, 6):
        attention = model.encoder.layer[layer - 1].attention.self
        for name in ("query", "key"):
            getattr(attention, name).register_forward_hook(
                lambda _m, _args, out, place=f"{name}{layer}": caught.update({place: out})
            )
    with torch.no_grad():
        seen = ActivationCapture(model, [2, 6])(**inputs)
    heads = model.config.num_attention_heads
    assert not inputs["attention_mask"].all()
    for layer in (2, 6):
        query, key = (
            caught[f"{name}{layer}"].unflatten(-1, (heads, -1)).transpose(1, 2)
            for name in ("query", "key")
        )
        expected = query @ key.mT / math.sqrt(query.shape[-1])
        worst = (seen.scores[layer] - expected).abs().max() / expected.abs().max()
        assert worst.item() == pytest.approx(0, abs=1e-4)
