"""What calibration and a cascade bring on 700 real support tickets of five uneven classes.

    python -m benchmarks.calibration --folder calibration --json benchmarks/results/calibration.json

A teacher of 6 x 384, a student of 2 x 64 taught by it, and the same student on labels only; all of
them calibrated on 105 validation rows by the commands that make them. Figures are those rows', each
answered by a fit of others, and those of 300 rows that select and fit nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM
from benchmarks.small_data import HELD_OUT
from benchmarks.small_sets import version_of
from distill.evaluation.compare import evaluate_models
from distill.pipeline import distill_task
from distill.runs.directory import PLAIN_STUDENT
from distill.serving.cascade import find_thresholds
from distill.teacher import fine_tune_teacher

SET, STUDENT = "tickets700", "2x64-256-2"
RECIPE = """
seed = 0
max_length = 64

[teacher]
epochs = 5
batch_size = 16
learning_rate = 1e-4
head_factor = 3.0
evaluations = 5

[intermediate]
enabled = false

[prediction]
data = "original"
epochs = 20
batch_size = 16
learning_rate = 1e-3
evaluations = 5

[plain]
epochs = 20
batch_size = 16
learning_rate = 1e-3
evaluations = 5
"""


def figures(folder: Path) -> dict[str, Any]:
    """Train what is missing, and measure."""
    version = version_of(folder, SET, 0)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    teacher, run = folder / "teacher", folder / "run"
    fine_tune_teacher(version, init=str(MLM), out=teacher, recipe=recipe)
    distill_task(version, teacher=teacher, student=STUDENT, out=run, recipe=recipe)
    models = [str(run / "student"), str(run / PLAIN_STUDENT), str(teacher)]
    lines = []
    for split in (None, HELD_OUT):
        result = evaluate_models(models, version, split=split)
        lines += [
            {
                "model": own.model,
                "score": result.selection.of(own.scores),
                **(own.calibration.to_json() if own.calibration else {}),
            }
            for own in result.models
        ]
    found = find_thresholds(
        str(run), version, teacher=str(teacher), split=HELD_OUT, precision=0.95, abstain=0.1
    )
    thresholds = found.to_json()
    for key in ("model", "version", "version_id"):
        del thresholds[key]
    del thresholds["cascade"]["teacher"]
    return {"student": STUDENT, "calibration": lines, "thresholds": thresholds}


def main() -> None:
    """Run what is missing; keep the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    keep({"machine": describe(), **figures(options.folder.resolve())}, options.json)


if __name__ == "__main__":
    main()
