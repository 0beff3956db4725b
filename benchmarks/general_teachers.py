"""Which teaches a general student better: an untuned encoder, or the tuned teacher of the task.

    python -m benchmarks.general_teachers --folder low --json FILE

The folder may be that of ``benchmarks.low_resource``, whose rows and teachers these are: so many
labels, and the rest of the training file as text without labels. Each task's student of 3 x 312
starts from its teacher's layers made narrower, from a general student taught by the untuned
encoder, or from one taught by the tuned teacher, on as many tokens; both stages are the same for
all. Scores are those of rows that select nothing. What is finished in the folder is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.equal_steps import with_sections
from benchmarks.low_resource import SIZES, TEST, Campaign, Cell
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, SHARED
from benchmarks.seeds import deviation, mean
from distill import Source
from distill.evaluation.results import Role
from distill.general import distill_general
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe, load_recipe
from distill.runs.directory import STUDENT as STUDENT_FOLDER
from distill.training.budget import Budget

SHAPE = "3x312-1200-12"
STARTS = ("teacher's layers", "general, untuned", "general, tuned")
FIRST, SECOND = 200, 200


@dataclass(frozen=True, slots=True)
class Starts:
    """General students of every task, and what they lead to.

    Attributes:
        campaign: Of rows and teachers.
        tokens: Of each general student.
    """

    campaign: Campaign
    tokens: int

    def general(self, cell: Cell, start: str) -> Path:
        """A general student; that of the untuned encoder is the same for every task."""
        tuned = start == "general, tuned"
        name = f"{self.tokens}-{cell if tuned else 'untuned'}"
        out = self.campaign.folder / "general-teachers" / name
        distill_general(
            Source(SHARED / "data" / "corpus", cache=self.campaign.folder / "corpus"),
            teacher=self.campaign.teacher(cell) if tuned else MLM,
            student=SHAPE,
            out=out,
            budget=Budget(tokens=self.tokens),
            init="teacher-layers",
        )
        return out / STUDENT_FOLDER

    def line(self, cell: Cell, start: str, seed: int) -> dict[str, Any]:
        """Train what is missing; the score of a start with a seed."""
        general = start != STARTS[0]
        name = f"{cell}-{STARTS.index(start)}-{self.tokens if general else 0}-{seed}"
        run = distill_task(
            self.campaign.version(cell, "none"),
            teacher=self.campaign.teacher(cell),
            student=str(self.general(cell, start)) if general else SHAPE,
            out=self.campaign.folder / "starts" / name,
            recipe=recipe_of(cell.task, seed),
            init="auto" if general else "teacher-layers",
            plain=False,
            allow_weak_teacher=True,
            quiet=True,
        )
        metric = run.result.selection.metric
        found = {model.model: model.scores[TEST][metric] for model in run.result.models}
        return {
            "task": cell.task, "rows": cell.rows, "start": start, "seed": seed, "metric": metric,
            "score": round(found[Role.DISTILLED], 4), "teacher": round(found[Role.TEACHER], 4),
        }  # fmt: skip


def recipe_of(task: str, seed: int) -> DistillRecipe:
    """``quick`` in few steps, the same for every start."""
    steps = {"intermediate": FIRST, "prediction": SECOND}
    fixed = {part: {"max_steps": most, "epochs": 1_000.0} for part, most in steps.items()}
    return with_sections(load_recipe("quick", task), fixed, seed=seed)


def table(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation over seeds."""
    found = []
    for task, start in dict.fromkeys((line["task"], line["start"]) for line in lines):
        own = [e["score"] for e in lines if (e["task"], e["start"]) == (task, start)]
        found.append({
            "task": task, "start": start, "seeds": len(own),
            "mean": mean(own), "sd": deviation(own),
        })  # fmt: skip
    return found


def main() -> None:
    """Run what is missing; print and keep a line for each start and seed."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tokens", type=int, default=1_500_000, help="of each general student")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "cola"], choices=SIZES)
    parser.add_argument("--rows", type=int, default=4_000, help="that have labels")
    parser.add_argument("--draw", type=int, default=0, help="the seed by which they are drawn")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the students")
    options = parser.parse_args()
    torch.set_num_threads(1)
    starts = Starts(Campaign(options.folder.resolve(), SHAPE, "teacher"), options.tokens)
    lines: list[dict[str, Any]] = []
    for seed in options.seeds:
        for task in options.tasks:
            for start in STARTS:
                lines.append(starts.line(Cell(task, options.rows, options.draw), start, seed))
                print(lines[-1], flush=True)
                found = {"machine": describe(), "tokens": options.tokens, "steps": [FIRST, SECOND]}
                keep(found | {"table": table(lines), "lines": lines}, options.json)


if __name__ == "__main__":
    main()
