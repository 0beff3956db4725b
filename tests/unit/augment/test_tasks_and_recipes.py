"""Tasks as data, task files, recipes: every fault is named at once."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from augment.contract import identity
from augment.errors import RecipeInvalid, SourceMissing
from augment.recipes.load import RECIPES, describe, load_recipe
from augment.recipes.schema import AugmentRecipe
from augment.tasks import GLUE, get_task, load_task

TASK_FILE = """
name = "reviews"
text_columns = ["sentence"]
metrics = ["accuracy", "f1"]
selection_metric = "accuracy"
[label]
column = "label"
names = ["negative", "positive"]
[splits]
train = "train.csv"
validation = "dev.csv"
"""


def test_all_nine_glue_tasks() -> None:
    assert sorted(GLUE) == ["cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli"]
    assert GLUE["mnli"].spec.label.names == ("entailment", "neutral", "contradiction")
    assert GLUE["wnli"].spec.label.names == ("not_entailment", "entailment")
    assert GLUE["stsb"].spec.label.kind == "regression"
    assert GLUE["mnli"].spec.splits.validation == ("validation_matched", "validation_mismatched")


@pytest.mark.parametrize("name", ["SST-2", "sst2", "STS-B", "MNLI", "sst_2"])
def test_glue_names_are_forgiving(name: str) -> None:
    assert get_task(name).spec.name == name.lower().replace("-", "").replace("_", "")


def test_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(RecipeInvalid, match="cola, sst2") as caught:
        get_task("sst3")
    assert "augment init" in caught.value.hint


def test_a_task_file(tmp_path: Path) -> None:
    path = tmp_path / "reviews.toml"
    path.write_text(TASK_FILE)
    task = load_task(path)

    assert task.files == {"train": "train.csv", "validation": "dev.csv"}
    assert task.spec.splits.names == ("train", "validation")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('names = ["negative", "positive"]', 'names = ["one"]', "at least two names"),
        ('metrics = ["accuracy", "f1"]', 'metrics = ["bleu"]', "unknown metric 'bleu'"),
        ('["sentence"]', '["a", "b", "c"]', "text_columns"),
        ('name = "reviews"', 'name = "../up"', "name"),
        ('["sentence"]', '["idx"]', "reserved"),
        ('validation = "dev.csv"', "", "'validation'"),
        ("[label]", "color = 1\n[label]", "unknown key"),
        ('["accuracy", "f1"]', '["accuracy", "accuracy"]', "'accuracy' stands twice"),
        ('["accuracy", "f1"]', '["accuracy", "pearson"]', "of a classification .* found 'pearson'"),
        ('["sentence"]', "[]", "must have at least 1, found"),
        ('name = "reviews"', 'name = "отзывы"', "must match .* found 'отзывы'"),
        ('["negative", "positive"]', '["Positive", "positive "]', "differ in case or blanks"),
        ('["negative", "positive"]', '["a  b", "a b"]', "differ in case or blanks"),
        ('["negative", "positive"]', '["negative", " "]', "not blank"),
        ('["negative", "positive"]', '["pos", "pos\\u200b"]', "differ in case or blanks"),
        ('["negative", "positive"]', '["é", "e\u0301"]', "differ in case or blanks"),
        ('["sentence"]', '[""]', "a column needs a name"),
        ('"dev.csv"', '"./train.csv"', "'train.csv' stands twice; each split needs its own"),
        ('validation = "dev.csv"', 'validation = "d.csv"\ndev = "e.csv"', "splits.dev"),
        ('train = "train.csv"', 'train = "a.csv"\ntrain = "b.csv"', "not TOML: .*overwrite"),
    ],
)
def test_faulty_task_files(tmp_path: Path, before: str, after: str, expected: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(TASK_FILE.replace(before, after))

    with pytest.raises(RecipeInvalid, match=expected):
        load_task(path)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (TASK_FILE.encode("utf-16"), "iconv -f UTF-16"),
        (gzip.compress(b"name = 1", mtime=0), "gunzip"),
    ],
)
def test_a_task_file_or_recipe_that_is_no_text(tmp_path: Path, content: bytes, remedy: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)  # PowerShell's > writes UTF-16

    for read in (load_task, lambda file: load_recipe(str(file), "cola")):
        with pytest.raises(RecipeInvalid, match=r"is not TOML: byte [01] is not UTF-8") as caught:
            read(path)
        assert remedy in caught.value.hint


def test_a_missing_task_file(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="is not there"):
        get_task(str(tmp_path / "no.toml"))


@pytest.mark.parametrize("preset", RECIPES.names)
@pytest.mark.parametrize("task", list(GLUE))
def test_presets_resolve_for_every_task_and_round_trip(
    preset: str, task: str, tmp_path: Path
) -> None:
    recipe = load_recipe(preset, task)
    path = tmp_path / "copy.toml"
    path.write_text(describe(recipe))

    assert load_recipe(str(path), task) == recipe
    assert recipe.preset == preset


def test_presets_differ_where_the_paper_and_the_code_do() -> None:
    official, paper = load_recipe("official", "cola"), load_recipe("paper", "cola")

    assert (official.variants, paper.variants) == (30, 20)
    assert (official.words, official.context, official.conditioning) == (
        "basic",
        "pair",
        "original",
    )
    assert (paper.words, paper.context, paper.conditioning) == ("all", "single", "copy")


def test_all_faults_of_a_recipe_at_once(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('variant = 3\ntop_k = 0\nprobability = 1.5\nwords = "some"\n')

    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(str(path), "sst2")
    message = str(caught.value)
    assert "4 faults" in message
    assert "unknown key; did you mean 'variants'?" in message
    assert all(key in message for key in ("top_k", "probability", "words"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["variants = [", "\x00"])
def test_a_recipe_that_is_not_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)

    with pytest.raises(RecipeInvalid, match="not TOML"):
        load_recipe(str(path), "sst2")


def test_the_name_of_a_preset_is_not_part_of_the_id() -> None:
    first, second = (
        identity(
            algorithm=1,
            task=get_task("sst2").spec,
            recipe=recipe.model_dump(mode="json"),
            sources=(),
            assets=(),
        )
        for recipe in (AugmentRecipe(preset="mine"), AugmentRecipe())
    )

    assert first == second


def test_overrides_of_every_task_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[task.cola]\nvariant = 3\n[task.sst2]\ntop_k = 0\n")

    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(str(path), "sst2")
    assert caught.value.hint.splitlines() == [
        "task.cola.variant  unknown key; did you mean 'variants'?",
        "task.sst2.top_k    must be at least 1, found 0",
    ]


def test_a_fault_in_a_task_file_is_named_by_its_key_path(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(TASK_FILE.replace('name = "reviews"', "").replace("names =", "name ="))

    with pytest.raises(RecipeInvalid) as caught:
        load_task(path)
    assert caught.value.problem == f"{path} has 2 faults"
    lines = dict(line.split(maxsplit=1) for line in caught.value.hint.splitlines())
    assert lines["name"] == "is missing"
    assert lines["label.name"] == "unknown key; did you mean 'names'?"


@pytest.mark.parametrize(
    "line",
    ['protect_words = ["not", "NOT"]', 'protect_patterns = ["a+", "a+"]', "top_k = 3\ntop_k = 4"],
)
def test_what_stands_twice_in_a_recipe(tmp_path: Path, line: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(line)

    with pytest.raises(RecipeInvalid, match=r"stands twice|overwrite"):
        load_recipe(str(path), "sst2")


@pytest.mark.parametrize("word", ["", " not", "not so"])
def test_what_no_word_can_equal_protects_none(tmp_path: Path, word: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(f'protect_words = ["{word}"]')

    with pytest.raises(RecipeInvalid, match=f"'{word}' is not one word; .* protect_patterns"):
        load_recipe(str(path), "sst2")


@pytest.mark.parametrize(
    "line",
    [
        'variants = "20"', "variants = 20.0", "seed = true", 'leak_guard = "off"', "leak_guard = 0",
        'probability = "0.4"', "probability = true", "protect_words = [1]", 'protect_words = "not"',
        "words = 1",
    ],
)  # fmt: skip
def test_no_value_of_a_recipe_is_taken_for_another_kind(tmp_path: Path, line: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(line)

    with pytest.raises(RecipeInvalid, match="must be"):
        load_recipe(str(path), "sst2")
    path.write_text("probability = 1")
    assert load_recipe(str(path), "sst2").probability == 1.0


def test_recipes_and_task_files_that_are_none(tmp_path: Path) -> None:
    for content in (b"PK\x03\x04", b"a = \xff", b"x = " + b"[" * 5000, b"top_k = " + b"9" * 40):
        path = tmp_path / "my.toml"
        path.write_bytes(content)
        for read in (lambda p: load_recipe(str(p), "sst2"), load_task):
            with pytest.raises(RecipeInvalid, match=r"my\.toml is not TOML"):
                read(path)
    for read in (lambda p: load_recipe(str(p), "sst2"), load_task):
        with pytest.raises(RecipeInvalid, match="no regular file") as caught:
            read(tmp_path)
        assert caught.value.hint == "It is a folder, not a file."
    path.write_bytes(b"\xef\xbb\xbftop_k = 3")
    assert load_recipe(str(path), "sst2").top_k == 3
