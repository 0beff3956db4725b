"""Token vectors from shared pieces: what is lost, and how a graph stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertForSequenceClassification

from augment.contract import Version
from distill.data.versions import token_columns
from distill.errors import ModelInvalid
from distill.inference.classifier import Classifier
from distill.models import loading
from distill.models.codebooks import FREQUENT, PIECES, fit_codebooks, piece_width, saves_bytes
from distill.models.loading import load_classifier
from distill.serving import quantize
from distill.serving.export import export_model
from distill.serving.onnx import GraphSource, graph_logits, write_int8, write_onnx
from distill.serving.quantize import pack, quantize_few
from tests.unit.distill.helpers import (
    PLAIN,
    make_bert,
    make_good_teacher,
    make_tokenizer,
    mood_rows,
    save,
)

TOKENS = (*(f"token{at}" for at in range(12 * PIECES)), *PLAIN[2:], "the", "good", "bad")


def drawn(tokens: int, columns: int) -> Any:
    return np.random.default_rng(0).standard_normal((tokens, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = make_tokenizer(TOKENS)
    model = make_good_teacher(tokenizer, layers=2)
    torch.manual_seed(0)
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        table[5 : 12 * PIECES].copy_(0.02 * torch.randn(12 * PIECES - 5, table.shape[1]))
    return save(model, tokenizer, tmp_path_factory.mktemp("models") / "whole")


def loss(table: Any, weights: Any) -> Any:
    return np.square(fit_codebooks(table, weights).table - table).mean(axis=1)


def test_frequent_tokens_lose_least() -> None:
    table, weights = drawn(1_000, 12), np.ones(1_000, np.float32)
    before = loss(table, weights)
    weights[:100] = 30
    favored = loss(table, weights)

    assert 0.05 < before.mean() < 0.3
    assert favored[:100].mean() < favored[100:].mean() / 3


def test_axes_that_vary_alike_lose_less() -> None:
    """Columns of which few count: dealt out, each group gets one of them."""
    spread = np.repeat(np.float32([1, 0.02]), 8)
    turned = np.linalg.qr(drawn(16, 16))[0]
    rows = drawn(2_000, 16) * spread

    assert loss(rows @ turned, np.ones(2_000, np.float32)).mean() < 0.02


@pytest.mark.parametrize(
    ("columns", "wide", "narrow"), [(312, 6, 2), (384, 6, 2), (9, 3, 1), (10, 5, 2), (7, 1, 1)]
)
def test_a_width_divides_the_columns(columns: int, wide: int, narrow: int) -> None:
    table = drawn(300, columns)
    found = fit_codebooks(table, np.ones(300, np.float32))

    assert piece_width(columns) == wide
    assert found.wide.codes.shape == (300, columns // wide)
    assert found.narrow.codes.shape == (300 // FREQUENT + 1, columns // narrow)
    assert found.table.shape == table.shape


@pytest.mark.parametrize(
    ("tokens", "columns", "saves"),
    [(30_522, 312, True), (900, 312, False), (10**6, 311, False), (10**6, 31, False)],
)
def test_pieces_are_taken_where_they_save_bytes(tokens: int, columns: int, saves: bool) -> None:
    """Columns that no width divides would be pieces of one column each."""
    assert saves_bytes(tokens, columns) is saves


def test_a_table_of_positions_is_no_vocabulary(tmp_path: Path) -> None:
    """Even with as many rows."""
    tokenizer = make_tokenizer([*PLAIN, *(f"token{at}" for at in range(1_200))])
    config = make_bert(tokenizer, layers=1).config
    config.max_position_embeddings = len(tokenizer)
    model = BertForSequenceClassification(config).eval().requires_grad_(False)
    classifier = loading.Classifier("model", model, tokenizer)
    rows = [{"input_ids": [*range(2, n)], "token_type_ids": [0] * (n - 2)} for n in (4, 7, 11)]
    source, weights = GraphSource(classifier, len(tokenizer)), np.ones(len(tokenizer), np.float32)
    write_onnx(source, tmp_path / "plain.onnx")
    write_int8(source, rows, {tmp_path / "small.onnx": weights})
    plain, small = (
        graph_logits(tmp_path / name, classifier)(rows) for name in ("plain.onnx", "small.onnx")
    )

    np.testing.assert_allclose(small, plain, atol=0.1)


def test_what_remains_of_frequent_tokens_is_told_too() -> None:
    table, weights = drawn(1_200, 12), np.ones(1_200, np.float32)
    weights[1::FREQUENT] = 2
    found = fit_codebooks(table, weights)
    lost = np.square(found.table - table).mean(axis=1)

    assert (np.flatnonzero(found.places) == np.arange(1, 1_200, FREQUENT)).all()
    assert lost[found.places > 0].mean() < lost[found.places == 0].mean() / 10
    assert not found.narrow.vectors[0].any()


def test_few_tokens_are_told_exactly_but_for_rounding() -> None:
    table = drawn(PIECES // 2, 8)
    found = fit_codebooks(table, np.ones(len(table), np.float32))

    np.testing.assert_allclose(found.table, table, atol=0.05)


def test_a_table_of_zeros_stays_one() -> None:
    assert not fit_codebooks(np.zeros((400, 4), np.float32), np.ones(400, np.float32)).table.any()


def test_a_graph_stores_bytes_and_answers_alike(
    whole: Path, version: Version, tmp_path: Path
) -> None:
    classifier = load_classifier(str(whole), version.task)
    texts = [row["sentence"] for row in mood_rows(40, seed=1)]
    columns = token_columns([texts], classifier.tokenizer, 32)
    names = [name for name in columns if name in ("input_ids", "token_type_ids")]
    rows = [{name: columns[name][at] for name in names} for at in range(len(texts))]
    weights = np.ones(len(classifier.tokenizer), np.float32)
    files = [tmp_path / "int8.onnx", tmp_path / "small.onnx"]
    with mock.patch.object(quantize, "observe", wraps=quantize.observe) as observed:
        both = dict(zip(files, (None, weights), strict=True))
        write_int8(GraphSource(classifier, 32), rows, both)
    assert observed.call_count == 1
    int8, small = (graph_logits(file, classifier)(rows) for file in files)
    alone = graph_logits(files[1], classifier)(rows[:1])
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with mock.patch.object(onnxruntime, "SessionOptions", return_value=options):
        as_written = graph_logits(files[1], classifier)(rows)  # nothing is folded beforehand
    table = classifier.model.get_input_embeddings().weight
    with torch.no_grad():
        table.copy_(torch.from_numpy(fit_codebooks(table.numpy(), weights).table))
    write_int8(GraphSource(classifier, 32), rows, {tmp_path / "told.onnx": None})
    told = graph_logits(tmp_path / "told.onnx", classifier)(rows)

    np.testing.assert_allclose(small[:1], alone, atol=1e-5)
    np.testing.assert_allclose(small, as_written, atol=1e-5)
    np.testing.assert_allclose(small, told, atol=0.05)
    assert (small.argmax(axis=1) == int8.argmax(axis=1)).mean() > 0.9
    sizes = [file.stat().st_size for file in files]
    assert saves_bytes(len(weights), 32)
    saved, spent = len(weights) * (32 + 4 - 8 - 16 / 6 - 2), 2 * 32 * PIECES + 32 * 32
    assert sizes[0] - sizes[1] > saved - spent - 14_000  # of which most are names


def test_six_bits_are_packed_in_planes() -> None:
    values = np.arange(-32, 32, dtype=np.int8).reshape(8, 8)
    planes = pack(values)
    bits = np.unpackbits(planes, axis=1, bitorder="little").reshape(6, 64).astype(int)

    assert planes.nbytes == 48
    assert (np.array([1, 2, 4, 8, 16, -32]) @ bits == values.reshape(-1)).all()


def test_weights_of_six_bits_lose_little_and_cannot_saturate() -> None:
    weight = drawn(312, 40)
    weight[5, 3], weight[:, 7] = 40, 0
    found = quantize_few(weight)
    ordinary = [at for at in range(40) if at not in (3, 7)]
    told = found.values * found.scales

    assert found.values.min() >= -31
    assert found.values.max() <= 31
    assert np.square(told - weight)[:, ordinary].mean() < 0.0015
    assert not told[:, 7].any()
    assert np.square(told - weight).sum(axis=0)[3] <= 312 * (40 / 31) ** 2 / 4


def test_an_export_has_the_form(whole: Path, version: Version, tmp_path: Path) -> None:
    out = tmp_path / "out"
    small = export_model(str(whole), version, out=out, forms=["onnx-small"], quiet=True).forms[1]

    assert small.form == "onnx-small"
    assert abs(small.drop) < 0.05
    assert Classifier.load(out).predict(["the good day"]) == ["positive"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_vectors_that_have_diverged_are_no_vectors(value: float) -> None:
    table = np.ones((30, 8), np.float32)
    table[7, 3] = value

    with pytest.raises(ModelInvalid, match="a token vector holds a number"):
        fit_codebooks(table, np.ones(30, np.float32))


@pytest.mark.parametrize("tokens", [1, 3])
def test_few_tokens_have_few_pieces(tokens: int) -> None:
    table = np.random.default_rng(0).normal(size=(tokens, 8)).astype(np.float32)

    assert np.abs(fit_codebooks(table, np.ones(tokens, np.float32)).table - table).max() < 0.05
