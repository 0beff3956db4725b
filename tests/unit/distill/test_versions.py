from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from augment.contract import Label, Splits, TaskSpec, Version
from distill.data.batching import Collator, LengthGrouped, lengths_of
from distill.data.versions import TokenSamples, labeled, tokenize, tokenize_split
from distill.errors import DataInvalid
from distill.models.limits import resolve_length
from tests.unit.distill.helpers import SENTIMENT, mood_rows, write_version

PAIR = TaskSpec(
    name="same",
    text_columns=("first", "second"),
    label=Label(names=("no", "yes")),
    metrics=("f1", "accuracy"),
    selection_metric="f1",
    splits=Splits(validation=("validation_matched", "validation_mismatched")),
)
SCORE = TaskSpec(
    name="warmth",
    text_columns=("sentence",),
    label=Label(column="score", kind="regression"),
    metrics=("pearson",),
    selection_metric="pearson",
)


def test_columns_and_filters(
    version: Version, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokens = tokenize(version, tokenizer, 16, tmp_path)
    names = ["input_ids", "token_type_ids", "labels", "idx", "variant", "length"]
    assert tokens.train.column_names == names
    assert len(tokens.rows("augmented")) == 400
    original = tokens.rows("original")
    assert len(original) == 200
    assert set(original.rows["variant"]) == {0}
    first = version.to_pandas("train").iloc[0]

    assert tokens.train[0]["input_ids"] == tokenizer(first["sentence"])["input_ids"]
    assert list(tokens.train["length"]) == [len(ids) for ids in tokens.train["input_ids"]]


def test_narrowing_is_measured_on_source_rows(
    version: Version, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = version.to_pandas("train")
    own = tokenizer(rows[rows.variant == 0]["sentence"].tolist())["input_ids"]
    assert list(TokenSamples(version, tokenizer)) == own

    monkeypatch.setattr("distill.data.versions.ROWS_MEASURED", 4)
    assert list(TokenSamples(version, tokenizer)) == own[25::50]


def test_where_no_source_row_is_left_narrowing_has_none(
    version: Version, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    made = [row for row in mood_rows(10, 1, variants=2) if row["variant"]]
    rows = {"train": made, "validation": mood_rows(10, 2)}
    only = write_version(tmp_path, SENTIMENT, rows)

    assert list(TokenSamples(only, tokenizer)) == []


class Interrupted:
    """A tokenizer that is interrupted as soon as it reads a text."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, *_, **__):
        raise KeyboardInterrupt


def test_the_cache_is_used_again_and_told_apart(
    version: Version, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenize(version, tokenizer, 16, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.suffix for file in files] == [".seal", ".seal", ".arrow", ".arrow"]
    tokenize(version, tokenizer, 8, tmp_path)
    assert len(list(tmp_path.glob("*.arrow"))) == 4
    again = tokenize(version, Interrupted(tokenizer), 16, tmp_path)

    assert len(again.train) == 400
    assert again.train.cache_files[0]["filename"] in map(str, files)


def test_lengths_of_chosen_rows_in_their_order(
    version: Version, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    train = tokenize(version, tokenizer, 16, tmp_path).train
    assert lengths_of(train).tolist() == list(train["length"])
    for chosen in ([5, 3, 300, 3], range(10, 20), []):
        some = train.select(chosen)
        assert lengths_of(some).tolist() == list(some["length"])
        assert (
            lengths_of(some.select(range(len(some) // 2))).tolist()
            == (list(some["length"])[: len(some) // 2])
        )


def test_an_interrupted_tokenization_leaves_nothing(
    version: Version, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        tokenize(version, Interrupted(tokenizer), 16, tmp_path)
    assert not list(tmp_path.iterdir())


def test_long_texts_are_cut_and_special_tokens_in_texts_are_text(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [
        {"sentence": "good " * 900, "label": 1},
        {"sentence": "[MASK] day [SEP]", "label": 0},
    ]
    version = write_version(tmp_path, SENTIMENT, {"train": rows, "validation": rows})
    tokens = tokenize(version, tokenizer, 16, tmp_path / "cache").train
    assert tokens[0]["length"] == 16
    ids = tokens[1]["input_ids"]

    assert ids.count(tokenizer.mask_token_id) == 0
    assert ids.count(tokenizer.sep_token_id) == 1


def test_pairs_keep_their_segments_and_validation_splits_stay_apart(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [{"first": "good day", "second": "bad day " * i, "label": i % 2} for i in range(1, 9)]
    splits = {"train": rows, "validation_matched": rows, "validation_mismatched": rows[:4]}
    tokens = tokenize(write_version(tmp_path, PAIR, splits), tokenizer, 16, tmp_path / "c")

    assert {name: len(rows) for name, rows in tokens.validation.items()} == {
        "validation_matched": 8,
        "validation_mismatched": 4,
    }
    assert max(tokens.train[3]["token_type_ids"]) == 1
    assert max(tokens.train["length"]) == 16


def test_unlabeled_rows_are_left_out_of_evaluation(
    tokenizer: PreTrainedTokenizerBase, version: Version, tmp_path: Path
) -> None:
    rows = tokenize_split(version, "test", tokenizer, 16, tmp_path)

    assert len(rows) == 10
    assert len(labeled(rows, version.task, "test")) == 0


def test_minus_one_is_a_score_outside_a_test_split(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [{"sentence": "good", "score": -1.0}, {"sentence": "bad", "score": 2.5}]
    version = write_version(tmp_path, SCORE, {"train": rows, "validation": rows})
    tokens = tokenize(version, tokenizer, 16, tmp_path / "cache")

    assert list(tokens.train["labels"]) == [-1.0, 2.5]
    assert len(tokens.validation["validation"]) == 2


@pytest.mark.parametrize(
    ("task", "row", "sentence"),
    [
        (SENTIMENT, {"sentence": "a", "label": 2}, "row idx 1: label 2 is not one of 0 to 1"),
        (SENTIMENT, {"sentence": "a", "label": -1}, "label -1 is not one of 0 to 1"),
        (SENTIMENT, {"sentence": None, "label": 1}, r"row idx 1: sentence is empty \(null\)"),
        (SCORE, {"sentence": "a", "score": float("nan")}, "label nan is not a usable score"),
        (SCORE, {"sentence": "a", "score": float("inf")}, "label inf is not a usable score"),
    ],
)
def test_rows_that_cannot_be_trained_on(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, task: TaskSpec, row: Any, sentence: str
) -> None:
    good = {"sentence": "good", task.label.column: 1}
    version = write_version(tmp_path, task, {"train": [good, row], "validation": [good]})
    with pytest.raises(DataInvalid, match=sentence) as caught:
        tokenize(version, tokenizer, 16, tmp_path / "cache")

    assert caught.value.exit_code == 3
    assert not list((tmp_path / "cache").iterdir())


def test_empty_splits(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    some = mood_rows(4, seed=0)
    version = write_version(tmp_path / "a", SENTIMENT, {"train": [], "validation": some})
    with pytest.raises(DataInvalid, match="split 'train' has no rows"):
        tokenize(version, tokenizer, 16, tmp_path / "cache")
    blind = [{**row, "label": -1} for row in some]
    version = write_version(tmp_path / "b", SENTIMENT, {"train": some, "validation": blind})
    with pytest.raises(DataInvalid, match="no labeled validation rows"):
        tokenize(version, tokenizer, 16, tmp_path / "cache")


def test_auto_length() -> None:
    assert resolve_length("auto", SENTIMENT) == 64
    assert resolve_length("auto", PAIR) == 128
    assert resolve_length(40, PAIR) == 40


def test_collator_pads_to_the_longest_row() -> None:
    rows = [
        {"input_ids": [5] * n, "token_type_ids": [1] * n, "labels": n, "idx": 0} for n in (3, 9)
    ]
    batch = Collator(pad_token_id=7)(rows)

    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids", "labels", "idx"}
    assert batch["input_ids"].shape == (2, 9)
    assert np.array_equal(batch["input_ids"][0], [5] * 3 + [7] * 6)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 9]
    assert batch["labels"].dtype == torch.int64
    assert Collator(0, fixed_length=32)(rows)["input_ids"].shape == (2, 32)
    assert Collator(0)([{**rows[0], "labels": 2.5}])["labels"].dtype == torch.float32


def test_batches_of_one_length_in_an_order_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(4, 60, size=1000).astype(np.int32)
    sampler = LengthGrouped(lengths, batch_size=16, seed=1)
    first = list(sampler)
    assert first == list(sampler)
    assert sorted(first) == list(range(1000))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert first != list(LengthGrouped(lengths, batch_size=16, seed=2))
    spread = [np.ptp(lengths[first[i : i + 16]]) for i in range(0, 992, 16)]
    assert np.median(spread) <= 3
    firsts = [lengths[first[i]] for i in range(0, 992, 16)]

    assert abs(np.corrcoef(firsts, range(len(firsts)))[0, 1]) < 0.4  # batches are shuffled
