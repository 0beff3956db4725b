"""The goal in one table: what answers best, smallest and fastest on tickets, SST-2 and MRPC.

    python -m benchmarks.student_to_answer --folder goal --json FILE

One command from nothing: each task as a version of its rows as they are, a teacher of 6 x 384 and
students of 4 x 312 by the recipe ``quick``. Steps are selected on rows held out of the training
rows; scores are those of rows that select nothing: ``test_clean.csv`` of the tickets, GLUE's
validation split of the others. What is finished in the folder is not done again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from augment import write_version
from augment.contract import Label, Splits, TaskSpec, Version
from augment.contract.version import open_version
from benchmarks.machine import arguments
from benchmarks.places import MLM, SHARED
from benchmarks.small_data import MOOD, QUEUES
from distill.pipeline import distill_task
from distill.recipes.load import load_recipe
from distill.runs.listing import Run
from distill.teacher import fine_tune_teacher

STUDENT, TEST = "4x312-1200-12", "test"
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of a task by split, and what is asked of them."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    metric: str
    splits: dict[str, Rows]


def tickets() -> Source:
    """1,000 tickets, 8% of their labels wrong, 5,000 without a label; right ones are the test."""
    folder, columns = SHARED / "data" / "tickets", ("subject", "body")

    def read(file: str, label: str = "") -> Rows:
        return [
            {name: row[name] or "" for name in columns}
            | {"label": QUEUES.index(row[label]) if label else None}
            for row in pa.csv.read_csv(folder / file).to_pylist()
        ]

    own = read("tickets.csv", "queue")
    random.Random(0).shuffle(own)
    splits = {"train": own[150:], "validation": own[:150], TEST: read("test_clean.csv", "true")}
    unlabeled = {"unlabeled": read("unlabelled.csv")}
    return Source(columns, QUEUES, "macro_f1", splits | unlabeled)


def glue(task: str, columns: tuple[str, ...], names: tuple[str, ...], held_out: int) -> Source:
    """A task whose validation split is the test here; some training rows select."""
    folder = SHARED / "data" / "glue" / task
    train, test = (
        pq.read_table(folder / f"{split}.parquet").select([*columns, "label"]).to_pylist()
        for split in ("train", "validation")
    )
    random.Random(0).shuffle(train)
    splits = {"train": train[held_out:], "validation": train[:held_out], TEST: test}
    return Source(columns, names, "accuracy", splits)


SOURCES = {
    "tickets": tickets,
    "mrpc": lambda: glue("mrpc", ("sentence1", "sentence2"), ("no", "yes"), 400),
    "sst2": lambda: glue("sst2", ("sentence",), MOOD, 2_000),
}


@dataclass(frozen=True, slots=True)
class Campaign:
    """Where everything lies."""

    folder: Path

    def version(self, name: str) -> Version:
        """A task's rows as they are."""
        root = self.folder / "versions"
        if (root / name).is_dir():
            return open_version(root / name / "v0001")
        source = SOURCES[name]()
        unlabeled = "unlabeled" if "unlabeled" in source.splits else None
        task = TaskSpec(
            name=name,
            text_columns=source.columns,
            label=Label(names=source.names),
            metrics=("accuracy", "macro_f1"),
            selection_metric=source.metric,
            splits=Splits(validation=("validation",), test=(TEST,), unlabeled=unlabeled),
        )
        tables = {split: pa.Table.from_pylist(rows) for split, rows in source.splits.items()}
        return write_version(task, tables, out=root)

    def teacher(self, name: str) -> Path:
        """Its fine-tuned teacher."""
        place = self.folder / "teachers" / name
        fine_tune_teacher(self.version(name), init=str(MLM), out=place)
        return place

    def student(self, name: str, seed: int) -> Run:
        """A distilled student and one on labels only."""
        return distill_task(
            self.version(name),
            teacher=self.teacher(name),
            student=STUDENT,
            out=self.folder / "students" / f"{name}-{seed}",
            recipe=load_recipe("quick", name).model_copy(update={"seed": seed}),
        )


def main() -> None:
    """Run what is missing; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--tasks", nargs="+", default=list(SOURCES), choices=SOURCES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    campaign = Campaign(options.folder.resolve())
    for seed in options.seeds:
        for name in options.tasks:
            run = campaign.student(name, seed)
            print(name, seed, run.result.selected_scores(), flush=True)


if __name__ == "__main__":
    main()
