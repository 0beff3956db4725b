"""Uneven classes: weights of the loss, even draws, and recipes that say nothing of either."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional
from transformers import BertTokenizerFast

from augment.contract import Label, RecipeInvalid, TaskSpec, Version, sha256_file
from distill.data.balance import balanced, class_weights
from distill.data.mixtures import mix
from distill.data.row_sets import RowSet
from distill.pipeline import distill_task
from distill.recipes.auto import check_classes
from distill.recipes.load import RECIPES, DistillRecipe
from distill.recipes.schema import Original, Prediction
from distill.stages.hard_labels import HardLabelStage, LabelTerm
from distill.stages.losses import label_loss
from distill.teacher import fine_tune_teacher
from distill.training.advice import rare_advice
from distill.training.schedule import row_order, rows_drawn
from tests.unit.distill.helpers import SENTIMENT, TINY_RECIPE, make_bert, stopping

NAMES = ("common", "rare", "absent")


def rows_of(labels: Any, mixture: Any = None) -> RowSet:
    """Rows with these labels, all of one length."""
    labels = np.asarray(labels)
    columns = {"labels": labels, "length": np.full(len(labels), 5, np.int32)}
    return RowSet(datasets.Dataset.from_dict(columns), mixture)


def test_balanced_weights_are_scikit_learns_but_for_a_factor() -> None:
    labels = np.repeat([0, 1, -1], [90, 6, 4])
    found = class_weights("balanced", NAMES, rows_of(labels))
    known = labels[labels >= 0]
    expected = compute_class_weight("balanced", classes=np.arange(2), y=known)

    assert found is not None
    assert np.array(found[:2]) / found[0] == pytest.approx(expected / expected[0])
    assert min(found) == 1


def test_weights_by_name_count_by_their_ratio() -> None:
    rows = rows_of([0, 1])

    assert class_weights({"rare": 3.0}, NAMES, rows) == (1, 3, 1)
    assert class_weights({"common": 0.25}, NAMES, rows) == (1, 4, 4)
    assert class_weights("none", NAMES, rows) is None


def test_weights_that_are_all_the_same_are_none() -> None:
    assert class_weights({"rare": 1.0}, NAMES, rows_of([0])) is None
    assert class_weights(dict.fromkeys(NAMES, 5.0), NAMES, rows_of([0])) is None
    assert class_weights("balanced", NAMES[:2], rows_of([0, 1, 1, 0])) is None


@pytest.mark.parametrize("rows", [1, 8])
def test_the_weighted_loss_is_that_of_torch(rows: int) -> None:
    draw = torch.Generator().manual_seed(rows)
    logits = torch.randn(rows, 3, generator=draw, requires_grad=True)
    labels = torch.randint(3, (rows,), generator=draw)
    weights = torch.tensor([1.0, 7.5, 2.0])
    ours, theirs = (
        label_loss(logits, labels, weights),
        functional.cross_entropy(logits, labels, weight=weights),
    )
    gradients = [torch.autograd.grad(own, logits)[0] for own in (ours, theirs)]

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*gradients)
    some = torch.cat([labels, torch.tensor([-1])])
    more = torch.cat([logits, torch.zeros(1, 3)])
    torch.testing.assert_close(label_loss(more, some, weights), theirs)
    assert label_loss(logits, torch.full((rows,), -1), weights) == 0


def test_a_stage_keeps_its_weights_out_of_checkpoints(tokenizer: BertTokenizerFast) -> None:
    plain, weighed = (
        HardLabelStage(make_bert(tokenizer), "plain", own) for own in (None, (1.0, 4.0))
    )

    assert plain.state_dict().keys() == weighed.state_dict().keys()
    assert weighed.to("meta").label_term.class_weights.device.type == "meta"  # type: ignore[union-attr]
    assert LabelTerm()(torch.zeros(2, 2), torch.tensor([0, 1])) == pytest.approx(np.log(2))


def test_balanced_draws_have_every_class_equally_often() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    rows = balanced(rows_of(labels))
    assert rows.mixture is not None
    draws = [rows.mixture.epoch(4, epoch) for epoch in range(6)]

    assert len(rows.mixture) == len(rows)
    assert all(sorted(Counter(labels[own].tolist()).values()) == [33, 33, 34] for own in draws)
    assert {*np.concatenate(draws[:3])[labels[np.concatenate(draws[:3])] == 0]} == {*range(70)}
    assert (draws[2] != draws[3]).any()
    again = balanced(rows_of(labels)).mixture
    assert again is not None
    assert (again.epoch(4, 5) == draws[5]).all()  # of seed and epoch alone


def test_what_is_drawn_is_known_beforehand() -> None:
    """The teacher answers the rows that balanced draws will take, and no others."""
    rows = balanced(rows_of(np.repeat([0, 1], [500, 8])))
    training = Original(epochs=1.0, max_steps=5, batch_size=10).numbers
    order = row_order(rows.rows, 10, 3, rows.mixture)
    drawn = rows_drawn(rows.rows, training, 3, rows.mixture)

    assert {*list(order)[:50]} <= {*drawn.tolist()}
    assert len(drawn) < 100


def test_shares_of_a_mixture_stay_and_its_parts_are_even() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [0] * 5 + [1] * 25 + [-1] * 110)
    part = np.repeat([0, 1, 2], [60, 30, 110])
    rows = balanced(rows_of(labels, mix(part, [1.0, 1.0, 2.0])))
    assert rows.mixture is not None
    drawn = rows.mixture.epoch(0, 0)

    assert Counter(zip(part[drawn].tolist(), labels[drawn].tolist(), strict=True)) == {
        (0, 0): 25, (0, 1): 25, (1, 0): 25, (1, 1): 25, (2, -1): 100
    }  # fmt: skip


def test_rows_without_a_label_keep_their_share() -> None:
    labels = np.repeat([0, 1, -1], [30, 10, 40])
    rows = balanced(rows_of(labels))
    assert rows.mixture is not None

    assert Counter(labels[rows.mixture.epoch(0, 0)].tolist()) == {0: 20, 1: 20, -1: 40}


def test_hundreds_of_classes_and_some_rows_left_out() -> None:
    labels = np.repeat(np.arange(300), 2)
    rows = balanced(rows_of(labels).keep(np.arange(600) % 5 > 0))
    assert rows.mixture is not None

    assert len(rows.mixture) == 480
    assert len({*rows.mixture.epoch(0, 0).tolist()}) > 400


def test_a_part_whose_rows_are_all_left_out_is_not_drawn_from() -> None:
    rows = balanced(rows_of([0] * 50 + [1] * 5 + [2]))
    assert rows.mixture is not None
    kept = rows.mixture.keep(np.array([True] * 50 + [False] * 5 + [True]))

    assert len(kept) == 51
    assert Counter(kept.epoch(0, 0).tolist())[50] >= 25


def test_the_lines_that_are_advised_work_when_pasted() -> None:
    first, *lines = rare_advice("tickets.v2", "prediction").split("\n")

    assert "--recipe FILE" in first
    recipe = RECIPES.resolve(tomllib.loads("\n".join(lines)), "tickets.v2")
    assert recipe.prediction.sampling == "balanced"
    assert recipe.plain.sampling == "natural"


@pytest.mark.parametrize("section", ["teacher", "prediction", "plain"])
def test_recipes_that_say_nothing_are_what_they_were(section: str) -> None:
    before = getattr(DistillRecipe(), section).model_dump(mode="json")
    raw = {section: {"sampling": "balanced"}}
    after = getattr(RECIPES.resolve(raw, "x"), section).model_dump(mode="json")

    assert not {"class_weights", "sampling"} & before.keys()
    assert after == {**before, "sampling": "balanced"}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"teacher": {"class_weights": {"a": 0}}}, "weight of 'a' must be a number greater than 0"),
        ({"plain": {"class_weights": {"a": float("nan")}}}, "must be a number greater than 0"),
        ({"plain": {"class_weights": {"a": True}}}, "must be a number greater than 0"),
        ({"plain": {"class_weights": {"a": 1e300}}}, "from 1e-06 to 1e+06"),
        ({"plain": {"class_weights": {"a": 10**400}}}, "from 1e-06 to 1e+06"),
        ({"plain": {"class_weights": {}}}, 'must be "none", "balanced" or a table'),
        ({"plain": {"class_weights": "even"}}, 'must be "none", "balanced" or a table'),
        ({"plain": {"sampling": "even"}}, "'natural' or 'balanced'"),
        ({"plain": {"class_weights": "balanced", "sampling": "balanced"}}, "even already"),
        ({"prediction": {"class_weights": "balanced"}}, "weights.labels is 0"),
        ({"intermediate": {"sampling": "balanced"}}, "sampling"),
    ],
)
def test_faulty_settings_are_sentences(section: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        RECIPES.resolve(section, "x")
    assert sentence in str(caught.value)


def test_classes_are_those_of_the_task() -> None:
    weighed = DistillRecipe(plain=Original(class_weights={"positive": 2.0, "happy": 3.0}))
    with pytest.raises(RecipeInvalid, match="'happy', which is no class of mood"):
        check_classes(weighed, SENTIMENT)
    check_classes(DistillRecipe(plain=Original(class_weights={"positive": 2.0})), SENTIMENT)
    task = TaskSpec(
        name="near",
        text_columns=("text",),
        label=Label(kind="regression"),
        metrics=("pearson",),
        selection_metric="pearson",
    )
    check_classes(DistillRecipe(), task)
    for uneven in ({"sampling": "balanced"}, {"class_weights": "balanced"}):
        with pytest.raises(RecipeInvalid, match=rf"{next(iter(uneven))} of \[teacher\] is for"):
            check_classes(DistillRecipe(teacher=Original(**uneven)), task)  # type: ignore[arg-type]


def test_a_teacher_of_even_draws_is_the_same_wherever_it_was_stopped(
    version: Version, encoder: Path, tmp_path: Path
) -> None:
    def teach(name: str, more: str = "") -> str:
        text = TINY_RECIPE.replace("[teacher]\nepochs = 6", f"[teacher]\nepochs = 2\n{more}")
        (tmp_path / "r.toml").write_text(text)
        out = tmp_path / name
        fine_tune_teacher(
            version, init=str(encoder), out=out, recipe=tmp_path / "r.toml", quiet=True
        )
        return sha256_file(out / "model.safetensors")

    even = 'sampling = "balanced"'
    calm = teach("calm", even)
    with stopping("teacher", step=14):
        teach("stopped", even)
    assert teach("stopped", even) == calm

    usual = teach("usual")
    assert usual != calm
    assert teach("ones", "class_weights = { negative = 1, positive = 1.0 }") == usual
    record = json.loads((tmp_path / "usual" / "teacher.json").read_text())
    assert "sampling" not in record["identity"]["recipe"]["teacher"]


def test_a_run_weighs_the_labels_of_stage_2(
    version: Version, teacher: Path, tmp_path: Path
) -> None:
    lines = """
class_weights = { positive = 3.0 }
sampling = "balanced"
weights = { logits = 1.0, labels = 0.5 }
"""
    text = TINY_RECIPE.replace("[prediction]\n", f"[prediction]\n{lines}")
    (tmp_path / "r.toml").write_text(text)
    run = distill_task(
        version, teacher=teacher, student="2x16-32-4", out=tmp_path / "run",
        recipe=tmp_path / "r.toml", plain=False, quiet=True,
    )  # fmt: skip
    recorded = json.loads((run.path / "run.json").read_text())["recipe"]["prediction"]

    assert recorded["class_weights"] == {"positive": 3.0}
    assert recorded["sampling"] == "balanced"
    assert run.result.selected_scores()["student, distilled"] > 0.5
    assert Prediction(**recorded).class_weights == {"positive": 3.0}
