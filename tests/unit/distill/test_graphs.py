"""Graphs: the float32 one is the model, the 8-bit one answers a row alike in any company."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertTokenizerFast

from distill.data.versions import token_columns
from distill.models.limits import filter_inputs
from distill.models.loading import Classifier, eval_mode
from distill.serving.onnx import (
    GraphSource,
    count_nodes,
    graph_logits,
    open_session,
    write_int8,
    write_onnx,
)
from distill.serving.products import GraphIndex
from distill.serving.quantize import MOST_PAIR, quantize_table, quantize_weight
from distill.serving.ranges import Range, observe
from tests.unit.distill.helpers import make_bert, make_model, mood_rows, tokenizer_of

LENGTH = 40
FUSED = {
    "MatMul": 14, "Add": 16, "ReduceMean": 5, "SimplifiedLayerNormalization": 5, "Sub": 5,
    "Gather": 3, "Gelu": 2, "MultiHeadAttention": 2, "Cast": 1, "Shape": 1, "Slice": 1,
    "Squeeze": 1, "Tanh": 1,
}  # fmt: skip
"""Nodes of two layers."""
EIGHT_BITS = {
    "MatMulIntegerToFloat": 13, "QuantizeLinear": 10, "Add": 7, "ReduceMean": 5,
    "SimplifiedLayerNormalization": 5, "Sub": 5, "Cast": 3, "Gather": 4, "Gelu": 2, "Mul": 2,
    "MultiHeadAttention": 2, "Slice": 2, "MatMul": 1, "Shape": 1, "Squeeze": 1, "Tanh": 1,
}  # fmt: skip


def random(model: Any) -> Any:
    """The model with weights that matter: no zeros, no ones, logits apart."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.15)
    return eval_mode(model).requires_grad_(False)


def source_of(model: Any, tokenizer: Any) -> GraphSource:
    return GraphSource(Classifier("model", model, tokenizer), LENGTH)


def rows_of(texts: list[str], tokenizer: Any, length: int = LENGTH) -> list[dict[str, Any]]:
    columns = token_columns([texts], tokenizer, length)
    names = [name for name in columns if name in ("input_ids", "token_type_ids")]
    return [{name: columns[name][at] for name in names} for at in range(len(texts))]


def moods(tokenizer: Any, count: int, seed: int) -> list[dict[str, Any]]:
    return rows_of([row["sentence"] for row in mood_rows(count, seed)], tokenizer)


def random_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Rows of different lengths, second segments included."""
    torch.manual_seed(2)
    mask = torch.ones(6, 23, dtype=torch.int64)
    for row, length in enumerate((23, 3, 11, 2, 17, 22)):
        mask[row, length:] = 0
    inputs = {
        "input_ids": torch.randint(5, model.config.vocab_size, mask.shape),
        "attention_mask": mask,
        "token_type_ids": torch.randint(0, 2, mask.shape),
    }
    return filter_inputs(model, inputs)


def difference(model: Any, file: Path) -> float:
    """The largest of a logit, as a share of the largest logit."""
    inputs = random_inputs(model)
    with torch.no_grad():
        expected = model(**inputs).logits.numpy()
    found = open_session(file).run(None, {name: own.numpy() for name, own in inputs.items()})[0]
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "heads of 26": {"width": 312, "heads": 12, "layers": 1},
    "tanh gelu": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "no segments": {"type_vocab_size": 1},
    "many classes": {"labels": [f"c{at}" for at in range(17)]},
    "regression": {"labels": ("score",), "problem_type": "regression"},
    "wide epsilon": {"layer_norm_eps": 1e-5},
    "one layer": {"layers": 1},
    "one head": {"heads": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_bert_is_written_by_hand_and_answers_as_it_does(
    tokenizer: BertTokenizerFast, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = random(make_bert(tokenizer, **{"layers": 2, **settings}))
    write_onnx(source_of(model, tokenizer), tmp_path / "model.onnx")

    assert difference(model, tmp_path / "model.onnx") < 1e-5
    counts = count_nodes(tmp_path / "model.onnx")
    assert counts["MultiHeadAttention"] == model.config.num_hidden_layers
    onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx"))


@pytest.mark.parametrize("size", ["2x32-64-4", "1x312-64-12", "1x32-64-1"])
def test_an_mpnet_is_written_by_hand_and_answers_as_it_does(size: str, tmp_path: Path) -> None:
    """Its bias by distance in all lengths, up to the longest that the graph reads."""
    tokenizer = tokenizer_of("mpnet")
    model = random(make_model("mpnet", tokenizer, size))
    torch.nn.init.normal_(model.mpnet.encoder.relative_attention_bias.weight)
    source = GraphSource(Classifier("model", model, tokenizer), 23)
    for cut in (False, True):
        write_onnx(source, tmp_path / "model.onnx", cut=cut)
        assert difference(model, tmp_path / "model.onnx") < 1e-5
        counts = count_nodes(tmp_path / "model.onnx")
        assert counts["MultiHeadAttention"] == model.config.num_hidden_layers
    onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx"))
    tables = {own.name: own for own in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert tables["embed.positions"].dims[0] == 23
    assert list(tables["bias.distances"].dims) == [model.config.num_attention_heads, 45]


def test_nothing_is_computed_twice_or_in_parts(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    source = source_of(random(make_bert(tokenizer, layers=2)), tokenizer)
    write_onnx(source, tmp_path / "plain.onnx")
    write_int8(source, moods(tokenizer, 8, 1), {tmp_path / "int8.onnx": None})

    assert count_nodes(tmp_path / "plain.onnx") == FUSED
    assert count_nodes(tmp_path / "int8.onnx") == EIGHT_BITS
    tables = {own.name: own for own in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert list(tables["embed.positions.int8"].dims) == [LENGTH, 32]
    assert not [name for name, own in tables.items() if own.data_type == 1 and len(own.dims) > 1
                and min(own.dims) > 2]  # fmt: skip


def test_a_setting_that_is_not_written_by_hand_is_exported(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    model = random(make_bert(tokenizer, layers=1, hidden_act="silu"))
    write_onnx(source_of(model, tokenizer), tmp_path / "model.onnx")

    assert "MultiHeadAttention" not in count_nodes(tmp_path / "model.onnx")
    assert difference(model, tmp_path / "model.onnx") < 1e-5


def test_a_graph_that_is_not_the_model_is_not_kept(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    """What a subclass of a part computes is not known."""

    class Doubled(nn.Linear):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(states)

    model = random(make_bert(tokenizer, layers=1))
    model.bert.encoder.layer[0].output.dense.__class__ = Doubled
    write_onnx(source_of(model, tokenizer), tmp_path / "model.onnx")

    assert "MultiHeadAttention" not in count_nodes(tmp_path / "model.onnx")
    assert difference(model, tmp_path / "model.onnx") < 1e-5


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "deberta-v2"])
def test_a_rows_answer_does_not_depend_on_its_batch(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    model = random(make_model(family, tokenizer, "1x32-64-4"))
    source = source_of(model, tokenizer)
    write_int8(source, moods(tokenizer, 16, 1), {tmp_path / "model.onnx": None})

    counts = count_nodes(tmp_path / "model.onnx")
    assert counts["MatMulIntegerToFloat"] >= 5
    assert "DynamicQuantizeLinear" not in counts
    alone_or_not(graph_logits(tmp_path / "model.onnx", source.classifier), moods(tokenizer, 60, 2))


def alone_or_not(answer: Any, rows: list[dict[str, Any]]) -> np.ndarray:
    """Each row by itself, beside longer ones, and in one batch of all."""
    alone = np.concatenate([answer([row]) for row in rows])
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = np.empty_like(alone)
    for some in np.array_split(order, max(1, len(rows) // 16)):
        mixed[some] = answer([rows[at] for at in some])
    assert np.abs(mixed - alone).max() < 1e-5
    assert np.abs(answer(rows) - alone).max() < 1e-5
    assert alone.std() > 1e-4
    return alone


def test_real_rows_are_answered_alike_in_any_batch(shared: Path, tmp_path: Path) -> None:
    """200 sentences through a real encoder with a random head."""
    import pyarrow.parquet as pq

    folder = shared / "models" / "minilm-l6-mlm"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, num_hidden_layers=3, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.classifier.weight.data.normal_(0, 0.5)
    model = eval_mode(model).requires_grad_(False)
    source = GraphSource(Classifier("model", model, tokenizer), 64)
    glue = shared / "data" / "glue" / "sst2"
    train, rows = (
        rows_of(pq.read_table(next(glue.glob(f"{split}*")))["sentence"].to_pylist()[:count],
                tokenizer, 64)
        for split, count in (("train", 64), ("validation", 200))
    )  # fmt: skip
    write_int8(source, train, {tmp_path / "model.onnx": None})
    write_onnx(source, tmp_path / "plain.onnx")
    answers = alone_or_not(graph_logits(tmp_path / "model.onnx", source.classifier), rows)
    plain = graph_logits(tmp_path / "plain.onnx", source.classifier)(rows)

    assert (answers.argmax(-1) == plain.argmax(-1)).mean() > 0.95
    assert np.corrcoef(answers.ravel(), plain.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["normal", "ones", "opposite", "zero column", "one row", "tiny"])
def test_weights_fit_the_narrowest_kernel(kind: str) -> None:
    """255 times two neighbors stays within 16 bits, and the error within half a step."""
    weight = np.random.default_rng(0).normal(size=(41, 7)).astype(np.float32)
    weight = {
        "ones": np.ones_like(weight),
        "opposite": np.where(np.arange(41)[:, None] % 2, 1, -1) * np.ones_like(weight),
        "zero column": weight * (np.arange(7) > 0),
        "one row": weight[:1],
        "tiny": weight * np.float32(1e-30),
    }.get(kind, weight)
    found = quantize_weight(weight)
    values = found.values.astype(int)
    pairs = values[:-1] + values[1:]

    assert np.abs(values).max() <= 127
    assert not pairs.size or np.abs(pairs).max() <= MOST_PAIR
    assert (np.abs(values * found.scales - weight) <= found.scales * 0.501).all()
    if kind == "opposite":
        assert np.abs(values).max() == 127


def test_a_table_has_a_scale_for_each_row() -> None:
    table = np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    table[3] = 0
    table[4] *= 1000
    found = quantize_table(table)

    assert found.scales.shape == (9, 1)
    assert (np.abs(found.values * found.scales - table) <= found.scales * 0.501).all()


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (0, 0), (2, 5), (-5, -2), (-1e-30, 1e-30)])
def test_a_range_tells_zero_exactly(low: float, high: float) -> None:
    own = Range.between(low, high)
    values = np.array([0, low, high], np.float32)

    assert 0 <= own.zero <= 255
    assert own.scale > 0
    assert own.rounded(values)[0] == 0
    assert np.abs(own.rounded(values) - values).max() <= own.scale


def test_ranges_come_from_rows_and_leave_rare_values_out(
    tokenizer: BertTokenizerFast, tmp_path: Path
) -> None:
    source = source_of(random(make_bert(tokenizer, layers=1)), tokenizer)
    write_onnx(source, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    names = sorted({product.states for product in GraphIndex(model).products()})
    row = moods(tokenizer, 1, 1)[0]
    feed = {name: np.array([row[name]]) for name in row}
    feed["attention_mask"] = np.ones_like(feed["input_ids"])
    ranges = observe(model, names, [feed])

    assert set(ranges) == set(names)
    assert len(names) == 6
    assert [value.name for value in model.graph.output] == ["logits"]
    assert len({own.scale for own in ranges.values()}) == 6
