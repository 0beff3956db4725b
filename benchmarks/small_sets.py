"""Whether the default teacher comes within a point of a small grid's best on small sets.

    python -m benchmarks.small_sets --folder small --json benchmarks/results/small_sets.json

Every cell is a teacher, fine-tuned from minilm-l6-mlm on a set of ``benchmarks.small_data`` to its
last step: with the default's numbers, with one of them changed, or with what the default was
before. Validation selects the step, as the recipe does; held-out rows only score. They are asked at
every evaluation, so that other ways to select can be compared on the same runs. A cell that has
ended is kept in the folder: stop it, start it again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from augment import Version
from augment.contract import open_version
from augment.contract.models import quiet_libraries
from benchmarks.machine import arguments, describe, keep
from benchmarks.places import MLM
from benchmarks.seeds import deviation, mean
from benchmarks.small_data import HELD_OUT, SETS, VALIDATION_SHARE
from distill.evaluation.evaluate import judge
from distill.models.bf16 import autocast
from distill.models.loading import Classifier, eval_mode, load_untuned
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import load_recipe
from distill.recipes.schema import Original
from distill.runs.directory import RUN, RunDirectory
from distill.runs.progress import Narrator
from distill.runs.records import Record
from distill.stages import HardLabelStage
from distill.training.context import TaskContext, open_context
from distill.training.metric_log import MetricLog
from distill.training.schedule import total_steps, use_dropout
from distill.training.selection import StepSelection
from distill.training.trainer import StageTrainer, stage_arguments

CHANGES: dict[str, dict[str, Any]] = {
    "5e-5": {"rate": 5e-5},
    "1e-4": {"rate": 1e-4},
    "2e-4": {"rate": 2e-4},
    "batch 32": {"batch": 32},
}
"""The grid: the default's numbers but for one."""
MORE: dict[str, dict[str, dict[str, Any]]] = {
    "tickets300": {"epochs x 2": {"epochs": 31.6}},
    "topics1200": {
        "3e-4": {"rate": 3e-4},
        "1e-4, batch 32": {"rate": 1e-4, "batch": 32},
        "1e-4, epochs x 2": {"rate": 1e-4, "epochs": 16.2},
    },
}
"""Of the fewest rows and of the most classes."""
BEFORE = {"epochs": 3.0, "batch": 32, "rate": 5e-5, "head": 1.0, "evaluations": 6}


class Cell(Record):
    """A teacher to fine-tune.

    Attributes:
        rows: The set.
        split: Seed of the cut into training and validation rows.
        seed: Of the head, the dropout and the order of rows.
        head: How many times the head's rate is the encoder's.
    """

    rows: str
    split: int
    seed: int
    epochs: float
    batch: int
    rate: float
    head: float
    evaluations: int


class Line(Record):
    """What became of a cell.

    Attributes:
        rows: That select.
        learnt: Their score that is more than luck.
        curve: Every evaluation's score on validation and on held-out rows.
        cpu_seconds: Of all of it, evaluations included.
    """

    cell: Cell
    rows: int
    learnt: float
    curve: tuple[tuple[float, float], ...]
    cpu_seconds: float

    def held_out(self, keep: str, patience: int | None) -> float:
        """What is kept by a way to select, and by when that has the stage end, scores."""
        within = 1.0 if keep == "latest" else 0.0
        selection = StepSelection(SETS[self.cell.rows].metric, self.rows, self.learnt, within)
        own = [
            {f"eval_{selection.metric}": score, "step": at}
            for at, (score, _) in enumerate(self.curve)
        ]
        seen = next(
            (n for n in range(1, len(own)) if patience and selection.waited(own[:n]) >= patience),
            len(own),
        )
        kept = selection.kept(own[:seen])
        assert kept is not None
        return self.curve[kept.step][1]


def default(rows: str, seed: int) -> Cell:
    """The teacher of the recipe ``quick``."""
    training = round(SETS[rows].rows * (1 - VALIDATION_SHARE))
    facts = Facts(training, training, classes=len(SETS[rows].names))
    own = resolve(load_recipe("quick", "x"), facts).teacher.numbers
    return Cell(
        rows=rows,
        split=seed,
        seed=seed,
        epochs=own.epochs,
        batch=own.batch_size,
        rate=own.learning_rate,
        head=own.head_factor,
        evaluations=own.evaluations,
    )


class WithoutCheckpoints(StageTrainer):
    """The trainer of the product, which would write hundreds of megabytes an evaluation."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        return


@dataclasses.dataclass(slots=True)
class Watch:
    """Scores a teacher at every evaluation."""

    context: TaskContext
    curve: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def __call__(self, student: PreTrainedModel, done: float) -> dict[str, float]:  # noqa: ARG002
        """Its score on validation; held-out rows are asked as well."""
        teacher = Classifier("teacher", eval_mode(student), self.context.tokenizer)
        own = self._score(teacher, "validation")
        with autocast(student.device, "auto"):
            self.curve.append((own, self._score(teacher, HELD_OUT)))
        return {self.context.version.task.selection_metric: own}

    def _score(self, teacher: Classifier, split: str) -> float:
        task = self.context.version.task
        rows = self.context.tokens.validation[split]
        scores = judge(teacher, task, {split: rows}).scores
        return round(scores[split][task.selection_metric], 4)


def fine_tune(cell: Cell, version: Version) -> Line:
    """Fine-tune a teacher as ``distill teacher`` does."""
    began = time.process_time()
    recipe = load_recipe("quick", "x").model_copy(update={"seed": cell.seed})
    training = Original(
        epochs=cell.epochs,
        batch_size=cell.batch,
        learning_rate=cell.rate,
        head_factor=cell.head,
        evaluations=cell.evaluations,
    ).numbers
    untuned = load_untuned(str(MLM), version.task, cell.seed)
    stage = HardLabelStage(untuned.model, "teacher")
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.work.mkdir()
        (run.path / RUN).touch()
        context = open_context(version, recipe, untuned.tokenizer, run, Narrator(quiet=True))
        watch, rows = Watch(context), context.tokens.rows("original").rows
        selection = context.selection(recipe.teacher)
        job = context.job(stage, rows, training, title="teacher", evaluate=watch)
        job = dataclasses.replace(job, selection=selection, log=MetricLog(None))
        trainer = WithoutCheckpoints(
            job, stage_arguments(job, total_steps(len(rows), training)), []
        )
        stage.start(torch.device("cpu"))
        with use_dropout(stage.student, training.dropout):
            trainer.train()
    return Line(
        cell=cell,
        rows=selection.rows,
        learnt=selection.learnt,
        curve=tuple(watch.curve),
        cpu_seconds=round(time.process_time() - began, 1),
    )


def version_of(folder: Path, rows: str, split: int) -> Version:
    """A set as a version; one that an earlier call wrote is found there again."""
    root = folder / "versions" / str(split)
    made = root / rows / "v0001"
    return open_version(made) if made.is_dir() else SETS[rows].version(rows, split, root)


@dataclasses.dataclass(frozen=True, slots=True)
class Campaign:
    """Where everything lies."""

    folder: Path

    def lines(self) -> dict[Cell, Line]:
        """The cells that have ended."""
        file = self.folder / "cells.jsonl"
        kept = file.read_text().splitlines() if file.is_file() else []
        lines = [Line.model_validate_json(line) for line in kept]
        return {line.cell: line for line in lines}

    def run(self, cell: Cell) -> Line:
        """Run a cell, or read what an earlier call found."""
        if found := self.lines().get(cell):
            return found
        line = fine_tune(cell, version_of(self.folder, cell.rows, cell.split))
        with (self.folder / "cells.jsonl").open("a") as file:
            file.write(json.dumps(line.to_json()) + "\n")
        return line


def changed(name: str, seed: int, **changes: Any) -> Cell:
    """The default but for some of its numbers."""
    return default(name, seed).model_copy(update=changes)


def plan(names: list[str], seeds: list[int], grid_seeds: list[int]) -> Iterator[tuple[str, Cell]]:
    """Arm and cell, the most telling ones first."""
    for seed, name in itertools.product(seeds, names):
        yield "default", default(name, seed)
    for seed in grid_seeds:
        for (arm, changes), name in itertools.product(CHANGES.items(), names):
            yield arm, changed(name, seed, **changes)
        for name in names:
            for arm, changes in MORE.get(name, {}).items():
                yield arm, changed(name, seed, **changes)
    for name in names:
        yield "before", changed(name, 0, **BEFORE)


def summary(done: list[tuple[str, Line]]) -> dict[str, Any]:
    """Held-out scores of each set: arm by arm, and of the default by way to select.

    ``first`` is that of seed 0, which every arm has. An arm is compared with the default on the
    arm's own seeds.
    """
    teacher = load_recipe("quick", "x").teacher
    found: dict[str, Any] = {}
    for name in dict.fromkeys(line.cell.rows for _, line in done):
        own = [(arm, line) for arm, line in done if line.cell.rows == name]
        arms: dict[str, dict[int, float]] = {}
        for arm, line in own:
            arms.setdefault(arm, {})[line.cell.seed] = line.held_out(teacher.keep, teacher.patience)
        defaults = arms["default"]
        shared = {
            arm: [seed for seed in scores if seed in defaults] for arm, scores in arms.items()
        }
        found[name] = {
            "arms": {
                arm: {**spread(list(scores.values())), "first": scores.get(0)}
                for arm, scores in arms.items()
            },
            "default_minus": {
                arm: spread([defaults[seed] - arms[arm][seed] for seed in seeds])
                for arm, seeds in shared.items()
                if arm != "default"
            },
            "selection": {
                f"{keep}, {f'patience {patience}' if patience else 'to the end'}": spread(
                    [line.held_out(keep, patience) for arm, line in own if arm == "default"]
                )
                for keep, patience in itertools.product(
                    ("best", "latest"), (None, teacher.patience)
                )
            },
        }
    return found


def spread(scores: list[float]) -> dict[str, Any]:
    """Mean, standard deviation where there are several, and their number."""
    return {"mean": mean(scores), "sd": deviation(scores), "seeds": len(scores)}


def main() -> None:
    """Run what is missing, each line kept as it ends; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the default")
    parser.add_argument("--grid-seeds", nargs="*", type=int, default=[0], help="of the grid")
    parser.add_argument("--finished", action="store_true", help="the table of what is there")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    campaign = Campaign(options.folder.resolve())
    campaign.folder.mkdir(parents=True, exist_ok=True)
    teacher, done = load_recipe("quick", "x").teacher, []
    for arm, cell in plan(options.sets, options.seeds, options.grid_seeds):
        if not options.finished or cell in campaign.lines():
            line = campaign.run(cell)
            done.append((arm, line))
            held_out = line.held_out(teacher.keep, teacher.patience)
            print(f"{cell.rows:<12}{arm:<12}{cell.seed:3}{held_out:8.3f}", flush=True)
    found = summary(done)
    for name, row in found.items():
        print(name, json.dumps(row, indent=1))
    lines = [{"arm": arm, **line.to_json()} for arm, line in done]
    keep({"machine": describe(), "sets": found, "lines": lines}, options.json)


if __name__ == "__main__":
    main()
