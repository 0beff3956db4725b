"""What calibration and a cascade bring on 700 real support tickets of five uneven classes.

    python -m benchmarks.calibration --folder calibration --json benchmarks/results/calibration.json

A teacher of 6 x 384, a student of 2 x 64 taught by it, and the same student on labels only; all of
them calibrated on 105 validation rows by the commands that make them. Figures are those rows', each
answered by a fit of others, and those of 300 rows that select and fit nothing: with the right
labels, and with those that they came with, of which 8% are wrong as on validation.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from augment.contract import Version
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from benchmarks.small_data import HELD_OUT, QUEUES, SETS
from benchmarks.small_sets import version_of
from distill.data.scratch import scratch
from distill.evaluation.compare import labeled_splits
from distill.evaluation.evaluate import answers_of, judge, predict
from distill.evaluation.metrics import score as scores
from distill.evaluation.reliability import calibration_report
from distill.models.loading import open_classifier, own_length
from distill.pipeline import distill_task
from distill.runs.directory import PLAIN_STUDENT
from distill.runs.directory import STUDENT as STUDENT_FOLDER
from distill.serving.cascade import find_thresholds
from distill.teacher import fine_tune_teacher

SET, SEED, STUDENT = "tickets700", 0, "2x64-256-2"
AS_GIVEN = "held_out, labels as given"
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
    version = version_of(folder, SET, SEED)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    teacher, run = folder / "teacher", folder / "run"
    fine_tune_teacher(version, init=str(MLM), out=teacher, recipe=recipe)
    distill_task(version, teacher=teacher, student=STUDENT, out=run, recipe=recipe)
    models = [run / STUDENT_FOLDER, run / PLAIN_STUDENT, teacher]
    lines = [line for model in models for line in calibration(model, version)]
    found = find_thresholds(
        str(run), version, teacher=str(teacher), split=HELD_OUT, precision=0.95, abstain=0.1
    )
    thresholds = found.to_json()
    for key in ("model", "version", "version_id"):
        del thresholds[key]
    del thresholds["cascade"]["teacher"]
    return {"student": STUDENT, "calibration": lines, "thresholds": thresholds}


def calibration(model: Path, version: Version) -> Iterator[dict[str, Any]]:
    """A model on the rows that it was fitted on, on others, and on those with labels as given."""
    task = version.task
    metric = task.selection_metric
    classifier = open_classifier(str(model), task)
    with scratch() as cache:
        splits = labeled_splits(version, None, classifier, own_length(classifier, task), cache)
        for split, rows in splits.items():
            judged = judge(classifier, task, {split: rows})
            assert judged.calibration
            score = judged.scores[split][metric]
            yield {"model": model.name, "score": score, **judged.calibration.to_json()}
        rows = splits[HELD_OUT]
        given = np.asarray(given_labels())[np.asarray(rows["idx"])]
        logits, stored = predict(classifier, rows), classifier.calibration
        report = calibration_report(logits, given, metric, AS_GIVEN, stored=stored, fits=False)
        wrong = int((given != np.asarray(rows["labels"])).sum())
        score = scores(task.metrics, answers_of(logits, task, stored), given, len(QUEUES))[metric]
        yield {"model": model.name, "score": score, "wrong": wrong, **report.to_json()}


def given_labels() -> list[int]:
    """The labels of the held-out rows as they came, some of them wrong."""
    rows = pa.csv.read_csv(SHARED / "data" / "tickets" / "tickets.csv").to_pylist()
    random.Random(f"tickets{SEED}").shuffle(rows)
    return [QUEUES.index(row["queue"]) for row in rows[SETS[SET].rows :]]


def main() -> None:
    """Run what is missing; keep the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    keep({"machine": describe(), **figures(options.folder.resolve())}, options.json)


if __name__ == "__main__":
    main()
