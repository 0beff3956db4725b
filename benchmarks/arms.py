"""The arms of the campaign on real tasks, and their steps."""

from __future__ import annotations

from dataclasses import dataclass

from distill.ablation import BY_NAME, Arm, arm_recipe
from distill.recipes.load import DistillRecipe, load_recipe


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
    "logits-only", "the teacher's logits alone, no stage 1", "shape",
    {"intermediate": {"enabled": False}}, {},
)  # fmt: skip
INHERITED = Arm(
    "teacher-layers", "no general distillation: from the fine-tuned teacher's own layers",
    "shape", {}, {},
)  # fmt: skip
SHORT = {"intermediate": {"max_steps": 300}, "prediction": {"max_steps": 300}}
TRIALS = (
    Arm(
        "dropout", "whole with the student's own dropout in both stages", "general",
        {"intermediate": {"dropout": "auto"}, "prediction": {"dropout": "auto"}}, {},
    ),
    Arm(
        "dropout-second", "whole with it in stage 2 alone", "general",
        {"prediction": {"dropout": "auto"}}, {},
    ),
    Arm(
        "hidden-1", "whole with the paper's weights, 1 for every loss", "general",
        {"intermediate": {"weights": {"hidden": 1.0}}}, {},
    ),
    Arm(
        "slower-first", "whole with 2e-4 in stage 1", "general",
        {"intermediate": {"learning_rate": 2e-4}}, {},
    ),
    Arm(
        "faster-second", "whole with 3e-4 in stage 2", "general",
        {"prediction": {"learning_rate": 3e-4}}, {},
    ),
    Arm(
        "labels-mixed-in", "whole with the labels of the data at half the weight", "general",
        {"prediction": {"weights": {"labels": 0.5}}}, {},
    ),
    Arm("masked-300", "whole in 300 + 300 steps", "general", SHORT, {}),
    Arm(
        "official-300", "the same with the authors' reduction", "general",
        {**SHORT, "attention_reduction": "official"}, {},
    ),
)  # fmt: skip
ARMS = (BY_NAME["whole"], BY_NAME["no-gd"], BY_NAME["no-da"], LOGITS_ONLY, INHERITED)


def recipe_of(task: str, arm: Arm, seed: int) -> DistillRecipe:
    """``quick`` with the campaign's steps: epochs do not end a stage earlier."""
    steps = STEPS[task]
    quick = load_recipe("quick", task)
    first = {"max_steps": steps.first, "epochs": 1000.0}
    second = {"max_steps": steps.second, "epochs": 1000.0}
    if arm is LOGITS_ONLY:
        second["max_steps"] = steps.first + steps.second
    settled = quick.model_copy(
        update={
            "intermediate": quick.intermediate.model_copy(update=first),
            "prediction": quick.prediction.model_copy(update=second),
            "plain": quick.plain.model_copy(update={"max_steps": steps.plain}),
        }
    )
    return arm_recipe(arm, settled, seed)
