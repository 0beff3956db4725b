"""Every kind of value, in every format, for every kind of class name: one reading, or a sentence.

``meant`` says it once more and slowly: what a label is by the documentation, or None where it must
be refused with its row.
"""

from __future__ import annotations

import csv
import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract import UNLABELED, Label, Splits, TaskSpec
from augment.errors import RowMalformed, SourceInvalid
from augment.sources.columnar import open_records
from augment.sources.examples import Columns, SourceTableBuilder

NAMES = {
    "words": ("negative", "positive", "neutral"),
    "from 1": ("1", "2", "3"),
    "from 0": ("0", "1", "2"),
    "signed": ("-1", "0", "1"),
    "mixed": ("none", "1", "many"),
    "fractions": ("0.5", "1.0", "1.5"),
    "padded": ("01", "02", "10"),
    "truth": ("false", "true"),
    "Python's truth": ("False", "True"),
    "cases": ("positive", "Positively", "POS"),
}
TEXTS = [
    "", " ", "0", "1", "2", "3", "-1", " 1", "1 ", "01", "1.0", "1e0", "+1", "1_0", "１", "٢",
    "\u00a01", "true", "True", "TRUE", "false", "none", "None", "null", "nan", "positive",
    "Positive", " positive", "positive\n", "positive\u200b", "POSITIVE", "-1.0", "9" * 30,
    "0x1", "1,0",
]  # fmt: skip
OTHERS: list[Any] = [
    None, 0, 1, 2, 3, -1, 1.0, 0.0, -1.0, 1.5, float("nan"), True, False, 2**40, [1],
    ["positive"], {"a": 1},
]  # fmt: skip
ONLY_PARQUET: list[Any] = [Decimal(1), b"positive", b"1", datetime.date(2024, 1, 1)]


def meant(value: Any, names: tuple[str, ...], *, unlabeled: bool) -> int | None:
    """The class of the only label of a column; None where it is refused."""
    number_like = False
    for name in names:
        try:
            float(name)
        except ValueError:
            continue
        number_like = True
    text = value if isinstance(value, str) else None
    if type(value) is int:
        text = str(value)
    if isinstance(value, bool):
        text = next((each for each in (str(value), str(value).lower()) if each in names), None)
    if value is None or text == "" or (text == "-1" and "-1" not in names):
        return UNLABELED if unlabeled else None
    if text in names:
        return names.index(text)
    positions = (
        [] if number_like or isinstance(value, bool) else [str(i) for i in range(len(names))]
    )
    return positions.index(text) if text in positions else None


def write(path: Path, *labels: Any) -> None:
    """A row for each label."""
    rows = [{"text": "some words", "label": label} for label in labels]
    if path.suffix == ".parquet":
        column = pa.array(labels, pa.string() if labels == (None,) else None)
        pq.write_table(pa.table({"text": ["some words"] * len(labels), "label": column}), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(
                stream, ["text", "label"], delimiter="\t" if path.suffix == ".tsv" else ","
            )
            table.writeheader()
            table.writerows(rows)


def spec_of(names: tuple[str, ...]) -> TaskSpec:
    return TaskSpec(
        name="t",
        text_columns=("text",),
        label=Label(names=names),
        metrics=("f1",),
        selection_metric="f1",
        splits=Splits(test=("test",)),
    )


def labels_of(path: Path, names: tuple[str, ...], split: str, *, skip: bool = False) -> list[int]:
    rows = SourceTableBuilder(spec_of(names), split, skip)
    columns = Columns(("text",), "label")
    for record in open_records(path, rows.malformed, ("text", "label")).records:
        rows.add_record(record.location, record.values, columns)
    labels: list[int] = rows.build(path.name)["label"].to_pylist()
    return labels


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", NAMES)
def test_one_reading_in_every_format(tmp_path: Path, suffix: str, kind: str) -> None:
    more = {".jsonl": OTHERS, ".parquet": [*OTHERS, *ONLY_PARQUET]}.get(suffix, [])
    path = tmp_path / f"rows{suffix}"
    for value in [*TEXTS, *more]:
        write(path, value)
        for split in ("train", "test"):
            expected = meant(value, NAMES[kind], unlabeled=split == "test")
            if expected is not None:
                assert labels_of(path, NAMES[kind], split) == [expected], (value, split)
            else:
                with pytest.raises(RowMalformed, match=f"{path.name} (line 2|line 1|row 0) has "):
                    labels_of(path, NAMES[kind], split)


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
@pytest.mark.parametrize("kind", NAMES)
def test_what_is_left_out_is_never_a_class(tmp_path: Path, suffix: str, kind: str) -> None:
    """With --skip-malformed: the rows kept have the labels that they had, or it ends."""
    names, path = NAMES[kind], tmp_path / f"rows{suffix}"
    for value in TEXTS:
        rows = [*names[1:], value, *names[1:]]
        write(path, *rows)
        known = [names.index(label) for label in rows if label in names]
        try:
            assert labels_of(path, names, "train", skip=True) == known, value
        except SourceInvalid as error:
            assert names[0] in error.problem, value  # noqa: PT017 - either is right
