"""One rule a label column; whatever stands twice is refused; a class is never lost silently."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.contract import Label
from augment.errors import RowMalformed, SourceInvalid, SourceMissing
from augment.sources.labels import LabelReader, LabelUnreadable
from augment.sources.read import Source, read_source
from augment.tasks import GLUE, load_task

POLARITY = ("negative", "positive")


def task_file(folder: Path, names: tuple[str, ...], files: tuple[str, ...]) -> Path:
    path = folder / "t.toml"
    splits = "".join(f"{name.partition('.')[0]} = {json.dumps(name)}\n" for name in files)
    path.write_text(
        'name="t"\ntext_columns=["text"]\nmetrics=["f1"]\nselection_metric="f1"\n'
        f"[label]\nnames={json.dumps(names)}\n[splits]\n{splits}"
    )
    return path


def read_csv(
    folder: Path, names: tuple[str, ...], *, skip: bool = False, **labels: list[str]
) -> Source:
    """Splits whose rows have these labels."""
    for split, values in labels.items():
        rows = [f"text {i},{value}" for i, value in enumerate(values)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    path = task_file(folder, names, tuple(f"{split}.csv" for split in labels))
    return read_source(load_task(path), None, skip_malformed=skip)


def test_the_first_label_decides_for_all_splits(tmp_path: Path) -> None:
    by_name = read_csv(tmp_path, POLARITY, train=["positive"], validation=["negative"])
    by_position = read_csv(tmp_path, POLARITY, train=["1"], validation=["0"])

    assert (by_name.label_rule, by_position.label_rule) == ("names", "positions")
    for source in (by_name, by_position):
        assert source.splits["train"]["label"].to_pylist() == [1]
        assert source.splits["validation"]["label"].to_pylist() == [0]
    with pytest.raises(RowMalformed, match=r"validation\.csv line 2 .* as train\.csv line 2 has"):
        read_csv(tmp_path, POLARITY, train=["positive"], validation=["0"])
    with pytest.raises(RowMalformed, match=r"train\.csv line 4 has label 'negative'; a position"):
        read_csv(tmp_path, POLARITY, train=["1", "0", "negative"], validation=["0"])


def test_names_that_look_like_numbers_are_never_positions(tmp_path: Path) -> None:
    with pytest.raises(RowMalformed, match="label '0'; one of the names 1, 2, 3 is expected"):
        read_csv(tmp_path, ("1", "2", "3"), train=["0", "1", "2"], validation=["1"])
    with pytest.raises(RowMalformed, match="label '0'; one of the names none, 1 is expected"):
        read_csv(tmp_path, ("none", "1"), train=["0"], validation=["1"])


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("1", "2", "3"), ["0", "1", "2"]),  # a column of positions: all would shift by one
        (("1", "2", "3"), ["1.0", "2", "3"]),
        (POLARITY, ["positive", "Negative"]),
        (POLARITY, ["1", "negative", "positive"]),
        (POLARITY, ["1", " 0"]),
    ],
)
def test_a_class_is_not_lost_with_its_malformed_rows(
    tmp_path: Path, names: tuple[str, ...], labels: list[str]
) -> None:
    with pytest.raises(SourceInvalid, match=r"no row of the class .* is left\. The first: train"):
        read_csv(tmp_path, names, skip=True, train=labels, validation=[names[1]])


def test_rows_with_a_bad_text_count_for_their_class(tmp_path: Path) -> None:
    path = task_file(tmp_path, POLARITY, ("train.jsonl", "validation.jsonl"))
    rows = [{"text": "a", "label": 1}, {"text": None, "label": 0}]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows[:1])))
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))

    with pytest.raises(SourceInvalid, match="no row of the class negative is left"):
        read_source(load_task(path), None, skip_malformed=True)


def test_many_malformed_rows_are_said_in_words(tmp_path: Path) -> None:
    source = read_csv(
        tmp_path, POLARITY, skip=True, train=["0", "1", "7", "nobody knows"], validation=["0"] * 20
    )

    assert source.skipped == 2
    assert source.warnings == (
        "train: 2 malformed rows (50%) left out. The first: train.csv line 4 has label "
        "'7'; a position, 0 to 1, is expected (negative, positive), as train.csv line 2 has '0'.",
    )
    with pytest.raises(SourceInvalid, match=r"all 2 rows are malformed\. The first"):
        read_csv(tmp_path, POLARITY, skip=True, train=["7", "8"], validation=["0"])


def test_accents_that_look_the_same_are_spelled_out(tmp_path: Path) -> None:
    """macOS writes an accent as a letter of its own (NFD)."""
    with pytest.raises(RowMalformed, match=r"has label 'cafe\\u0301'; .* café, no"):
        read_csv(tmp_path, ("café", "no"), train=["cafe\u0301", "no"], validation=["no"])
    (tmp_path / "train.csv").write_text("te\u0301xt,label\n", encoding="utf-8")
    path = task_file(tmp_path, ("café", "no"), ("train.csv", "validation.csv"))
    path.write_text(path.read_text().replace('["text"]', '["t\u00e9xt"]'))
    with pytest.raises(SourceInvalid, match=r"no column 'téxt'\. Found: 'te\\u0301xt', label"):
        read_source(load_task(path), None)
    (tmp_path / "train.csv").rename(tmp_path / "tra\u0301in.csv")
    path.write_text(path.read_text().replace("train.csv", "tr\u00e1in.csv"))
    with pytest.raises(SourceMissing) as caught:
        read_source(load_task(path), None)
    assert r"'tra\u0301in.csv' is there, 'tr\xe1in.csv' is asked for" in caught.value.hint


def test_a_class_without_a_row_is_said(tmp_path: Path) -> None:
    source = read_csv(tmp_path, ("a", "b", "c"), train=["a", "b"], validation=["a"])

    assert source.warnings == ("train: no row has the label c, which is in names.",)


def test_a_json_row_without_its_label_is_that_rows_fault(tmp_path: Path) -> None:
    path = task_file(tmp_path, POLARITY, ("train.jsonl", "validation.jsonl"))
    rows = [
        '{"text": "a"}',
        '{"text": "a", "label": "positive"}',
        '{"text": "b", "label": 1, "label": 0}',
    ]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text(
            "\n".join([*rows, rows[1], '{"text": "c", "label": "negative"}'])
        )
    with pytest.raises(RowMalformed, match=r"train.jsonl line 1 has no column 'label'"):
        read_source(load_task(path), None)
    kept = read_source(load_task(path), None, skip_malformed=True)

    assert kept.splits["train"]["label"].to_pylist() == [1, 1, 0]
    assert kept.skipped == 4


def test_the_own_names_of_a_file_are_never_positions(tmp_path: Path) -> None:
    """Its classes are called 1 and 0: as positions both would be exchanged."""
    import datasets

    path = task_file(tmp_path, POLARITY, ("train.parquet", "validation.parquet"))

    def write(names: list[str]) -> None:
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
        )
        for split in ("train", "validation"):
            rows = datasets.Dataset.from_dict(
                {"text": ["a", "b"], "label": [0, 1]}, features=features
            )
            rows.to_parquet(tmp_path / f"{split}.parquet")

    write(["1", "0"])
    with pytest.raises(RowMalformed, match="has label '1'"):
        read_source(load_task(path), None)
    write(["0", "1"])  # says nothing but the numbers
    assert read_source(load_task(path), None).label_rule == "positions"
    write(["positive", "negative"])
    assert read_source(load_task(path), None).splits["train"]["label"].to_pylist() == [1, 0]


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_columns_that_stand_twice(tmp_path: Path, name: str) -> None:
    path = task_file(tmp_path, POLARITY, (name, "validation.csv"))
    (tmp_path / "validation.csv").write_text("text,label\na,1\n")
    (tmp_path / "train.csv").write_text("text,label,label\na,1,0\n")
    columns = [pa.array(["a"]), pa.array([1]), pa.array([0])]
    pq.write_table(pa.table(columns, names=["text", "label", "label"]), tmp_path / "train.parquet")

    with pytest.raises(SourceInvalid, match=f"{name} has the column 'label' twice"):
        read_source(load_task(path), None)


def test_row_numbers_that_stand_twice(tmp_path: Path) -> None:
    path = task_file(tmp_path, POLARITY, ("train.csv", "validation.csv"))
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("text,label,idx\na,1,4\nb,0,5\nc,0,4\n")

    with pytest.raises(SourceInvalid, match=r"train\.csv has the row number 4 2 times"):
        read_source(load_task(path), None)


def test_scores() -> None:
    reader = LabelReader(Label(kind="regression"))
    good = [1, 1.5, "1.5", " 4.75", "-1e-3", "+2."]
    assert [reader.read(value, "row", may_be_unlabeled=False) for value in good] == [
        1.0, 1.5, 1.5, 4.75, -0.001, 2.0,
    ]  # fmt: skip
    for bad in (True, "1_0", "١", "nan", float("inf"), 1e39, "1e39", 10**400, [1], "1,5", "0x10"):
        with pytest.raises(LabelUnreadable, match="a finite number is expected"):
            reader.read(bad, "row", may_be_unlabeled=False)
    assert reader.read("-1.0", "row", may_be_unlabeled=True) == -1


def test_a_split_that_stands_in_several_files(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("sentence,label\na,1\nb,0\n")
    for other in ("train.jsonl", "train-small.csv"):
        (tmp_path / other).write_text("sentence,label\n")
        with pytest.raises(SourceInvalid, match=r"'train' stands in several files: .*train\.csv"):
            read_source(GLUE["sst2"], str(tmp_path))
        (tmp_path / other).unlink()
    part = tmp_path / "train-00000-of-00002.csv"
    (tmp_path / "train.csv").rename(part)
    with pytest.raises(SourceInvalid, match="'train' has 1 of its 2 files"):
        read_source(GLUE["sst2"], str(tmp_path))
    task = task_file(tmp_path, POLARITY, ("train.csv", "validation.csv"))
    task.write_text(task.read_text().replace('["text"]', '["sentence"]'))
    with pytest.raises(
        SourceInvalid, match="is the split 'train' and the split 'validation'"
    ) as caught:
        read_source(load_task(task), str(tmp_path / "validation.csv"))
    assert "One file cannot be both" in caught.value.hint
    (tmp_path / "train.csv").hardlink_to(tmp_path / "validation.csv")
    with pytest.raises(SourceInvalid, match="is the split 'train' and the split 'validation'"):
        read_source(load_task(task), None)


@pytest.mark.parametrize("name", ["a\0.csv", "x" * 300 + ".csv", ".", "", "~", "/x" * 3000])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    task = load_task(task_file(tmp_path, POLARITY, ("train.csv", "validation.csv")))
    files = {"train": name, "validation": "validation.csv"}
    for source in (None, name or "\0"):
        with pytest.raises(SourceMissing, match=r"is not there|is no file|no split"):
            read_source(replace(task, files=files), source)


def test_a_source_one_folder_too_high(tmp_path: Path) -> None:
    for name in ("SST-2", "CoLA"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.tsv").write_text("sentence\tlabel\na\t1\n")
    with pytest.raises(SourceMissing, match="no split 'train'; found nothing") as caught:
        read_source(GLUE["sst2"], str(tmp_path))

    assert caught.value.hint == f"It lies one level down: --source {tmp_path / 'SST-2'}"
    own = task_file(tmp_path / "CoLA", POLARITY, ("train.tsv", "validation.tsv"))
    with pytest.raises(SourceMissing, match=r"train\.tsv is not there") as caught:
        read_source(load_task(own), str(tmp_path))
    assert caught.value.hint.startswith(f"It lies one level down: --source {tmp_path / 'CoLA'} or")
