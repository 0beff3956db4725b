"""``write_version``: what Python programs hold, checked as rows of files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from augment import write_version
from augment.cli import app
from augment.contract import Fault, UsageError, verify
from augment.errors import RecipeInvalid, RowMalformed, SourceInvalid, SourceMissing
from tests.unit.augment.derived import PAIRS, SCORES, TEA, TRAIN, frame, parent

VALIDATION = frame(("a validation row", "good"), ("another", "bad"))


def written(out: Path, train: Any, **more: Any) -> Any:
    return write_version(TEA, {"train": train, "validation": VALIDATION, **more}, out=out)


def test_a_version_comes_back_the_same_from_every_kind(tmp_path: Path) -> None:
    """What was read from a version is written to the same bytes of rows and the same id."""
    unlabeled = frame(("some tea", [0.25, 0.75]), columns="sentence soft_labels")
    version = parent(tmp_path / "first", unlabeled=unlabeled)
    kinds = {
        "pandas": {split: version.to_pandas(split) for split in version.splits},
        "arrow": {split: version.table(split) for split in version.splits},
        "datasets": dict(version.load()),
    }
    again = {
        name: write_version(TEA, splits, out=tmp_path / name) for name, splits in kinds.items()
    }

    assert version.splits == ("train", "validation", "test", "unlabeled")
    assert version.manifest.soft_labels
    assert {made.manifest.id for made in again.values()} == {version.manifest.id}
    for made in again.values():
        assert verify(made) == 4
        assert all(made.table(split).equals(version.table(split)) for split in made.splits)


def test_the_same_rows_are_found_again_and_others_are_not(tmp_path: Path) -> None:
    first = parent(tmp_path)
    other = TRAIN.copy()
    other.loc[1, "sentence"] = "a fine tea"  # a generated row: no source row covers it

    assert parent(tmp_path).path == first.path
    assert written(tmp_path, other).manifest.id != first.manifest.id
    assert (
        written(tmp_path, other.assign(generator=[None, "para", None, None])).path.name == "v0003"
    )


def test_rows_stand_behind_their_source_row_in_any_order(tmp_path: Path) -> None:
    train = frame(
        ("made of b", "good", 4, 2, "para"),
        ("new", "bad", 9, 1, "llm"),
        ("b", "good", 4, 0, None),
        ("also made of b", "good", 4, 1, "para"),
        ("a", "bad", 2, 0, None),
        columns="sentence label idx variant generator",
    )
    rows = written(tmp_path, train).to_pandas("train")

    assert rows.sentence.tolist() == ["b", "also made of b", "made of b", "a", "new"]
    assert rows.variant.tolist() == [0, 1, 2, 0, 1]


def test_a_frame_with_gaps_has_whole_numbers_all_the_same(tmp_path: Path) -> None:
    """pandas makes decimals of a column of numbers in which one is missing."""
    train = pd.DataFrame(
        {
            "sentence": ["b", "a"],
            "label": pd.Categorical(["good", "bad"]),
            "idx": [3.0, np.nan],
        }
    )
    rows = written(tmp_path, train).to_pandas("train")

    assert rows.idx.tolist() == [0, 1]
    assert rows.label.tolist() == [1, 0]


def test_classes_of_a_data_set_count_by_name(tmp_path: Path) -> None:
    kind = datasets.ClassLabel(names=["good", "bad"])
    rows = datasets.Dataset.from_dict(
        {"sentence": ["fine", "cold"], "label": [0, 1]},
        features=datasets.Features({"sentence": datasets.Value("string"), "label": kind}),
    )

    assert written(tmp_path, rows).table("train")["label"].to_pylist() == [1, 0]


def test_rows_are_shown_whatever_they_say_of_themselves(tmp_path: Path) -> None:
    train = frame(
        ("the original", "good", 0, 0, None, []),
        ("no edits", "good", 0, 1, "word_replacement", []),
        ("edits", "good", 0, 2, "llm", [EDIT]),
        ("alone", "bad", 3, 1, "word_replacement", [EDIT]),
        columns="sentence label idx variant generator edits",
    )
    done = CliRunner().invoke(app, ["show", str(written(tmp_path, train).path)])

    assert done.exit_code == 0
    assert all(text in done.stdout for text in ("no edits", "[y]he original", "row 3", "alone"))


def test_pairs_and_scores(tmp_path: Path) -> None:
    pair = frame(("a", "b", "good"), ("c", "d", "bad"), columns="one other label")
    score = pa.table({"sentence": ["a", "b"], "label": [0.5, -1.0]})

    for task, rows in ((PAIRS, pair), (SCORES, score)):
        made = write_version(task, {"train": rows, "validation": rows}, out=tmp_path)
        assert verify(made) == 2


ROW = frame(("x", "good", 0, 0, None), columns="sentence label idx variant generator")
EDIT = {
    "column": "sentence",
    "start": 0,
    "end": 1,
    "before": "x",
    "after": "y",
    "source": "vectors",
}
BAD_ROWS = {
    "no such class": (ROW.assign(label="fine"), "row 0 has label 'fine'"),
    "no label": (ROW.assign(label=None), "row 0 has no label"),
    "a number as text": (ROW.assign(sentence=4), "has 4 where a text is expected"),
    "no text": (ROW.assign(sentence=None), "where a text is expected"),
    "half a character": (
        ROW.assign(sentence=pd.Series(["\ud800"], dtype=object)),
        "not valid Unicode",
    ),
    "too long": (ROW.assign(sentence="x" * 1_000_001), "1,000,001 characters"),
    "no column": (ROW.drop(columns="sentence"), "no column 'sentence'"),
    "a negative variant": (ROW.assign(variant=-1), "has variant -1"),
    "a variant in words": (ROW.assign(variant="one"), "has variant 'one'"),
    "no generator": (ROW.assign(variant=1), "no generator"),
    "a generator of a source row": (ROW.assign(generator="llm"), "a generator but variant 0"),
    "a generator that is markup": (ROW.assign(generator="<b>", variant=1), "generator '<b>'"),
    "no source row": (ROW.assign(generator="llm", variant=2), "no row has variant 0"),
    "twice": (pd.concat([ROW, ROW.assign(variant=1, generator="a"), ROW]), "of another row"),
    "idx twice": (pd.concat([ROW, ROW]), "row number 0 2 times"),
    "edits of another kind": (ROW.assign(edits=[[{"column": 3}]], variant=1), "edits"),
    "edits of another column": (ROW.assign(edits=[[{**EDIT, "column": "x"}]]), "are sentence"),
    "edits with a gap": (ROW.assign(edits=[[{"column": "sentence"}]]), "a value is missing"),
    "edits that end before they begin": (ROW.assign(edits=[[{**EDIT, "start": 9}]]), "end later"),
    "a distribution": (ROW.assign(soft_labels=[[0.1, 0.2]]), "sum to 0.3"),
    "no rows": (ROW.head(0), "no rows"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_are_wrong(tmp_path: Path, name: str) -> None:
    rows, says = BAD_ROWS[name]
    with pytest.raises(SourceInvalid) as caught:
        written(tmp_path, rows)

    assert says in str(caught.value)
    assert not list(tmp_path.rglob("v0001"))


@pytest.mark.parametrize(
    ("splits", "kind", "says"),
    [
        ({"train": ROW}, SourceMissing, "train and validation are needed"),
        ({}, SourceMissing, "found nothing"),
        ({"train": ROW, "validation": ROW, "dev": ROW}, UsageError, "'dev' is no split of tea"),
        ({"train": [{"sentence": "x"}], "validation": ROW}, UsageError, "is a builtins.list"),
        ({"train": ROW, "validation": ROW, "unlabeled": ROW}, RowMalformed, "has a label"),
        (
            {"train": pd.concat([ROW, ROW], axis=1), "validation": ROW},
            UsageError,
            "the column 'sentence' twice",
        ),
    ],
)
def test_splits_that_are_wrong(
    tmp_path: Path, splits: dict[str, Any], kind: type[Fault], says: str
) -> None:
    with pytest.raises(kind) as caught:
        write_version(TEA, splits, out=tmp_path)

    assert says in str(caught.value)


def test_unlabeled_rows_that_equal_others_are_left_out(tmp_path: Path) -> None:
    """As ``augment run`` does; what was made from such a row goes with it."""
    unlabeled = frame(
        ("A validation  row", 0, 0, None),
        ("made from it", 0, 1, "mt"),
        ("Fine TEA", 1, 0, None),
        ("new", 2, 0, None),
        ("NEW", 3, 0, None),
        ("a test row", 2, 1, "mt"),
        ("newer", 2, 2, "mt"),
        columns="sentence idx variant generator",
    )
    version = parent(tmp_path, unlabeled=unlabeled)
    counts = version.manifest.counts

    assert version.to_pandas("unlabeled")["sentence"].tolist() == ["new", "newer"]
    assert [counts[f"unlabeled.{key}"] for key in ("read", "leak", "in_train", "duplicate")] == [
        *(7, 3, 1, 1)
    ]
    assert verify(version) == 4
    with pytest.raises(SourceInvalid, match="no unlabeled row is left"):
        parent(tmp_path, unlabeled=unlabeled[:3])


def test_rows_made_from_others_are_no_validation_rows(tmp_path: Path) -> None:
    with pytest.raises(RowMalformed, match="split 'validation' row 1 has a variant above 0"):
        parent(tmp_path, validation=TRAIN)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"name": "../up"}, {"metrics": ("mcc",)}, {"metrics": ("pearson",)}, {"text_columns": ()}],
)
def test_a_task_with_faults(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """``model_copy`` checks nothing."""
    splits = {"train": TRAIN, "validation": TRAIN[:1]}
    with pytest.raises(RecipeInvalid, match="the task has"):
        write_version(TEA.model_copy(update=wrong), splits, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
