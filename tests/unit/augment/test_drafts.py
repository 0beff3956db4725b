"""``augment init``: the draft of any data file is read back, or a sentence says why not."""

from __future__ import annotations

import csv
import json
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augment.contract import Manifest
from augment.contract.foreign import as_code
from augment.errors import SourceInvalid, SourceMissing
from augment.recipes.load import describe, load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.sources.infer import draft_of, sniff
from augment.sources.read import read_source
from augment.tasks import Task, load_task

Row = dict[str, Any]


def rows(count: int = 12, **columns: Any) -> list[Row]:
    """Rows of a text and a label; a column is given by its values, which repeat."""
    full = {"text": [f"some words {i}" for i in range(count)], "label": ["no", "yes"], **columns}
    return [{name: values[i % len(values)] for name, values in full.items()} for i in range(count)]


def write(folder: Path, records: list[Row], name: str = "data.jsonl") -> Path:
    path = folder / name
    if name.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
    else:
        path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def drafted(folder: Path, data: Path) -> Task:
    """The task as it is read from the draft's file."""
    (folder / "draft.toml").write_bytes(sniff(data).encode())
    return load_task(folder / "draft.toml")


def reads(folder: Path, records: list[Row], name: str = "data.jsonl") -> Task:
    """The task of a draft that reads its own file as both splits."""
    data = write(folder, records, name)
    task = drafted(folder, data)
    (folder / task.files["validation"]).write_bytes(data.read_bytes())
    assert read_source(task, None).splits["train"].num_rows == len(records)
    return task


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Reviews (1).csv", "my-reviews-1"),
        ("отзывы.csv", "my-task"),
        ("评论.csv", "my-task"),
        ('a\nb]\\ "x".csv', "a-b-x"),
        ("..csv", "my-task"),
        ("Café.csv", "cafe"),
        ("x" * 90 + ".csv", "x" * 64),
        ("sst2.csv", "my-sst2"),
        ("validation.csv", "validation"),
    ],
)
def test_files_of_any_name(tmp_path: Path, file: str, name: str) -> None:
    task = reads(tmp_path, rows(), file)

    assert (task.spec.name, task.files["train"]) == (name, file)


NASTY = [
    'te"xt',
    "back\\slash",
    "line\nbreak",
    "tab\t",
    "[x]",
    "#",
    "'''",
    '"""',
    "\x7f",
    "a\u2028b",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_columns_and_classes_of_any_name(tmp_path: Path, nasty: str) -> None:
    records = [{nasty: r["text"], "label": r["label"]} for r in rows(label=[nasty + "x", "y"])]
    for name in ("data.jsonl", "data.csv"):
        spec = reads(tmp_path, records, name).spec
        assert spec.text_columns == (nasty,)
        assert set(spec.label.names) == {nasty + "x", "y"}


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"label": [3, 1, 2]}, ("1", "2", "3")),
        ({"label": [True, False]}, ("false", "true")),
        ({"label": [-1, 0, 1]}, ("-1", "0", "1")),
        ({"label": [0.5, 1.0, 2]}, ()),
        ({"label": list(range(150))}, ()),
        ({"label": [f"c{i}" for i in range(150)]}, tuple(sorted(f"c{i}" for i in range(150)))),
        ({"Category": ["b", "a"], "label": [["b"], ["a"]]}, ("a", "b")),
    ],
)
def test_what_a_label_is(tmp_path: Path, columns: dict[str, Any], names: tuple[str, ...]) -> None:
    spec = reads(tmp_path, rows(450, **columns)).spec

    assert spec.label.names == names
    assert spec.label.column == ("Category" if "Category" in columns else "label")


@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("apart", [True, False])
def test_soft_labels_are_no_label(tmp_path: Path, digits: int, apart: bool) -> None:
    """A column for each class of the label's, whatever that is called, or all in one column."""
    path, draws = tmp_path / "a.jsonl", random.Random(1)
    records = []
    for at, draw in enumerate(draws.random() for _ in range(60)):
        p = round(draw, digits)
        soft = {"p_bad": p, "p_good": 1 - p} if apart else {"soft_labels": [p, 1 - p]}
        records.append({"text": f"text {at}", "mood": "good" if p < 0.5 else "bad", **soft})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    draft = draft_of(path)

    assert (draft.texts, draft.label, draft.names) == (("text",), "mood", ("bad", "good"))
    assert {draft.reasons[name] for name in soft} == {"soft labels"}


def test_classes_of_a_sorted_file(tmp_path: Path) -> None:
    records = rows(3000, label=["a"] * 1500 + ["b"] * 1500)

    assert reads(tmp_path, records).spec.label.names == ("a", "b")


def test_a_column_that_tells_the_label_is_no_text(tmp_path: Path) -> None:
    told = ["so bad", "so good", "quite bad", "very good"]
    records = rows(400, told=told)
    assert reads(tmp_path, records).spec.text_columns == ("text",)
    records[0]["told"] = "so good"  # it does not tell it, but has few values that repeat
    assert reads(tmp_path, records).spec.text_columns == ("text",)
    for number, record in enumerate(records):
        record["told"] += f" {number}"

    assert reads(tmp_path, records).spec.text_columns == ("text", "told")


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"text": [f"这部电影第{i}次好看" for i in range(12)]}, ("text",)),
        ({"text": [f"映画は{i}とても良い" for i in range(12)]}, ("text",)),
        ({"text": ["good", "bad", "ugly", "nice", "fine"]}, ("text",)),
        ({"shown": ["not at all", "very much so"]}, ("text",)),
        ({"when": [f"2024-01-{i:02} 10:00" for i in range(12)]}, ("text",)),
        ({"meta": [{"a b": "c d"}], "tags": [["a b", "c d"]]}, ("text",)),
        ({"title": [f"a title {i}" for i in range(12)]}, ("text", "title")),
    ],
)
def test_what_a_text_is(tmp_path: Path, columns: dict[str, Any], chosen: tuple[str, ...]) -> None:
    """Scripts without spaces and one-word texts are; what repeats the label or nests is not."""
    assert reads(tmp_path, rows(**columns)).spec.text_columns == chosen


def test_rows_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    records = rows(1000)
    records[5]["text"] = None
    records[7]["label"] = None
    draft = sniff(write(tmp_path, records))

    assert "# Rows that cannot be read as they are: 1. data.jsonl line 6 has None" in draft
    assert "# Rows without a label: 1 of 1000" in draft
    assert tomllib.loads(draft)["label"]["names"] == ["no", "yes"]


def test_classes_that_are_written_as_decimals_are_doubted(tmp_path: Path) -> None:
    draft = sniff(write(tmp_path, rows(label=[0.0, 1.0, 2.0])))

    assert "for classes write whole numbers" in draft
    assert 'kind = "regression"' in draft
    assert "decimals" not in sniff(write(tmp_path, rows(label=[0.0, 0.5])))


def test_a_first_line_that_is_a_row_is_doubted(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    lines = "".join(f"a dull day {i},bad\na fine day {i},good\n" for i in range(9))
    path.write_text("It was fine,good\n" + lines)
    assert "'good', as a label: is the first line a row?" in sniff(path)

    path.write_text("text,label\n" + lines)
    assert "first line" not in sniff(path)

    path.write_text("text|label\n" + lines.replace(",", "|"))
    with pytest.raises(SourceInvalid, match=r"but one column: text\|label\.") as caught:
        sniff(path)
    assert "sep=|" in caught.value.hint


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"label": [["a"], ["b"]]}, "no column looks like a label: .* not so 'label'"),
        ({"label": [None]}, "no column looks like a label"),
        ({"label": ["one"]}, "no column looks like a label"),
        ({"label": ["Pos", "pos ", "neg"]}, "'Pos' and 'pos ' differ in case or blanks alone"),
        ({"label": ["\ud800", "x"]}, "cannot be described as it is"),
        ({"label": [f"{i}th text" for i in range(300)]}, "300 different texts in 300 rows"),
        ({"text": [{"a": "b"}]}, "no text column beside the label"),
        ({"idx": [3]}, "row number 3 300 times"),
    ],
)
def test_files_that_give_no_draft(tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SourceInvalid, match=sentence):
        sniff(write(tmp_path, rows(300, **columns)))


def test_a_text_that_is_called_label_has_no_classes(tmp_path: Path) -> None:
    swapped = rows(30, label=[f"some words {i}" for i in range(30)], text=["good", "bad"])
    with pytest.raises(SourceInvalid, match="30 different texts in 30 rows: too many"):
        sniff(write(tmp_path, swapped))


def test_what_is_no_data_file(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="is not there"):
        sniff(tmp_path / "none.csv")
    for path in (tmp_path, Path("/dev/null"), tmp_path / ("x" * 300 + ".csv")):
        with pytest.raises(SourceInvalid):
            sniff(path)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    columns=st.lists(words, min_size=2, max_size=4, unique=True),
    classes=st.lists(words, max_size=4),
)
def test_a_draft_is_read_back_whatever_it_names(
    tmp_path: Path, columns: list[str], classes: list[str]
) -> None:
    """Or refused in a sentence; nothing else comes out."""
    texts = [f"some words {i}" for i in range(10)]
    values = dict.fromkeys(columns[1:], texts) | {columns[0]: classes or ["a", "b"]}
    records = [{name: of[i % len(of)] for name, of in values.items()} for i in range(10)]
    data = write(tmp_path, records, "data.jsonl")
    try:
        task = drafted(tmp_path, data)
    except SourceInvalid:
        return
    spec = task.spec
    assert {*spec.text_columns, spec.label.column} <= set(columns)
    assert set(spec.label.names) <= {*texts, *(classes or ["a", "b"])}  # a column named "CLASS"


def test_a_recipe_is_written_as_it_is_read(tmp_path: Path) -> None:
    words = tuple(word for word in NASTY if word.split() == [word])
    recipe = AugmentRecipe(protect_words=words, protect_patterns=(*NASTY[2:4], 'a"\\b', "\\\\n"))
    path = tmp_path / "r.toml"
    path.write_text(describe(recipe), encoding="utf-8")

    assert load_recipe(str(path), "sst2") == recipe


def test_code_in_a_card_stays_code() -> None:
    assert as_code("glue") == "`glue`"
    assert as_code("a`b``c\n# no heading") == "``` a`b``c\\n# no heading ```"
    assert Manifest.model_fields["label_rule"].default is None
