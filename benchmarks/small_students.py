"""Whether both students of ``quick`` get what they need on small sets that are not augmented.

    python -m benchmarks.small_students --folder small --json benchmarks/results/small_students.json

A 3 x 312 student from its teacher's layers, distilled and on labels only, with the default's
numbers, with what they were before, and with others. Sets, splits and scores are those of
``benchmarks.small_sets``. What has ended is kept in the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM
from benchmarks.small_data import HELD_OUT, SETS
from benchmarks.small_sets import version_of
from distill.ablation import Arm, arm_recipe
from distill.evaluation.results import Role
from distill.pipeline import distill_task
from distill.recipes.load import load_recipe
from distill.recipes.mixtures import count_parts
from distill.teacher import fine_tune_teacher

STUDENT = "3x312-1200-12"
_ONCE = {"max_steps": None, "batch_size": 32, "patience": None}
_TWICE = {"learning_rate": 2e-4}
ARMS = (
    Arm("default", "the recipe quick", {}, {}),
    Arm(
        "before",
        "epochs and rates of many rows",
        {
            "intermediate": {**_ONCE, "epochs": 5.0, "learning_rate": 5e-4},
            "prediction": {**_ONCE, "epochs": 3.0, "learning_rate": 1e-4},
            "plain": {**_ONCE, "epochs": 8.0, "learning_rate": 1e-4},
        },
        {},
    ),
    Arm("2e-4", "twice the later rates", {"prediction": _TWICE, "plain": _TWICE}, {}),
    Arm("1e-3", "twice the rate of stage 1", {"intermediate": {"learning_rate": 1e-3}}, {}),
)  # fmt: skip


def scores(folder: Path, name: str, arm: Arm, seed: int) -> dict[str, float]:
    """Held-out scores of teacher and students by role."""
    version, metric = version_of(folder, name, 0), SETS[name].metric
    teacher = folder / "teachers" / name
    fine_tune_teacher(version, init=str(MLM), out=teacher, quiet=True)
    run = distill_task(
        version,
        teacher=teacher,
        student=STUDENT,
        out=folder / "students" / f"{name}-{arm.name}-{seed}",
        recipe=arm_recipe(arm, load_recipe("quick", name), seed, count_parts(version)),
        init="teacher-layers",
        quiet=True,
    )
    found = {model.model: model.scores[HELD_OUT][metric] for model in run.result.models}
    return {role: round(found[role], 4) for role in (Role.TEACHER, Role.PLAIN, Role.DISTILLED)}


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--sets", nargs="+", default=["sst2_1000", "tickets300"], choices=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS])
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for name in options.sets:
        for arm in ARMS:
            for seed in options.seeds if arm.name in options.arms else []:
                found = scores(options.folder.resolve(), name, arm, seed)
                lines.append({"set": name, "arm": arm.name, "seed": seed, "held_out": found})
                print(lines[-1], flush=True)
    keep({"machine": describe(), "student": STUDENT, "lines": lines}, options.json)


if __name__ == "__main__":
    main()
