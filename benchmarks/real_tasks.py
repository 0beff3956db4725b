"""What each part of the method is worth on real GLUE tasks: the table of the campaign.

    python -m benchmarks.real_tasks --folder campaign --json benchmarks/results/real_tasks.json

One command from nothing: ``official`` augmentation, a teacher and a general student, then every arm
on whole CoLA, SST-2, MRPC and STS-B with minilm-l6-mlm as masked LM, start of the teachers and
general teacher. It takes hours. What is finished in the folder is not done again: stop it, kill it,
start it again. Arms of a task have the same number of steps; trials of the reductions have fewer.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from augment import Version, augment_task
from augment.contract import open_version
from augment.contract.files import write_json
from benchmarks.arms import ARMS, INHERITED, SEEDS, STEPS, TRIALS, recipe_of
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED, VECTORS
from distill.ablation import Arm
from distill.evaluation.results import GeneralResult, Role, TeacherRecord
from distill.general import distill_general
from distill.pipeline import distill_task
from distill.runs.directory import RESULT
from distill.runs.directory import STUDENT as STUDENT_FOLDER
from distill.runs.listing import Run
from distill.runs.records import TEACHER_RECORD, Record, read_json
from distill.teacher import fine_tune_teacher
from distill.training.budget import Budget

STUDENT = "3x312-1200-12"
GENERAL_HOURS = 1.2
STARTS = {"whole": "general student", "no-gd": "random", INHERITED.name: "teacher's layers"}


class Line(Record):
    """One arm on one task with one seed.

    Attributes:
        task: Its name.
        arm: What was left out.
        seed: Of everything.
        score: The task's metric on its validation split.
        retention: In percent of the teacher's score.
        labels_only: The same student from the same start on labels only, where that was trained.
        steps: Of stage 1 and stage 2.
        seconds: Wall time of both stages and the evaluation, the labels-only student included.
    """

    task: str
    arm: str
    seed: int
    score: float
    retention: float
    labels_only: float | None
    steps: tuple[int, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Campaign:
    """Where everything lies."""

    folder: Path

    def version(self, task: str) -> Version:
        """The task's official augmentation."""
        made = self.folder / "versions"
        if (made / task).is_dir():
            return open_version(f"{made}/{task}")
        source = str(SHARED / "data" / "glue" / task)
        return augment_task(
            task, mlm=str(MLM), vectors=str(VECTORS), source=source, out=made, workers=2
        )

    def teacher(self, task: str) -> str:
        """Fine-tuned with the recipe ``quick``."""
        out = self.folder / "teachers" / task
        fine_tune_teacher(self.version(task), init=str(MLM), out=out)
        return str(out)

    def score_of_teacher(self, task: str) -> float:
        """Its selection metric on validation."""
        record = read_json(self.folder / "teachers" / task / TEACHER_RECORD, TeacherRecord)
        (score,) = record.result.selected_scores().values()
        return score

    def general(self) -> str:
        """The general student, from its teacher's layers."""
        out = self.folder / "general"
        if (out / RESULT).is_file():  # other tasks may be asking at this moment
            return str(out / STUDENT_FOLDER)
        distill_general(
            SHARED / "data" / "corpus",
            teacher=MLM,
            student=STUDENT,
            out=out,
            budget=Budget(hours=GENERAL_HOURS),
            init="teacher-layers",
        )
        return str(out / STUDENT_FOLDER)

    def record(self, task: str, arm: Arm, seed: int) -> Path:
        """Where an arm's line is kept, in its run directory."""
        return self.folder / "arms" / task / f"{arm.name}-seed{seed}" / "line.json"

    def line(self, task: str, arm: Arm, seed: int) -> Line:
        """Run an arm, or read what an earlier call found."""
        record = self.record(task, arm, seed)
        if record.is_file():
            return read_json(record, Line)
        init: Literal["random", "teacher-layers"] = "random"
        if arm is INHERITED:
            init = "teacher-layers"
        shared = self.folder / "shared" / task
        shared.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        run = distill_task(
            self.version(task),
            teacher=self.teacher(task),
            student=self.general() if arm.start == "general" else STUDENT,
            out=record.parent,
            recipe=recipe_of(task, arm, seed),
            init=init,
            plain=arm.name in STARTS,
            shared=shared,
        )
        line = line_of(run, task, arm, seed, time.monotonic() - began)
        write_json(record, line.to_json())
        return line


def line_of(run: Run, task: str, arm: Arm, seed: int, seconds: float) -> Line:
    """The figures of a finished run."""
    scores = run.result.selected_scores()
    recipe = recipe_of(task, arm, seed)
    first = recipe.intermediate.numbers.max_steps or 0 if recipe.intermediate.enabled else 0
    return Line(
        task=task,
        arm=arm.name,
        seed=seed,
        score=scores[Role.DISTILLED],
        retention=100 * scores[Role.DISTILLED] / scores[Role.TEACHER],
        labels_only=scores.get(Role.PLAIN),
        steps=(first, recipe.prediction.numbers.max_steps or 0),
        seconds=round(seconds, 1),
    )


def by_arm(lines: list[Line]) -> dict[tuple[str, str], list[Line]]:
    """The lines of every arm and task, one for each seed."""
    grouped: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        grouped.setdefault((line.arm, line.task), []).append(line)
    return grouped


def table(lines: list[Line], teachers: dict[str, float]) -> dict[str, Any]:
    """Retention by task and arm, the mean over seeds, and over tasks where all have run."""
    retention: dict[str, dict[str, float]] = {}
    for (arm, task), same in by_arm(lines).items():
        mean = statistics.fmean(line.retention for line in same)
        retention.setdefault(arm, {})[task] = round(mean, 1)
        if plain := [line.labels_only for line in same if line.labels_only is not None]:
            name = f"labels only from: {STARTS[arm]}"
            mean = 100 * statistics.fmean(plain) / teachers[task]
            retention.setdefault(name, {})[task] = round(mean, 1)
    for row in retention.values():
        if len(row) == len(teachers):
            row["mean"] = round(statistics.fmean(row.values()), 1)
    return retention


def deviations(lines: list[Line]) -> dict[str, dict[str, float]]:
    """Standard deviation of the retention over seeds, by arm and task, where several have run."""
    spread: dict[str, dict[str, float]] = {}
    for (arm, task), same in by_arm(lines).items():
        if len(same) > 1:
            deviation = statistics.stdev(line.retention for line in same)
            spread.setdefault(arm, {})[task] = round(deviation, 1)
    return spread


def show(retention: dict[str, dict[str, float]], tasks: list[str]) -> None:
    """The table: retention in percent of the teacher."""
    columns = [*tasks, "mean"]
    print(f"{'arm':<36}" + "".join(f"{column:>9}" for column in columns))
    for arm, row in retention.items():
        print(
            f"{arm:<36}" + "".join(f"{row.get(column, float('nan')):>9.1f}" for column in columns)
        )


def main() -> None:
    """Run what is missing, each line kept as it ends; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=list(STEPS), choices=list(STEPS))
    names = [arm.name for arm in (*ARMS, *TRIALS)]
    parser.add_argument("--arms", nargs="+", default=[a.name for a in ARMS], choices=names)
    parser.add_argument("--finished", action="store_true", help="the table of what is there")
    parser.add_argument("--seeds", nargs="+", type=int, help="for all arms; else 0, whole: 0 1 2")
    options = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"expected GLUE, a corpus, a masked LM and vectors at {SHARED}, found nothing")
    campaign = Campaign(options.folder.resolve())
    chosen = [arm for arm in (*ARMS, *TRIALS) if arm.name in options.arms]
    lines, teachers = [], {}
    for task in options.tasks:
        for arm in chosen:
            for seed in options.seeds or SEEDS.get(arm.name, (0,)):
                if not options.finished or campaign.record(task, arm, seed).is_file():
                    lines.append(campaign.line(task, arm, seed))
        teachers[task] = campaign.score_of_teacher(task)
    retention = table(lines, teachers)
    show(retention, options.tasks)
    general = read_json(campaign.folder / "general" / RESULT, GeneralResult)
    results = {
        "machine": describe(),
        "student": STUDENT,
        "general": general.model_dump(include={"steps", "tokens", "held_out"}),
        "general_hours": GENERAL_HOURS,
        "teachers": teachers,
        "retention_percent": retention,
        "deviation_over_seeds": deviations(lines),
        "lines": [line.to_json() for line in lines],
    }
    keep(results, options.json)


if __name__ == "__main__":
    main()
