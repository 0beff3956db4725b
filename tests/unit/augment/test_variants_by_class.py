"""Another number of variants for some classes: what is drawn, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from augment import augment_task, plan
from augment.cli import app
from augment.contract import Label, Splits, TaskSpec, Version
from augment.errors import RecipeInvalid, UsageError
from augment.executor.base import Engine
from augment.progress import Narrator
from augment.recipes.load import RECIPES, describe, recipe_for
from augment.recipes.schema import AugmentRecipe
from augment.tasks import GLUE

SOME = {"vector_rows": 1000, "variants": 3, "probability": 0.6}
TEXTS = [
    "a good film", "the slow red dog ran", "fine music in paris", "bad movie plot",
    "a quick brown fox", "great story of a cat", "the guitar was good", "a red city",
]  # fmt: skip
HELD = pd.DataFrame({"sentence": ["held out"], "label": [0]})
Row = tuple[int, int]


@pytest.fixture
def made(mlm_dir: Path, vectors_file: Path, tmp_path: Path) -> Any:
    """A version of eight rows, two of them of the rare class, by a recipe; ``more`` as of a run."""

    def make(recipe: dict[str, Any], labels: list[int] | None = None, **more: Any) -> Version:
        rows = pd.DataFrame({"sentence": TEXTS, "label": labels or [0, 0, 1, 0, 0, 0, 1, 0]})
        splits = {"train": rows, "validation": HELD} | more.pop("splits", {})
        return augment_task(
            "sst2", mlm=mlm_dir, vectors=vectors_file, source=splits,
            recipe=AugmentRecipe(**{**SOME, **recipe}), **{"out": tmp_path / "out", **more},
        )  # fmt: skip

    return make


def generated(version: Version, label: int | None = None) -> dict[Row, str]:
    """Source row and variant → text, of all generated rows or those of a class."""
    rows = version.to_pandas().query("variant > 0")
    rows = rows if label is None else rows[rows.label == label]
    return {(idx, v): t for idx, v, t in zip(rows.idx, rows.variant, rows.sentence, strict=True)}


def test_a_larger_number_only_adds_rows(made: Any) -> None:
    plain, more, all_more = made({}), made({"variants_of": {"positive": 9}}), made({"variants": 9})

    assert generated(more, 0) == generated(plain, 0)
    assert generated(more, 1) == generated(all_more, 1)
    assert generated(more, 1).items() > generated(plain, 1).items()


def test_a_class_with_no_variants_and_one_alone(made: Any) -> None:
    none, alone = (
        made({"variants_of": {"negative": 0}}),
        made({"variants": 0, "variants_of": {"positive": 3}}),
    )

    assert generated(none) == generated(alone) == generated(made({}), 1)
    assert none.rows("train") == len(TEXTS) + len(generated(none))
    assert none.manifest.counts["variants.negative"] == 0
    assert none.manifest.counts["rows.augmented.negative"] == 0


def test_nothing_for_any_class_is_the_rows_as_they_are(
    made: Any, mlm_dir: Path, vectors_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = {"negative": 0, "positive": 0}
    assert generated(made({"variants_of": empty}, narrator=Narrator(quiet=False))) == {}
    assert "warning" not in capsys.readouterr().err
    splits = {"train": HELD, "validation": HELD.assign(sentence="other")}
    with pytest.raises(UsageError, match="no row is to get a variant"):
        plan("sst2", mlm=mlm_dir, vectors=vectors_file, source=splits,
             recipe=AugmentRecipe(**SOME, variants_of=empty))  # fmt: skip


def test_where_it_is_computed_changes_nothing(made: Any, tmp_path: Path) -> None:
    recipe = {"variants_of": {"negative": 2, "positive": 6}}
    whole = made(recipe)
    cut = made(recipe, engine=Engine(chunk_rows=3), out=tmp_path / "cut")

    assert cut.manifest.id == whole.manifest.id
    assert cut.to_pandas().equals(whole.to_pandas())
    assert cut.manifest.counts == whole.manifest.counts


def test_rows_without_labels_are_of_no_class(made: Any) -> None:
    unlabeled = pd.DataFrame({"sentence": ["the grey city was fine", "a lazy dog walked"]})
    recipe = {"augment_unlabeled": True, "variants_of": {"negative": 0, "positive": 0}}
    version = made(recipe, splits={"unlabeled": unlabeled})

    assert generated(version) == {}
    assert version.manifest.counts["unlabeled.rows.augmented"] > 0
    assert "unlabeled.rows.augmented.negative" not in version.manifest.counts


def test_pairs(mlm_dir: Path, vectors_file: Path, tmp_path: Path) -> None:
    rows = pd.DataFrame({"sentence1": TEXTS, "sentence2": TEXTS[::-1], "label": [0] * 7 + [1]})
    held = rows.assign(sentence1="held out", sentence2="out").head(1)
    recipe = AugmentRecipe(**SOME, distinct=False, variants_of={"entailment": 1})
    task = GLUE["rte"]
    assert task.spec.label.names[0] == "entailment"
    version = augment_task(
        "rte", mlm=mlm_dir, vectors=vectors_file, recipe=recipe, out=tmp_path,
        source={"train": rows, "validation": held},
    )  # fmt: skip

    variants = version.to_pandas().groupby("idx").variant.agg(list)
    assert variants[0] == [0, 1, 2]
    assert variants[7] == [0, 1, 2, 3, 4, 5, 6]


def test_a_plan_counts_by_class(
    made: Any, mlm_dir: Path, vectors_file: Path, tmp_path: Path
) -> None:
    recipe = {"variants_of": {"negative": 0, "positive": 9}}
    version = made(recipe)
    source = tmp_path / "sst2"
    source.mkdir()
    version.to_pandas().query("variant == 0").to_parquet(source / "train.parquet")
    version.to_pandas("validation").to_parquet(source / "validation.parquet")
    found = plan("sst2", mlm=mlm_dir, vectors=vectors_file, source=source,
                 recipe=AugmentRecipe(**{**SOME, **recipe}))  # fmt: skip

    assert found.rows_in == len(TEXTS)
    assert found.rows_out == version.rows("train")
    assert found.distinct_texts == 2


def test_ids_of_recipes_that_name_no_class_are_as_they_were(made: Any) -> None:
    recipe = made({}).manifest.recipe
    assert "variants_of" not in recipe
    assert not any(name.startswith("variants.") for name in made({}).manifest.counts)


CLASSES = TaskSpec(
    name="tickets", text_columns=("body",), metrics=("f1",), selection_metric="f1",
    label=Label(names=("billing", "cancellation", "10", "a b")), splits=Splits(),
)  # fmt: skip
SCORES = GLUE["stsb"].spec


@pytest.mark.parametrize(
    ("task", "recipe", "sentence", "hint"),
    [
        (CLASSES, {"variants_of": {"cancelation": 9}}, "'cancelation', which is no class of tick",
         "Did you mean cancellation"),
        (CLASSES, {"variants_of": {"1": 9}}, "'1', which is no class", "billing, cancellation"),
        (CLASSES, {"variants_of": {"\x1b[31m": 9}}, "which is no class", "Its classes: billing"),
        (SCORES, {"variants_of": {"high": 9}}, "variants_of is for classes", "Leave it out"),
    ],
)  # fmt: skip
def test_classes_that_the_task_has_not(
    task: TaskSpec, recipe: dict[str, Any], sentence: str, hint: str
) -> None:
    with pytest.raises(RecipeInvalid, match=sentence) as refused:
        recipe_for(task, AugmentRecipe(**recipe))
    assert hint in refused.value.hint
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("variants_of = { a = 1001 }", "must be at most 1000, found 1001"),
        ("variants_of = { a = -1 }", "must be at least 0, found -1"),
        ("variants_of = { a = 1.5 }", "must be a whole number, found 1.5"),
        ("variants_of = { a = true }", "must be a whole number, found True"),
        ("variants_of = 60", "must be a table, found 60"),
    ],
)
def test_recipes_that_say_it_wrong(lines: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(lines)
    with pytest.raises(RecipeInvalid) as refused:
        recipe_for(CLASSES, file)
    assert fault in refused.value.hint


def test_a_printed_recipe_reads_the_same(tmp_path: Path) -> None:
    recipe = AugmentRecipe(variants_of={"a b": 60, "10": 0, 'quo"te': 3})
    file = tmp_path / "r.toml"
    file.write_text(describe(recipe))
    assert RECIPES.load(file, "tickets") == recipe


def test_a_run_names_the_number_of_each_class(
    made: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made({"variants_of": {"negative": 2, "positive": 6}}, narrator=Narrator(quiet=False))
    told = capsys.readouterr().err
    assert "negative 2 · positive 6" in told
    assert "N 3 by class" in told


def test_show_and_list_say_it(made: Any) -> None:
    version = made({"variants": 0, "variants_of": {"positive": 9}})
    shown = CliRunner().invoke(app, ["show", str(version.path)]).stdout
    listed = CliRunner().invoke(app, ["list", str(version.path.parents[1])]).stdout

    assert "variants_of (positive 9)" in " ".join(shown.split())
    assert "as they are" not in shown + listed


def test_the_command_that_prints_a_recipe_checks_its_classes(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("variants_of = { positiv = 9 }")
    done = CliRunner().invoke(app, ["recipe", "sst2", "--preset", str(file)])
    assert done.exit_code == 2
    assert "Did you mean positive?" in done.stderr
