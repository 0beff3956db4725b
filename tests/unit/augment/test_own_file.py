"""``augment run FILE``: what a file is taken for, and where one sentence ends it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from augment import augment_task, open_version
from augment.cli import app
from augment.contract import Fault, UsageError
from augment.errors import SourceInvalid, SourceMissing
from augment.sources.own_file import Columns, splits_beside, task_of_file

Row = dict[str, Any]


def rows(count: int = 60, **columns: Any) -> list[Row]:
    """Texts of two classes; of further columns the values in turn, or what a function says."""
    return [
        {
            "id": f"T{i:04}", "text": f"some words of {i}", "label": "no" if i % 3 else "yes",
            **{name: of(i) if callable(of) else of[i % len(of)] for name, of in columns.items()},
        }
        for i in range(count)
    ]  # fmt: skip


def lay(folder: Path, records: list[Row], name: str = "reviews.csv", **renamed: str) -> Path:
    path = folder / name
    records = [{renamed.get(key, key): own for key, own in row.items()} for row in records]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return path


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, arguments), "--variants", "0"])


def taken(path: Path, **said: Any) -> tuple[tuple[str, ...], str]:
    """The columns that a file is read by."""
    spec = task_of_file(path, Columns(**said), path.parent / "out", lambda *_: None).spec
    return spec.text_columns, spec.label.column


def test_one_command_from_a_file_to_a_version(tmp_path: Path) -> None:
    path, out = lay(tmp_path, [*rows(), *rows(2, label=[""])]), tmp_path / "versions"
    more = tmp_path / "more.txt"
    more.write_text("a text of nobody\nanother one\n")
    done = call(path, "--out", out, "--unlabeled", more)
    version = open_version(out / "reviews")

    assert done.exit_code == 0, done.output
    assert "label: the label (it is called so" in done.stderr
    assert "train 42 · validation 9 · test 9 rows" in done.stderr
    assert version.rows("unlabeled") == 2  # the bare rows equal labeled ones
    assert [p.name for p in tmp_path.iterdir() if "review" in p.name] == ["reviews.csv"]
    (folder,) = (out / "reviews").glob("reviews-*")
    single = call(folder / "reviews.toml", "--unlabeled", more, "--out", tmp_path / "other")
    assert single.exit_code == 0, single.output
    again = open_version(tmp_path / "other" / "reviews")
    assert again.manifest.id == version.manifest.id
    assert again.manifest.files == version.manifest.files


def test_the_same_command_goes_on_and_a_changed_file_is_another_version(tmp_path: Path) -> None:
    path, out = lay(tmp_path, rows()), tmp_path / "versions"
    first = call(path, "--out", out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    again = call(path, "--out", out)

    assert first.exit_code == again.exit_code == 0
    assert "already that" in again.stderr
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    lay(tmp_path, rows(70))
    assert call(path, "--out", out).exit_code == 0
    assert {p: p.read_bytes() for p in before} == before
    assert len(list((out / "reviews").glob("v0*"))) == 2


def test_a_task_file_that_was_changed_is_not_written_over(tmp_path: Path) -> None:
    path, out = lay(tmp_path, rows()), tmp_path / "versions"
    assert call(path, "--out", out).exit_code == 0
    (file,) = out.glob("reviews/*/reviews.toml")
    file.write_text(file.read_text() + "mine = 1\n")
    done = call(path, "--out", out)

    assert done.exit_code == 3
    assert "nothing was changed" in done.stderr
    assert file.read_text().endswith("mine = 1\n")


def test_files_of_other_splits_lie_beside_it(tmp_path: Path) -> None:
    lay(tmp_path, rows(9), "dev.csv")
    lay(tmp_path, rows(6), "test.csv")
    path, out = lay(tmp_path, rows(), "train.csv"), tmp_path / "versions"
    done = call(path, "--out", out)
    version = open_version(out / "train")

    assert done.exit_code == 0, done.output
    assert {s: version.rows(s) for s in version.splits} == {"train": 60, "validation": 9, "test": 6}
    (file,) = out.rglob("*.toml")
    assert not list(out.rglob("*.csv"))
    single = call(file, "--source", tmp_path, "--out", tmp_path / "other")
    assert single.exit_code == 0, single.output
    assert open_version(tmp_path / "other" / "train").manifest.id == version.manifest.id


@pytest.mark.parametrize(
    ("name", "beside", "found"),
    [
        ("train.csv", ["validation.csv", "test.csv"], 3),
        ("en-train-2024.csv", ["en-val-2024.csv", "de-val-2024.csv"], 2),
        ("Train.CSV", ["Valid.csv"], 2),
        ("train.csv", ["test.csv"], 0),
        ("train.csv", ["dev.tsv"], 0),
        ("trainers.csv", ["validation.csv"], 0),
        ("strain.csv", ["dev.csv", "sdev.csv"], 0),
    ],
)
def test_what_is_a_file_of_a_split(
    tmp_path: Path, name: str, beside: list[str], found: int
) -> None:
    for each in (name, *beside):
        (tmp_path / each).touch()

    assert len(splits_beside(tmp_path / name)) == found


def test_splits_that_are_not_sure(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "val.csv", "train-00000-of-00002.csv"):
        lay(tmp_path, rows(12), name)

    with pytest.raises(SourceInvalid, match=r"dev\.csv.*may both be"):
        taken(tmp_path / "train.csv")
    with pytest.raises(SourceInvalid, match="one of 2 parts"):
        taken(tmp_path / "train-00000-of-00002.csv")


def topics(i: int) -> str:
    return "abc"[i % 3]


@pytest.mark.parametrize(
    ("columns", "renamed", "sentence", "said", "read"),
    [
        ({"topic": topics}, {"label": "queue"}, "the label may be topic, queue",
         {"label": "queue"}, (("text",), "queue")),
        ({"category": topics}, {"label": "class"}, "the label may be class, category",
         {"label": "category"}, (("text",), "category")),
        ({"notes": lambda i: f"notes to remember {i}"}, {}, "2 columns of texts: text, notes",
         {"texts": ["notes"]}, (("notes",), "label")),
        ({"a": lambda i: f"a few words {i}", "z": lambda i: f"some more {i}"}, {}, "3 columns",
         {"texts": ["z", "text"]}, (("z", "text"), "label")),
    ],
)  # fmt: skip
def test_it_stops_where_it_cannot_be_sure(
    tmp_path: Path, columns: Row, renamed: dict[str, str], sentence: str, said: Any, read: Any
) -> None:
    path = lay(tmp_path, rows(**columns), **renamed)

    with pytest.raises(SourceInvalid, match=sentence) as stopped:
        taken(path)
    assert "--label" in stopped.value.hint or "--text" in stopped.value.hint
    assert not (tmp_path / "out").exists()
    assert taken(path, **said) == read


@pytest.mark.parametrize(
    ("columns", "renamed", "sentence"),
    [
        ({"label": ["0.0", "1.0"]}, {}, "decimals without a fraction"),
        ({"label": lambda i: i // 2 % 30}, {"label": "age"}, "a number to predict"),
        ({"split": ["train", "validation", "test"]}, {"label": "split!"}, "names splits"),
        ({"label": ["0", "1"]}, {"label": "0"}, "is the first line a row"),
    ],
)
def test_what_may_be_meant_otherwise(
    tmp_path: Path, columns: Row, renamed: dict[str, str], sentence: str
) -> None:
    path = lay(tmp_path, rows(120, **columns), **renamed)

    with pytest.raises(SourceInvalid, match=sentence):
        taken(path, label=renamed.get("label", "label"))


@pytest.mark.parametrize(
    ("columns", "renamed", "read"),
    [
        ({"category": topics, "score": ["1", "2"]}, {}, (("text",), "label")),
        ({"text_2": lambda i: f"more words {i}"}, {"text": "text_1"},
         (("text_1", "text_2"), "label")),
        ({"body": lambda i: f"more words {i}"}, {"text": "Subject"},
         (("Subject", "body"), "label")),
        ({"label": lambda i: i % 40}, {}, (("text",), "label")),
        ({"label": lambda i: f"{i * 0.37:.2f}"}, {}, (("text",), "label")),
    ],
)  # fmt: skip
def test_it_goes_on_where_it_can_be_sure(
    tmp_path: Path, columns: Row, renamed: dict[str, str], read: Any
) -> None:
    assert taken(lay(tmp_path, rows(240, **columns), **renamed)) == read


def test_shares(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    few = [row | {"label": "rare" if i < 2 else "usual"} for i, row in enumerate(rows())]
    path = lay(tmp_path, few)
    task = task_of_file(path, Columns(), tmp_path / "out", lambda *line: said.append(line))

    assert task.spec.splits.test == ()
    assert any("no test split" in line for _, line in said)
    named = task_of_file(path, Columns(split="60/40"), tmp_path / "out", lambda *_: None)
    assert named.folder != task.folder
    lay(tmp_path, few[1:])
    with pytest.raises(SourceInvalid, match="the class rare has 1 row"):
        taken(path)
    assert len(list((tmp_path / "out" / "reviews").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.csv"], 3, "nowhere.csv is not there"),
        (["reviews.csv", "--source", "."], 2, "--source goes with a task"),
        (["sst2", "--label", "x"], 2, "of a data file, and sst2 is none"),
        (["reviews.csv", "--label", "nothing"], 2, "no column 'nothing'"),
        (["reviews.csv", "--text", "label", "--label", "label"], 2, "named twice"),
        (["reviews.csv", "--split", "70"], 2, "not two or three shares"),
        (["folder"], 2, "It is a folder"),
        (["notes.docx"], 3, "unknown kind"),
        (["empty.csv"], 3, "is empty"),
        (["texts.txt"], 3, "unknown kind"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    lay(tmp_path, rows())
    (tmp_path / "folder").mkdir()
    for name in ("notes.docx", "texts.txt"):
        (tmp_path / name).write_text("some words\nmore words\n")
    (tmp_path / "empty.csv").touch()
    monkeypatch.chdir(tmp_path)
    done = call(*arguments, "--out", "out")

    assert done.exit_code == code, done.output
    assert sentence in done.stderr
    assert "mistake of the program" not in done.stderr
    assert not Path("out").exists()


def test_from_python(tmp_path: Path) -> None:
    path = lay(tmp_path, rows(notes=lambda i: f"notes to remember {i}"))
    version = augment_task(str(path), text="text", variants=0, out=tmp_path / "versions")

    assert version.task.text_columns == ("text",)
    with pytest.raises(UsageError, match="of a data file"):
        augment_task("sst2", text=["text"], variants=0, out=tmp_path / "versions")


@pytest.mark.parametrize("name", ["sst2.csv", "v0001.csv", "Öffnung.csv", "a b.csv", "-x.csv"])
def test_names_of_files(tmp_path: Path, name: str) -> None:
    out = tmp_path / "versions"
    version = augment_task(str(lay(tmp_path, rows(), name)), variants=0, out=out)

    assert open_version(out / version.task.name).manifest.id == version.manifest.id


def test_a_file_that_cannot_be_written_beside(tmp_path: Path) -> None:
    path = lay(tmp_path, rows())
    (tmp_path / "out").write_text("a file")

    with pytest.raises(Fault, match="out"):
        augment_task(str(path), variants=0, out=tmp_path / "out")
    shutil.copy(path, tmp_path / "gone.csv")
    with pytest.raises(SourceMissing):
        taken(tmp_path / "went.csv")
