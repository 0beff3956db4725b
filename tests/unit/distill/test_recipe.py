from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augment.contract import TaskSpec
from distill.errors import RecipeInvalid
from distill.recipes.load import RECIPES, DistillRecipe, load_recipe
from distill.recipes.schema import LossWeights

GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
NOTHING = {"attention": 0.0, "hidden": 0.0, "embedding": 0.0}


def test_shipped_recipes_are_valid_and_begin_with_their_name() -> None:
    assert RECIPES.names == ("demo", "distilbert", "logits", "minilmv2", "paper", "pkd", "quick")
    for name in RECIPES.names:
        for task in (*GLUE, "my-own"):
            assert isinstance(load_recipe(name, task), DistillRecipe)
        first = RECIPES.text(name).splitlines()[0]
        assert first.startswith(f"# {name}: ")
        assert first.endswith(".")


@pytest.mark.parametrize("task", GLUE)
def test_the_papers_numbers(task: TaskSpec) -> None:
    """docs/method.md, section 6: epochs, batch, rates, temperature, λ = 1, STS-B's exception."""
    recipe = load_recipe("paper", task)
    first, second = recipe.intermediate, recipe.prediction

    assert first.epochs == {"cola": 50, "mnli": 10, "qqp": 10, "qnli": 10}.get(task, 20)
    assert (first.batch_size, first.learning_rate, first.data) == (32, 5e-5, "augmented")
    assert first.weights == LossWeights()
    assert (second.epochs, second.temperature, second.loss) == (3, 1.0, "soft_cross_entropy")
    assert second.batch_size in (16, 32)
    assert second.learning_rate in (1e-5, 2e-5, 3e-5)
    assert second.data == ("original" if task == "stsb" else "augmented")
    assert first.max_steps is second.max_steps is None
    assert (recipe.max_length, recipe.layers) == ("auto", "uniform")
    assert recipe.projection == "separate_embedding"


def test_what_the_baselines_compare() -> None:
    parts = {name: load_recipe(name, "sst2") for name in RECIPES.names}
    weights = {name: recipe.prediction.weights for name, recipe in parts.items()}

    assert not parts["logits"].compares_tokens
    assert not parts["logits"].maps_layers
    assert not parts["pkd"].intermediate.enabled
    assert parts["pkd"].maps_layers
    assert (weights["pkd"].patient, weights["pkd"].cosine) == (100.0, 0.0)
    assert not parts["distilbert"].maps_layers
    assert parts["distilbert"].compares_tokens
    assert (weights["distilbert"].patient, weights["distilbert"].cosine) == (0.0, 0.125)
    assert parts["minilmv2"].intermediate.attention == "relations"
    assert not parts["minilmv2"].intermediate.matches_states
    assert (weights["minilmv2"].logits, weights["minilmv2"].labels) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("section", "values", "sentence"),
    [
        ("prediction", {"weights": {"logits": 0.0}}, "logits or weights.labels must be greater"),
        ("prediction", {"loss": "mse", "temperature": 2.0}, "temperature must be 1"),
        ("prediction", {"loss": "ce"}, "must be 'soft_cross_entropy', 'kl' or 'mse'"),
        ("intermediate", {"weights": NOTHING}, "to leave the stage out: enabled = false"),
        (
            "intermediate",
            {"attention": "relations", "weights": {"attention": [1.0, 2.0]}},
            "relations are those of one layer",
        ),
        ("intermediate", {"relations": {"heads": 0}}, 'must be "auto" or a number of at least 1'),
        ("intermediate", {"relations": {"header": 1}}, "unknown key; did you mean 'heads'?"),
    ],
)
def test_losses_that_make_no_sense(section: str, values: Any, sentence: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve({section: values}, "sst2")

    assert caught.value.hint.startswith(section)
    assert sentence in caught.value.hint


def test_a_stage_that_is_left_out_may_weigh_nothing() -> None:
    assert RECIPES.resolve({"intermediate": {"enabled": False, "weights": NOTHING}}, "x")


def test_every_fault_is_reported_at_once_by_key_path() -> None:
    raw = {
        "max_length": 1000,
        "layers": "middle",
        "sed": 1,
        "intermediate": {"epoch": 3, "weights": {"attention": [1.0, -1.0]}},
        "prediction": {"temperature": -1.0, "batch_size": 2.5},
        "teacher": 3,
        "plain": {"schedule": "liner", "learning_rate": float("nan")},
        "task": {"cola": {"intermediate": {"epochs": 0}}},
    }
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve(raw, "sst2", source="my.toml")
    lines = dict(line.split("  ", 1) for line in caught.value.hint.splitlines())
    faults = {key: fault.strip() for key, fault in lines.items()}

    assert caught.value.exit_code == 2
    assert caught.value.problem == f"my.toml has {len(faults)} faults"
    assert faults == {
        "max_length": 'must be "auto" or 8 to 512 tokens, found 1000',
        "layers": 'must be "uniform", "top", "bottom" or a list of layers, found \'middle\'',
        "sed": "unknown key; did you mean 'seed'?",
        "intermediate.epoch": "unknown key; did you mean 'epochs'?",
        "intermediate.weights.attention": (
            "must be a number of at least 0, or a list of them, found [1.0, -1.0]"
        ),
        "prediction.temperature": "must be greater than 0.0, found -1.0",
        "prediction.batch_size": 'must be "auto" or a number of at least 1, found 2.5',
        "teacher": "must be a table, found 3",
        "plain.schedule": "must be 'linear', 'cosine' or 'constant', found 'liner'",
        "plain.learning_rate": 'must be "auto" or a number greater than 0, found nan',
        "task.cola.intermediate.epochs": 'must be "auto" or a number greater than 0, found 0',
    }


def test_a_recipe_survives_its_own_json() -> None:
    recipe = RECIPES.resolve(
        {"layers": [1, 2], "intermediate": {"weights": {"hidden": [1, 2.5]}}}, "x"
    )

    assert recipe.layers == (1, 2)
    assert DistillRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("quik", "no recipe 'quik'"),
        ("absent.toml", "neither a shipped one"),
    ],
)
def test_unknown_recipes(source: str, sentence: str) -> None:
    with pytest.raises(RecipeInvalid, match=sentence):
        load_recipe(source, "sst2")


def test_blocks_shorter_than_the_shortest_are_a_fault() -> None:
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve({"general": {"length": 16, "min_length": 32, "data": "original"}}, "x")
    assert "general.data  unknown key" in caught.value.hint
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve({"general": {"length": 16, "min_length": 32}}, "x")

    assert caught.value.hint == "general  min_length 32 leaves no block of at most 16 tokens"


def test_a_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("seed = ")
    with pytest.raises(RecipeInvalid, match="is not TOML"):
        load_recipe(file, "sst2")
