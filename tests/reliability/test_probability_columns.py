"""Probabilities in files go by the name of their label, whatever order they stand in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from augment.contract import Label
from augment.contract.errors import Fault
from augment.sources.read import read_source
from augment.sources.soft_labels import SoftLabelReader, SoftLabelsUnreadable
from augment.tasks import load_task
from distill.serving.predict import write_predictions
from tests.unit.distill.helpers import (
    SENTIMENT,
    make_bert,
    make_tokenizer,
    mood_rows,
    save,
    write_version,
)

NAMES = ("bad", "so so", "good")
ORDERS = tuple(itertools.permutations(NAMES))
SHARES = {"bad": 0.125, "so so": 0.25, "good": 0.625}
TASK = """
name = "t"
text_columns = ["text"]
metrics = ["accuracy"]
selection_metric = "accuracy"
[label]
names = ["bad", "so so", "good"]
[splits]
train = "{train}"
validation = "validation.csv"
"""


def soft_labels(folder: Path, train: str) -> list[list[float]]:
    (folder / "validation.csv").write_text("text,label\nv,good\n")
    (folder / "t.toml").write_text(TASK.format(train=train))
    found = read_source(load_task(folder / "t.toml"), None)
    column: list[list[float]] = found.splits["train"]["soft_labels"].to_pylist()
    return column


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_columns_of_files(kind: str, tmp_path: Path) -> None:
    for number, order in enumerate(ORDERS):
        texts = {"text": ["a", "b"], "label": ["bad", "good"]}
        columns = {f"p_{name}": [SHARES[name]] * 2 for name in order}
        frame = pd.DataFrame({**columns, **texts} if number % 2 else {**texts, **columns})
        file = tmp_path / f"{number}.{kind}"
        if kind == "parquet":
            frame.to_parquet(file)
        elif kind in ("jsonl", "json"):
            frame.to_json(file, orient="records", lines=kind == "jsonl")
        else:
            frame.to_csv(file, sep="," if kind == "csv" else "\t", index=False)

        assert soft_labels(tmp_path, file.name) == [[0.125, 0.25, 0.625]] * 2


def test_rows_of_one_file_may_each_have_their_own_order(tmp_path: Path) -> None:
    rows = [
        {"label": "bad", **{f"p_{name}": SHARES[name] for name in order}, "text": f"row {at}"}
        for at, order in enumerate(ORDERS)
    ]
    rows += [
        {"text": f"more {at}", "label": "bad", **{f"p_{name}": SHARES[name] for name in order}}
        for at, order in enumerate(ORDERS)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert soft_labels(tmp_path, "t.jsonl") == [[0.125, 0.25, 0.625]] * 12


@pytest.mark.parametrize("order", ORDERS)
def test_classes_by_name_in_one_value(order: Sequence[str]) -> None:
    reader = SoftLabelReader(Label(names=NAMES))
    named = {name: SHARES[name] for name in order}

    for value in (named, list(named.items()), json.dumps(named)):
        assert reader.read({"soft_labels": value}) == (0.125, 0.25, 0.625)


@pytest.mark.parametrize(
    "names", [("bad", "so so"), ("bad", "so so", "fine"), ("bad", "so so", "good", "best")]
)
def test_columns_of_other_labels_are_refused_not_taken_by_place(names: Sequence[str]) -> None:
    record = {f"p_{name}": 1 / len(names) for name in names}
    with pytest.raises(SoftLabelsUnreadable, match=r"p_good|p_fine|p_best"):
        SoftLabelReader(Label(names=NAMES)).read(record)


def test_a_list_of_another_length_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a", "label": "bad", "soft_labels": [0.5, 0.5]}\n')
    with pytest.raises(Fault, match="2 soft labels; 3 are expected"):
        soft_labels(tmp_path, "t.jsonl")


def test_a_table_of_a_model_with_its_own_order_names_the_same_probabilities(
    tmp_path: Path,
) -> None:
    tokenizer = make_tokenizer()
    version = write_version(
        tmp_path / "versions", SENTIMENT, {"train": mood_rows(4, 1), "validation": mood_rows(6, 2)}
    )
    tables = []
    for labels in (("negative", "positive"), ("positive", "negative")):
        model = make_bert(tokenizer, labels=labels, layers=1)
        if labels[0] == "positive":  # the same model, told in another order
            head = model.classifier
            head.weight.data, head.bias.data = head.weight.data.flip(0), head.bias.data.flip(0)
        folder = save(model, tokenizer, tmp_path / labels[0])
        out = tmp_path / f"{labels[0]}.csv"
        write_predictions(str(folder), version, out=out, split="validation", quiet=True)
        tables.append(pd.read_csv(out))

    pd.testing.assert_frame_equal(*tables, check_exact=False, atol=1e-5)
    assert {"p_negative", "p_positive"} <= set(tables[0].columns)
