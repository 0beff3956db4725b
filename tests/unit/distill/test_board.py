"""TensorBoard's log: one recipe key, which changes neither the run nor its weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from augment.contract import Version
from distill.errors import ExtraMissing
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.listing import open_run
from distill.training.callbacks import open_board


@pytest.fixture
def how(version: Version, teacher: Path, recipe: Path) -> dict[str, Any]:
    settings: DistillRecipe = load_recipe(recipe, version.task.name)
    few = {"max_steps": 4, "evaluations": 2}
    short = settings.model_copy(
        update={
            "log": "tensorboard",
            "intermediate": settings.intermediate.model_copy(update=few),
            "prediction": settings.prediction.model_copy(update=few),
        }
    )
    how = {"teacher": teacher, "student": "1x32-64-4", "plain": False, "quiet": True}
    return {**how, "version": version, "recipe": short}


def test_losses_and_scores_are_logged_and_the_run_is_the_same(
    how: dict[str, Any], tmp_path: Path
) -> None:
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = distill_task(out=tmp_path / "run", **how)

    seen: set[str] = set()
    for stage in ("intermediate", "prediction"):
        events = board.EventAccumulator(str(run.path / "tensorboard" / stage)).Reload()
        seen |= {f"{stage} {tag}" for tag in events.Tags()["scalars"]}
    assert {"intermediate train/hidden", "prediction eval/accuracy"} <= seen

    plain = how["recipe"].model_copy(update={"log": "none"})
    again = distill_task(out=run.path, **{**how, "recipe": plain})  # no other run
    assert again.result == open_run(run.path).result
    assert "log" not in run.recipe


def test_without_the_package_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    assert open_board(None, 0) is None
    with pytest.raises(ExtraMissing, match="not installed"):
        open_board(tmp_path, 0)
