"""Rows without labels: every kind of file, kept apart from the other splits, counted."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from augment.errors import RecipeInvalid, RowMalformed, SourceInvalid, SourceMissing
from augment.sources.read import Source, read_source
from augment.sources.row_files import read_rows
from augment.sources.unlabeled import unlabeled_line
from augment.tasks import GLUE, Task, load_task

TEXTS = ["first thing", "second thing", "third thing"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("text,label\nA film,yes\nno film,no\n")
    (tmp_path / "validation.csv").write_text("text,label\nHeld  out,yes\n")
    (tmp_path / "test.csv").write_text("text,label\nheld test,\n")
    return tmp_path


def task(folder: Path, unlabeled: Any = None, columns: tuple[str, ...] = ("text",)) -> Task:
    named = "" if unlabeled is None else f"unlabeled = {json.dumps(unlabeled)}\n"
    (folder / "t.toml").write_text(
        f'name="t"\ntext_columns={json.dumps(columns)}\nmetrics=["f1"]\nselection_metric="f1"\n'
        '[label]\nnames=["no","yes"]\n[splits]\ntrain="train.csv"\nvalidation="validation.csv"\n'
        f'test="test.csv"\n{named}'
    )
    return load_task(folder / "t.toml")


def read(folder: Path, name: Any, *, skip: bool = False) -> Source:
    return read_source(task(folder, name), None, skip_malformed=skip)


def texts(source: Source) -> Any:
    return source.splits["unlabeled"]["text"].to_pylist()


def write(folder: Path, name: str, rows: list[str] = TEXTS, label: str | None = None) -> str:
    path, records = folder / name, [{"text": text} | ({"label": label} if label else {})
                                    for text in rows]  # fmt: skip
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".txt":
        path.write_text("\n".join(rows) + "\n")
    else:
        lines = [",".join(records[0]), *(",".join(record.values()) for record in records)]
        path.write_text(
            "\n".join(lines).replace(",", "\t" if path.suffix == ".tsv" else ",") + "\n"
        )
    return name


@pytest.mark.parametrize("suffix", [".txt", ".TXT", ".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_file(folder: Path, suffix: str) -> None:
    if suffix == ".TXT":
        (folder / "more.TXT").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(TEXTS).encode())
    name = "more.TXT" if suffix == ".TXT" else write(folder, f"more{suffix}")
    source = read(folder, name)
    table = source.splits["unlabeled"]

    assert task(folder, name).spec.splits.unlabeled == "unlabeled"
    assert texts(source) == TEXTS
    assert table["label"].null_count == len(TEXTS)
    assert table["idx"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize("label", ["-1", '""', "null", "-1.0", "NaN", '"-1"'])
def test_labels_that_say_there_is_none(folder: Path, label: str) -> None:
    (folder / "more.jsonl").write_text(f'{{"text": "x y", "label": {label}, "idx": 7}}\n')
    assert read(folder, "more.jsonl").splits["unlabeled"].to_pylist() == [
        {"text": "x y", "label": None, "idx": 0}
    ]


def test_several_files_are_one_split_and_what_equals_another_row_is_dropped(folder: Path) -> None:
    write(folder, "a.txt", ["one", "a  FILM", "two", "HELD test", "One "])
    write(folder, "b.csv", ["three", "two", "held out", "no film"])
    source = read(folder, ["a.txt", "b.csv"])

    assert texts(source) == ["one", "two", "three"]
    assert source.splits["unlabeled"]["idx"].to_pylist() == [0, 2, 5]
    assert dict(source.counts) == {
        "source.skipped": 0,
        "unlabeled.read": 9,
        "unlabeled.duplicate": 2,
        "unlabeled.in_train": 2,
        "unlabeled.leak": 2,
    }
    assert unlabeled_line(source.counts) == (
        "9 rows read · 3 kept · 2 equal an earlier one · 2 equal a training row · "
        "2 equal a validation or test row"
    )
    assert [line for line in source.warnings if "a.txt line 4" in line] == [
        "unlabeled: 2 rows equal a validation or test row but for case and spaces: left out. The "
        "first: a.txt line 4"
    ]


@pytest.mark.parametrize("copy", ["train.csv", "validation.csv"])
def test_a_copy_of_another_split(folder: Path, copy: str) -> None:
    rows = (folder / copy).read_text().replace(",yes", ",").replace(",no", ",")
    (folder / "more.csv").write_text(rows)
    with pytest.raises(SourceInvalid, match="no unlabeled row is left") as caught:
        read(folder, "more.csv")
    assert ("more.csv line 2" in str(caught.value)) == (copy == "validation.csv")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_file_of_another_split(folder: Path, split: str) -> None:
    with pytest.raises(RecipeInvalid, match="stands twice"):
        task(folder, f"./{split}.csv")
    with pytest.raises(SourceInvalid, match=f"is the split '{split}' and the split 'unlabeled'"):
        read_source(task(folder).with_unlabeled(folder / f"{split}.csv"), None)


def test_places_that_the_user_names(folder: Path) -> None:
    """A path with a slash that is not there is no data set of the hub."""
    for place, said in ((folder, "is a folder"), (Path("data/more.txt"), "more.txt is not there")):
        with pytest.raises(SourceInvalid, match=said):
            read_source(task(folder).with_unlabeled(place), None)


def test_a_label_is_refused_with_its_row(folder: Path) -> None:
    (folder / "more.csv").write_text("text,label\nfine,\nfilm two,yes\nthree,-1\nfour,rubbish\n")
    with pytest.raises(RowMalformed, match=r"more.csv line 3 has the label 'yes'") as caught:
        read(folder, "more.csv")
    assert "--skip-malformed" in caught.value.hint
    source = read(folder, "more.csv", skip=True)

    assert texts(source) == ["fine", "three"]
    assert source.counts["source.skipped.label_given"] == source.skipped == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "more.txt is empty"),
        (b"\n \n\t\n", "has no rows"),
        (b"caf\xe9\nfine\n", "more.txt line 1 is not UTF-8"),
        (b"fine\na\0b\n", "more.txt line 2 holds a NUL"),
        (b"x" * 1_000_001, "line 1 has a text of 1,000,001 characters"),
        (b"PAR1....", "no text file"),
        ("a film\n".encode("utf-16-le"), "NUL bytes"),
    ],
)
def test_texts_that_cannot_be_read(folder: Path, content: bytes, said: str) -> None:
    (folder / "more.txt").write_bytes(content)
    with pytest.raises(SourceInvalid, match=said):
        read(folder, "more.txt")


def test_a_line_is_a_text_whatever_stands_in_it(folder: Path) -> None:
    lines = ['he said "hi", then', "a\ttab", "esc \x1b[31m red", " lead", "a,b;c", "\u2028 sep"]
    write(folder, "more.txt", [lines[0], "", *lines[1:], "  "])
    assert texts(read(folder, "more.txt")) == lines


def test_a_text_of_lines_for_pairs(folder: Path) -> None:
    write(folder, "more.txt")
    pairs = GLUE["rte"].with_unlabeled().spec
    with pytest.raises(SourceInvalid, match=r"more.txt has a text a line, but a row of rte has 2"):
        read_rows([folder / "more.txt"], pairs, "unlabeled", labeled="never")


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ("nowhere.txt", SourceMissing),
        ("../out.txt", SourceInvalid),
        (".", SourceMissing),
        ("more.zip", SourceInvalid),
        ("table.csv", SourceInvalid),
    ],
)
def test_files_that_are_not_as_named(tmp_path: Path, named: str, error: type[Exception]) -> None:
    (tmp_path / "in").mkdir()
    for path in (tmp_path / "in" / "train.csv", tmp_path / "in" / "validation.csv"):
        path.write_text("text,label\nA film,yes\nno film,no\n")
    (tmp_path / "in" / "table.csv").write_text("sentence\nx\n")
    (tmp_path / "in" / "more.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "out.txt").write_text("secret\n")
    with pytest.raises(error):
        read_source(task(tmp_path / "in", named), None)


@pytest.mark.parametrize("named", [3, {"a": "b"}, [3], [["a.txt"]]])
def test_what_the_task_file_may_not_name(folder: Path, named: Any) -> None:
    text = (task(folder).folder or folder) / "t.toml"
    toml = f"unlabeled = {json.dumps(named).replace(':', ' =')}\n"
    text.write_text(text.read_text() + toml)
    with pytest.raises(RecipeInvalid, match="unlabeled must be a file or a list of them"):
        load_task(text)


def test_soft_labels_of_rows_without_labels(folder: Path) -> None:
    (folder / "more.jsonl").write_text(
        '{"text": "one", "soft_labels": {"yes": 0.75}}\n{"text": "two"}\n'
        '{"text": "three", "soft_labels": "no"}\n'
    )
    source = read(folder, "more.jsonl")

    assert source.splits["unlabeled"]["soft_labels"].to_pylist() == [[0.25, 0.75], None, [1, 0]]
    assert source.splits["train"]["soft_labels"].null_count == 2


HUB = {"train": ["one", "two"], "validation": ["three"], "unsupervised": ["four"], "test": ["5"]}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/set", ["one", "two", "four"]),
        ("owner/set:all/unsupervised", ["four"]),
        ("owner/set:/validation", ["three"]),
    ],
)
def test_a_hub_data_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: list[str]
) -> None:
    import datasets

    loaded = {split: datasets.Dataset.from_dict({"text": rows}) for split, rows in HUB.items()}
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict(loaded))

    assert texts(read(folder, name)) == expected
    assert texts(read_source(task(folder).with_unlabeled([name]), None)) == expected
    with pytest.raises(SourceMissing, match="has no split 'dev'; found train, validation"):
        read(folder, "owner/set:all/dev")


def test_many_rows_take_little_memory(folder: Path) -> None:
    """A row is kept as Arrow has it, and its digest; not as Python objects."""
    count = 10_000
    write(folder, "more.txt", [f"text number {i} of very many of them" for i in range(count)])
    described = task(folder, "more.txt")
    tracemalloc.start()
    source = read_source(described, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert source.splits["unlabeled"].num_rows == count
    assert peak < 500 * count


def test_rows_of_other_tools(folder: Path) -> None:
    """With or without label, number and soft labels; numbers may repeat."""
    (folder / "made.jsonl").write_text(
        '{"text": "a", "label": "yes", "idx": 1}\n{"text": "b", "idx": 1}\n'
        '{"text": "c", "label": 0, "soft_labels": [1, 0]}\n'
    )
    found = read_rows([folder / "made.jsonl"], GLUE["sst2"].spec.model_copy(
        update={"text_columns": ("text",), "label": task(folder).spec.label}
    ), "rows", skip_malformed=True)  # fmt: skip

    assert found.table.to_pylist() == [
        {"text": "a", "label": 1, "idx": 1},
        {"text": "b", "label": None, "idx": 1},
    ]
    assert dict(found.skipped) == {"label_unknown": 1}
