"""PURE: the arms of the paper's ablations, as changes to a recipe, and the paper's own figures.

Tables 2 to 4 of Jiao et al. 2020: which procedures, which losses and which mapping a student needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from distill.recipe import DistillRecipe

WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of the table.

    Attributes:
        name: As it is called on the command line and in the table.
        meaning: What is different from ``whole``.
        start: ``general``: from the general student; ``shape``: from the shape alone.
        changes: Sections and keys of the recipe that differ, nested.
        paper: TinyBERT4's score on a task's validation split in the paper, by task.
    """

    name: str
    meaning: str
    start: Literal["general", "shape"]
    changes: dict[str, Any]
    paper: dict[str, float]


def _figures(mnli: float, mrpc: float, cola: float) -> dict[str, float]:
    return {"mnli": mnli, "mrpc": mrpc, "cola": cola}


_LABELS = {"weights": {"logits": 0.0, "labels": 1.0}}
ARMS = (
    Arm(WHOLE, "nothing left out", "general", {}, _figures(82.8, 85.8, 50.8)),
    Arm("no-gd", "no general distillation", "shape", {}, _figures(82.5, 84.1, 40.8)),
    Arm(
        "no-td",
        "no task distillation: fine-tuned on the labels of all rows",
        "general",
        {"intermediate": {"enabled": False}, "prediction": _LABELS},
        _figures(80.6, 83.8, 28.5),
    ),
    Arm(
        "no-da",
        "no augmented rows",
        "general",
        {"intermediate": {"data": "original"}, "prediction": {"data": "original"}},
        _figures(80.5, 82.4, 29.8),
    ),
    Arm(
        "no-embd",
        "no embedding loss",
        "general",
        {"intermediate": {"weights": {"embedding": 0.0}}},
        _figures(82.3, 85.0, 46.7),
    ),
    Arm(
        "no-pred",
        "labels of the original rows in place of the teacher's logits",
        "general",
        {"prediction": {**_LABELS, "data": "original"}},
        _figures(80.5, 84.3, 48.2),
    ),
    Arm(
        "no-trm",
        "neither attention nor hidden loss",
        "general",
        {"intermediate": {"weights": {"attention": 0.0, "hidden": 0.0}}},
        _figures(71.7, 70.1, 11.2),
    ),
    Arm(
        "no-attn",
        "no attention loss",
        "general",
        {"intermediate": {"weights": {"attention": 0.0}}},
        _figures(79.9, 82.3, 41.1),
    ),
    Arm(
        "no-hidn",
        "no hidden loss",
        "general",
        {"intermediate": {"weights": {"hidden": 0.0}}},
        _figures(81.7, 84.1, 43.7),
    ),
    Arm(
        "top", "mapped to the top layers", "general", {"layers": "top"}, _figures(81.7, 83.6, 35.9)
    ),
    Arm(
        "bottom",
        "mapped to the bottom layers",
        "general",
        {"layers": "bottom"},
        _figures(80.6, 84.6, 38.5),
    ),
)
BY_NAME = {arm.name: arm for arm in ARMS}


def arm_recipe(arm: Arm, recipe: DistillRecipe, seed: int) -> DistillRecipe:
    """The recipe of one arm and seed."""
    return DistillRecipe.model_validate(
        _changed(recipe.model_dump(), {**arm.changes, "seed": seed})
    )


def _changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return tree | {
        key: _changed(tree[key], value) if isinstance(value, dict) else value
        for key, value in changes.items()
    }
