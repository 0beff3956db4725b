"""The arms of the campaign on real tasks, and their steps."""

from __future__ import annotations

from dataclasses import dataclass

from distill.ablation import BY_NAME, Arm, arm_recipe
from distill.recipes.load import DistillRecipe, load_recipe
from distill.recipes.mixtures import Part


@dataclass(frozen=True, slots=True)
class Steps:
    """Optimizer steps of a task: stage 1, stage 2, and labels only."""

    first: int
    second: int
    plain: int


STEPS = {
    "cola": Steps(1500, 1000, 1500),
    "sst2": Steps(1200, 1200, 1500),
    "mrpc": Steps(250, 250, 250),
    "stsb": Steps(400, 300, 300),
}
SEEDS = {"whole": (0, 1, 2)}
LOGITS_ONLY = Arm(
    "logits-only", "the teacher's logits alone, no stage 1",
    {"intermediate": {"enabled": False}}, {}, "shape",
)  # fmt: skip
INHERITED = Arm(
    "teacher-layers", "no general distillation: from the fine-tuned teacher's own layers",
    {}, {}, "shape",
)  # fmt: skip
SHORT = {"intermediate": {"max_steps": 300}, "prediction": {"max_steps": 300}}
TRIALS = (
    Arm(
        "dropout", "whole with the student's own dropout in both stages",
        {"intermediate": {"dropout": "auto"}, "prediction": {"dropout": "auto"}}, {},
    ),
    Arm(
        "dropout-second", "whole with it in stage 2 alone",
        {"prediction": {"dropout": "auto"}}, {},
    ),
    Arm(
        "hidden-1", "whole with the paper's weights, 1 for every loss",
        {"intermediate": {"weights": {"hidden": 1.0}}}, {},
    ),
    Arm(
        "slower-first", "whole with 2e-4 in stage 1",
        {"intermediate": {"learning_rate": 2e-4}}, {},
    ),
    Arm(
        "faster-second", "whole with 3e-4 in stage 2",
        {"prediction": {"learning_rate": 3e-4}}, {},
    ),
    Arm(
        "labels-mixed-in", "whole with the labels of the data at half the weight",
        {"prediction": {"weights": {"labels": 0.5}}}, {},
    ),
    Arm("masked-300", "whole in 300 + 300 steps", SHORT, {}),
    Arm(
        "official-300", "the same with the authors' reduction",
        {**SHORT, "attention_reduction": "official"}, {},
    ),
)  # fmt: skip
ARMS = (BY_NAME["whole"], BY_NAME["no-gd"], BY_NAME["no-da"], LOGITS_ONLY, INHERITED)


FIXED = {"batch_size": 32, "learning_rate": 1e-4, "epochs": 1000.0, "patience": None}
ROWS: dict[Part, int] = {"original": 1, "augmented": 1, "unlabeled": 0}
"""Which parts the campaign's versions have; how many rows does not count without unlabeled ones."""


def recipe_of(task: str, arm: Arm, seed: int) -> DistillRecipe:
    """``quick`` with the campaign's steps and rates: no end of epochs ends a stage earlier."""
    steps = STEPS[task]
    quick = load_recipe("quick", task)
    first = {**FIXED, "max_steps": steps.first, "learning_rate": 5e-4}
    second = {**FIXED, "max_steps": steps.second, "evaluations": 8}
    if arm is LOGITS_ONLY:
        second["max_steps"] = steps.first + steps.second
    settled = quick.model_copy(
        update={
            "intermediate": quick.intermediate.model_copy(update=first),
            "prediction": quick.prediction.model_copy(update=second),
            "plain": quick.plain.model_copy(
                update={**FIXED, "max_steps": steps.plain, "evaluations": 8}
            ),
        }
    )
    return arm_recipe(arm, settled, seed, ROWS)
