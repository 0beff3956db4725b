"""Numbers that the rows decide, and stages that end when validation brings nothing more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augment.contract import Version, sha256_file
from distill.models.shapes import FAMILIES
from distill.pipeline import distill_task
from distill.recipes.auto import LARGE, RULES, Facts, numbers, recipe_for, resolve
from distill.recipes.load import RECIPES, load_recipe
from distill.recipes.schema import Optimization
from distill.teacher import fine_tune_teacher
from distill.training import trainer
from distill.training.head import raise_head_rate
from distill.training.schedule import total_steps
from distill.training.selection import StepSelection
from tests.unit.distill.helpers import TINY_RECIPE, make_model, tokenizer_of

STAGES = ("teacher", "intermediate", "prediction", "plain")
ENDING = TINY_RECIPE.replace(
    "evaluations = 3", 'evaluations = 8\nkeep = "latest"\npatience = 1\nhead_factor = 2.0', 1
)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("rows", [1, 7, 100, 300, 700, 1_000, 2_000, 4_000, LARGE, 67_349, 10**7])
def test_every_number_of_rows_has_usable_numbers(stage: str, rows: int) -> None:
    found = numbers(stage, rows)
    steps = total_steps(rows, Optimization(**asdict(found)))

    assert 1 <= steps <= found.max_steps
    assert min(RULES[stage].rates) <= found.learning_rate <= max(RULES[stage].rates)
    assert 1 <= found.head_factor <= RULES[stage].head


@pytest.mark.parametrize("stage", STAGES)
def test_more_rows_never_mean_fewer_steps_or_more_epochs(stage: str) -> None:
    sizes = [60, 255, 595, 850, 1_275, 1_700, 2_550, 4_000, 6_000, LARGE, 20_000, 100_000]
    found = [numbers(stage, rows, batch_size=32) for rows in sizes]
    steps = [
        total_steps(rows, Optimization(**asdict(own)))
        for rows, own in zip(sizes, found, strict=True)
    ]

    assert all(more > 0.98 * fewer for fewer, more in pairwise(steps))  # epochs are rounded
    assert all(more.epochs <= fewer.epochs for fewer, more in pairwise(found))


def test_many_rows_have_the_numbers_of_a_large_set() -> None:
    large = {stage: astuple(numbers(stage, LARGE)) for stage in STAGES}

    assert large == {
        "teacher": (3, 2000, 32, 5e-5, 1),
        "intermediate": (5, 2000, 32, 5e-4, 1),
        "prediction": (3, 1000, 32, 1e-4, 1),
        "plain": (8, 1500, 32, 1e-4, 1),
    }


@pytest.mark.parametrize(("width", "rate"), [(128, 3e-4), (384, 1e-4), (768, 5e-5), (1024, 3.8e-5)])
def test_a_wide_encoder_has_a_lower_rate_on_few_rows(width: int, rate: float) -> None:
    assert numbers("teacher", 700, width=width).learning_rate == rate
    assert numbers("teacher", LARGE, width=width).learning_rate == 5e-5
    assert numbers("plain", 700, width=width) == numbers("plain", 700)


@pytest.mark.parametrize(
    ("classes", "rate"), [(0, 1e-4), (2, 1e-4), (5, 1e-4), (10, 1.4e-4), (24, 2e-4)]
)
def test_many_classes_have_a_higher_rate_on_few_rows(classes: int, rate: float) -> None:
    assert numbers("teacher", 700, classes=classes).learning_rate == rate
    assert numbers("teacher", LARGE, classes=classes).learning_rate == 5e-5
    assert numbers("plain", 700, classes=classes) == numbers("plain", 700)


def test_what_a_recipe_names_is_kept_and_the_rest_is_filled_in() -> None:
    facts = Facts(original=700, augmented=14_000)
    raw = {"teacher": {"epochs": "auto", "batch_size": 8, "learning_rate": 1e-3}}
    teacher = resolve(RECIPES.resolve(raw, "x"), facts).teacher

    assert (teacher.batch_size, teacher.learning_rate, teacher.max_steps) == (8, 1e-3, None)
    assert teacher.epochs == numbers("teacher", 700, batch_size=8).epochs
    quick = resolve(load_recipe("quick", "x"), facts)
    assert quick.plain.batch_size == numbers("plain", 700).batch_size
    assert quick.intermediate.epochs == numbers("intermediate", 14_000).epochs
    for stage in STAGES:
        assert getattr(quick, stage).numbers


@pytest.mark.parametrize("name", [name for name in RECIPES.names if name != "quick"])
def test_the_other_recipes_name_every_number(name: str) -> None:
    recipe = load_recipe(name, "sst2")

    assert resolve(recipe, Facts(original=300, augmented=300)) == recipe


def logged(scores: list[float]) -> list[dict[str, float]]:
    """The log of a stage that was evaluated every ten steps."""
    log: list[dict[str, float]] = [{"loss": 1.0, "step": 1}]
    for at, score in enumerate(scores, start=1):
        log += [{"loss": 0.5, "step": 10 * at}, {"eval_accuracy": score, "step": 10 * at}]
    return log


@pytest.mark.parametrize(
    ("scores", "kept", "waited"),
    [
        ([], None, 0),
        ([0.5], 1, 0),
        ([0.5, 0.6, 0.7], 3, 0),
        ([0.5, 0.7, 0.7, 0.6], 2, 2),  # the same again is no better
        ([0.9, 0.1, 0.2, 0.3], 1, 3),
        ([-1.0, 0.0], 2, 0),
        ([0.2, 0.2, 0.2, 0.1], 1, 0),  # nothing is learnt yet
        ([0.2, 0.2, 0.2, 0.5, 0.4], 4, 1),
        ([math.nan, 0.4, math.nan], 2, 1),
    ],
)
def test_the_first_of_the_best_is_kept(scores: list[float], kept: int | None, waited: int) -> None:
    selection, log = StepSelection("accuracy", learnt=0.2), logged(scores)
    found = selection.kept(log)

    assert (found and found.step) == (kept and 10 * kept)
    assert selection.waited(log) == waited


@pytest.mark.parametrize(
    ("rows", "scores", "kept", "waited"),
    [
        (100, [0.5, 0.8, 0.77, 0.75], 3, 2),  # a standard error of 0.8 on 100 rows is 0.04
        (10_000, [0.5, 0.8, 0.77, 0.75], 2, 2),
        (100, [0.5, 0.8, 0.75, 0.77], 4, 2),
        (100, [0.8, 0.77, 0.9, 0.85, 0.88], 5, 2),
        (100, [0.88, 0.9, 0.86], 2, 1),
        (100, [0.1, 0.1, 0.1], 3, 0),  # not learnt
        (4, [1.0, 0.99], 1, 1),  # nothing is as good as no error
    ],
)
def test_a_later_step_is_as_good_within_a_standard_error(
    rows: int, scores: list[float], kept: int, waited: int
) -> None:
    selection = StepSelection("accuracy", rows=rows, learnt=0.2, within=1.0)
    log = logged(scores)
    found = selection.kept(log)

    assert found
    assert found.step == 10 * kept
    assert found.score == scores[kept - 1]
    assert selection.waited(log) == waited


@given(
    scores=st.lists(st.floats(-1, 1), min_size=1, max_size=12),
    rows=st.integers(1, 1000),
    within=st.sampled_from([0.0, 1.0]),
    metric=st.sampled_from(["accuracy", "matthews"]),
)
def test_what_is_kept_now_or_was_kept_before_is_kept_at_the_end(
    scores: list[float], rows: int, within: float, metric: str
) -> None:
    """So that two checkpoints are enough: the one that is kept so far, and the latest."""
    selection = StepSelection(metric, rows, within=within)
    log = [{f"eval_{metric}": score, "step": at} for at, score in enumerate(scores, start=1)]
    kept = [selection.kept(log[:at]) for at in range(1, len(log) + 1)]

    for at, (before, now) in enumerate(pairwise(kept), start=2):
        assert now in (before, kept[at - 1])
        assert now
        assert now.step == at or now == before


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose teacher knows all there is long before its last step."""
    file = tmp_path_factory.mktemp("recipes") / "ending.toml"
    file.write_text(ENDING)
    return file


@pytest.fixture(scope="module")
def teach(version: Version, encoder: Path, ending: Path) -> Any:
    def make(out: Path) -> str:
        fine_tune_teacher(version, init=str(encoder), out=out, recipe=ending, quiet=True)
        return sha256_file(out / "model.safetensors")

    return make


@contextmanager
def watched(stop_after: int | None = None) -> Iterator[list[int]]:
    """The steps of the checkpoints that are written, and a stop just after one of them."""
    save, steps = trainer.StageTrainer._save_checkpoint, []

    def saving(self: Any, *given: Any) -> None:
        save(self, *given)
        steps.append(self.state.global_step)
        if len(steps) == stop_after:
            raise KeyboardInterrupt

    with mock.patch.object(trainer.StageTrainer, "_save_checkpoint", saving):
        yield steps


def test_a_stage_ends_early_and_the_same_wherever_it_was_stopped(
    teach: Any, tmp_path: Path
) -> None:
    with watched() as steps:
        calm = teach(tmp_path / "calm")
    record = json.loads((tmp_path / "calm" / "teacher.json").read_text())

    assert 1 < len(steps) < 8  # of eight evaluations
    assert record["identity"]["recipe"]["teacher"]["patience"] == 1
    (scores,) = (own["scores"]["validation"] for own in record["result"]["models"])
    assert scores["accuracy"] > 0.9
    for number in range(1, len(steps) + 1):
        out = tmp_path / f"stopped-{number}"
        with watched(stop_after=number), pytest.raises(KeyboardInterrupt):
            teach(out)
        with watched() as rest:
            assert teach(out) == calm
        assert rest == steps[number:]


def test_what_is_not_evaluated_goes_on_to_its_last_step(
    version: Version, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TINY_RECIPE.replace("[intermediate]", "[intermediate]\npatience = 1\nevaluations = 50")
    text = text.replace("evaluations = 2", "evaluations = 12\npatience = 1")
    (tmp_path / "recipe.toml").write_text(text.replace("epochs = 2", 'epochs = "auto"'))
    run = distill_task(version, teacher=teacher, student="2x16-32-4", out=tmp_path / "run",
                       recipe=tmp_path / "recipe.toml")  # fmt: skip
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    last = {row["stage"]: row["step"] for row in map(json.loads, lines)}
    recorded = json.loads((run.path / "run.json").read_text())["recipe"]
    said = capsys.readouterr().err

    assert last["intermediate"] == 52
    assert last["prediction"] < 39
    assert recorded["plain"]["epochs"] == numbers("plain", 200, batch_size=16).epochs
    assert recorded == recipe_for(version, tmp_path / "recipe.toml").model_dump(
        mode="json", exclude={"teacher", "general", "log"}
    )
    assert "400 rows · 52 steps of 32 · rate 0.003, linear\n" in said
    assert "400 rows · 39 steps of 32 · rate 0.002, linear · or until 1 evaluation of 12" in said
    assert f"ended at step {last['prediction']}: no better accuracy in 1 evaluation" in said


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_has_its_own_rate_and_every_weight_one(family: str) -> None:
    model = make_model(family, tokenizer_of(family))
    named = dict(model.named_parameters())
    decayed = [weight for weight in named.values() if weight.ndim > 1]
    others = [weight for weight in named.values() if weight.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    raise_head_rate(optimizer, model, 1.0)
    assert len(optimizer.param_groups) == 2

    raise_head_rate(optimizer, model, 10.0)
    rates = {id(own): group["lr"] for group in optimizer.param_groups for own in group["params"]}
    decays = [group["weight_decay"] for group in optimizer.param_groups]

    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(named)
    assert rates.keys() == {id(weight) for weight in named.values()}
    fast = {name for name, weight in named.items() if rates[id(weight)] == pytest.approx(1e-2)}
    assert {"classifier", "pooler", "head", "pre_classifier"} & {
        part for name in fast for part in name.split(".")
    }
    assert not [name for name in fast if "embed" in name or "layer" in name.split(".")]
    assert sorted(decays) == [0.0, 0.0, 0.1, 0.1]
