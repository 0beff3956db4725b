"""``augment_task`` on splits that a program holds: the same rows as of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from augment import Version, augment_task, open_version
from augment.contract import Fault

TRAIN = {"sentence": ["good tea", "bad tea", "fine", "poor"], "label": [1, 0, 1, 0]}
HELD_OUT = {"sentence": ["nice", "awful"], "label": [1, 0]}
MORE = {"sentence": ["what is tea", "nice"]}
NAMES = ["negative", "positive"]


def made(out: Path, source: Any, **options: Any) -> Version:
    return augment_task("sst2", source=source, out=out, variants=0, **options)


def of_classes(values: dict[str, Any]) -> datasets.Dataset:
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES[::-1])}
    )
    swapped = {**values, "label": [1 - label for label in values["label"]]}
    return datasets.Dataset.from_dict(swapped, features=features)


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.table, datasets.Dataset.from_dict, of_classes])
def test_rows_are_those_of_files(kind: Any, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    for split, values in (("train", TRAIN), ("validation", HELD_OUT)):
        pd.DataFrame(values).to_csv(folder / f"{split}.csv", index=False)
    files = made(tmp_path / "files", folder)
    held = made(tmp_path / "held", {"train": kind(TRAIN), "validation": kind(HELD_OUT)})

    for split in files.splits:
        assert held.table(split).equals(files.table(split))
    assert held.manifest.source == "memory"


def test_unlabeled_rows_and_dictionaries_of_data_sets(tmp_path: Path) -> None:
    splits = datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_dict(TRAIN),
            "validation": datasets.Dataset.from_dict(HELD_OUT),
            "unlabeled": datasets.Dataset.from_dict(MORE),
        }
    )
    version = made(tmp_path, splits)

    assert version.to_pandas("unlabeled").sentence.tolist() == ["what is tea"]
    assert version.to_pandas("unlabeled").label_name.isna().all()
    assert made(tmp_path, splits).path == version.path


def test_named_classes_in_a_frame(tmp_path: Path) -> None:
    frames = {
        split: pd.DataFrame(values).assign(label=lambda f: f.label.map(dict(enumerate(NAMES))))
        for split, values in (("train", TRAIN), ("validation", HELD_OUT))
    }
    categories = {name: frame.astype({"label": "category"}) for name, frame in frames.items()}

    assert made(tmp_path / "a", frames).to_pandas("train").label.tolist() == TRAIN["label"]
    assert made(tmp_path / "b", categories).to_pandas("train").label.tolist() == TRAIN["label"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"train": pd.DataFrame(TRAIN)}, "no validation split"),
        ({"train": TRAIN}, "the split 'train' is a builtins.dict"),
        ({"training": pd.DataFrame(TRAIN)}, "'training' is no split of sst2"),
        ({}, "no split 'train'"),
        ({"train": pd.DataFrame({"sentence": [1, "a", [2]], "label": 0})}, "cannot be stored"),
    ],
)
def test_what_cannot_be_a_source_is_said(source: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=says):
        made(tmp_path, source)


def test_a_frame_is_no_version() -> None:
    with pytest.raises(Fault, match="DataFrame is no version") as caught:
        open_version(pd.DataFrame(TRAIN))  # type: ignore[arg-type]
    assert "augment.write_version" in caught.value.hint
