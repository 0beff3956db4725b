"""Whether the default teacher comes within a point of a small grid's best on small sets.

    python -m benchmarks.small_sets --folder small --json benchmarks/results/small_sets.json

Every cell is a teacher, fine-tuned from minilm-l6-mlm on a set of ``benchmarks.small_data``: with
the default's numbers, with those of a grid, or with what the default was before. Validation selects
the step; held-out rows only score. A cell that has ended is kept in the folder: stop it, start it
again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
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
from benchmarks.small_data import HELD_OUT, SETS, VALIDATION_SHARE
from distill.evaluation.evaluate import judge
from distill.models.bf16 import autocast
from distill.models.labels import label_settings
from distill.models.loading import (
    UNTUNED,
    Classifier,
    eval_mode,
    read_config,
    read_tokenizer,
    read_weights,
    tried,
)
from distill.models.seeding import seeded
from distill.progress import Narrator
from distill.recipes.auto import Facts, resolve
from distill.recipes.load import load_recipe
from distill.recipes.schema import Original
from distill.runs.directory import RUN, RunDirectory
from distill.runs.records import Record
from distill.stages import HardLabelStage
from distill.training.callbacks import Patience
from distill.training.context import TaskContext, open_context
from distill.training.metric_log import MetricLog
from distill.training.schedule import total_steps, use_dropout
from distill.training.trainer import StageTrainer, stage_arguments

RATES, BATCHES, HEADS, EVALUATIONS = (1e-4, 2e-4, 5e-5), (16, 32), (3.0, 10.0, 1.0), 10
EPOCHS = {
    "tickets300": 12.0,
    "tickets700": 10.0,
    "stsb_800": 7.0,
    "sst2_1000": 8.0,
    "topics1200": 8.0,
    "mrpc_1200": 6.0,
    "cola_3000": 4.0,
}
"""Of the grid: about 200 steps of 16 for 300 rows, 300 to 640 for the others."""
BEFORE = {"epochs": 3.0, "evaluations": 6}


class Cell(Record):
    """A teacher to fine-tune.

    Attributes:
        rows: The set.
        split: Seed of the cut into training and validation rows.
        seed: Of the head, the dropout and the order of rows.
        head: How many times the head's rate is the encoder's.
        patience: Evaluations without a better score after which it ends, or nothing.
    """

    rows: str
    split: int
    seed: int
    epochs: float
    batch: int
    rate: float
    head: float
    evaluations: int
    patience: int | None


class Line(Record):
    """What became of a cell.

    Attributes:
        steps: That were done.
        kept: The evaluation whose step is kept, from 1.
        validation: Its score there.
        held_out: Its score on what selects nothing.
        curve: Every evaluation's score on validation, and on held-out rows where it was the best
            so far, and at the last.
        cpu_seconds: Of all of it, evaluations included.
    """

    cell: Cell
    steps: int
    kept: int
    validation: float
    held_out: float
    curve: tuple[tuple[float, float | None], ...]
    cpu_seconds: float


def default(rows: str, split: int, seed: int) -> Cell:
    """The teacher of the recipe ``quick``."""
    training = round(SETS[rows].rows * (1 - VALIDATION_SHARE))
    recipe = resolve(load_recipe("quick", "x"), Facts(training, training)).teacher
    own = recipe.numbers
    return Cell(
        rows=rows,
        split=split,
        seed=seed,
        epochs=own.epochs,
        batch=own.batch_size,
        rate=own.learning_rate,
        head=own.head_factor,
        evaluations=own.evaluations,
        patience=recipe.patience,
    )


class WithoutCheckpoints(StageTrainer):
    """The trainer of the product, which would write hundreds of megabytes an evaluation."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:  # noqa: ARG002
        return


@dataclasses.dataclass(slots=True)
class Watch:
    """Scores a teacher at every evaluation."""

    context: TaskContext
    evaluations: int
    curve: list[tuple[float, float | None]] = dataclasses.field(default_factory=list)

    def __call__(self, student: PreTrainedModel) -> dict[str, float]:
        """Its score on validation; held-out rows are asked where that is the best so far."""
        teacher = Classifier("teacher", eval_mode(student), self.context.tokenizer)
        own = self._score(teacher, "validation")
        better = own > max((before for before, _ in self.curve), default=-2.0)
        held_out = None
        if better or len(self.curve) + 1 >= self.evaluations:
            with autocast(student.device, "auto"):
                held_out = self._score(teacher, HELD_OUT)
        self.curve.append((own, held_out))
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
    tokenizer, init = read_tokenizer(str(MLM)), str(MLM)
    config = read_config(init, **label_settings(version.task))
    untuned = seeded(cell.seed, lambda: read_weights(init, config, may_start=UNTUNED))
    stage = HardLabelStage(tried(init, untuned, tokenizer), "teacher")
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder))
        run.work.mkdir()
        (run.path / RUN).touch()
        context = open_context(version, recipe, tokenizer, run, Narrator(quiet=True))
        watch, rows = Watch(context, cell.evaluations), context.tokens.rows("original").rows
        job = context.job(stage, rows, training, title="teacher", evaluate=watch)
        metric = version.task.selection_metric
        job = dataclasses.replace(job, selection=metric, log=MetricLog(None))
        ends = [Patience(metric, cell.patience, context.learnt())] if cell.patience else []
        steps = total_steps(len(rows), training)
        trainer = WithoutCheckpoints(job, stage_arguments(job, steps), ends)
        stage.start(torch.device("cpu"))
        with use_dropout(stage.student, training.dropout):
            trainer.train()
    own, held_out = max(watch.curve, key=lambda point: point[0])
    assert held_out is not None
    return Line(
        cell=cell,
        steps=trainer.state.global_step,
        kept=watch.curve.index((own, held_out)) + 1,
        validation=own,
        held_out=held_out,
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


def in_grid(rows: str, rate: float, batch: int, head: float, seed: int = 0) -> Cell:
    """A cell of the grid: the set's epochs to their end."""
    return Cell(
        rows=rows,
        split=seed,
        seed=seed,
        epochs=EPOCHS[rows],
        batch=batch,
        rate=rate,
        head=head,
        evaluations=EVALUATIONS,
        patience=None,
    )


def plan(names: list[str], seeds: list[int]) -> Iterator[tuple[str, Cell]]:
    """Arm and cell, the most telling ones first."""
    for name in names:
        yield "default", default(name, 0, 0)
    for batch, rate, head in itertools.product(BATCHES, RATES, HEADS):
        for name in names:
            yield f"{rate:g} x {batch}, head {head:g}", in_grid(name, rate, batch, head)
    for name in names:
        yield "default, head 10", default(name, 0, 0).model_copy(update={"head": 10.0})
    if "tickets300" in names:
        longer = in_grid("tickets300", 1e-4, 16, 1.0).model_copy(update={"epochs": 25.0})
        yield "0.0001 x 16, head 1, 25 epochs", longer
    for name in names:
        yield "before", in_grid(name, 5e-5, 32, 1.0).model_copy(update=BEFORE)
    for seed, name in itertools.product(seeds, names):
        yield "default", default(name, seed, seed)
        for head in HEADS:
            yield f"head {head:g}, seed {seed}", in_grid(name, 1e-4, 16, head, seed)
        older = default(name, seed, seed).model_copy(update={"head": 10.0})
        yield f"default, head 10, seed {seed}", older


def summary(done: list[tuple[str, Line]]) -> dict[str, Any]:
    """For each set: the default over its seeds, and the grid's cells with the default's first seed.

    ``best`` is the cell that held-out rows like most, which nobody could have chosen; ``chosen``
    the one that validation likes most.
    """
    found: dict[str, Any] = {}
    for name in dict.fromkeys(line.cell.rows for _, line in done):
        own = [(arm, line) for arm, line in done if line.cell.rows == name]
        defaults = [line.held_out for arm, line in own if arm == "default"]
        cells = {arm: line for arm, line in own if arm not in ("default", "before")}
        first = {arm: line for arm, line in cells.items() if line.cell.seed == 0}
        found[name] = {
            "default": defaults[0] if defaults else None,
            "mean": round(statistics.fmean(defaults), 4) if defaults else None,
            "deviation": round(statistics.stdev(defaults), 4) if len(defaults) > 1 else None,
            "seeds": len(defaults),
            "before": next((line.held_out for arm, line in own if arm == "before"), None),
            "grid": {arm: line.held_out for arm, line in cells.items()},
        }
        if first:
            best = max(first, key=lambda arm: first[arm].held_out)
            chosen = max(first, key=lambda arm: first[arm].validation)
            found[name] |= {"best": best, "chosen": chosen}
    return found


def main() -> None:
    """Run what is missing, each line kept as it ends; print and keep the table."""
    parser = arguments(__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2], help="more of the default")
    parser.add_argument("--finished", action="store_true", help="the table of what is there")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    campaign = Campaign(options.folder.resolve())
    campaign.folder.mkdir(parents=True, exist_ok=True)
    done = []
    for arm, cell in plan(options.sets, options.seeds):
        if not options.finished or cell in campaign.lines():
            line = campaign.run(cell)
            done.append((arm, line))
            print(f"{cell.rows:<12}{arm:<22}{line.validation:8.3f}{line.held_out:8.3f}", flush=True)
    found = summary(done)
    for name, row in found.items():
        print(name, row)
    lines = [{"arm": arm, **line.to_json()} for arm, line in done]
    keep({"machine": describe(), "sets": found, "lines": lines}, options.json)


if __name__ == "__main__":
    main()
