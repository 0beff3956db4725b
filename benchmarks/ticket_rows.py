"""What generated rows are worth to a student of few tickets, by the way they were generated.

    python -m benchmarks.ticket_rows --folder tickets --json benchmarks/results/ticket_rows.json

Support tickets of five uneven classes, 8% of the labels wrong; a teacher tuned on those of a seed;
students with the same steps, batches, rates and start. Rows of ``official`` and of the recipe
``long``, each against none. Scores are those of the tickets that were not drawn, with right labels,
which select nothing. What is finished in the folder is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sklearn.metrics import f1_score, recall_score

from augment import Version, augment_task
from augment import load_recipe as load_augment_recipe
from augment.contract import open_version
from benchmarks.equal_steps import equal_steps
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM, VECTORS
from benchmarks.seeds import deviation, mean
from benchmarks.small_data import QUEUES, TICKET, VALIDATION_SHARE, tickets
from distill.inference.classifier import Classifier
from distill.pipeline import distill_task
from distill.recipes.load import DistillRecipe
from distill.runs.directory import RESULT
from distill.teacher import fine_tune_teacher

TASK, VARIANTS, STUDENT = "tickets", 8, "3x312-1200-12"
FIRST, SECOND, BATCH = 300, 250, 16
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "official": ("official", {}),
    "long": ("long", {}),
}
"""The recipe of each way, and what is changed of it."""
NONE = "none"
TASK_FILE = f"""
name = "{TASK}"
text_columns = {list(TICKET)}
metrics = ["macro_f1"]
selection_metric = "macro_f1"
label = {{ names = {list(QUEUES)} }}
splits = {{ train = "train.csv", validation = "validation.csv" }}
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """How many tickets have labels, the seed, and where everything lies."""

    rows: int
    seed: int
    folder: Path

    def version(self, way: str) -> Version:
        """Labeled tickets with what is generated from them."""
        root = self.folder / "versions" / way
        if (root / TASK).is_dir():
            return open_version(root / TASK)
        file = self.folder / f"{TASK}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TASK_FILE)
        own = tickets(self.rows, self.seed).own
        training = round(self.rows * (1 - VALIDATION_SHARE))
        source = {
            "train": pd.DataFrame(own[:training]),
            "validation": pd.DataFrame(own[training:]),
        }
        name, changed = WAYS[way]
        changed = changed | {"variants": VARIANTS}
        return augment_task(
            file, mlm=MLM, vectors=VECTORS, source=source, out=root,
            recipe=load_augment_recipe(name, TASK).model_copy(update=changed),
            store=self.folder / "store",
        )  # fmt: skip

    def line(self, way: str) -> dict[str, Any]:
        """Train what is missing; the scores of a way's student and the teacher's."""
        version, place = self.version("official" if way == NONE else way), self.folder / way
        teacher = self.folder / "teacher"
        fine_tune_teacher(self.version("official"), init=str(MLM), out=teacher, quiet=True)
        if not (place / RESULT).is_file():
            data = "original" if way == NONE else {"original": 1, "augmented": 3}
            distill_task(
                version, teacher=teacher, student=STUDENT, out=place,
                recipe=recipe_of(self.seed, data), init="teacher-layers", plain=False,
                allow_weak_teacher=True, quiet=True,
            )  # fmt: skip
        rows = version.to_pandas()
        generated = rows[rows.variant > 0].label.value_counts().sort_index().tolist()
        labels = rows[rows.variant == 0].label.tolist()
        rarest = min(set(labels), key=labels.count)
        found: dict[str, Any] = {"rows": self.rows, "seed": self.seed, "way": way}
        found |= {"rarest": QUEUES[rarest], "generated": [] if way == NONE else generated}
        return found | {
            name: self.judge(model, rarest)
            for name, model in (("teacher", teacher), ("student", place / "student"))
        }

    def judge(self, model: Path, rarest: int) -> dict[str, float]:
        """A model's scores on the tickets that were not drawn."""
        held_out = pd.DataFrame(tickets(self.rows, self.seed).held_out)
        answers = Classifier.load(model).predict(held_out[list(TICKET)]).map(QUEUES.index)
        recalls = recall_score(held_out.label, answers, average=None, labels=range(len(QUEUES)))
        return {
            "recall_of_rarest": round(float(recalls[rarest]), 4),
            "macro_f1": round(float(f1_score(held_out.label, answers, average="macro")), 4),
            "accuracy": round(float((held_out.label == answers).mean()), 4),
        }


def recipe_of(seed: int, data: str | dict[str, int]) -> DistillRecipe:
    """``quick`` with the same steps, batches and rates whatever the rows are."""
    return equal_steps(TASK, seed, (FIRST, SECOND), BATCH, data)


def table(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation over seeds of each way, and of its difference from none."""
    found = []
    for rows, way in dict.fromkeys((line["rows"], line["way"]) for line in lines):
        own = {e["seed"]: e["student"] for e in lines if (e["rows"], e["way"]) == (rows, way)}
        none = {e["seed"]: e["student"] for e in lines if (e["rows"], e["way"]) == (rows, NONE)}
        summed: dict[str, Any] = {"rows": rows, "way": way, "seeds": len(own)}
        for metric in ("macro_f1", "recall_of_rarest", "accuracy"):
            scores = [score[metric] for score in own.values()]
            above = [own[seed][metric] - none[seed][metric] for seed in own if seed in none]
            summed[metric] = {"mean": mean(scores), "sd": deviation(scores)}
            summed[f"{metric} above none"] = {"mean": mean(above), "sd": deviation(above)}
        found.append(summed)
    return found


def main() -> None:
    """Run what is missing; print and keep a line for each way and seed."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    for seed in options.seeds:
        cell = Cell(options.rows, seed, options.folder.resolve() / f"{options.rows}-{seed}")
        for way in (NONE, *WAYS):
            lines.append(cell.line(way))
            print(lines[-1], flush=True)
            found = {"machine": describe(), "variants": VARIANTS, "steps": [FIRST, SECOND]}
            keep(found | {"table": table(lines), "lines": lines}, options.json)
    for line in table(lines):
        print(line)


if __name__ == "__main__":
    main()
