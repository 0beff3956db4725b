"""Floating-point operations, parameters, bytes and milliseconds of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertTokenizerFast

from distill.evaluation import cost
from distill.evaluation.cost import (
    flops_per_sentence,
    measure_latency,
    parameter_counts,
    weight_bytes,
)
from distill.evaluation.target import EvaluationTarget, Logits, Row
from distill.models.loading import Classifier
from tests.unit.distill.helpers import make_bert


def rows_of(lengths: Sequence[int]) -> Dataset:
    ids = [[2, *[5] * (n - 2), 3] for n in lengths]
    return Dataset.from_dict({"input_ids": ids, "length": list(lengths)})


@pytest.mark.parametrize("lengths", [(4,), (4, 4, 9), (3, 5, 8, 8, 13, 21, 34)])
def test_flops_are_those_of_the_matrix_products(
    tokenizer: BertTokenizerFast, lengths: tuple[int, ...]
) -> None:
    layers, width = 3, 32
    model = make_bert(tokenizer, layers=layers, width=width).eval()

    def by_hand(n: int) -> int:
        projections = 4 * n * width * width  # query, key, value, output
        feed_forward = 2 * n * width * 2 * width
        attention = 2 * n * n * width  # scores, and their product with the values
        head = width * width + width * 2  # pooler and classifier see one position
        return 2 * (layers * (projections + feed_forward + attention) + head)

    found = flops_per_sentence(Classifier("x", model, None), rows_of(lengths))

    assert found == round(np.mean([by_hand(n) for n in lengths]))


def test_three_lengths_give_the_flops_of_all_for_other_encoders_too() -> None:
    config = transformers.DistilBertConfig(
        vocab_size=40, dim=32, n_layers=2, n_heads=4, hidden_dim=48
    )
    model = transformers.DistilBertForSequenceClassification(config).eval()
    lengths = (3, 7, 8, 20, 41)
    counted = []
    for n in lengths:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as flops:
            model(input_ids=torch.full((1, n), 5))
        counted.append(flops.get_total_flops())

    assert flops_per_sentence(Classifier("x", model, None), rows_of(lengths)) == round(
        np.mean(counted)
    )


def test_parameters_and_file_size(tokenizer: BertTokenizerFast, tmp_path: Path) -> None:
    model = make_bert(tokenizer)
    counts = parameter_counts(model)
    tables = model.bert.embeddings

    assert counts.total - counts.encoder == sum(
        table.weight.numel()
        for table in (
            tables.word_embeddings,
            tables.position_embeddings,
            tables.token_type_embeddings,
        )
    )
    assert weight_bytes(model) == 0
    model.half().save_pretrained(tmp_path)
    read = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)

    assert weight_bytes(read) == (tmp_path / "model.safetensors").stat().st_size
    assert weight_bytes(read) == pytest.approx(2 * counts.total, rel=0.2)


def test_timing_asks_for_the_lengths_of_the_data(
    tokenizer: BertTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "MOST_SECONDS", 60.0)  # every repetition
    asked = []

    def graph(rows: Sequence[Row]) -> Logits:
        asked.append([row["length"] for row in rows])
        return np.zeros((len(rows), 2), dtype=np.float32)

    data = rows_of([4] * 90 + [20] * 10)
    classifier = Classifier("x", make_bert(tokenizer), tokenizer)
    target = EvaluationTarget("x", classifier, {"validation": data}, 64, graph=graph)
    (latency,) = measure_latency([target])
    single = [lengths[0] for lengths in asked if len(lengths) == 1]

    assert 20 in single
    assert np.median(single) == 4
    batches = [lengths for lengths in asked if len(lengths) > 1]

    assert all(len(lengths) == 32 and 2 <= lengths.count(20) <= 4 for lengths in batches)
    assert latency.device == "cpu"
    assert latency.threads == torch.get_num_threads()
    assert latency.throughput_32 > 0
