"""Which of the generated rows a student should see: a choice by teacher and student, or at random.

    python -m benchmarks.chosen_rows --folder chosen --json benchmarks/results/chosen_rows.json

Of the first eight generated rows of each source row two are kept: those on which teacher and
student differ most (Glitter), those that the teacher is surest of, or two at random. Every choice
becomes a version of its own, and a student is distilled on each with the same steps, batches,
rates and start. The student that rows are chosen with is the one distilled on rows at
random, which is the first arm. Arms named "anew" choose before each quarter of stage 2, with the
student as it is then; both start from the first arm's stage 1, and their first quarter is on rows
at random. What is finished in the folder is not done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from augment import Version, augment_task, write_version
from augment.contract import open_version
from benchmarks.equal_steps import equal_steps, with_sections
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, VECTORS
from benchmarks.seeds import deviation, mean
from benchmarks.small_data import SENTENCE, glue
from distill.inference.classifier import Classifier
from distill.pipeline import distill_task
from distill.runs.directory import RESULT
from distill.runs.directory import STUDENT as STUDENT_FOLDER
from distill.runs.listing import open_run
from distill.teacher import fine_tune_teacher

TASK, TEST, SELECTED = "sst2", "test", 0.15
DRAWN, OF, KEPT = 20, 8, 2
FIRST, SECOND, BATCH = 160, 140, 16
STUDENT = "3x312-1200-12"
Array = np.ndarray[Any, Any]
Rule = Callable[[Array, Array, Array], Array]


def divergence(teacher: Array, student: Array, _: Array) -> Array:
    """KL(teacher || student) of each row."""
    return np.asarray((teacher * (np.log(teacher) - np.log(student))).sum(axis=1))


def confidence(teacher: Array, _student: Array, _: Array) -> Array:
    """The teacher's highest probability."""
    return np.asarray(teacher.max(axis=1))


def chance(_teacher: Array, _student: Array, drawn: Array) -> Array:
    """Nothing but luck."""
    return drawn


RANDOM = "random"
RULES: dict[str, Rule] = {RANDOM: chance, "divergence": divergence, "confidence": confidence}
ROUNDS = 4
ANEW = {f"{rule}, anew": rule for rule in (RANDOM, "divergence")}
"""Arms that choose before each round of stage 2, and their rule."""
CONTROLS = {"divergence, anew": "random, anew"}
"""What an arm is compared with, where that is not random once."""


@dataclass(frozen=True)
class Cell:
    """How many rows have labels, the seed, and where everything lies."""

    rows: int
    seed: int
    root: Path

    @property
    def folder(self) -> Path:
        """Of this cell."""
        return self.root / f"{self.rows}-{self.seed}"

    @cached_property
    def drawn(self) -> Version:
        """Labeled rows with all that ``official`` generates from them."""
        place = self.folder / "drawn"
        if (place / TASK).is_dir():
            return open_version(place / TASK)
        cut = glue(self.rows, self.seed, task=TASK, columns=SENTENCE)
        training = round(self.rows * (1 - SELECTED))
        splits = {
            "train": cut.own[:training],
            "validation": cut.own[training:],
            TEST: cut.held_out,
        }
        tables = {split: pd.DataFrame(rows) for split, rows in splits.items()}
        return augment_task(
            TASK, mlm=MLM, vectors=VECTORS, source=tables, out=place, variants=DRAWN
        )

    @cached_property
    def teacher(self) -> Path:
        """Tuned on the labeled rows alone."""
        place = self.folder / "teacher"
        fine_tune_teacher(self.drawn, init=str(MLM), out=place, quiet=True)
        return place

    def probabilities(self, model: Path) -> Array:
        """Of a model for every training row, shape (rows, labels)."""
        texts = self.drawn.to_pandas()[SENTENCE[0]].tolist()
        found = Classifier.load(model).predict_proba(texts)
        return np.asarray(found, dtype=float).clip(1e-7)

    def chosen(self, rule: str, student: Path, turn: int = 0) -> Version:
        """The rows that a rule keeps of those there are, as a version; random ones by the turn."""
        rows = self.drawn.to_pandas()
        drawn = np.random.default_rng([self.seed, turn] if turn else self.seed).random(len(rows))
        models = () if rule == RANDOM else (self.teacher, student)
        known = [self.probabilities(model) for model in models] or [drawn, drawn]
        rows["score"] = RULES[rule](known[0], known[1], drawn)
        made = rows[rows.variant > 0].groupby("idx", sort=False).head(OF)
        best = made.sort_values("score", ascending=False, kind="stable").groupby("idx").head(KEPT)
        kept = rows.loc[sorted([*rows.index[rows.variant == 0], *best.index])]
        tables = {split: self.drawn.to_pandas(split) for split in self.drawn.splits}
        tables[self.drawn.task.splits.train] = kept.drop(columns="score")
        out = self.folder / "versions" / (f"{rule}-{turn}" if turn else rule)
        return write_version(self.drawn.task, tables, out=out)

    def train(self, place: Path, rule: str, turn: int, **how: Any) -> Path:
        """A student of the rows that a rule keeps, where that is not done; where it lies."""
        if not (place / RESULT).is_file():
            last = how.pop("chosen_with", self.folder / RANDOM)
            distill_task(
                self.chosen(rule, last, turn), teacher=self.teacher, out=place, plain=False,
                allow_weak_teacher=True, quiet=True, **how,
            )  # fmt: skip
        return place

    def once(self, rule: str) -> Path:
        """A student whose rows are chosen once."""
        recipe = equal_steps(TASK, self.seed, (FIRST, SECOND), BATCH, "augmented")
        place = self.folder / rule
        return self.train(place, rule, 0, student=STUDENT, init="teacher-layers", recipe=recipe)

    def anew(self, rule: str) -> Path:
        """A student whose rows are chosen before each round of stage 2, but for the first."""
        recipe = equal_steps(TASK, self.seed, (FIRST, SECOND // ROUNDS), BATCH, "augmented")
        recipe = with_sections(recipe, {"intermediate": {"enabled": False}})
        last = self.once(RANDOM) / "work" / "intermediate" / STUDENT_FOLDER
        for turn in range(ROUNDS):
            now, name = (rule, f"{rule}-anew-{turn}") if turn else (RANDOM, "anew-0")
            start = {"student": str(last), "chosen_with": last.parent, "recipe": recipe}
            last = self.train(self.folder / name, now, turn, **start) / STUDENT_FOLDER
        return last.parent

    def score(self, arm: str) -> dict[str, Any]:
        """Train a student where that is not done; its accuracy and its teacher's on the test."""
        place = self.anew(ANEW[arm]) if arm in ANEW else self.once(arm)
        scores = {
            str(model.model): model.scores[TEST]["accuracy"]
            for model in open_run(place).result.models
        }
        (student,) = (score for name, score in scores.items() if name != "teacher")
        return {
            "rows": self.rows, "seed": self.seed, "arm": arm,
            "student": round(student, 4), "teacher": round(scores["teacher"], 4),
        }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation of each arm, and of its difference from random of the same seed."""
    scored = {(e["rows"], e["seed"], e["arm"]): e["student"] for e in lines}
    found = []
    for rows, arm in dict.fromkeys((line["rows"], line["arm"]) for line in lines):
        own = [line for line in lines if (line["rows"], line["arm"]) == (rows, arm)]
        scores = [line["student"] for line in own]
        control = CONTROLS.get(arm, RANDOM)
        pairs = [(e["student"], scored.get((rows, e["seed"], control))) for e in own]
        above = [score - other for score, other in pairs if other is not None]
        found.append({
            "rows": rows, "arm": arm, "seeds": len(own),
            "mean": mean(scores), "sd": deviation(scores),
            "above_random": mean(above), "sd_above_random": deviation(above),
            "teacher": mean(line["teacher"] for line in own),
        })  # fmt: skip
    return found


def main() -> None:
    """Run what is missing; print and keep the table after each cell."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--rows", nargs="+", type=int, default=[250])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    for seed in options.seeds:
        for rows in options.rows:
            cell = Cell(rows, seed, options.folder.resolve())
            own = [cell.score(arm) for arm in (*RULES, *ANEW)]
            print(own, flush=True)
            lines += own
            found = {"machine": describe(), "steps": [FIRST, SECOND], "rounds": ROUNDS}
            found |= {"kept": [KEPT, OF], "table": table(lines), "lines": lines}
            keep(found, options.json)


if __name__ == "__main__":
    main()
