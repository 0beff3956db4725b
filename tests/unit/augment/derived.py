"""Small versions to derive from, made of a few rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from augment import write_version
from augment.contract import Label, Splits, TaskSpec, Version

TEA = TaskSpec(
    name="tea",
    text_columns=("sentence",),
    label=Label(names=("bad", "good")),
    metrics=("accuracy",),
    selection_metric="accuracy",
    splits=Splits(test=("test",)),
)
PAIRS = TEA.model_copy(update={"name": "pairs", "text_columns": ("one", "other")})
SCORES = TEA.model_copy(
    update={
        "name": "scores",
        "label": Label(kind="regression"),
        "metrics": ("pearson",),
        "selection_metric": "pearson",
    }
)


def frame(*rows: tuple[Any, ...], columns: str = "sentence label") -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns.split(), dtype=object)


TRAIN = frame(
    ("fine tea", "good", 0, 0, None),
    ("good tea", "good", 0, 1, "word_replacement"),
    ("cold tea", "bad", 1, 0, None),
    ("hot milk", "good", 7, 0, None),
    columns="sentence label idx variant generator",
)


def parent(out: Path, **splits: pd.DataFrame) -> Version:
    """Three source rows, one of them with a generated row; ``splits`` instead of the usual ones."""
    usual = {
        "train": TRAIN,
        "validation": frame(("a validation row", "good"), ("another", "bad")),
        "test": frame(("a test row", None)),
    }
    return write_version(TEA, {**usual, **splits}, out=out)


def lines(path: Path, *records: dict[str, Any]) -> Path:
    """A file with a JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def made_by(version: Version, generator: str, split: str = "train") -> list[tuple[Any, ...]]:
    """Text, label, idx and variant of the rows of a generator."""
    table = version.table(split, ["sentence", "label", "idx", "variant", "generator"])
    return [
        (row["sentence"], row["label"], row["idx"], row["variant"])
        for row in table.to_pylist()
        if row["generator"] == generator
    ]
