"""Budgets in hours or tokens, turned into a number of steps by timing a few."""

from __future__ import annotations

import dataclasses
import math
import shutil
import time
from dataclasses import dataclass

import numpy as np

from distill.data.batching import spread
from distill.errors import UsageError
from distill.runs.distributed import barrier
from distill.runs.progress import Narrator
from distill.training.callbacks import StepClock
from distill.training.job import Job
from distill.training.metric_log import MetricLog
from distill.training.trainer import train_stage

RESERVE = 0.02
EVALUATING = 0.05


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent; with neither, the recipe's epochs.

    Attributes:
        hours: Wall-clock time from the start of the command.
        tokens: To train on, padding not counted, repeated ones counted again.

    Raises:
        UsageError: Both are given, or one that is not greater than 0.

    Examples:
        >>> from distill import Budget
        >>> Budget(hours=2)
        Budget(hours=2, tokens=None)
    """

    hours: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        if self.hours is not None and self.tokens is not None:
            raise UsageError("--hours and --tokens exclude each other.", "Give one of them.")
        for name, value in (("--hours", self.hours), ("--tokens", self.tokens)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value}; it must be greater than 0.")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a step and of an evaluation."""

    step: float
    evaluation: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first step and kept with the run.

    Attributes:
        steps: Optimizer steps in all.
        evaluations: On held-out blocks, the last step included.
        tokens_per_step: Mean of a batch, padding not counted.
        seconds_per_step: As measured for a wall-clock budget, or nothing.
    """

    steps: int
    evaluations: int
    tokens_per_step: float
    seconds_per_step: float | None = None

    @property
    def tokens(self) -> int:
        """Trained on in all, about."""
        return round(self.steps * self.tokens_per_step)


def steps_for_tokens(tokens: int, per_step: float) -> int:
    """Steps that come nearest to a token budget, at least one."""
    return max(1, round(tokens / per_step))


def plan_for_seconds(
    seconds: float, timing: Timing, evaluations: int, tokens_per_step: float
) -> Plan:
    """The steps that fit the time left.

    Args:
        seconds: Left; ``RESERVE`` of it is for checkpoints.
        timing: What a step and an evaluation take.
        evaluations: Wanted; there are fewer where they took more than ``EVALUATING`` of the time.
        tokens_per_step: See ``Plan``.

    Raises:
        UsageError: No step fits.
    """
    left = seconds * (1 - RESERVE)
    fitting = int(left * EVALUATING / max(timing.evaluation, 1e-9))
    count = max(1, min(evaluations, fitting))
    steps = int((left - count * timing.evaluation) / timing.step)
    if steps < 1:
        raise UsageError(
            f"--hours leaves {max(seconds, 0.0):.0f} s to train in; a step takes "
            f"{timing.step:.2f} s, an evaluation {timing.evaluation:.2f} s.",
            "Give more hours; the tokenized corpus is kept and is not made again.",
        )
    return Plan(steps, count, tokens_per_step, timing.step)


STEPS = 48


def measure_steps(job: Job, seconds: float) -> Timing:
    """Time steps and one evaluation of a job, on rows that are spread evenly over all lengths.

    Args:
        job: Of a throwaway stage; its folder is removed.
        seconds: About how long the steps may take.
    """
    clock = StepClock(seconds)
    some = spread(job.rows, min(len(job.rows), STEPS * job.training.batch_size))
    trial = dataclasses.replace(
        job,
        rows=job.rows.select(np.sort(some)),
        training=job.training.model_copy(update={"evaluations": 1}),
        log=MetricLog(None),
        narrator=Narrator(quiet=True),
        evaluate=None,
        steps=STEPS,
        callbacks=(clock,),
    )
    try:
        train_stage(trial)
        began = time.monotonic()
        if job.evaluate is not None:
            job.evaluate(job.stage.student, 0.0)
        timing = Timing(clock.step(), time.monotonic() - began)
        barrier()  # for the last checkpoint to be complete
        return timing
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
