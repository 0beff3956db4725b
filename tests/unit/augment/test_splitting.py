"""``augment init --split``: stratified, seeded, equal texts together, nothing written over."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from augment.cli import app
from augment.contract.errors import Fault, UsageError
from augment.errors import SourceInvalid
from augment.sources.digests import row_digest
from augment.sources.infer import draft_of
from augment.sources.read import read_source
from augment.sources.splitting import SPLITS, LabeledRow, assign, parse_shares, too_few
from augment.sources.write_splits import WrittenSplits, split_file
from augment.tasks import load_task

SHARES = parse_shares("70/15/15")
KINDS = (".csv", ".tsv", ".jsonl", ".parquet", ".json", ".ndjson")
Row = dict[str, Any]


def rows(count: int = 100, **columns: Any) -> list[Row]:
    """Rows of texts with one class four times as frequent as the other; some columns beside."""
    return [
        {
            "id": f"T{i:04}", "text": f'some "words", {i}', "label": "no" if i % 5 else "yes",
            "note": "a;b\tc" if i % 3 else "",
            **{name: of[i % len(of)] for name, of in columns.items()},
        }
        for i in range(count)
    ]  # fmt: skip


def lay(folder: Path, records: list[Row], name: str = "data.csv") -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(
                stream, list(records[0]), delimiter="\t" if path.suffix == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(records)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("\n".join(map(json.dumps, records)))
    return path


def texts(made: WrittenSplits) -> dict[str, list[str]]:
    """Split → its texts, as a run reads them."""
    splits = read_source(load_task(made.task), None).splits
    return {name: table["text"].to_pylist() for name, table in splits.items()}


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["init", *map(str, arguments)])


@pytest.mark.parametrize("suffix", KINDS)
def test_a_file_of_any_kind(tmp_path: Path, suffix: str) -> None:
    records = rows()
    made = split_file(draft_of(lay(tmp_path, records, f"My data{suffix}")), SHARES)
    assert made.rows == {"train": 70, "validation": 15, "test": 15}
    assert made.task == tmp_path / "my-data.toml"

    kept = ".jsonl" if suffix in (".json", ".ndjson") else suffix
    assert made.files["train"] == [f"my-data-train{kept}"]
    found = texts(made)
    assert sorted(text for of in found.values() for text in of) == sorted(
        row["text"] for row in records
    )
    train = read_source(load_task(made.task), None).splits["train"]
    assert Counter(train["label"].to_pylist()) == {0: 56, 1: 14}
    if kept == ".parquet":
        assert pq.read_schema(tmp_path / "my-data-train.parquet").names == list(records[0])
    else:
        assert all(name in (tmp_path / f"my-data-test{kept}").read_text() for name in records[0])


def test_the_same_command_again_is_harmless(tmp_path: Path) -> None:
    path = lay(tmp_path, rows())
    assert split_file(draft_of(path), SHARES).is_new
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    assert not split_file(draft_of(path), SHARES).is_new
    (tmp_path / "data-test.csv").unlink()  # as a killed call might leave it
    assert split_file(draft_of(path), SHARES).is_new

    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_comments_of_a_task_file_may_be_others(tmp_path: Path) -> None:
    """Such as those of another release; its values may not."""
    path = lay(tmp_path, rows())
    split_file(draft_of(path), SHARES)
    task = tmp_path / "data.toml"
    own = task.read_text() + "# a remark\n"
    task.write_text(own)

    assert not split_file(draft_of(path), SHARES).is_new
    assert task.read_text() == own
    for text in (own.replace('"accuracy"', '"f1"', 1), "no toml", "a = " + "[" * 5000):
        task.write_text(text)
        with pytest.raises(Fault, match="is not what this command writes"):
            split_file(draft_of(path), SHARES)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    path = lay(tmp_path, rows())
    split_file(draft_of(path), SHARES)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    done = call(path, "--split", "70/15/15", "--seed", 1)

    assert done.exit_code == 3
    assert "is there and is not what this command writes; nothing was changed" in done.stderr
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert call(path, "--split", "70/15/15", "--seed", 1, "--out", tmp_path / "b").exit_code == 0
    assert (
        texts(split_file(draft_of(path), SHARES))["test"]
        != texts(split_file(draft_of(path), SHARES, seed=1, out=tmp_path / "b"))["test"]
    )


def test_rows_of_equal_texts_stay_together(tmp_path: Path) -> None:
    records = rows(300)
    shuffled = random.Random(0).sample(records, 90)
    records += [
        {**row, "text": f"  {row['text'].upper().replace(' ', '   ')} "} for row in shuffled
    ]
    records += [{**row, "label": "yes"} for row in shuffled]
    made = split_file(draft_of(lay(tmp_path, records)), SHARES)
    sides = [{row_digest([text]) for text in of} for of in texts(made).values()]

    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert made.alike == 180
    assert made.contradicting == sum(row["label"] == "no" for row in shuffled)
    assert made.rows["train"] / len(records) == pytest.approx(0.7, abs=0.02)


def test_rows_without_a_label_are_unlabeled_rows(tmp_path: Path) -> None:
    for suffix in KINDS:
        folder = tmp_path / suffix
        folder.mkdir()
        records = rows(120, label=["no", "yes", None if suffix == ".parquet" else ""])
        for row in records[:30]:
            row["label"] = "no" if suffix == ".parquet" else row["label"]
        more = folder / "more.txt"
        more.write_text("one line\nanother line\n")
        made = split_file(
            draft_of(lay(folder, records, f"d{suffix}")), SHARES, unlabeled=[str(more)]
        )
        bare = sum(not row["label"] for row in records)
        assert made.bare == bare
        assert made.rows["unlabeled"] == bare + 2
        assert len(texts(made)["unlabeled"]) == bare + 2


def test_rows_without_a_label_that_have_one_elsewhere(tmp_path: Path) -> None:
    records = rows(60)
    records += [{**row, "text": row["text"].upper(), "label": ""} for row in records[:9]]
    path = lay(tmp_path, records)
    made = split_file(draft_of(path), SHARES)
    assert (made.bare, made.told) == (0, 9)
    assert "unlabeled" not in texts(made)

    (tmp_path / "more.csv").write_text(
        path.read_text().replace(",yes,", ",,").replace(",no,", ",,")
    )
    done = call(path, "--split", "70/15/15", "--unlabeled", tmp_path / "more.csv")
    assert done.exit_code == 3
    assert "equals a row with a label but for case and spaces" in done.stderr


def test_unlabelled_files_from_elsewhere_are_copied(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path, more = lay(tmp_path / "a", rows()), tmp_path / "a" / "more.csv"
    more.write_text("text,id\nsome text,1\nmore text,2\n")
    made = split_file(draft_of(path), SHARES, out=tmp_path / "b", unlabeled=[str(more)])
    assert made.files["unlabeled"] == ["more.csv"]
    assert len(texts(made)["unlabeled"]) == 2
    assert not split_file(draft_of(path), SHARES, out=tmp_path / "b", unlabeled=[str(more)]).is_new

    more.write_text("text,label\nsome text,yes\n")
    done = call(path, "--split", "80/20", "--out", tmp_path / "c", "--unlabeled", more)
    assert done.exit_code == 3
    assert "more.csv line 2 has the label 'yes'" in done.stderr
    missing = call(path, "--split", "80/20", "--out", tmp_path / "c", "--unlabeled", "no.csv")
    assert "no.csv is not there" in missing.stderr
    assert not (tmp_path / "c").exists()


def test_unlabelled_files_are_named_as_they_are(tmp_path: Path) -> None:
    """A row that the run would refuse is refused here: the task file runs as it is written."""
    path, more = lay(tmp_path, rows()), tmp_path / "more.csv"
    more.write_text("text,label\na new one,dogs\nanother new one,\n")
    done = call(path, "--split", "80/20", "--unlabeled", more, "--skip-malformed")
    assert done.exit_code == 3
    sentence = " ".join(done.stderr.split())
    assert "more.csv line 2 has the label 'dogs'" in sentence
    assert "augment run TASK --unlabeled FILE --skip-malformed" in sentence

    more.write_text("text\na new one\n")
    again = tmp_path / "." / "more.csv"
    assert split_file(draft_of(path), SHARES, unlabeled=[str(more), str(again)]).files[
        "unlabeled"
    ] == ["more.csv"]


def test_a_class_with_too_few_rows(tmp_path: Path) -> None:
    records = rows(40)
    records[16]["label"] = "rare"
    path = lay(tmp_path, records)
    done = call(path, "--split", "70/15/15")
    assert done.exit_code == 3
    sentence = " ".join(done.stderr.split())
    assert "data.csv line 18: the class rare has 1 row; each of the 3 splits needs one" in sentence
    assert "80/20" not in sentence  # one row is too few for that too
    assert [each.name for each in tmp_path.iterdir()] == ["data.csv"]

    records[17] |= {"label": "rare", "text": records[16]["text"].upper()}
    with pytest.raises(SourceInvalid, match="rare has 2 rows of 1 different text; each of the 2"):
        split_file(draft_of(lay(tmp_path, records)), parse_shares("80/20"))
    records[18]["label"] = "rare"
    with pytest.raises(SourceInvalid, match="of 2 different texts; each of the 3") as caught:
        split_file(draft_of(lay(tmp_path, records)), SHARES)
    assert "80/20" in caught.value.hint
    assert (
        split_file(draft_of(lay(tmp_path, records)), parse_shares("80/20")).rows["validation"] == 8
    )


def test_scores_are_spread_over_all_splits(tmp_path: Path) -> None:
    made = split_file(draft_of(lay(tmp_path, rows(200, label=[i / 7 for i in range(200)]))), SHARES)
    assert made.draft.metrics == ("pearson",)
    for table in read_source(load_task(made.task), None).splits.values():
        assert sum(table["label"].to_pylist()) / len(table) == pytest.approx(99.5 / 7, rel=0.1)
    with pytest.raises(SourceInvalid, match="has 2 rows with a label: too few for 3 splits"):
        split_file(draft_of(lay(tmp_path, rows(2, label=[0.5, 1.5]), "b.csv")), SHARES)


def test_malformed_rows(tmp_path: Path) -> None:
    path = lay(tmp_path, rows())
    path.write_text(path.read_text() + "a line,with too few\n")
    done = call(path, "--split", "70/15/15")
    assert done.exit_code == 3
    assert "data.csv line 102" in done.stderr
    assert split_file(draft_of(path), SHARES, skip_malformed=True).skipped == 1


NASTY = ["a\rb", "a\r\nb", "a\nb", '"', "'", ",", "\t", ";", "\u2028", "  x  ", "\ufeffx", "=1+1"]


@pytest.mark.parametrize("suffix", KINDS)
def test_all_columns_are_kept_whatever_they_hold(tmp_path: Path, suffix: str) -> None:
    records = rows(60, more=NASTY, **{'a,"b\tc': NASTY[::-1]})
    path = lay(tmp_path, records, f"d{suffix}")
    try:
        made = split_file(draft_of(path), SHARES)
    except SourceInvalid as error:
        assert "cannot be written as" in str(error) or "double quote" in str(error)  # noqa: PT017
        return
    assert sum(map(len, texts(made).values())) == len(records)


@pytest.mark.parametrize(
    "text",
    ["", "70", "70/15/15/0", "70/15", "70/30/0", "a/b", "nan/50", "-20/120", "inf/1", "80%/20%"],
)
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--split"):
        parse_shares(text)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    done = call(lay(tmp_path, rows()), "--out", tmp_path / "b")

    assert done.exit_code == 2
    assert "are for --split" in done.stderr


def test_columns_that_are_named(tmp_path: Path) -> None:
    topics = ["billing", "shipping"]
    path = lay(tmp_path, rows(100, title=[f"a title {i}" for i in range(50)], topic=topics))
    assert "topic: not read (if it is the label: --label-column 'topic')" in call(path).stderr
    assert "title: its second text" in call(path).stderr
    named = call(path, "--split", "80/20", "--label-column", "topic", "--text-column", "title")
    assert named.exit_code == 0, named.output
    assert "topic: the label (named, 2 different values in 100 rows)" in named.stderr
    task = load_task(tmp_path / "data.toml").spec
    assert (task.text_columns, task.label.column) == (("title",), "topic")
    for wrong, sentence in (
        (["--label-column", "none"], "data.csv has no column 'none' of texts or numbers"),
        (["--text-column", "text", "--text-column", "text"], "'text' is named twice"),
        (
            ["--text-column", "text", "--text-column", "title", "--text-column", "id"],
            "--text-column stands 3 times",
        ),
        (["--label-column", "text", "--text-column", "text"], "'text' is named twice"),
    ):
        done = call(path, *wrong)
        assert done.exit_code == 2
        assert sentence in done.stderr


def test_what_was_taken_for_what_is_said(tmp_path: Path) -> None:
    path = lay(tmp_path, rows(100, tells=["no label", "yes"], when=["2024-01-01"]))
    said = call(path).stderr
    for words in (
        "text: the text (it holds words)",
        "label: the label (it is called so, 2 different values in 100 rows)",
        "id: not read (numbers, keys or dates)",
        "note: not read (if it is the label: --label-column 'note')",
        "when: not read (numbers, keys or dates)",
        "no 80 · yes 20",
        "macro_f1, in which every class counts alike: the largest class has 4.0 times",
    ):
        assert words in said
    even = call(lay(tmp_path, rows(100, label=["no", "yes"])))
    assert "accuracy: classes are even" in even.stderr
    assert 'metrics = ["accuracy"]' in even.stdout


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=12, max_size=200),
    copies=st.lists(st.integers(0, 11), max_size=20),
    seed=st.integers(0, 2**32),
)
def test_no_group_is_parted_and_shares_are_kept(
    labels: list[int], copies: list[int], seed: int
) -> None:
    rows = [LabeledRow(bytes([at // 256, at % 256]), label) for at, label in enumerate(labels)]
    rows += [rows[at] for at in copies]
    splits = assign(rows, SHARES, seed=seed, classes=True)
    assert splits == assign(rows, SHARES, seed=seed, classes=True)

    sides: dict[bytes, set[str]] = {}
    for row, split in zip(rows, splits, strict=True):
        sides.setdefault(row.digest, set()).add(split)
    assert all(len(of) == 1 for of in sides.values())
    few = {one.label for one in too_few(rows, splits, SHARES)}
    different = Counter(row.label for row in set(rows))
    assert few == {label for label, count in different.items() if count < len(SPLITS)}
    largest = max(Counter(row.digest for row in rows).values())
    for split, share in SHARES.items():
        assert abs(splits.count(split) - share * len(rows)) <= largest + 4
