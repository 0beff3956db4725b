"""Distributions of rows: every form they come in, matched by class name, refused where they lie."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract import Label
from augment.errors import RecipeInvalid, RowMalformed, SourceInvalid
from augment.sources.read import Source, read_source
from augment.sources.soft_labels import SoftLabelReader, SoftLabelsUnreadable
from augment.tasks import SoftLabelPlace, load_task

CLASSES = ("bad", "so so", "good")
LABEL = Label(names=CLASSES)


def reader(place: SoftLabelPlace | None = None, label: Label = LABEL) -> SoftLabelReader:
    return SoftLabelReader(label, place or SoftLabelPlace(), frozenset({"text", "label", "idx"}))


def read(record: dict[str, Any], **place: Any) -> tuple[float, ...] | None:
    return reader(SoftLabelPlace.model_validate(place)).read({"text": "x", **record})


def columns(*values: Any) -> dict[str, Any]:
    return dict(zip((f"p_{name}" for name in CLASSES), values, strict=True))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (columns(0.1, 0.2, 0.7), (0.1, 0.2, 0.7)),
        (dict(reversed(columns("0.1", " .2", "7e-1").items())), (0.1, 0.2, 0.7)),
        (columns(0.1, 0.2, 0.699), (0.1 / 0.999, 0.2 / 0.999, 0.699 / 0.999)),
        (columns("", None, "0.7"), (0.15, 0.15, 0.7)),
        (columns(1, 0, 0), (1, 0, 0)),
        (columns("", "", ""), None),
        ({"soft_labels": [0.1, 0.2, 0.7]}, (0.1, 0.2, 0.7)),
        ({"soft_labels": "[0.1, 0.2, 0.7]"}, (0.1, 0.2, 0.7)),
        ({"soft_labels": {"good": 0.7, "bad": 0.1, "so so": 0.2}}, (0.1, 0.2, 0.7)),
        ({"soft_labels": {"good": 0.8}}, (0.1, 0.1, 0.8)),
        ({"soft_labels": {"good": 0.8, "bad": None}}, (0.1, 0.1, 0.8)),  # a struct of Parquet
        ({"soft_labels": [("good", 0.8)]}, (0.1, 0.1, 0.8)),  # a map of Parquet
        ({"soft_labels": '{"good": 1.005}'}, (0, 0, 1)),
        ({"soft_labels": "so so"}, (0, 1, 0)),
        ({"soft_labels": None}, None),
        ({"soft_labels": " "}, None),
        ({"p_value": 0.3, "p_id": 4}, None),
        ({"text": "x"}, None),
    ],
)
def test_forms(record: dict[str, Any], expected: tuple[float, ...] | None) -> None:
    found = read(record)

    assert found is expected if expected is None else found == pytest.approx(expected)
    assert found is None or math.isclose(sum(found), 1)


@pytest.mark.parametrize(
    ("record", "reason", "said"),
    [
        (columns(0.5, 0.2, 0.1), "sum", "sum to 0.8; 1 is expected"),
        (columns(0.9, 0.9, ""), "sum", "sum to 1.8"),
        (columns(-0.1, 0.4, 0.7), "number", "-0.1 for the class 'bad'; 0 to 1"),
        (columns(1e308, 1e308, 1e308), "number", "1e+308"),
        (columns(3.1, -2, 0.4), "number", "3.1"),
        (columns(math.nan, 0.5, 0.5), "number", "nan as the soft label of the class 'bad'"),
        (columns("70 %", "0.2", "0.1"), "number", "'70 %'"),
        (columns("0,7", "0,2", "0,1"), "number", "'0,7'"),
        (columns(True, 0, 0), "number", "True"),
        (columns(0.2, [0.3], 0.5), "number", "[0.3] as the soft label of the class 'so so'"),
        ({"p_bad": 0.5, "p_good": 0.5}, "length", "no column 'p_so so' beside 'p_bad'"),
        ({**columns(0, 0, 1), "p_great": 0}, "class", "'p_great'"),
        ({"p_Bad": 0, "p_So So": 0, "p_Good": 1}, "class", "'p_Bad'"),
        ({"P_BAD": 0, "P_SO SO": 0, "P_GOOD": 1}, "class", "'P_BAD'"),
        ({"p_bad ": 0, "p_so so": 0, "p_good": 1}, "class", "'p_bad '"),
        ({**columns(0, 0, 1), "soft_labels": [0, 0, 1]}, "class", "twice"),
        ({"soft_labels": [0.5, 0.5]}, "length", "has 2 soft labels; 3 are expected"),
        ({"soft_labels": [[0.1, 0.2, 0.7]]}, "length", "has 1 soft label;"),
        ({"soft_labels": [[0.1], [0.2], [0.7]]}, "number", "[0.1]"),
        ({"soft_labels": []}, "length", "has 0 soft labels"),
        ({"soft_labels": [0.5, None, 0.5]}, "number", "gap"),
        ({"soft_labels": {}}, "length", "name no class"),
        ({"soft_labels": {"great": 1}}, "class", "of the class 'great'"),
        ({"soft_labels": {"Good": 1}}, "class", "of the class 'Good'"),
        ({"soft_labels": [("good", 0.5), ("good", 0.5)]}, "class", "'good' twice"),
        ({"soft_labels": "Good"}, "class", "none of the classes bad, so so, good"),
        ({"soft_labels": "[0.1, "}, "number", "not JSON"),
        ({"soft_labels": "[" * 100_000}, "number", "not JSON"),
        ({"soft_labels": '{"good": 0.5, "good": 0.5}'}, "number", "stands twice"),
        ({"soft_labels": 0.7}, "class", "0.7"),
    ],
)
def test_what_is_no_distribution(record: dict[str, Any], reason: str, said: str) -> None:
    with pytest.raises(SoftLabelsUnreadable) as caught:
        read(record)

    assert (caught.value.reason, said in str(caught.value)) == (reason, True), str(caught.value)
    assert len(str(caught.value)) < 400


def test_logits() -> None:
    assert read(columns("3e38", -3e38, 3e38), form="logits") == pytest.approx((0.5, 0, 0.5))
    assert read({"soft_labels": [0.0, 0.0, 0.0]}, form="logits") == pytest.approx((1 / 3,) * 3)
    with pytest.raises(SoftLabelsUnreadable, match="logits of 1 of 3 classes"):
        read({"soft_labels": {"good": 1.5}}, form="logits")


def test_places_by_name() -> None:
    """A place that is named is the only one that is looked at."""
    by_class = {"conf(bad)": 0.5, "conf(so so)": 0.5, "conf(good)": 0, "soft_labels": "rubbish"}
    assert read(by_class, columns="conf({name})") == (0.5, 0.5, 0)
    assert read({**columns(9, 9, 9), "llm": "good"}, column="llm") == (0, 0, 1)
    assert read(dict(zip(CLASSES, (0, 0, 1), strict=True)), columns="{name}") == (0, 0, 1)


def test_scores_of_a_regression() -> None:
    label = Label(kind="regression")
    assert reader(label=label).read({"soft_labels": "3.5"}) == (3.5,)
    assert reader(label=label).read({"soft_labels": [3.5]}) == (3.5,)
    for odd in ("high", [1.0, 2.0], math.inf, {"score": 1}, "1e39"):
        with pytest.raises(SoftLabelsUnreadable, match="finite number"):
            reader(label=label).read({"soft_labels": odd})


def task_file(folder: Path, more: str = "", train: str = "train.csv") -> Path:
    (folder / "validation.csv").write_text("text,label\nv,good\n")
    path = folder / "t.toml"
    path.write_text(
        'name="t"\ntext_columns=["text"]\nmetrics=["accuracy"]\nselection_metric="accuracy"\n'
        f'[label]\nnames=["bad","so so","good"]\n[splits]\ntrain="{train}"\n'
        f'validation="validation.csv"\n{more}'
    )
    return path


def source(folder: Path, more: str = "", train: str = "train.csv", *, skip: bool = False) -> Source:
    return read_source(load_task(task_file(folder, more, train)), None, skip_malformed=skip)


def soft(found: Source, split: str = "train") -> Any:
    return found.splits[split]["soft_labels"].to_pylist()


ROWS = "a,bad,0.5,0.25,0.25\nb,good,,,\nc,so so,,0.5,\n"


def test_they_are_kept_with_the_rows_and_what_is_completed_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,p_bad,p_so so,p_good\n" + ROWS)
    found = source(tmp_path)

    assert soft(found) == [[0.5, 0.25, 0.25], None, [0.25, 0.5, 0.25]]
    assert soft(found, "validation") == [None]
    assert len([line for line in found.warnings if "1 of 2 distributions" in line]) == 1


def test_a_source_without_any_has_no_column(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,p_value\na,bad,1\nb,good,\nc,so so,\n")
    found = source(tmp_path)

    assert all("soft_labels" not in table.column_names for table in found.splits.values())
    for said in ('columns="conf_{name}"', 'form="logits"', 'column="llm"'):
        with pytest.raises(SourceInvalid, match="no row has soft labels, which"):
            source(tmp_path, f"[soft_labels]\n{said}")


@pytest.mark.parametrize("kind", ["list", "struct", "map", "jsonl"])
def test_nested_columns(tmp_path: Path, kind: str) -> None:
    named = [{"good": 0.75, "bad": 0.25}, None, {"so so": 1.0}]
    rows: dict[str, Any] = {"text": ["a", "b", "c"], "label": ["bad", "good", "so so"]}
    if kind == "jsonl":
        lines = [
            {"text": text, "label": label, "soft_labels": given}
            for text, label, given in zip(*rows.values(), named, strict=True)
        ]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
        assert soft(source(tmp_path, train="train.jsonl")) == [[0.25, 0, 0.75], None, [0, 1, 0]]
        return
    column = {
        "list": pa.array([[0.25, 0.0, 0.75], None, [0.0, 1.0, 0.0]]),
        "struct": pa.array(named),
        "map": pa.array(
            [None if each is None else list(each.items()) for each in named],
            pa.map_(pa.string(), pa.float64()),
        ),
    }[kind]
    pq.write_table(pa.table({**rows, "soft_labels": column}), tmp_path / "train.parquet")
    assert soft(source(tmp_path, train="train.parquet")) == [[0.25, 0, 0.75], None, [0, 1, 0]]


def test_rows_are_named_and_left_out_by_reason(tmp_path: Path) -> None:
    bad = "d,bad,0.5,0.1,0.1\ne,good,x,0.5,0.5\nf,great,,,\n,bad,1,0,0\ng,,1,0,0\n"
    (tmp_path / "train.csv").write_text("text,label,p_bad,p_so so,p_good\n" + ROWS + bad)
    with pytest.raises(RowMalformed, match=r"train.csv line 5 has probabilities that sum to 0.7"):
        source(tmp_path)
    found = source(tmp_path, skip=True)

    assert dict(found.counts) == {
        "source.skipped": 4,
        "source.skipped.soft_labels_sum": 1,
        "source.skipped.soft_labels_number": 1,
        "source.skipped.label_unknown": 1,
        "source.skipped.label_missing": 1,
    }
    assert found.splits["train"].num_rows == 4  # an empty text of a CSV is a text


def test_columns_that_fit_no_class_refuse_the_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label,p_bad,p_so so\na,bad,0.5,0.5\n")
    with pytest.raises(SourceInvalid, match=r"train.csv has no column 'p_good' beside"):
        source(tmp_path, skip=True)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('columns = "p_"', "must match"),
        ('columns = "{name}{name}"', "must match"),
        ('form = "percent"', "must be"),
        ('colum = "x"', "colum"),
        ('column = ""', "soft_labels.column"),
    ],
)
def test_faults_of_the_table(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        load_task(task_file(tmp_path, f"[soft_labels]\n{table}"))
    assert said in str(caught.value)
