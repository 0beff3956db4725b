"""What a stage is trained on, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import datasets
from transformers import PreTrainedModel, TrainerCallback

from augment.contract.foreign import counted
from distill.data.batching import Collator
from distill.data.kept_states import TeacherStates
from distill.data.mixtures import Mixture
from distill.recipes.schema import Optimization
from distill.runs.progress import Narrator
from distill.stages import Stage
from distill.training.metric_log import MetricLog
from distill.training.schedule import total_steps
from distill.training.selection import StepSelection
from distill.training.soft_labels import SoftLabels

Evaluation = Callable[[PreTrainedModel, float], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Job:
    """A stage to train, and everything that decides its weights.

    Attributes:
        stage: The module; its student holds the result afterwards.
        rows: Tokenized rows with a ``length`` column.
        collator: Rows to batch.
        training: The recipe's section.
        seed: Of dropout and the order of rows.
        precision: ``auto``, ``bfloat16`` or ``float32``.
        folder: Where checkpoints go while the stage is unfinished.
        log: Where losses and scores go.
        narrator: Where progress is shown.
        title: How the stage is called there.
        made_from: The digest of what the run is made of, which checkpoints are sealed with.
        evaluate: Student, and the share of the steps that is done, to scores by name; or nothing.
        selection: Which step is kept by the scores. Without it the last step is.
        patience: Evaluations in a row without a better score after which the stage ends; nothing
            if it goes on to its last step.
        mixture: How often the parts of the rows are drawn; every row once an epoch if left out.
        soft_labels: Of the rows, where the stage learns from them.
        states: The teacher's states of the rows, where they are kept.
        steps: Optimizer steps in all; the recipe's epochs of the rows if left out.
        tokens_per_step: Shown as speed instead of rows, where it is known.
        callbacks: Told what happens.
        board: The folder of its TensorBoard log, or nothing.
    """

    stage: Stage
    rows: datasets.Dataset
    collator: Collator
    training: Optimization
    seed: int
    precision: str
    folder: Path
    log: MetricLog
    narrator: Narrator
    title: str
    made_from: str = ""
    evaluate: Evaluation | None = None
    selection: StepSelection | None = None
    patience: int | None = None
    mixture: Mixture | None = None
    soft_labels: SoftLabels | None = None
    states: TeacherStates | None = None
    steps: int | None = None
    tokens_per_step: float | None = None
    callbacks: tuple[TrainerCallback, ...] = ()
    board: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended.

    Attributes:
        steps: Optimizer steps that were done.
        kept: The step whose weights are kept.
        score: The selection metric there, or nothing.
        losses: What was measured last, by name, where losses are.
    """

    steps: int
    kept: int
    score: float | None
    losses: dict[str, float]


def describe_job(job: Job) -> str:
    """The numbers that a stage is trained with."""
    own = job.training
    parts = [
        counted(len(job.rows), "row"),
        f"{counted(total_steps(len(job.rows), own), 'step')} of {own.batch_size}",
        f"rate {own.learning_rate:.2g}, {own.schedule}",
    ]
    if own.head_factor != 1:
        parts[-1] += f", the head's {own.head_factor:g} times that"
    if job.patience and job.evaluate is not None:
        parts.append(
            f"or until {counted(job.patience, 'evaluation')} of {own.evaluations} bring nothing"
        )
    return " · ".join(parts)
