"""What it wins in stage 1 to ask the teacher once for each row, and what a step is made of.

    python -m benchmarks.teacher_states VERSION TEACHER --student 4x312-1200-12 --json FILE

Steps that ask and steps that read take turns on the same batches, those of the recipe's own order,
after the rows of these batches were kept by the very function that a run calls. Seconds are those
of the processor (one thread), so that other work beside it counts little; ratios are of sums over
all batches. As if without AVX-512: in the environment ``ONEDNN_MAX_CPU_ISA=AVX2
ATEN_CPU_CAPABILITY=avx2 MKL_CBWR=AVX2``. ``FILE`` is added to.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.contract.version import open_checked
from benchmarks.machine import arguments, describe, keep, kind
from distill.data.batching import Collator, lengths_of, model_inputs
from distill.data.kept_states import StateRows
from distill.data.row_sets import RowSet
from distill.models.bf16 import autocast
from distill.models.guides import load_guides, parse_guides
from distill.pipeline import start_student
from distill.recipes.auto import recipe_for
from distill.runs.directory import RunDirectory
from distill.runs.progress import Narrator
from distill.stages import IntermediateStage
from distill.training.context import TaskContext, open_context
from distill.training.schedule import passes, row_order, use_dropout
from distill.training.teacher_states import NUMBER_BYTES, keep_states

BATCHES, WARM = 12, 2
MANY = 1e6


class Steps:
    """Training steps of stage 1 in turns, and the processor's seconds of their parts."""

    def __init__(self, stage: IntermediateStage, precision: str, rate: float) -> None:
        self.stage, self.precision = stage, precision
        trained = [weight for weight in stage.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=rate, fused=True)
        self.seconds: dict[str, float] = {}

    def take(self, name: str, batch: Callable[[], dict[str, Tensor]]) -> float:
        """A step, loading of its rows included; its loss."""
        began = time.thread_time()
        rows = batch()
        loaded = time.thread_time()
        with autocast(torch.device("cpu"), self.precision):
            loss = self.stage(**rows)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.stage.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._add(name, time.thread_time() - began)
        self._add(f"{name}, loading", loaded - began)
        return float(loss.detach())

    def ask(self, batch: dict[str, Tensor]) -> None:
        """The teacher's pass alone."""
        began = time.thread_time()
        with torch.no_grad(), autocast(torch.device("cpu"), self.precision):
            self.stage.teacher_capture(**model_inputs(batch))
        self._add("teacher", time.thread_time() - began)

    def _add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


def open_stage(args: Any, folder: Path) -> tuple[TaskContext, IntermediateStage]:
    """The stage as a run has it."""
    version, named = open_checked(args.version), parse_guides(args.teacher)
    recipe = named.settle(recipe_for(version, args.recipe), version.task)
    first = recipe.intermediate.model_copy(update={"teacher_states_gb": MANY})
    recipe = recipe.model_copy(update={"precision": args.precision, "intermediate": first})
    guides = load_guides(named, version.task, recipe.seed)
    spec = named.student(args.student, "auto")
    student = start_student(spec, version.task, recipe, guides.model)
    run, narrator = RunDirectory(folder).of({}), Narrator(quiet=True)
    run.work.mkdir()
    context = open_context(version, recipe, student.tokenizer, run, narrator, unlabeled=True)
    assert guides.model is not None
    stage = context.layerwise_stage("intermediate", student, guides.model.model, first)
    stage.start(torch.device("cpu"))
    return context, stage.train()


def measure(context: TaskContext, stage: IntermediateStage) -> dict[str, Any]:
    """Seconds of a step both ways, and what a whole stage comes to."""
    recipe = context.recipe.intermediate
    drawn, size = context.drawn(recipe), recipe.numbers.batch_size
    order = np.fromiter(row_order(drawn.rows, size, 0, drawn.mixture), dtype=np.int64)
    batches = order[: len(order) // size * size].reshape(-1, size)
    batches = batches[:: max(1, len(batches) // BATCHES)][:BATCHES]
    places = np.unique(batches)
    some = RowSet(drawn.rows.select(places))
    began = time.thread_time()
    often = recipe.model_copy(update={"epochs": 3.0, "max_steps": None})
    again = replace(context, recipe=context.recipe.model_copy(update={"intermediate": often}))
    states = keep_states(again, stage, some)
    making = (time.thread_time() - began) / len(places)
    assert states is not None
    assert stage.layout is not None
    collate, kept = Collator(context.tokenizer.pad_token_id), StateRows(some.rows, states)
    steps = Steps(stage, context.recipe.precision, recipe.numbers.learning_rate)
    with use_dropout(stage.student, recipe.dropout):
        for turn, batch in enumerate([*batches[:WARM], *batches]):
            if turn == WARM:
                steps.seconds.clear()
            at = np.searchsorted(places, batch).tolist()
            steps.take("asked", lambda at=at: collate(some.rows.__getitems__(at)))
            steps.take("kept", lambda at=at: collate(kept.__getitems__(at)))
            steps.ask(collate(some.rows.__getitems__(at)))
    lengths = lengths_of(drawn.rows)
    each = {name: seconds / len(batches) for name, seconds in steps.seconds.items()}
    epochs = passes(len(drawn), recipe.numbers)
    return {
        "rows": len(drawn),
        "mapping": list(stage.mapping),
        "tokens_a_row": float(lengths.mean()),
        "numbers_a_token": stage.layout.numbers,
        "gigabytes": float(lengths.sum()) * stage.layout.numbers * NUMBER_BYTES / 1e9,
        "seconds_a_step": each,
        "making_seconds_a_row": making,
        "teacher_share_of_a_step": each["teacher"] / each["asked"],
        "ratio_if_never_asked": each["asked"] / each["kept"],
        "ratio_by_draws_a_row": {
            f"{own:.1f}": own * each["asked"] / (own * each["kept"] + size * making)
            for own in sorted({1.0, 2.0, 3.3, round(epochs, 1), 10.0, 20.0})
        },
        "draws_a_row_of_the_recipe": epochs,
    }


def main() -> None:
    """Measure, and print."""
    parser = arguments(__doc__)
    parser.add_argument("version")
    parser.add_argument("teacher")
    parser.add_argument("--student", default="4x312-1200-12")
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        context, stage = open_stage(args, Path(folder))
        found = measure(context, stage)
    about = {"task": context.version.task.name, "recipe": args.recipe, "machine": describe()}
    for name, value in {**about, **found}.items():
        print(f"{name}: {value}")
    known = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    config = stage.teacher_capture.model.config
    size = f"{config.num_hidden_layers}x{config.hidden_size}"
    name = f"{kind()}, {args.precision}: teacher {size}, student {args.student}"
    keep({**known, name: {**about, **found}}, args.json)


if __name__ == "__main__":
    main()
