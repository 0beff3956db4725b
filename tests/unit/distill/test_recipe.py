import pytest

from distill.errors import RecipeInvalid
from distill.recipe import DistillRecipe, load_recipe, recipe_text, resolve, shipped


def test_shipped_recipes_are_valid_and_begin_with_their_name():
    assert shipped() == ("demo", "paper", "quick")
    for name in shipped():
        assert isinstance(load_recipe(name, "sst2"), DistillRecipe)
        assert recipe_text(name).startswith(f"# {name}: ")


def test_paper_epochs_by_task():
    epochs = {t: load_recipe("paper", t).intermediate.epochs for t in ("cola", "mnli", "sst2")}
    assert epochs == {"cola": 50, "mnli": 10, "sst2": 20}
    assert load_recipe("paper", "stsb").prediction.data == "original"
    assert load_recipe("paper", "sst2").prediction.data == "augmented"


def test_every_fault_is_reported_at_once_by_key_path():
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
        resolve(raw, "sst2", source="my.toml")
    lines = dict(line.split("  ", 1) for line in caught.value.hint.splitlines())
    faults = {key: fault.strip() for key, fault in lines.items()}
    assert caught.value.exit_code == 2
    assert caught.value.problem == f"my.toml has {len(faults)} faults"
    assert faults == {
        "max_length": 'must be "auto" or 8 to 512 pieces, found 1000',
        "layers": 'must be "uniform", "top", "bottom" or a list of layers, found \'middle\'',
        "sed": "unknown key; did you mean 'seed'?",
        "intermediate.epoch": "unknown key; did you mean 'epochs'?",
        "intermediate.weights.attention": (
            "must be a number of at least 0, or a list of them, found [1.0, -1.0]"
        ),
        "prediction.temperature": "must be greater than 0.0, found -1.0",
        "prediction.batch_size": "must be a whole number, found 2.5",
        "teacher": "must be a table, found 3",
        "plain.schedule": "must be 'linear', 'cosine' or 'constant', found 'liner'",
        "plain.learning_rate": "must be a finite number, found nan",
        "task.cola.intermediate.epochs": "must be greater than 0.0, found 0",
    }


def test_a_recipe_survives_its_own_json():
    recipe = resolve({"layers": [1, 2], "intermediate": {"weights": {"hidden": [1, 2.5]}}}, "x")
    assert recipe.layers == (1, 2)
    assert DistillRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("quik", "no recipe 'quik'"), ("absent.toml", "absent.toml is not there")],
)
def test_unknown_recipes(source, sentence):
    with pytest.raises(RecipeInvalid, match=sentence):
        load_recipe(source, "sst2")


def test_a_file_that_is_not_toml(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("seed = ")
    with pytest.raises(RecipeInvalid, match="is not TOML"):
        load_recipe(file, "sst2")
