"""Token vectors from shared pieces: found, kept in training, and stored as bytes in a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from augment.contract import Version
from distill.data.versions import token_columns
from distill.errors import UsageError
from distill.models.codebooks import PIECES, fit_codebooks, read_codebooks
from distill.models.loading import load_classifier
from distill.pipeline import distill_task
from distill.serving.onnx import GraphSource, count_nodes, graph_logits, write_int8
from distill.serving.trim import trim_model
from tests.unit.distill.helpers import (
    PLAIN,
    TINY_RECIPE,
    make_good_teacher,
    make_tokenizer,
    mood_rows,
    save,
)

TABLE = "bert.embeddings.word_embeddings.weight"
TOKENS = (*(f"token{at}" for at in range(3 * PIECES)), *PLAIN[2:], "the", "good", "bad")


def drawn(tokens: int, columns: int) -> Any:
    return np.random.default_rng(0).standard_normal((tokens, columns)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = make_tokenizer(TOKENS)
    model = make_good_teacher(tokenizer, layers=2)
    torch.manual_seed(0)
    table = model.get_input_embeddings().weight
    with torch.no_grad():
        table[5 : 3 * PIECES].copy_(0.02 * torch.randn(3 * PIECES - 5, table.shape[1]))
    return save(model, tokenizer, tmp_path_factory.mktemp("models") / "whole")


@pytest.fixture(scope="module")
def small(whole: Path, version: Version, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("small") / "small"
    trim_model(whole, version, out=out, min_count=0, codebooks=4, quiet=True)
    return out


def test_narrow_pieces_lose_less_and_frequent_tokens_least() -> None:
    table, weights = drawn(1_000, 12), np.ones(1_000, np.float32)
    losses = [
        float(np.square(fit_codebooks(table, width, weights).table - table).mean())
        for width in (1, 2, 3, 6)
    ]
    weights[:100] = 30
    favored = np.square(fit_codebooks(table, 3, weights).table - table).mean(axis=1)

    assert losses == sorted(losses)
    assert losses[0] < 1e-3 < losses[3] < 0.7
    assert favored[:100].mean() < favored[100:].mean() / 3


@pytest.mark.parametrize("tokens", [3, PIECES, 1_000])
def test_what_was_written_is_read_again(tokens: int) -> None:
    found = fit_codebooks(drawn(tokens, 8), 4, np.ones(tokens, np.float32))
    again = read_codebooks(found.table, 4)

    assert found.codes.shape == (tokens, 2)
    assert again is not None
    np.testing.assert_array_equal(again.table, found.table)


def test_other_tables_do_not_consist_of_pieces() -> None:
    table = drawn(PIECES + 1, 8)

    assert read_codebooks(table, 4) is None
    assert read_codebooks(table, 3) is None
    assert read_codebooks(table, 0) is None


def test_a_constant_column_has_one_piece() -> None:
    found = fit_codebooks(np.zeros((400, 4), np.float32), 2, np.ones(400, np.float32))

    assert not found.table.any()


def test_a_copy_says_so_and_keeps_every_token(small: Path, whole: Path, version: Version) -> None:
    record = json.loads((small / "trim.json").read_text())
    table = load_file(small / "model.safetensors")[TABLE].numpy()

    assert record["codebooks"] == 4
    assert record["after"]["tokens"] == record["before"]["tokens"]
    assert json.loads((small / "config.json").read_text())["distill"]["codebooks"] == 4
    assert read_codebooks(table, 4) is not None
    assert load_classifier(str(small), version.task).codebooks == 4
    assert load_classifier(str(whole), version.task).codebooks == 0


def test_training_keeps_the_vectors(
    small: Path, whole: Path, version: Version, tmp_path: Path
) -> None:
    recipe = tmp_path / "logits.toml"
    recipe.write_text(TINY_RECIPE.replace("[intermediate]", "[intermediate]\nenabled = false", 1))
    run = distill_task(
        version, teacher=str(whole), student=str(small), out=tmp_path / "run", recipe=recipe,
        quiet=True,
    )  # fmt: skip
    before, after = (
        load_file(folder / "model.safetensors") for folder in (small, run.path / "student")
    )

    torch.testing.assert_close(after[TABLE], before[TABLE], rtol=0, atol=0)
    assert not torch.equal(after["classifier.weight"], before["classifier.weight"])
    settings = json.loads((run.path / "student" / "config.json").read_text())["distill"]
    assert settings["codebooks"] == 4


def test_a_graph_stores_bytes_and_answers_alike(
    small: Path, whole: Path, version: Version, tmp_path: Path
) -> None:
    texts = [row["sentence"] for row in mood_rows(40, seed=1)]
    sizes, found = {}, {}
    for folder in (whole, small):
        classifier = load_classifier(str(folder), version.task)
        columns = token_columns([texts], classifier.tokenizer, 32)
        names = [name for name in columns if name in ("input_ids", "token_type_ids")]
        rows = [{name: columns[name][at] for name in names} for at in range(len(texts))]
        file = tmp_path / f"{folder.name}.onnx"
        write_int8(GraphSource(classifier, 32), rows, file)
        sizes[folder] = file.stat().st_size
        found[folder] = graph_logits(file, classifier)(rows)
        with torch.inference_mode():
            alone = graph_logits(file, classifier)(rows[:1])
        np.testing.assert_allclose(found[folder][:1], alone, atol=1e-5)
        expected = [classifier_logits(classifier, row) for row in rows]
        np.testing.assert_allclose(found[folder], np.concatenate(expected), atol=0.15)

    assert count_nodes(tmp_path / "small.onnx")["Reshape"] == 1
    saved = len(TOKENS) * (32 + 4 - 8)
    assert sizes[whole] - sizes[small] > saved - 32 * PIECES - 2_000


def classifier_logits(classifier: Any, row: dict[str, Any]) -> Any:
    inputs = {name: torch.tensor([own]) for name, own in row.items()}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.inference_mode():
        return classifier.logits(inputs).numpy()


def test_a_width_that_does_not_fit_is_refused(
    whole: Path, version: Version, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--codebooks 5 does not divide the 32 columns") as refused:
        trim_model(whole, version, out=tmp_path / "out", codebooks=5, quiet=True)

    assert refused.value.hint == "Choose one of 2, 4, 8, 16."
    assert list(tmp_path.iterdir()) == []
