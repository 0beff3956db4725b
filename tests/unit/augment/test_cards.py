"""What a version says of itself to other tools: its data set card and its Croissant file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import mlcroissant
import pytest
from huggingface_hub import DatasetCard
from rich.markdown import Markdown

from augment import augment_task
from augment.contract import Label, Splits, TaskSpec, Version, open_version, verify
from augment.contract.errors import FileDamaged
from augment.contract.foreign import front_matter, is_unseen, shown
from augment.derive.merge import merge_versions
from augment.derive.write import write_version
from augment.errors import RecipeInvalid
from augment.sources.terms import terms_of
from augment.tasks import Task, Terms, get_task, load_task
from augment.versions.card import card
from augment.versions.croissant import croissant

NASTY = (
    "---", "no", "1e3", "`</script>`", "<b>", "a\n---\nlicense: mit", "| x |", "\x1b[31m\u202e",
    "\ufffe \U0001f600", "![](http://x)", "# h", "```\ncode", "{{ x }}", "&amp;", "'\"\\",
    "- a: [b",
)  # fmt: skip
"""Names that mean something to YAML, Markdown, HTML or a terminal."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def rows(texts: list[str], labels: list[Any], columns: tuple[str, ...], label: str) -> Any:
    return datasets.Dataset.from_dict({**dict.fromkeys(columns, texts), label: labels})


def nasty_version(out: Path) -> Version:
    spec = TaskSpec(
        name="nasty",
        text_columns=("a `b`\n---\n<i>", "| c |"),
        label=Label(column="- x: 'y'", names=NASTY),
        metrics=("accuracy",),
        selection_metric="accuracy",
    )
    texts = [f"tea {n}" for n in range(len(NASTY))]
    split = rows(texts, list(NASTY), spec.text_columns, spec.label.column)
    return write_version(spec, {"train": split, "validation": split.select([0, 1])}, out=out)


def body_of(text: str) -> list[Any]:
    """The tokens of a card as a reader of Markdown sees them."""
    tokens = Markdown(DatasetCard(text).content.split("\n---\n", 1)[1]).parsed
    return [*tokens, *(child for token in tokens for child in token.children or ())]


def task_file(folder: Path, more: str = "") -> Path:
    (folder / "train.csv").write_text("text,label\nfine,good\npoor,bad\n")
    (folder / "validation.csv").write_text("text,label\nso,good\n")
    (folder / "t.toml").write_text(
        f'{more}\nname="t"\ntext_columns=["text"]\nmetrics=["f1"]\nselection_metric="f1"\n[label]\n'
        'names=["bad","good"]\n[splits]\ntrain="train.csv"\nvalidation="validation.csv"\n'
    )
    return folder / "t.toml"


def made(folder: Path, more: str = "") -> Version:
    return augment_task(str(task_file(folder, more)), variants=0, out=folder / "out")


def test_the_card_is_one_to_the_hub(tmp_path: Path) -> None:
    version = made(tmp_path, 'license = "cc-by-4.0"\nlanguage = "de"')
    head = DatasetCard((version.path / "README.md").read_text()).data.to_dict()

    assert head["license"] == "cc-by-4.0"
    assert head["language"] == ["de"]
    assert head["task_categories"] == ["text-classification"]
    assert head["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in head["configs"]] == [version.manifest.config_name]
    assert [each["split"] for each in head["configs"][0]["data_files"]] == ["train", "validation"]


def test_the_card_of_scores_names_their_task(tmp_path: Path) -> None:
    for columns, kind in ((("text",), "text-classification"), (("a", "b"), "sentence-similarity")):
        label = Label(kind="regression")
        spec = TaskSpec(name="scores", text_columns=columns, label=label, metrics=("pearson",),
                        selection_metric="pearson")  # fmt: skip
        split = rows(["one", "two"], [0.5, 1.0], columns, "label")
        version = write_version(spec, {"train": split, "validation": split}, out=tmp_path)
        head = DatasetCard((version.path / "README.md").read_text()).data.to_dict()

        assert head["task_categories"] == [kind]


def test_what_the_card_says_to_run_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    version = made(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (version.path / "README.md").read_text(), re.S)
    monkeypatch.chdir(version.path.parent)
    found: dict[str, Any] = {}
    exec(block, found)

    assert found["rows"]["train"]["text"] == ["fine", "poor"]
    assert "num_rows: 2" in capsys.readouterr().out


def test_foreign_names_stay_names(tmp_path: Path) -> None:
    version = nasty_version(tmp_path)
    text = (version.path / "README.md").read_text()
    tokens = body_of(text)

    assert not [char for char in text if is_unseen(char, lines=True)]
    assert not [token for token in tokens if "html" in token.type or token.type == "image"]
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1"] + ["h2"] * 3
    assert sum(token.type == "table_open" for token in tokens) == 2
    assert sum(token.type == "list_item_open" for token in tokens) == len(NASTY)
    loaded = datasets.load_dataset(str(version.path))
    assert loaded["train"].features["- x: 'y'"].names == list(NASTY)
    verify(version)


def test_names_of_counts_keys_and_parents_stay_in_their_cells_and_items(tmp_path: Path) -> None:
    """Generators of added rows give counts their names; derived versions, recipes theirs."""
    manifest = made(tmp_path).manifest
    names = {f"added.{name}": at for at, name in enumerate(NASTY)}
    recipe = dict.fromkeys(NASTY, "a | b")
    tokens = body_of(card(manifest.model_copy(update={"counts": names, "recipe": recipe})))
    lines = [
        "".join(own.content for own in token.children)
        for token in tokens
        if token.type == "inline" and token.children
    ]

    assert sum(token.type == "tr_open" for token in tokens) == 3 + 1 + len(NASTY)
    assert sum(token.type == "td_open" for token in tokens) == 2 * 2 + 2 * len(NASTY)
    for name in NASTY:
        at = lines.index(f"added.{shown(name)}")
        assert lines[at + 1] == str(names[f"added.{name}"])
        assert f"{shown(name)} = a | b" in lines


@pytest.mark.parametrize("text", NASTY)
def test_a_head_gives_back_what_was_put_in(text: str) -> None:
    head = front_matter({"a": text, "b": [text, {"c": text, "d": [1, None, True, []]}], "e": {}})
    read = DatasetCard(f"{head}\nbody").data.to_dict()
    as_seen = "".join(c if c.isprintable() else "\\" for c in text)

    assert head.count("\n---\n") == 1
    assert read["a"] == read["b"][0] == read["b"][1]["c"]
    assert read["b"][1]["d"] == [1, None, True, []]
    if as_seen == text:
        assert read["a"] == text


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("license: mit\nlanguage:\n- en\n- fr", Terms(license="mit", language=("en", "fr"))),
        ("license:\n- apache-2.0\nlanguage: en", Terms(license="apache-2.0", language=("en",))),
        ("license: [mit, gpl]", Terms()),  # which of them holds is not said
        ("license: 'all <b>mine</b>'\nlanguage: english please", Terms()),
        ("license: [", Terms()),
        ("tags: [x]", Terms()),
    ],
)
def test_terms_are_those_of_the_source(tmp_path: Path, head: str, expected: Terms) -> None:
    path = task_file(tmp_path)
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n# Rows\n")

    assert terms_of(str(tmp_path), load_task(path)) == expected


def test_terms_of_the_task_file_come_first(tmp_path: Path) -> None:
    path = task_file(tmp_path, 'license = "cc0-1.0"')
    (tmp_path / "README.md").write_text("---\nlicense: mit\nlanguage: sv\n---\n")
    (tmp_path / "out" / "t").mkdir(parents=True)

    assert terms_of(str(tmp_path), load_task(path)) == Terms(license="cc0-1.0", language=("sv",))
    assert terms_of(str(tmp_path / "out"), get_task("sst2")) == Terms(language=("en",))


def test_terms_of_a_hub_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> DatasetCard:
        assert name == "owner/rows"
        return DatasetCard("---\nlicense: odbl\n---\n")

    monkeypatch.setattr(DatasetCard, "load", load)
    spec = TaskSpec(name="t", text_columns=("text",), label=Label(names=("a", "b")),
                    metrics=("f1",), selection_metric="f1")  # fmt: skip

    assert terms_of("owner/rows:config", Task(spec)) == Terms(license="odbl")


@pytest.mark.parametrize("line", ['license = "My Own"', 'language = "Deutsch"', "license = 3"])
def test_terms_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(RecipeInvalid, match=line.split(maxsplit=1)[0]):
        load_task(task_file(tmp_path, line))


def test_terms_do_not_decide_the_rows_and_are_handed_on(tmp_path: Path) -> None:
    plain, free = tmp_path / "plain", tmp_path / "free"
    plain.mkdir()
    free.mkdir()
    first, second = made(plain), made(free, 'license = "mit"\nlanguage = "en"')
    other = write_version(
        load_task(task_file(free, 'license = "mit"\nlanguage = "da"')),
        {"train": first.table("train").select(["text", "label", "idx"]),
         "validation": first.table("validation").select(["text", "label", "idx"])},
        out=tmp_path,
    )  # fmt: skip
    merged = merge_versions([second.path, other.path], out=tmp_path)
    mixed = merge_versions([first.path, other.path], out=tmp_path / "mixed")

    assert first.manifest.id == second.manifest.id
    assert "license" not in json.loads(first.manifest.to_json())
    assert (merged.manifest.license, merged.manifest.language) == ("mit", ("en", "da"))
    assert mixed.manifest.license is None
    assert 'license: "other"' in (mixed.path / "README.md").read_text()


def records(version: Version, split: str) -> list[dict[str, Any]]:
    read = mlcroissant.Dataset(version.path / "croissant.json")
    assert not read.metadata.ctx.issues.errors
    return list(read.records(split))


def test_croissant_gives_every_row(tmp_path: Path) -> None:
    version = nasty_version(tmp_path)
    found = records(version, "train")
    table = version.table("train").to_pylist()

    assert [row["train/_column-0"].decode() for row in found] == [
        row["a `b`\n---\n<i>"] for row in table
    ]
    assert [row["train/_column-2"] for row in found] == list(range(len(NASTY)))
    names = mlcroissant.Dataset(version.path / "croissant.json").records("label-classes")
    assert [row["label-classes/name"] for row in names] == list(NASTY)


def test_croissant_gives_edits_and_rows_of_several_files(tmp_path: Path) -> None:
    """Also a split that is called as a class list, soft labels, and labels that are not there."""
    spec = TaskSpec(name="t", text_columns=("text",), label=Label(names=("a", "b")),
                    metrics=("f1",), selection_metric="f1",
                    splits=Splits(validation=("classes",), unlabeled="unlabeled"))  # fmt: skip
    edit = {"column": "text", "start": 0, "end": 3, "before": "one", "after": "two",
            "source": "masked_lm"}  # fmt: skip
    train = [{"text": "one", "label": 0, "idx": 0, "variant": 0, "edits": [], "generator": None},
             {"text": "two", "label": 0, "idx": 0, "variant": 1, "edits": [edit],
              "generator": "word_replacement"}]  # fmt: skip
    soft = [{"text": "three", "soft_labels": [0.25, 0.75]}]
    version = write_version(
        spec,
        {
            "train": datasets.Dataset.from_list(train),
            "classes": datasets.Dataset.from_list([{"text": "x", "label": 1}]),
            "unlabeled": datasets.Dataset.from_list(soft),
        },
        out=tmp_path,
    )
    found = records(version, "train")
    (unlabeled,) = records(version, "unlabeled")

    assert found[0]["train/edits"] == []
    assert found[1]["train/edits"][0]["train/edits/after"] == b"two"
    assert unlabeled["unlabeled/label"] is None
    assert list(unlabeled["unlabeled/soft_labels"]) == [0.25, 0.75]
    assert records(version, "classes")[0]["classes/label"] == 1


def test_croissant_reads_splits_of_several_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("augment.versions.parquet.SHARD_BYTES", 1)
    monkeypatch.setattr("augment.versions.parquet.ROWS_A_GROUP", 1000)
    spec = TaskSpec(name="t", text_columns=("text",), label=Label(names=("a", "b")),
                    metrics=("f1",), selection_metric="f1")  # fmt: skip
    split = rows([f"tea {n}" for n in range(1500)], ["a", "b"] * 750, ("text",), "label")
    version = write_version(spec, {"train": split, "validation": split.select([0])}, out=tmp_path)

    assert len(version.files("train")) > 1
    assert {row["train/text"].decode() for row in records(version, "train")} == set(split["text"])


def test_croissant_is_checked_as_the_card_is(tmp_path: Path) -> None:
    version = made(tmp_path)
    file = version.path / "croissant.json"
    whole = file.read_text()

    assert verify(version) == 2
    assert whole == croissant(version.manifest)
    assert str(tmp_path) not in whole
    for change in ("{}", whole.replace("train", "test")):
        file.write_text(change)
        with pytest.raises(FileDamaged, match=r"croissant\.json is not as it was written"):
            verify(version)
    file.unlink()
    with pytest.raises(FileDamaged):
        verify(version)


def test_a_version_made_before_has_no_croissant_and_wants_none() -> None:
    version = open_version(Path(__file__).parents[2] / "contract" / "contract_1")

    assert version.manifest.croissant is None
    assert verify(version) == 4
